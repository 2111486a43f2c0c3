//! A39 and what belongs to it: the agent dead, frozen or stuck, in both fail modes; the next agent; two of them; nothing
//! left behind.

mod next_agent;
mod under_load;

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

use super::{KILLS_VARIABLE, MONITORED, Stop, UNMONITORED, check_blocked, check_passed, request_until, url};

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

const KILLS: u64 = 20;
