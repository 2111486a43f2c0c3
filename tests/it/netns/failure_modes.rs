//! A39 and what belongs to it: the agent dead, frozen or stuck, in both fail modes; the next agent; two of them; nothing
//! left behind.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lab::agent::{Agent, Settings};
use lab::attachment::{DOCX, PAGE};
use lab::bpf::{Objects, attached};
use lab::client::{Curl, Family, issuer, probe, python};
use lab::pins::{overwrite, pinned};
use lab::{Lab, ORIGIN_CA_NAME, address_of, wait};

use super::{MONITORED, Stop, UNMONITORED, check_blocked, check_passed, request_until, url};

/// From the event to the first refusal.
const NOTICED: Duration = Duration::from_millis(1500);

/// Connects to (address, port) as often as asked, a pause apart, and prints the outcome and seconds of each.
const CONNECT: &str = r#"
import errno, socket, sys, time
for number in range(int(sys.argv[3])):
    begun = time.monotonic()
    connection = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
    connection.settimeout(5)
    try:
        connection.connect((sys.argv[1], int(sys.argv[2])))
        outcome = "connected"
    except TimeoutError:
        outcome = "timeout"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    print(outcome, time.monotonic() - begun, flush=True)
    connection.close()
    time.sleep(0.05)
"#;

fn connect(lab: &Lab, address: &str) -> (String, f64) {
    let said = python(lab, CONNECT, &[address, "443", "1"], None).unwrap().succeeded().unwrap().text();
    let (outcome, seconds) = said.trim().split_once(' ').unwrap();
    (outcome.to_owned(), seconds.parse().unwrap())
}

/// Connections to the monitored app are refused at once in both families, also where its name is only known from before;
/// nothing else notices.
#[track_caller]
fn check_closed(lab: &Lab) {
    for v6 in [false, true] {
        let (outcome, seconds) = connect(lab, address_of(MONITORED, v6).unwrap());
        assert_eq!(outcome, "EPERM", "v6: {v6}");
        assert!(seconds < 1.0, "refused after {seconds} s");
    }
    let error = Curl::get(url(MONITORED, DOCX)).send(lab).unwrap_err().to_string();
    assert!(error.contains("ended with Some(7)"), "{error}");
    check_unmonitored(lab);
}

#[track_caller]
fn check_unmonitored(lab: &Lab) {
    check_passed(&Curl::get(url(UNMONITORED, DOCX)).send(lab).unwrap(), UNMONITORED, DOCX);
    // By its literal address too, which no answer explains and the guard would look at.
    let address = address_of(UNMONITORED, true).unwrap();
    let resolve = format!("{UNMONITORED}:443:[{address}]");
    let reply = Curl::get(url(UNMONITORED, PAGE)).arguments(&["--resolve", &resolve]).send(lab).unwrap();
    check_passed(&reply, UNMONITORED, PAGE);
}

#[track_caller]
fn check_serves(lab: &Lab) {
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(lab).unwrap(), DOCX);
    check_unmonitored(lab);
}

fn quic(lab: &Lab) -> String {
    const PROGRAM: &str = r#"
import errno, socket, sys
for act in ("connect", "sendto"):
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        datagram.connect((sys.argv[1], 443)) if act == "connect" else datagram.sendto(b"x", (sys.argv[1], 443))
        print("passed", end=" ")
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
"#;
    let address = address_of(MONITORED, false).unwrap();
    python(lab, PROGRAM, &[address], None).unwrap().succeeded().unwrap().text()
}

/// Asks until the kernel refuses, which must be within the limit of the event.
#[track_caller]
fn check_noticed(lab: &Lab, event: Instant) {
    let address = address_of(MONITORED, false).unwrap();
    loop {
        let begun = event.elapsed();
        if connect(lab, address).0 == "EPERM" {
            return;
        }
        assert!(begun < NOTICED, "not refused {begun:?} after the event");
    }
}

#[test]
fn closed_a_killed_agent_refuses_monitored_apps_at_once_and_the_next_one_serves() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    // Learned in both families.
    probe(&lab, MONITORED, Family::V6, 443, &[PAGE.path]).unwrap();
    agent.kill().unwrap();
    // Its listener is gone, and with it the first sign of life: no waiting for the heartbeat.
    let (outcome, _) = connect(&lab, address_of(MONITORED, false).unwrap());
    assert_eq!(outcome, "EPERM");
    check_closed(&lab);
    assert_eq!(quic(&lab), "EPERM EPERM ");
    agent.start_again().unwrap();
    check_serves(&lab);
    assert!(agent.log().contains("the earlier agent did not stop in order"), "{}", agent.log());
    assert!(agent.metric("portcullis_gap_seconds", &[]).unwrap() > 0.0);
    assert!(
        agent.metric("portcullis_kernel_events_total", &[("event", "refused-without-agent")]).unwrap() >= 4.0
    );
    let status = agent.command(&["status"]).unwrap().succeeded().unwrap().text();
    assert!(status.contains("fail closed, state kept in "), "{status}");
    assert!(status.contains("then its state was taken over"), "{status}");
}

#[test]
fn closed_a_stopped_or_frozen_agent_is_noticed_and_serves_again_when_it_goes_on() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    probe(&lab, MONITORED, Family::V6, 443, &[PAGE.path]).unwrap();
    let freezer = lab.agent_cgroup().join("cgroup.freeze");
    let freeze = |frozen: &str| fs::write(&freezer, frozen).unwrap();
    let events: [(&str, &dyn Fn(), &dyn Fn()); 2] = [
        ("SIGSTOP", &|| agent.pause(), &|| agent.resume()),
        ("cgroup.freeze", &|| freeze("1"), &|| freeze("0")),
    ];
    for (event, suspend, resume) in events {
        suspend();
        let begun = Instant::now();
        check_noticed(&lab, begun);
        check_closed(&lab);
        resume();
        wait::until(&format!("service after {event}"), wait::PATIENCE, || {
            Ok(Curl::get(url(MONITORED, DOCX)).send(&lab).ok())
        })
        .unwrap();
        check_serves(&lab);
    }
}

/// One worker that hangs is enough: its share of the connections would wait for ever.
#[test]
fn closed_a_single_stuck_worker_is_noticed() {
    // Stops one thread until it is told to go on: a debugger's way in.
    const HOLD: &str = r#"
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
thread = ctypes.c_long(int(sys.argv[1]))
for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
    if libc.ptrace(ctypes.c_long(request), thread, None, None) != 0:
        sys.exit(f"ptrace {request:#x}: errno {ctypes.get_errno()}")
import time
time.sleep(float(sys.argv[2]))
"#;
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    let worker = threads(agent.pid()).into_iter().find(|(_, name)| name == "worker-0").unwrap().0;
    let refused = std::thread::scope(|scope| {
        let lab = &lab;
        let held = scope.spawn(move || python(lab, HOLD, &[&worker.to_string(), "4"], None).unwrap());
        let address = address_of(MONITORED, false).unwrap();
        let refused = wait::until("the kernel to refuse", Duration::from_secs(3), || {
            Ok((connect(lab, address).0 == "EPERM").then_some(()))
        });
        if refused.is_ok() {
            check_unmonitored(lab);
        }
        held.join().unwrap().succeeded().unwrap();
        refused
    });
    refused.unwrap();
    wait::until("service after the worker went on", wait::PATIENCE, || {
        Ok(Curl::get(url(MONITORED, DOCX)).send(&lab).ok())
    })
    .unwrap();
    check_serves(&lab);
}

fn threads(pid: u32) -> Vec<(u32, String)> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten()
        .map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            (task.file_name().to_string_lossy().parse().unwrap(), name.trim().to_owned())
        })
        .collect()
}

#[test]
fn open_everything_passes_while_the_agent_is_dead_or_stopped() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings { fail: "open", ..Settings::default() }).unwrap();
    check_serves(&lab);
    agent.pause();
    let paused = Instant::now();
    // Within the limit a connection still waits for an agent that may go on; curl would wait for its answer.
    std::thread::sleep(NOTICED.saturating_sub(paused.elapsed()));
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    agent.resume();
    // A connection that was let by just before the next heartbeat, and says its name after it, is closed once by the net.
    wait::until("service after SIGCONT", wait::PATIENCE, || {
        let reply = Curl::get(url(MONITORED, DOCX)).send(&lab);
        Ok(reply.is_ok_and(|reply| reply.status == 403).then_some(()))
    })
    .unwrap();

    agent.kill().unwrap();
    // At once: the listener is gone.
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    assert!(issuer(&lab, MONITORED).unwrap().contains(ORIGIN_CA_NAME));
    check_unmonitored(&lab);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(quic(&lab), "passed passed ");
    agent.start_again().unwrap();
    check_serves(&lab);
    assert!(agent.log().contains("apps were not inspected"), "{}", agent.log());
    // A39: a row of its own says why there are no records.
    let why = "no agent was there: with fail = \"open\" connections to monitored apps were not inspected";
    agent
        .wait_for_activity("the gap", |row| row["type"] == "gap" && row["count"] == 0 && row["reason"] == why)
        .unwrap();
    agent.stop().unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    agent.start_again().unwrap();
    let stopped = |row: &serde_json::Value| row["reason"].to_string().contains("it had been stopped");
    agent.wait_for_activity("the stop", |row| row["type"] == "gap" && stopped(row)).unwrap();
}

/// A client that looked the name up before the restart and never asks again is steered by the next agent.
#[test]
fn what_was_learned_survives_a_restart() {
    let lab = Lab::start().unwrap();
    // Without the guard only learned addresses are steered.
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    agent.edit_config(|text| text.replace("\"peek\"", "\"off\"")).unwrap();
    agent.stop().unwrap();
    agent.start_again().unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let before = Objects::held_by(agent.pid());
    agent.kill().unwrap();
    // The first app of the catalog is another one now, so that bits given anew would fall elsewhere.
    agent
        .edit_config(|text| text.to_owned() + "\n")
        .and_then(|()| {
            let apps = agent.config().with_file_name("apps.d").join("00-first.toml");
            fs::write(
                apps,
                "[[app]]\nid = \"aaa-first\"\nname = \"First\"\ndomains = [\"first.example\"]\n",
            )?;
            Ok(())
        })
        .unwrap();
    agent.start_again().unwrap();
    let address = address_of(MONITORED, false).unwrap();
    let cached =
        Curl::get(url(MONITORED, DOCX)).arguments(&["--resolve", &format!("{MONITORED}:443:{address}")]);
    check_blocked(&cached.send(&lab).unwrap(), DOCX);
    let after = Objects::held_by(agent.pid());
    let kept = after.also_in(&before);
    assert!(kept.count("map") >= 8 && kept.count("link") >= 8, "kept: {kept}");
}

/// With the listening sockets in the service manager's store, a connection made while no agent is there waits in their
/// queue for the next one, which knows where it was going. A restart (SIGUSR1) leaves everything to the next agent.
#[test]
fn a_connection_made_between_two_agents_is_served_by_the_second() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let seen = agent.under_service_manager(MONITORED, DOCX.path).unwrap();
    assert!(seen["stored"].as_u64().unwrap() >= 2, "{seen}");
    assert_eq!(seen["waited"], true, "{seen}");
    assert_eq!(seen["answer"]["status"], 403, "{seen}");
    let restart = &seen["restart"];
    assert_eq!((&restart["statuses"], &restart["ended"]), (&serde_json::json!(["403"]), &0.into()), "{seen}");
    assert!(
        restart["before"].as_u64().unwrap() >= 2 && !restart["left"].as_array().unwrap().is_empty(),
        "{seen}"
    );
    let log = seen["log"].as_str().unwrap();
    assert!(log.contains("new connections wait for the next agent"), "{log}");
    assert_eq!(log.matches("the earlier agent").count(), 1, "killed once, handed over once: {log}");
    assert_eq!((&seen["removed"], &seen["ended"]), (&true.into(), &0.into()), "{seen}");
    assert!(!lab.pins().exists());
}

/// Who listens at the port of a dead agent is handed nothing, however fresh the heartbeat is.
#[test]
fn another_listener_at_the_agents_port_gets_no_connection() {
    const PROGRAM: &str = r#"
import errno, socket, sys
trap = socket.create_server(("127.0.0.1", int(sys.argv[2])))
trap.settimeout(1)
client = socket.socket()
client.settimeout(1)
try:
    client.connect((sys.argv[1], 443))
    print("connected to", client.getpeername())
except OSError as error:
    print(errno.errorcode[error.errno])
"#;
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    let status = agent.command(&["status", "--json"]).unwrap().succeeded().unwrap().text();
    let port =
        status.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    agent.kill().unwrap();
    // A heartbeat that never grows old, so that only the listener tells.
    let pins = pinned(&lab.pins());
    let mut beat = [0; 24];
    beat[..8].copy_from_slice(&(u64::MAX / 2).to_ne_bytes());
    overwrite(pins.iter().find(|path| path.ends_with("PC_HEARTBEAT")).unwrap(), &beat).unwrap();
    let address = address_of(MONITORED, false).unwrap();
    let said = python(&lab, PROGRAM, &[address, port], Some(4242)).unwrap().succeeded().unwrap().text();
    assert_eq!(said, "EPERM\n");
    agent.start_again().unwrap();
    check_serves(&lab);
}

#[test]
fn damaged_pins_are_replaced_and_said_to_be() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    agent.kill().unwrap();
    let pins = pinned(&lab.pins());
    let find = |name: &str| pins.iter().find(|path| path.ends_with(name)).unwrap();
    // A map of another shape under the name of ours, and a link that is another hook's.
    fs::remove_file(find("PC_TARGETS")).unwrap();
    fs::rename(find("PC_SETTINGS"), find("PC_TARGETS")).unwrap();
    check_closed(&lab);
    agent.start_again().unwrap();
    assert!(agent.log().contains("cannot be taken over and is replaced"), "{}", agent.log());
    check_serves(&lab);
    let names =
        |path: &Path| fs::read_dir(path).unwrap().flatten().map(|e| e.file_name()).collect::<Vec<_>>();
    let instance = lab.pins().join(&names(&lab.pins())[0]);
    assert_eq!(names(&instance).len(), 1, "only this version's state is left");

    let before = attached(lab.cgroup()).unwrap();
    agent.kill().unwrap();
    let instance = find("pc_connect4").parent().unwrap();
    fs::remove_file(instance.join("pc_connect4")).unwrap();
    fs::rename(instance.join("pc_sendmsg4"), instance.join("pc_connect4")).unwrap();
    agent.start_again().unwrap();
    assert!(agent.log().contains("pc_connect4 is replaced"), "{}", agent.log());
    check_serves(&lab);
    assert_eq!(attached(lab.cgroup()).unwrap(), before, "no program is left over and none is missing");
}

#[test]
fn a_second_agent_is_refused_and_does_not_disturb_the_first() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    let state = agent.kernel_objects();
    let directory = lab.directory().join("agent").display().to_string();
    let other = |text: &str| {
        text.replace(&format!("run = \"{directory}/run\""), &format!("run = \"{directory}/run2\""))
    };
    // The same directory; then another directory, but the same cgroup.
    for rival in [agent.rival(str::to_owned), agent.rival(other)] {
        let rival = rival.unwrap();
        assert_eq!(rival.code, Some(1), "{}", rival.stderr);
        let expected = format!("process {}", agent.pid());
        assert!(rival.stderr.contains("another portcullis runs with"), "{}", rival.stderr);
        assert!(rival.stderr.contains(&expected), "{expected}: {}", rival.stderr);
        assert_eq!(agent.kernel_objects(), state);
        check_serves(&lab);
    }
    let cleaned = agent.clean_up(None, &["--force"]).unwrap();
    assert_eq!(cleaned.code, Some(1), "{}", cleaned.text());
    assert!(cleaned.stderr.contains(&format!("process {}", agent.pid())), "{}", cleaned.stderr);
    check_serves(&lab);
    assert!(agent.stop().unwrap().success());
}

#[test]
fn an_orderly_end_and_a_cleanup_leave_no_pin() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    let held = agent.kernel_objects();
    assert!(pinned(&lab.pins()).len() >= 16, "{:?}", pinned(&lab.pins()));
    assert!(agent.stop().unwrap().success());
    assert!(!lab.pins().exists(), "{:?}", pinned(&lab.pins()));

    agent.start_again().unwrap();
    check_serves(&lab);
    let held_again = agent.kernel_objects();
    agent.kill().unwrap();
    // As the unit does after a crash: the state stays, and monitored apps stay shut.
    let cleaned = agent.clean_up(Some("signal"), &[]).unwrap().succeeded().unwrap();
    assert!(cleaned.text().contains("stay for the next agent"), "{}", cleaned.text());
    check_closed(&lab);
    // Nor does a slip in the settings keep anyone from it.
    agent.edit_config(|text| format!("{text}\n[nonsense]\n")).unwrap();
    let cleaned = agent.clean_up(Some("signal"), &["--force"]).unwrap().succeeded().unwrap();
    assert!(cleaned.text().contains("removed"), "{}", cleaned.text());
    assert!(cleaned.stderr.contains("nonsense"), "{}", cleaned.stderr);
    assert!(!lab.pins().exists());
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    let cleaned = agent.clean_up(Some("success"), &[]).unwrap().succeeded().unwrap();
    assert!(cleaned.text().contains("nothing was left"), "{}", cleaned.text());

    for held in [held, held_again] {
        wait::until("the kernel to free the objects", wait::PATIENCE, || {
            Ok(Objects::existing()?.also_in(&held).is_empty().then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}: {}", Objects::existing().unwrap().also_in(&held)));
    }
    assert_eq!(attached(lab.cgroup()).unwrap(), Vec::<String>::new());
}

#[test]
fn closed_is_refused_where_nothing_can_be_pinned_and_open_goes_without() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    agent.stop().unwrap();
    let unpinned = |text: &str| text.replace(&lab.pins().display().to_string(), "/tmp");
    let refused = agent.rival(unpinned).unwrap();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("takes a BPF file system"), "{}", refused.stderr);
    agent.edit_config(|text| unpinned(text).replace("\"closed\"", "\"open\"")).unwrap();
    agent.start_again().unwrap();
    check_serves(&lab);
    agent.kill().unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), MONITORED, DOCX);
    assert_eq!(attached(lab.cgroup()).unwrap(), Vec::<String>::new());
}

/// Names how many times the agent is killed.
const KILLS_VARIABLE: &str = "PORTCULLIS_KILLS";
const KILLS: u64 = 20;

/// Killed at random moments under load: unmonitored sites never notice, and no file of the monitored app comes
/// uninspected from the origin.
#[test]
fn kills_under_load_harm_nobody_and_let_nothing_through() {
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |text| text.parse().unwrap());
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_serves(&lab);
    let stop = AtomicBool::new(false);
    let mut seed = u64::from(std::process::id());
    let mut down = Vec::new();
    let (unmonitored, monitored) = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let (stop, lab) = (&stop, &lab);
        let innocent = [url(UNMONITORED, PAGE), url(UNMONITORED, DOCX)].map(Curl::get);
        let watched = [url(MONITORED, DOCX)].map(Curl::get);
        let innocent = scope.spawn(move || request_until(stop, lab, &innocent));
        let watched = scope.spawn(move || request_until(stop, lab, &watched));
        for _ in 0..kills {
            // xorshift: any spread of moments will do.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            std::thread::sleep(Duration::from_millis(50 + seed % 700));
            agent.kill().unwrap();
            let begun = Instant::now();
            std::thread::sleep(Duration::from_millis(seed % 300));
            agent.start_again().unwrap();
            down.push(begun.elapsed());
        }
        drop(_stop);
        (innocent.join().unwrap(), watched.join().unwrap())
    });
    let count = |wanted: &dyn Fn(&Result<u16, String>) -> bool| {
        monitored.iter().filter(|one| wanted(&one.result)).count()
    };
    let (blocked, refused) = (count(&|r| *r == Ok(403)), count(&|r| r.is_err()));
    down.sort();
    println!(
        "{kills} kills: unmonitored {} requests; monitored {} requests, {blocked} blocked, {refused} refused or cut; \
         down p50 {:?}, max {:?}",
        unmonitored.len(),
        monitored.len(),
        down[down.len() / 2],
        down[down.len() - 1],
    );
    for one in &unmonitored {
        assert_eq!(one.result, Ok(200));
    }
    assert_eq!(blocked + refused, monitored.len(), "nothing came from the origin");
    assert!(
        unmonitored.len() as u64 > kills && blocked as u64 > kills / 4,
        "too little load to mean anything"
    );
    check_serves(&lab);
    assert!(agent.stop().unwrap().success());
    assert_eq!(attached(lab.cgroup()).unwrap(), Vec::<String>::new());
    assert!(!lab.pins().exists());
}
