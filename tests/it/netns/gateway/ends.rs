//! The end of a gateway's agent, orderly or killed, and interfaces that come and go.

use super::*;

/// A40: what runs when the agent is told to stop runs to its end, while new connections go direct.
#[test]
fn a_running_transfer_survives_the_end_of_steering() {
    let gateway = GatewayLab::start().unwrap();
    let mut agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let (a, b) = (gateway.host(Inside::A), gateway.host(Inside::B));
    const NOTES: &str = "notes.memo.test";
    let (slow, during, status) = std::thread::scope(|scope| {
        let slow = scope.spawn(|| Curl::get(url(NOTES, SLOW)).at(&a).send(&gateway.lab));
        wait::until("the transfer", wait::PATIENCE, || {
            Ok((agent.metric("portcullis_connections_total", &[("path", "inspected")])? == 1.0).then_some(()))
        })
        .unwrap();
        let during = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            Curl::get(url(MONITORED, DOCX)).at(&b).send(&gateway.lab)
        });
        let status = agent.stop();
        (slow.join().unwrap(), during.join().unwrap(), status)
    });
    check_passed(&slow.unwrap(), NOTES, SLOW);
    check_passed(&during.unwrap(), MONITORED, DOCX);
    assert!(status.unwrap().success());
}

#[test]
fn an_interface_that_comes_back_is_steered_again() {
    let gateway = GatewayLab::start().unwrap();
    let agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE, "later0"])).unwrap();
    let place = gateway.host(Inside::A);
    let status = || agent.command(&["status"]).unwrap();
    assert!(status().text().contains("later0 is not there"), "{}", status().text());
    check_blocked(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), DOCX);
    gateway.remove_bridge().unwrap();
    wait::until("the agent to notice", wait::PATIENCE, || {
        Ok(status().text().contains(&format!("{BRIDGE} is not there")).then_some(()))
    })
    .unwrap();
    gateway.make_bridge().unwrap();
    gateway.ip(&["link", "add", "later0", "type", "bridge"]).unwrap();
    wait::until("the agent to attach again", wait::PATIENCE, || Ok((status().code == Some(0)).then_some(())))
        .unwrap();
    for family in FAMILIES {
        let reply =
            Curl::get(url(MONITORED, DOCX)).at(&place).arguments(&[family]).send(&gateway.lab).unwrap();
        check_blocked(&reply, DOCX);
    }
}

#[test]
fn unknown_interfaces_are_an_error_that_names_the_setting() {
    let gateway = GatewayLab::start().unwrap();
    let error = Agent::start(&gateway.lab, &steering("peek", &["nowhere0"])).err().expect("it cannot start");
    let said = format!("{error:#}");
    assert!(said.contains("[steering] interfaces") && said.contains("nowhere0 is not there"), "{said}");
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
}

#[test]
fn nothing_stays_behind_an_orderly_end_nor_a_start_after_a_kill() {
    let gateway = GatewayLab::start().unwrap();
    // A rule of somebody else's, with a mark of its own.
    gateway.ip(&["rule", "add", "fwmark", "0x200000", "priority", "90", "lookup", "main"]).unwrap();
    let before = gateway.marked_routing().unwrap();
    let mut agent = Agent::start(&gateway.lab, &steering("peek", &[BRIDGE])).unwrap();
    let place = gateway.host(Inside::A);
    let held = agent.kernel_objects();
    let routing = gateway.marked_routing().unwrap();
    // In each family: two rules and a route.
    assert_eq!(routing.len(), before.len() + 6, "{routing:?}");
    // TCX links; below Linux 6.6 filters of a queueing discipline instead.
    let before_tcx = !gateway.disciplines(BRIDGE).unwrap().is_empty();
    assert_eq!(held.count("link"), if before_tcx { 0 } else { 2 }, "{held}");

    agent.kill().unwrap();
    // Fail-open: nobody is steered to an agent that is gone.
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), MONITORED, DOCX);
    agent.start_again().unwrap();
    assert_eq!(gateway.marked_routing().unwrap().len(), before.len() + 6);
    check_blocked(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), DOCX);

    let status = agent.stop().unwrap();
    assert!(status.success(), "{status}\n{}", agent.log());
    assert_eq!(gateway.marked_routing().unwrap(), before);
    assert_eq!(gateway.disciplines(BRIDGE).unwrap(), Vec::<String>::new());
    wait::until("the kernel to free the agent's objects", wait::PATIENCE, || {
        Ok(Objects::existing()?.also_in(&held).is_empty().then_some(()))
    })
    .unwrap();
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), MONITORED, DOCX);
}

/// A39: killed, monitored apps are refused at once and the rest goes on; the next agent takes over.
#[test]
fn a_killed_agent_that_fails_closed_leaves_monitored_apps_refused() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    settings.steering = settings.steering.map(|text| text.replace("open", "closed"));
    let mut agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    let get = |name, family| Curl::get(url(name, DOCX)).at(&place).arguments(&[family]);
    for family in FAMILIES {
        check_blocked(&get(MONITORED, family).send(&gateway.lab).unwrap(), DOCX);
    }
    let held = agent.kernel_objects();
    agent.kill().unwrap();
    for family in FAMILIES {
        let finished =
            get(MONITORED, family).arguments(&["--connect-timeout", "10"]).run(&gateway.lab).unwrap();
        // "Failed to connect to host": neither an answer nor a timeout (28).
        assert_eq!(finished.code, Some(7), "{family}: {}", finished.stderr);
        check_passed(&get(UNMONITORED, family).send(&gateway.lab).unwrap(), UNMONITORED, DOCX);
    }

    agent.start_again().unwrap();
    for family in FAMILIES {
        check_blocked(&get(MONITORED, family).send(&gateway.lab).unwrap(), DOCX);
    }
    assert!(agent.metric("portcullis_gap_seconds", &[]).unwrap() > 0.0);
    let told = agent.command(&["activity"]).unwrap().succeeded().unwrap();
    let why = "no agent was there: with fail = \"closed\" connections to monitored apps were refused";
    assert!(told.text().contains(why), "{}", told.text());
    wait::until("the killed agent's programs to go", wait::PATIENCE, || {
        Ok(Objects::existing()?.also_in(&held).is_empty().then_some(()))
    })
    .unwrap();
    // An orderly end takes everything away.
    assert!(agent.stop().unwrap().success());
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
    assert_eq!(lab::pins::pinned(&gateway.lab.pins()), Vec::<std::path::PathBuf>::new());
    check_passed(&get(MONITORED, "-4").send(&gateway.lab).unwrap(), MONITORED, DOCX);
}
