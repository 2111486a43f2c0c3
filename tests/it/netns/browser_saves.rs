//! Every way we know in which a browser or a page of an app saves a file, in Chromium and Firefox: first that it does
//! save, on a compliant device, then that on another one it ends blocked and nothing of the file is on disk (A3, A14, A31).

mod ways;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lab::agent::{Agent, Settings};
use lab::browser::{Browser, Kind, Session};
use lab::{Lab, OWN_SITE, wait};

use super::browser;
use ways::{After, Way};

/// How long a file is waited for that a browser is to save.
const SAVING: Duration = Duration::from_secs(20);

/// Takes a way: the page, then what happens on it.
fn take(session: &mut Session, way: &Way) {
    session.fresh().unwrap();
    let page = format!("https://{OWN_SITE}{}", way.page);
    assert_eq!(session.open(&page).unwrap(), None, "{}", way.name);
    // A script whose page goes away, or whose fetch fails, is not told so in the same words by both browsers.
    let _ = if way.pressed { session.press(&way.script) } else { session.run(&way.script) };
}

fn wait_until_saved(browser: &Browser<'_>, way: &Way) -> bool {
    let start = Instant::now();
    while start.elapsed() < wait::scaled(SAVING) {
        let marker = way.marker.as_slice();
        let whole =
            |(_, content): &(String, Vec<u8>)| content.windows(marker.len()).any(|part| part == marker);
        if browser.saved().unwrap().iter().any(whole) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn blocks(agent: &Agent<'_>) -> f64 {
    agent.metric("portcullis_activities_total", &[("type", "download"), ("action", "block")]).unwrap()
}

#[test]
fn every_way_of_saving_saves_on_a_compliant_device_and_is_blocked_on_another() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    let ways = ways::all();
    let _origin = lab.serve_table(&ways::rows(&ways), "h2,http/1.1").unwrap();
    for kind in Kind::ALL {
        let known = |way: &&Way| way.only.is_none_or(|only| only == kind);
        let ways: Vec<&Way> = ways.iter().filter(known).collect();
        agent.set_compliant(true).unwrap();
        let Some(first) = browser::open(&lab, &agent, kind) else { continue };
        let mut session = first.start(&[]).unwrap();
        let mut failed = Vec::new();
        for way in &ways {
            take(&mut session, way);
            if !wait_until_saved(&first, way) {
                failed.push(format!("{}: {kind:?} did not save on a compliant device", way.name));
            }
        }
        session.close().unwrap();

        agent.set_compliant(false).unwrap();
        let second = browser::open(&lab, &agent, kind).unwrap();
        let mut session = second.start(&[]).unwrap();
        for way in &ways {
            let before = blocks(&agent);
            take(&mut session, way);
            match way.after(kind) {
                After::Blocked => {
                    let seen =
                        wait::until(
                            "a block",
                            wait::PATIENCE,
                            || Ok((blocks(&agent) > before).then_some(())),
                        );
                    if seen.is_err() {
                        failed.push(format!("{}: {kind:?} met no block", way.name));
                    }
                }
                After::Saved => {
                    if !wait_until_saved(&second, way) {
                        failed.push(format!("{}: no limit any more in {kind:?}", way.name));
                    }
                }
            }
        }
        session.close().unwrap();
        for way in ways.iter().filter(|way| way.after(kind) == After::Blocked) {
            let kept = second.files_with(&way.marker).unwrap();
            if !kept.is_empty() {
                failed.push(format!("{}: {kind:?} has it on disk: {kept:?}", way.name));
            }
        }
        assert!(failed.is_empty(), "{failed:#?}\n{}", agent.log());
    }
    // Each of them is in the log under its own path, as a browser's.
    let records = agent.activities(&["--type", "download", "--action", "block", "--limit", "1000"]).unwrap();
    let blocked: HashSet<&str> = records
        .iter()
        .filter(|record| record["client"]["kind"] == "browser")
        .filter_map(|record| record["request"]["path"].as_str())
        .collect();
    for way in ways.iter().filter(|way| Kind::ALL.into_iter().any(|kind| way.after(kind) == After::Blocked)) {
        assert!(blocked.contains(way.path.as_str()), "{} is not in the log: {blocked:?}", way.path);
    }
}
