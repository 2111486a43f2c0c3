//! Whose traffic it is behind a gateway: addresses, inventory and user agents in place of processes.

use super::*;

/// A13, A33: what the gateway cannot know of another host is not in the record. That the gateway is compliant says nothing of it.
#[test]
fn the_record_names_the_clients_address_and_invents_no_process_and_no_device() {
    let gateway = GatewayLab::start().unwrap();
    let settings = Settings { compliant: true, ..steering("peek", &[BRIDGE]) };
    let agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    check_blocked(
        &Curl::get(url(MONITORED, DOCX)).at(&place).arguments(&["-4"]).send(&gateway.lab).unwrap(),
        DOCX,
    );
    let record = agent.wait_for_activity("the download", |record| record["type"] == "download").unwrap();
    assert!(record["client"].to_string().contains("10.77.0.2"), "{record}");
    for (part, fields) in [("user", &["name", "uid"][..]), ("process", &["pid", "exe", "name"])] {
        for field in fields {
            assert!(record[part][field].is_null(), "{part}.{field}: {record}");
        }
    }
    let device = &record["device"];
    assert_eq!((&device["id"], &device["compliant"]), (&"unknown".into(), &false.into()), "{record}");
}

/// A13: devices and users of other hosts come from the inventory; a change of it applies to the next response, and what it
/// does not know, or cannot say, is not compliant.
#[test]
fn the_inventory_tells_devices_and_users_by_their_address() {
    let gateway = GatewayLab::start().unwrap();
    let inventory = gateway.lab.directory().join("inventory.json");
    let write = |text: &str| std::fs::write(&inventory, text).unwrap();
    let entry = |compliant: bool| {
        let device = format!(r#"{{"id":"laptop-a","compliant":{compliant},"tags":["kiosk"]}}"#);
        format!(
            r#"{{"clients":[{{"addresses":["10.77.0.2","fd77::2"],"device":{device},"user":{{"name":"alice"}}}}]}}"#
        )
    };
    write(&entry(true));
    let settings = Settings {
        identity: format!("inventory = \"{}\"", inventory.display()),
        ..steering("peek", &[BRIDGE])
    };
    let agent = Agent::start(&gateway.lab, &settings).unwrap();
    let get = |host| Curl::get(url(MONITORED, DOCX)).at(&gateway.host(host)).send(&gateway.lab).unwrap();
    let until = |host, status: u16, what: &str| {
        wait::until(what, wait::PATIENCE, || Ok((get(host).status == status).then_some(()))).unwrap();
    };
    until(Inside::A, 200, "the inventory to be read");
    check_passed(&get(Inside::A), MONITORED, DOCX);
    check_blocked(&get(Inside::B), DOCX);
    let record = agent
        .wait_for_activity("A's download", |record| {
            record["type"] == "download" && record["device"]["id"] == "laptop-a"
        })
        .unwrap();
    assert_eq!((&record["user"]["name"], &record["device"]["tags"][0]), (&"alice".into(), &"kiosk".into()));

    write(&entry(false));
    until(Inside::A, 403, "the device to be no longer compliant");
    // alice is in a group that the policy leaves out: groups of `[identity]` count for names of the inventory.
    write(&entry(false).replace("alice", "nobody"));
    until(Inside::A, 200, "the user to be another");
    write("not an inventory");
    until(Inside::A, 403, "the broken inventory to count for nothing");
}

/// A12: with no process to go by, the client's word decides.
#[test]
fn the_user_agent_tells_browsers_where_the_process_is_unknown() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    for (_, policy) in &mut settings.policies {
        *policy =
            policy.replace("[policy.conditions]\n", "[policy.conditions]\nclient_apps = [\"browser\"]\n");
    }
    let _agent = Agent::start(&gateway.lab, &settings).unwrap();
    let place = gateway.host(Inside::A);
    let get = || Curl::get(url(MONITORED, DOCX)).at(&place);
    check_passed(&get().send(&gateway.lab).unwrap(), MONITORED, DOCX);
    let browser =
        get().arguments(&["--user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"]);
    check_blocked(&browser.send(&gateway.lab).unwrap(), DOCX);
}

/// With `dial = "client"` the origin sees who asked, however the connection came to the agent; what the agent has no part in
/// is forwarded as ever, and an end leaves nothing.
#[test]
fn origins_see_the_clients_address_where_that_is_asked_for() {
    let gateway = GatewayLab::start().unwrap();
    let mut settings = steering("peek", &[BRIDGE]);
    settings.steering = settings.steering.map(|text| text + "dial = \"client\"\n");
    let mut agent = Agent::start(&gateway.lab, &settings).unwrap();
    const NOTES: &str = "notes.memo.test";
    for (number, family) in FAMILIES.into_iter().enumerate() {
        for host in [Inside::A, Inside::B] {
            let place = gateway.host(host);
            let get = |name, resource| {
                let request = Curl::get(url(name, resource)).at(&place).arguments(&[family]);
                request.send(&gateway.lab).unwrap_or_else(|error| panic!("{error:#}\n{}", agent.log()))
            };
            check_blocked(&get(MONITORED, DOCX), DOCX);
            check_passed(&get(MONITORED, PAGE), MONITORED, PAGE);
            // A transfer of many segments, inspected; one that is relayed, because no answer explains its address; one that
            // the agent has no part in.
            check_passed(&get(NOTES, SLOW), NOTES, SLOW);
            let address = address_of("other.example.test", family == "-6").unwrap();
            let at = if family == "-6" { format!("[{address}]") } else { address.to_owned() };
            let literal = format!("{UNMONITORED}:443:{at}");
            let relayed =
                Curl::get(url(UNMONITORED, DOCX)).at(&place).arguments(&[family, "--resolve", &literal]);
            check_passed(&relayed.send(&gateway.lab).unwrap(), UNMONITORED, DOCX);
            check_passed(&get(UNMONITORED, PAGE), UNMONITORED, PAGE);
            let own = host.address()[number];
            let asked = wait::until("the origin's log", wait::PATIENCE, || {
                let seen = gateway.lab.origin_clients();
                let of = |name: &str, path: &str| seen.contains(&format!("{own} {name}{path}"));
                let all = of(MONITORED, PAGE.path)
                    && of(NOTES, SLOW.path)
                    && of(UNMONITORED, DOCX.path)
                    && of(UNMONITORED, PAGE.path);
                Ok(all.then_some(seen))
            });
            asked.unwrap_or_else(|error| panic!("{error}: {:?}", gateway.lab.origin_clients()));
        }
    }
    let seen = gateway.lab.origin_clients();
    let others = seen.iter().filter(|line| line.starts_with("198.18.") || line.starts_with("fd18:"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new(), "asked by the gateway itself");
    // Behind an interface that is not inside, on which answers are looked at.
    let other = gateway.host(Inside::C);
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&other).send(&gateway.lab).unwrap(), MONITORED, DOCX);
    let status = agent.command(&["status"]).unwrap().succeeded().unwrap().text();
    for hook in ["pc_gateway_in on br0", "pc_gateway_back on pc0", "pc_gateway_back on in1"] {
        assert!(status.contains(hook), "{hook}: {status}");
    }
    assert!(!status.contains("pc_gateway_back on br0"), "{status}");

    assert!(agent.stop().unwrap().success(), "{}", agent.log());
    assert_eq!(gateway.marked_routing().unwrap(), Vec::<String>::new());
    for interface in ["pc0", LAN, BRIDGE] {
        assert_eq!(gateway.disciplines(interface).unwrap(), Vec::<String>::new());
    }
    let place = gateway.host(Inside::A);
    check_passed(&Curl::get(url(MONITORED, DOCX)).at(&place).send(&gateway.lab).unwrap(), MONITORED, DOCX);
}
