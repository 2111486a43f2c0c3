//! Whether the kernel stops the connections whose first words userspace would have stopped: the loaded program against
//! [`agent_common::first_words`], over connections that really say them, in one segment and in two.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agent_common::abi::{Address, Target};
use agent_common::counter::Counter;
use agent_common::first_words::{self, Words};
use agent_common::limits::NET_BYTES;
use agent_common::name::NameBuffer;
use aya::maps::{HashMap, Map, MapData, RingBuf};
use socket2::SockRef;

use super::super::heart::now_ns;
use super::super::{Heart, KernelCounters, Options, Orders, Steering, Why, events, load};
use super::{Dice, OwnCgroup, corpus, enter_network_namespace, longest};
use crate::catalog::HostPattern;
use crate::config::{Existing, Guard};

/// Connections beside those of the seeds.
const MUTATIONS: usize = 8000;
/// An address of the namespace's own that could be another host's.
const ORIGIN: &str = "192.0.2.1:443";
/// What the kernel may have counted of one connection.
const COUNTED: [Counter; 4] =
    [Counter::Watched, Counter::NetStopped, Counter::NetUnreadable, Counter::StoreFailed];

struct Bench {
    steering: Steering,
    heart: Heart,
    targets: HashMap<MapData, Address, Target>,
    counters: KernelCounters,
    events: RingBuf<MapData>,
    origin: TcpListener,
    /// By its mark the programs know the agent's network namespace.
    _listener: TcpListener,
}

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Passed,
    Named(String),
    Unreadable,
}

impl Bench {
    fn new(cgroup: &Path) -> Self {
        let status =
            Command::new("ip").args(["address", "add", "192.0.2.1/32", "dev", "lo"]).status().unwrap();
        assert!(status.success());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            cgroup: Some(cgroup.to_owned()),
            listener_v4: listener.local_addr().unwrap(),
            listener_v6: None,
            refuse_quic: false,
            guard: Guard::Sni,
            fail_closed: false,
            pins: None,
        };
        let mut steering = Steering::start(&options).unwrap();
        steering.own_sockets().unwrap().mark_listener(&listener).unwrap();
        let pattern = |text: &str, app: &str| (HostPattern::parse(text).unwrap(), app.into());
        let orders = Orders {
            patterns: vec![pattern("*.corp.test", "corp"), pattern("*.other.test", "other")],
            selected: vec!["corp".into()],
            ports: vec![443],
            existing: Existing::Leave,
        };
        steering.apply(&orders).unwrap();
        let map = |name| load::map_data(&steering.ebpf, name).unwrap();
        Self {
            heart: steering.heart().unwrap(),
            targets: HashMap::try_from(Map::LruHashMap(map("PC_TARGETS"))).unwrap(),
            events: RingBuf::try_from(Map::RingBuf(map("PC_EVENTS"))).unwrap(),
            counters: steering.counters().unwrap(),
            origin: TcpListener::bind(ORIGIN).unwrap(),
            steering,
            _listener: listener,
        }
    }

    fn counted(&self) -> [u64; 4] {
        let all = self.counters.read();
        COUNTED.map(|counter| all.iter().find(|(name, _)| *name == counter.name()).map_or(0, |(_, n)| *n))
    }

    /// What userspace makes of the first words; `None` when it takes more of them.
    fn expected(&self, said: &[u8]) -> Option<Fate> {
        let said = &said[..said.len().min(NET_BYTES)];
        let mut name = NameBuffer::new();
        match first_words::read(said, &mut name) {
            Words::More => None,
            Words::Unreadable => Some(Fate::Unreadable),
            Words::Nameless | Words::Other => Some(Fate::Passed),
            Words::Name => {
                let apps = longest(&self.steering.patterns.written, &name).unwrap_or_default();
                if apps & self.steering.settings.steer_apps == 0 {
                    return Some(Fate::Passed);
                }
                let key = name.key();
                let text: Vec<u8> = key.bytes[..key.bits as usize / 8 - 1].iter().rev().copied().collect();
                Some(Fate::Named(String::from_utf8_lossy(&text).into_owned()))
            }
        }
    }

    /// Says one piece after the other and compares after each; returns what became of the connection.
    fn check(&mut self, pieces: &[&[u8]]) -> Fate {
        self.heart.beat(now_ns()).unwrap();
        let mut client = TcpStream::connect(ORIGIN).unwrap();
        let (mut server, _) = self.origin.accept().unwrap();
        for end in [&client, &server] {
            // Ends with a reset, so that thousands of connections leave nothing to wait for.
            SockRef::from(end).set_linger(Some(Duration::ZERO)).unwrap();
            end.set_nodelay(true).unwrap();
            end.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        let mut said = Vec::new();
        let mut fate = Fate::Passed;
        let mut watched = 1;
        for piece in pieces {
            said.extend_from_slice(piece);
            let expected = self.expected(&said);
            let before = self.counted();
            client.write_all(piece).unwrap();
            let after = self.counted();
            let seen = match self.events.next().and_then(|bytes| events::stopped(&bytes)) {
                None => Fate::Passed,
                Some(stopped) => match stopped.why {
                    Why::Name(name) => Fate::Named(name),
                    Why::Unreadable => Fate::Unreadable,
                    Why::Existing { .. } => panic!("a host has a list of its sockets"),
                },
            };
            assert_eq!(seen, expected.clone().unwrap_or(Fate::Passed), "after {said:02x?}");
            let counts =
                [watched, matches!(seen, Fate::Named(_)).into(), (seen == Fate::Unreadable).into(), 0];
            for ((counter, expected), (before, after)) in
                COUNTED.iter().zip(counts).zip(before.into_iter().zip(after))
            {
                assert_eq!(after - before, expected, "{} after {said:02x?}", counter.name());
            }
            watched = 0;
            fate = seen;
            if fate != Fate::Passed {
                // The address was learned, or the next connection would be steered.
                self.targets.remove(&Address::from_ip("192.0.2.1".parse().unwrap())).unwrap();
                return fate;
            }
            let mut arrived = vec![0; piece.len()];
            server.read_exact(&mut arrived).unwrap();
            assert_eq!(arrived, *piece);
            if expected.is_some() {
                break;
            }
        }
        fate
    }
}

/// Hellos of the fuzzer's corpus in records, and requests.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = corpus("client_hello")
        .into_iter()
        .map(|message| {
            let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
            [&[22, 3, 1][..], &length, &message].concat()
        })
        .collect();
    for name in ["files.corp.test", "a.other.test", "elsewhere.test"] {
        seeds.push(hello(name));
        for (head, field) in [
            ("GET / HTTP/1.1", "Host: "),
            ("POST /a?b=c HTTP/1.0", "Accept: */*\r\nhost:"),
            ("OPTIONS * HTTP/1.1", "Cookie: a=b; host=x\r\nHOST:\t"),
            ("GET http://x.corp.test/ HTTP/1.1", "Host: "),
        ] {
            seeds.push(format!("{head}\r\n{field}{name}\r\nA: b\r\n\r\nbody").into_bytes());
        }
    }
    seeds.push(b"SSH-2.0-OpenSSH_9\r\n".to_vec());
    seeds
}

fn hello(name: &str) -> Vec<u8> {
    let sized = |content: &[u8]| [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat();
    let entry = [&[0][..], &sized(name.as_bytes())].concat();
    let extensions =
        [&[0, 51][..], &sized(&[7; 900]), &[0, 0], &sized(&sized(&entry)), &[0, 16, 0, 5, 0, 3, 2, 104, 50]];
    let body =
        [&[3, 3][..], &[9; 32], &[0], &sized(&[0x13, 1]), &[1, 0], &sized(&extensions.concat())].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

#[test]
#[ignore = "takes root, runs alone: `cargo xtask test netns` runs it"]
fn the_kernel_stops_what_userspace_would_have_stopped() {
    let cgroup = OwnCgroup::enter();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter_network_namespace();
            let mut bench = Bench::new(&cgroup.path);
            let seeds = seeds();
            let (mut named, mut unreadable) = (0, 0);
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            for number in 0..seeds.len() + MUTATIONS {
                let said = match seeds.get(number) {
                    Some(seed) => seed.clone(),
                    None => dice.mutate(&seeds),
                };
                let cut = dice.below(said.len());
                let pieces =
                    if number % 2 == 1 && cut > 0 { said.split_at(cut) } else { (&said[..], &[][..]) };
                let pieces = if pieces.1.is_empty() { vec![pieces.0] } else { vec![pieces.0, pieces.1] };
                match bench.check(&pieces) {
                    Fate::Named(_) => named += 1,
                    Fate::Unreadable => unreadable += 1,
                    Fate::Passed => {}
                }
            }
            // A test in which nothing is stopped would agree about nothing.
            assert!(
                named > MUTATIONS / 50 && unreadable > MUTATIONS / 50,
                "{named} named, {unreadable} unreadable"
            );
        });
    });
}
