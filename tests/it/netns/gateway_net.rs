//! What the steering of a gateway lets by: first words read on their way through, connections from before, restarts.

use std::time::{Duration, Instant};

use lab::agent::{Agent, BLOCK_UNMANAGED, MONITOR_MEMO, Settings};
use lab::attachment::{DOCX, PAGE, SLOW};
use lab::bpf::Objects;
use lab::client::Curl;
use lab::gateway::{BRIDGE, GatewayLab, Inside};
use lab::{Daemon, ORIGIN_CA_NAME, Place, address_of, wait};

use super::guard::PIECES;
use super::{MONITORED, SHARED, UNMONITORED, check_blocked, check_passed, url};

const FAMILIES: [&str; 2] = ["-4", "-6"];

/// `further` are lines of `[steering]`. Nothing is looked up ahead but where they say so.
fn steering(guard: &str, fail: &str, further: &str) -> Settings {
    let steering = format!(
        "mode = \"gateway\"\nguard = \"{guard}\"\ninterfaces = [\"{BRIDGE}\"]\nfail = \"{fail}\"\n{further}\n"
    );
    Settings { steering: Some(steering), ..Settings::default() }
}

fn kernel(agent: &Agent<'_>, event: &str) -> f64 {
    agent.metric("portcullis_kernel_events_total", &[("event", event)]).unwrap()
}

/// A curl behind the gateway that goes to the address without asking for the name.
fn hard_coded<'a>(place: &'a Place, host: &str, scheme: &str, family: &str, path: &str) -> Curl<'a> {
    let address = address_of(host, family == "-6").unwrap();
    let at = if family == "-6" { format!("[{address}]") } else { address.to_owned() };
    let port = if scheme == "https" { 443 } else { 80 };
    Curl::get(format!("{scheme}://{host}{path}")).at(place).arguments(&[
        family,
        "--resolve",
        &format!("{host}:{port}:{at}"),
    ])
}

/// The client is told at once, and not by a time-out.
#[track_caller]
fn check_reset(gateway: &GatewayLab, request: &Curl<'_>) {
    let begun = Instant::now();
    let finished = request.run(&gateway.lab).unwrap();
    assert!([Some(35), Some(56)].contains(&finished.code), "{finished:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A30: an address that the answer for another name explains, a second name on the same address, in TLS and in clear text.
#[test]
fn a_monitored_name_at_an_explained_address_is_reset_once_and_then_inspected() {
    for guard in ["peek", "sni"] {
        let gateway = GatewayLab::start().unwrap();
        let agent = Agent::start(&gateway.lab, &steering(guard, "open", "resolve = false")).unwrap();
        let (a, b) = (gateway.host(Inside::A), gateway.host(Inside::B));
        for (number, (scheme, family)) in [("https", "-4"), ("http", "-6")].into_iter().enumerate() {
            let other = Curl::get(format!("{scheme}://{SHARED}{}", PAGE.path)).at(&a).arguments(&[family]);
            check_passed(&other.send(&gateway.lab).unwrap(), SHARED, PAGE);
            let request = hard_coded(&b, MONITORED, scheme, family, DOCX.path);
            let asked =
                || gateway.lab.origin_requests().iter().filter(|line| line.contains(DOCX.path)).count();
            let before = asked();
            check_reset(&gateway, &request);
            let stopped = (kernel(&agent, "net-stopped"), kernel(&agent, "net-unreadable"));
            assert_eq!(stopped, (number as f64 + 1.0, 0.0), "{guard} {scheme}");
            assert_eq!(asked(), before, "it got there");
            check_blocked(&request.send(&gateway.lab).unwrap(), DOCX);
            // The other name goes on, now relayed untouched.
            check_passed(&other.send(&gateway.lab).unwrap(), SHARED, PAGE);
        }
        assert_eq!(kernel(&agent, "peeked"), 0.0, "{guard}");
        let record = agent
            .wait_for_activity("the stopped connection", |record| {
                record["type"] == "access" && record["client"]["address"] == Inside::B.address()[0]
            })
            .unwrap();
        assert!(record["decision"]["reason"].as_str().unwrap().contains("went past the agent"), "{record}");
        assert_eq!(record["server"]["name"], MONITORED);
        assert!(record["user"]["uid"].is_null() && record["process"]["pid"].is_null(), "{record}");
    }
}

/// A30: what nothing explains is left to the net alone with `guard = "sni"`, and steered whatever it is with `"all"`.
#[test]
fn each_guard_does_what_it_says_on_a_gateway() {
    for guard in ["off", "sni", "all"] {
        let gateway = GatewayLab::start().unwrap();
        let agent = Agent::start(&gateway.lab, &steering(guard, "open", "resolve = false")).unwrap();
        let place = gateway.host(Inside::A);
        for family in FAMILIES {
            let other = hard_coded(&place, UNMONITORED, "https", family, DOCX.path);
            check_passed(&other.send(&gateway.lab).unwrap(), UNMONITORED, DOCX);
            let request = hard_coded(&place, MONITORED, "https", family, DOCX.path);
            match guard {
                "off" => check_passed(&request.send(&gateway.lab).unwrap(), MONITORED, DOCX),
                "sni" => {
                    check_reset(&gateway, &request);
                    check_blocked(&request.send(&gateway.lab).unwrap(), DOCX);
                }
                _ => check_blocked(&request.send(&gateway.lab).unwrap(), DOCX),
            }
        }
        let (peeked, watched) = (kernel(&agent, "peeked"), kernel(&agent, "watched"));
        assert_eq!(
            (peeked > 0.0, watched > 0.0),
            (guard == "all", guard == "sni"),
            "{guard}: {peeked} {watched}"
        );
    }
}

#[test]
fn a_hello_in_pieces_is_read_on_its_way_through() {
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", "open", "resolve = false")).unwrap();
    let place = gateway.host(Inside::A);
    let trust = gateway.lab.trust();
    let say_to = |name: &str, v6: bool, cuts: &str, fragments: &str| {
        let arguments = [name, address_of(name, v6).unwrap(), trust.to_str().unwrap(), cuts, fragments];
        gateway.python(&place, PIECES, &arguments).unwrap().succeeded().unwrap().text().trim().to_owned()
    };
    let say = |name: &str, cuts: &str| say_to(name, false, cuts, "no");
    check_passed(&Curl::get(url(SHARED, PAGE)).at(&place).send(&gateway.lab).unwrap(), SHARED, PAGE);
    for cuts in ["two", "three", "bytes"] {
        assert_eq!(say(SHARED, cuts), ORIGIN_CA_NAME, "{cuts}");
    }
    assert_eq!(say(MONITORED, "bytes"), "aborted ConnectionResetError");
    assert_eq!((kernel(&agent, "net-stopped"), kernel(&agent, "net-unreadable")), (1.0, 0.0));
    let inspected = say(MONITORED, "bytes");
    assert!(inspected != ORIGIN_CA_NAME && !inspected.starts_with("aborted"), "{inspected}");
    // In several TLS records, or with a byte that the origin does not see: whoever it is for, once.
    for (number, (family, cuts, fragments)) in
        [("-4", "one", "yes"), ("-6", "urgent", "no")].into_iter().enumerate()
    {
        let page = Curl::get(url(UNMONITORED, PAGE)).at(&place).arguments(&[family]);
        check_passed(&page.send(&gateway.lab).unwrap(), UNMONITORED, PAGE);
        let say = || say_to(UNMONITORED, family == "-6", cuts, fragments);
        assert_eq!(say(), "aborted ConnectionResetError", "{cuts}");
        assert_eq!(kernel(&agent, "net-unreadable"), number as f64 + 1.0);
        assert_eq!(say(), ORIGIN_CA_NAME, "{cuts}");
    }
}

/// A32: packets whose data is in pages apart from their headers, as most network cards deliver them.
#[test]
fn questions_and_answers_in_pieces_of_memory_are_read() {
    const ANSWER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 60, 1)  # SO_ZEROCOPY
s.bind((sys.argv[1], 53))
print("ready")
question, client = s.recvfrom(512)
record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(sys.argv[2])
s.sendmsg([question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:] + record], [], 0x4000000, client)
"#;
    const ASK: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.setsockopt(socket.SOL_SOCKET, 60, 1)
name = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[2].split(".")) + b"\0"
s.sendmsg([b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"], [], 0x4000000, (sys.argv[1], 53))
print(socket.inet_ntoa(s.recv(512)[-4:]))
"#;
    const SERVER: &str = "198.18.0.20";
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("off", "open", "resolve = false")).unwrap();
    let (outside, place) = (gateway.outside(), gateway.host(Inside::A));
    let address = address_of(MONITORED, false).unwrap();
    let server = gateway.python_daemon(&outside, "zerocopy-dns", ANSWER, &[SERVER, address]).unwrap();
    wait::until("the server", wait::PATIENCE, || Ok(server.log().contains("ready").then_some(()))).unwrap();
    let said = gateway.python(&place, ASK, &[SERVER, MONITORED]).unwrap().succeeded().unwrap();
    assert_eq!(said.text().trim(), address);
    assert_eq!((kernel(&agent, "dns-matched"), kernel(&agent, "dns-address")), (1.0, 1.0));
    check_blocked(&hard_coded(&place, MONITORED, "https", "-4", DOCX.path).send(&gateway.lab).unwrap(), DOCX);
}

/// Holds a connection that was in use, and uses it again once the file `go` is there.
const HOLD: &str = r#"
import http.client, os, sys, time
host, address, go = sys.argv[1:]
connection = http.client.HTTPConnection(address, 80, timeout=20)
for use in ("open", "went on"):
    try:
        connection.request("GET", "/index.html", headers={"Host": host})
        print(use, connection.getresponse().read()[:0])
    except OSError as error:
        print("broke", type(error).__name__)
    while use == "open" and not os.path.exists(go):
        time.sleep(0.02)
"#;

struct Holder {
    daemon: Daemon,
    go: std::path::PathBuf,
}

impl Holder {
    fn open(gateway: &GatewayLab, host: &str) -> Self {
        let name = format!("hold-{host}");
        let go = gateway.lab.directory().join(format!("{name}.go"));
        let arguments = [host, address_of(host, false).unwrap(), go.to_str().unwrap()];
        let daemon = gateway.python_daemon(&gateway.host(Inside::A), &name, HOLD, &arguments).unwrap();
        let holder = Self { daemon, go };
        holder.says("open");
        holder
    }

    #[track_caller]
    fn says(&self, wanted: &str) {
        wait::until(&format!("\"{wanted}\""), wait::PATIENCE, || {
            Ok(self.daemon.log().contains(wanted).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}", self.daemon.log()));
    }

    #[track_caller]
    fn go(&self, wanted: &str) {
        std::fs::write(&self.go, "").unwrap();
        self.says(wanted);
    }
}

fn looked_up(agent: &Agent<'_>) {
    wait::until("the names to be looked up", wait::PATIENCE, || {
        Ok(agent.log().contains("looked names up ahead").then_some(()))
    })
    .unwrap();
}

#[test]
fn connections_from_before_are_closed_or_reported_when_their_client_goes_on() {
    for (existing, said, action, result) in [
        ("close", "broke ConnectionResetError", "block", "closed"),
        ("report", "went on", "monitor", "reported"),
    ] {
        let gateway = GatewayLab::start().unwrap();
        let (held, other) = (Holder::open(&gateway, MONITORED), Holder::open(&gateway, UNMONITORED));
        let further = format!("existing = \"{existing}\"");
        let agent = Agent::start(&gateway.lab, &steering("peek", "open", &further)).unwrap();
        looked_up(&agent);
        held.go(said);
        other.go("went on");
        let record = agent
            .wait_for_activity("the connection from before", |record| record["type"] == "access")
            .unwrap();
        assert_eq!(record["decision"]["action"], action, "{record}");
        assert_eq!(record["decision"]["enforced"], existing == "close", "{record}");
        assert_eq!(record["client"]["address"], Inside::A.address()[0], "{record}");
        let labels = [("app", "corp-files"), ("result", result)];
        assert_eq!(agent.metric("portcullis_existing_connections_total", &labels).unwrap(), 1.0);
        assert_eq!(agent.metric("portcullis_existing_connections_total", &[]).unwrap(), 1.0);
    }
}

/// A1: a policy selects the app while a connection to it is open.
#[test]
fn a_policy_that_begins_to_select_an_app_closes_its_connections_on_a_gateway() {
    let gateway = GatewayLab::start().unwrap();
    let memo = ("20-memo.toml".to_owned(), MONITOR_MEMO.to_owned());
    let settings = Settings { policies: vec![memo], ..steering("peek", "open", "") };
    let agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    // By an answer that explains the address, so that its connections go direct.
    check_passed(&Curl::get(url(MONITORED, PAGE)).at(&place).send(&gateway.lab).unwrap(), MONITORED, PAGE);
    let (held, other) = (Holder::open(&gateway, MONITORED), Holder::open(&gateway, UNMONITORED));
    agent.write_policy("10-downloads.toml", BLOCK_UNMANAGED).unwrap();
    wait::until("the policy to be in force", wait::PATIENCE, || {
        // A connection that is open when the policy comes is closed, this one as well.
        let reply = Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab);
        Ok(reply.is_ok_and(|reply| reply.status == 403).then_some(()))
    })
    .unwrap();
    held.go("broke ConnectionResetError");
    other.go("went on");
}

/// What the gateway remembers of a connection must not speak for the next one of the same two sockets.
#[test]
fn a_port_that_was_let_by_is_steered_when_it_is_taken_up_again() {
    const ASK: &str = r#"
import http.client, socket, struct, sys
host, address, path = sys.argv[1:]
connection = http.client.HTTPConnection(address, 80, timeout=20, source_address=("", 40007))
connection.connect()
connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
connection.request("GET", path, headers={"Host": host})
answer = connection.getresponse()
print(answer.status, len(answer.read()))
"#;
    let gateway = GatewayLab::start().unwrap();
    let _agent =
        Agent::start(&gateway.lab, &steering("peek", "open", "existing = \"leave\"\nresolve = false"))
            .unwrap();
    let place = gateway.host(Inside::A);
    let ask = |host| {
        let arguments = [host, address_of(host, false).unwrap(), DOCX.path];
        gateway.python(&place, ASK, &arguments).unwrap().succeeded().unwrap().text()
    };
    check_passed(&Curl::get(url(SHARED, PAGE)).at(&place).send(&gateway.lab).unwrap(), SHARED, PAGE);
    assert!(ask(SHARED).starts_with("200 "));
    // Its answer says the same address.
    check_blocked(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), DOCX);
    assert!(ask(MONITORED).starts_with("403 "));
}

/// A39: a stopped process is noticed by its heartbeat, though its sockets listen on; it serves again when it goes on.
#[test]
fn a_stopped_agent_on_a_gateway_is_noticed_and_serves_again_when_it_goes_on() {
    const NOTICED: Duration = Duration::from_millis(1500);
    for fail in ["closed", "open"] {
        let gateway = GatewayLab::start().unwrap();
        let agent = Agent::start(&gateway.lab, &steering("peek", fail, "")).unwrap();
        let b = gateway.host(Inside::B);
        let get = |name, family| Curl::get(url(name, DOCX)).at(&b).arguments(&[family, "--max-time", "3"]);
        for family in FAMILIES {
            check_blocked(&get(MONITORED, family).send(&gateway.lab).unwrap(), DOCX);
        }
        agent.pause();
        std::thread::sleep(NOTICED);
        for family in FAMILIES {
            let finished = get(MONITORED, family).run(&gateway.lab).unwrap();
            // "Failed to connect to host", at once; what passes meets the origin's certificate and its file.
            let expected = if fail == "closed" { 7 } else { 0 };
            assert_eq!(finished.code, Some(expected), "{fail}, {family}: {}", finished.stderr);
            check_passed(&get(UNMONITORED, family).send(&gateway.lab).unwrap(), UNMONITORED, DOCX);
        }
        agent.resume();
        for family in FAMILIES {
            wait::until(&format!("service after a stop, {fail}, {family}"), wait::PATIENCE, || {
                let answer = get(MONITORED, family).send(&gateway.lab).ok();
                Ok(answer.filter(|reply| reply.status == 403))
            })
            .unwrap();
        }
    }
}

/// A40: while the service manager restarts the agent again and again, new connections wait for the next one: none is
/// refused, none goes past it.
#[test]
fn restarts_on_a_gateway_refuse_no_connection() {
    const FOR: Duration = Duration::from_secs(8);
    let gateway = GatewayLab::start().unwrap();
    let mut agent = Agent::start(&gateway.lab, &steering("peek", "closed", "")).unwrap();
    let b = gateway.host(Inside::B);
    let (asked, restarts) = agent
        .restarted_during(|| {
            let (begun, mut asked) = (Instant::now(), 0);
            while begun.elapsed() < FOR {
                for family in FAMILIES {
                    let get = Curl::get(url(MONITORED, DOCX)).at(&b).arguments(&[family]);
                    check_blocked(&get.send(&gateway.lab).unwrap(), DOCX);
                    asked += 1;
                }
            }
            asked
        })
        .unwrap();
    assert!(asked > 10 && restarts >= 2, "{asked} asked, {restarts} restarts");
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
    assert_eq!(lab::pins::pinned(&gateway.lab.pins()), Vec::<std::path::PathBuf>::new());
}

/// A40: ended for a restart with nobody to keep its sockets, the pinned programs refuse monitored apps until the next agent is there; what ran runs to its
/// end, the rest goes on, and an orderly stop leaves nothing.
#[test]
fn a_restart_hands_a_gateway_over_to_the_next_agent() {
    const NOTES: &str = "notes.memo.test";
    let gateway = GatewayLab::start().unwrap();
    let mut agent = Agent::start(&gateway.lab, &steering("peek", "closed", "")).unwrap();
    let (a, b) = (gateway.host(Inside::A), gateway.host(Inside::B));
    check_blocked(&Curl::get(url(MONITORED, DOCX)).at(&b).send(&gateway.lab).unwrap(), DOCX);
    let held = agent.kernel_objects();
    let (slow, status) = std::thread::scope(|scope| {
        let slow = scope.spawn(|| Curl::get(url(NOTES, SLOW)).at(&a).send(&gateway.lab));
        wait::until("the transfer", wait::PATIENCE, || {
            Ok((agent.metric("portcullis_connections_total", &[("path", "inspected")])? == 2.0).then_some(()))
        })
        .unwrap();
        let status = agent.end_for_restart();
        (slow.join().unwrap(), status)
    });
    assert!(status.unwrap().success(), "{}", agent.log());
    check_passed(&slow.unwrap(), NOTES, SLOW);
    for family in FAMILIES {
        let get = |name| Curl::get(url(name, DOCX)).at(&b).arguments(&[family, "--connect-timeout", "10"]);
        let finished = get(MONITORED).run(&gateway.lab).unwrap();
        assert_eq!(finished.code, Some(7), "{family}: {}", finished.stderr);
        check_passed(&get(UNMONITORED).send(&gateway.lab).unwrap(), UNMONITORED, DOCX);
    }
    agent.start_again().unwrap();
    for family in FAMILIES {
        let get = Curl::get(url(MONITORED, DOCX)).at(&b).arguments(&[family]);
        check_blocked(&get.send(&gateway.lab).unwrap(), DOCX);
    }
    wait::until("the earlier agent's programs to go", wait::PATIENCE, || {
        Ok(Objects::existing()?.also_in(&held).is_empty().then_some(()))
    })
    .unwrap();
    assert!(agent.stop().unwrap().success());
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
    assert_eq!(lab::pins::pinned(&gateway.lab.pins()), Vec::<std::path::PathBuf>::new());
}
