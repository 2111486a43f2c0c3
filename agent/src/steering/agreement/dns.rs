//! Whether the kernel learns from a DNS answer what the same parser reads in userspace: the loaded programs against
//! [`agent_common::dns`], over datagrams that real sockets receive.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use agent_common::abi::{Address, Target};
use agent_common::counter::Counter;
use agent_common::dns::{self, Answers, NameBuffer, Skip};
use agent_common::limits::{DNS_MESSAGE, LEARNED_GRACE_S, LEARNED_TTL_MAX_S};
use aya::maps::{HashMap, Map, MapData};

use super::super::heart::now_ns;
use super::super::{KernelCounters, Options, Orders, Steering, load};
use super::{Dice, OwnCgroup, corpus, enter_network_namespace, longest};
use crate::catalog::HostPattern;
use crate::config::{Existing, Guard};

/// Datagrams beside those of the corpus.
const MUTATIONS: usize = 30_000;
const NS_PER_S: u64 = 1_000_000_000;
/// The programs' clock shows the last tick, of which there are a hundred a second at least (CONFIG_HZ on x86-64 and arm64).
const TICK_NS: u64 = NS_PER_S / 100;
/// What the kernel may have counted of one datagram.
const COUNTED: [Counter; 8] = [
    Counter::DnsAnswer,
    Counter::DnsMatched,
    Counter::DnsAddress,
    Counter::DnsAddressRefused,
    Counter::DnsMalformed,
    Counter::DnsTooLong,
    Counter::DnsUnasked,
    Counter::StoreFailed,
];

/// What the kernel is expected to do with one datagram.
#[derive(Default)]
struct Expected {
    apps: Option<u64>,
    /// Address to the longest of its TTLs, in seconds as they are believed.
    learned: BTreeMap<[u32; 4], (Address, u64)>,
    stored: u64,
    refused: u64,
}

/// Userspace's reading, with the trie's answer taken from what was written into it.
struct Reader<'a> {
    patterns: &'a BTreeMap<Vec<u8>, u64>,
    expected: Expected,
}

impl Answers for Reader<'_> {
    fn question(&mut self, name: &NameBuffer) -> bool {
        self.expected.apps = longest(self.patterns, name);
        true
    }

    fn address(&mut self, address: Address, ttl: u32) {
        if !address.is_reachable_from_afar() {
            self.expected.refused += 1;
            return;
        }
        self.expected.stored += 1;
        let seconds = u64::from(ttl.min(LEARNED_TTL_MAX_S)) + LEARNED_GRACE_S;
        let longest = self.expected.learned.entry(address.words()).or_insert((address, 0));
        longest.1 = longest.1.max(seconds);
    }
}

/// Two sockets of the namespace: one that asked, and the DNS server it asked.
struct Line {
    server: UdpSocket,
    client: UdpSocket,
}

impl Line {
    fn over(loopback: &str) -> Self {
        let server = UdpSocket::bind(format!("{loopback}:53")).unwrap();
        let client = UdpSocket::bind(format!("{loopback}:0")).unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { server, client }
    }

    /// Asks, with the number of the answer, and delivers the answer. What the kernel learns from it is learned before the
    /// client has it.
    fn deliver(&self, message: &[u8]) {
        let mut question = *b"\0\0\x01\0\0\x01\0\0\0\0\0\0\0\0\x01\0\x01";
        for (to, from) in question.iter_mut().zip(message.iter().take(2)) {
            *to = *from;
        }
        self.client.send(&question).unwrap();
        let mut buffer = [0; 2 * DNS_MESSAGE];
        assert_eq!(self.server.recv(&mut buffer).unwrap(), question.len());
        self.server.send_to(message, self.client.local_addr().unwrap()).unwrap();
        assert_eq!(self.client.recv(&mut buffer).unwrap(), message.len());
    }
}

struct Bench {
    steering: Steering,
    targets: HashMap<MapData, Address, Target>,
    counters: KernelCounters,
    lines: [Line; 2],
    delivered: usize,
    /// By its mark the programs know the agent's network namespace.
    _listener: TcpListener,
}

impl Bench {
    fn new(cgroup: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            cgroup: Some(cgroup.to_owned()),
            listener_v4: listener.local_addr().unwrap(),
            listener_v6: None,
            refuse_quic: false,
            guard: Guard::Off,
            fail_closed: false,
            pins: None,
        };
        let mut steering = Steering::start(&options).unwrap();
        steering.own_sockets().unwrap().mark_listener(&listener).unwrap();
        let pattern = |text: &str, app: &str| (HostPattern::parse(text).unwrap(), app.into());
        let orders = Orders {
            patterns: vec![
                pattern("*.corp.test", "corp"),
                pattern("files.corp.test", "files"),
                pattern("*.test", "test"),
                pattern("a.test", "a"),
            ],
            selected: vec!["corp".into()],
            ports: vec![443],
            existing: Existing::Leave,
        };
        steering.apply(&orders).unwrap();
        let targets = load::map_data(&steering.ebpf, "PC_TARGETS").unwrap();
        Self {
            targets: HashMap::try_from(Map::LruHashMap(targets)).unwrap(),
            counters: steering.counters().unwrap(),
            lines: ["127.0.0.1", "[::1]"].map(Line::over),
            steering,
            delivered: 0,
            _listener: listener,
        }
    }

    fn counted(&self) -> Vec<(&'static str, u64)> {
        let names = COUNTED.map(Counter::name);
        self.counters.read().into_iter().filter(|(name, _)| names.contains(name)).collect()
    }

    /// Delivers one message and compares; returns how many addresses were learned.
    fn check(&mut self, message: &[u8]) -> usize {
        let mut reader = Reader { patterns: &self.steering.patterns.written, expected: Expected::default() };
        let is_answer = message.first_chunk().is_some_and(dns::is_answer);
        let is_too_long = is_answer && message.len() >= DNS_MESSAGE;
        let mut malformed = false;
        if is_answer && !is_too_long {
            malformed = dns::parse(message, &mut NameBuffer::new(), &mut reader) == Err(Skip::Malformed);
        }
        let Expected { apps, learned, stored, refused } = reader.expected;

        let before = self.counted();
        let begun = now_ns();
        self.lines[self.delivered % 2].deliver(message);
        let done = now_ns();
        self.delivered += 1;

        let expected = [
            is_answer.into(),
            apps.is_some().into(),
            stored,
            refused,
            malformed.into(),
            is_too_long.into(),
            0,
            0,
        ];
        for (counter, expected) in COUNTED.into_iter().zip(expected) {
            let of =
                |list: &[(&str, u64)]| list.iter().find(|(name, _)| *name == counter.name()).map(|(_, n)| *n);
            let (was, is) = (of(&before).unwrap(), of(&self.counted()).unwrap());
            assert_eq!(is - was, expected, "{} after {message:02x?}", counter.name());
        }
        for (address, seconds) in learned.values() {
            let target = self.targets.get(address, 0).unwrap_or_else(|error| {
                panic!("{}: {error} after {message:02x?}", address.to_ip());
            });
            assert_eq!(target.apps, apps.unwrap_or_default(), "{} after {message:02x?}", address.to_ip());
            let expires = begun - TICK_NS + seconds * NS_PER_S..=done + seconds * NS_PER_S;
            assert!(expires.contains(&target.expires_ns), "{} after {message:02x?}", address.to_ip());
            self.targets.remove(address).unwrap();
        }
        // As many as were stored were found and taken away: what is left now was learned from elsewhere.
        if self.delivered.is_multiple_of(500) {
            assert_eq!(self.targets.keys().count(), 0, "learned, but not in the answer");
        }
        learned.len()
    }
}

/// Most stay answers, or the first bytes alone would be tried.
fn mutated(dice: &mut Dice, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut message = dice.mutate(messages);
    if dice.below(8) != 0 && message.len() > 8 {
        message[2] |= 0x80;
        message[3] &= 0xf0;
        (message[4], message[5], message[6]) = (0, 1, 0);
    }
    message
}

#[test]
#[ignore = "takes root, runs alone: `cargo xtask test netns` runs it"]
fn the_kernel_learns_what_userspace_reads() {
    let cgroup = OwnCgroup::enter();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter_network_namespace();
            let mut bench = Bench::new(&cgroup.path);
            let messages = corpus("dns_answer");
            let mut learned: usize = messages.iter().map(|message| bench.check(message)).sum();
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            for _ in 0..MUTATIONS {
                let message = mutated(&mut dice, &messages);
                learned += bench.check(&message);
            }
            // A test in which nothing is learned would agree about nothing.
            assert!(learned > MUTATIONS / 4, "only {learned} addresses were learned");
            assert_eq!(bench.targets.keys().count(), 0, "learned, but not in the answer");
        });
    });
}
