//! The agent after one that ended, or beside one that runs: what it takes over, and what it leaves alone.

use super::*;

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
