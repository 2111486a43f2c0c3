//! A download that broke off and goes on in a browser, which asks for the rest (RFC 9110 sections 13.1.5, 14.2): that is
//! decided anew, by what the device is by then (A3, A23).

use std::fs;
use std::path::{Path, PathBuf};

use lab::agent::{Agent, Settings};
use lab::browser::{Browser, Kind};
use lab::{Lab, OWN_SITE, wait};
use serde_json::{Value, json};

use super::browser;

/// Stands in the second half of each file, and nowhere else.
const SECOND_HALF: &[u8] = b"MARK-SECOND-HALF ";
/// More than a browser keeps to itself before it writes.
const HALF: usize = 2 << 20;

/// A file whose connection ends after its first half, once `cut` exists.
fn row(cut: &Path) -> Value {
    let second = String::from_utf8_lossy(SECOND_HALF).repeat(HALF / SECOND_HALF.len());
    let body = "first half ".repeat(second.len() / 11 + 1)[..second.len()].to_owned() + &second;
    json!({
        "status": 200,
        "headers": [
            ["content-type", "application/octet-stream"],
            ["content-disposition", "attachment"],
            ["etag", "\"of-all-times\""],
            ["last-modified", "Mon, 02 Nov 2026 10:00:00 GMT"],
        ],
        "body": body,
        "ranges": true,
        "cut": cut,
    })
}

/// As the button beside an interrupted download does. Chromium goes on by itself.
const RESUME: &str = "
    const { Downloads } = ChromeUtils.importESModule('resource://gre/modules/Downloads.sys.mjs');
    const list = await Downloads.getList(Downloads.ALL);
    const until = async what => { while (!what()) await new Promise(go => setTimeout(go, 20)) };
    let download;
    for (const one of await list.getAll()) download = one;
    await until(() => download.stopped && download.error);
    const resumes = download.hasPartialData;
    download.start().catch(() => {});
    return resumes;";

struct Lane<'a> {
    lab: &'a Lab,
    agent: &'a Agent<'a>,
    kind: Kind,
}

impl Lane<'_> {
    fn cut(&self, name: &str) -> PathBuf {
        self.lab.directory().join(format!("cut-{}-{name}", self.kind.name()))
    }

    /// Begins a download, lets it break off on a device that is `compliant` by then, and has it go on.
    fn take(&self, browser: &Browser<'_>, name: &str, compliant: bool) {
        self.agent.set_compliant(true).unwrap();
        let mut session = browser.start(&[]).unwrap();
        let page = session.open(&format!("https://{OWN_SITE}/page")).unwrap();
        assert_eq!(page, None);
        let path = format!("/{}/{name}", self.kind.name());
        session.run(&format!("location.href = '{path}'")).unwrap();
        wait::until("the first half on disk", wait::PATIENCE, || {
            Ok((!browser.files_with(b"first half ")?.is_empty()).then_some(()))
        })
        .unwrap();
        self.agent.set_compliant(compliant).unwrap();
        fs::write(self.cut(name), "").unwrap();
        if self.kind == Kind::Firefox {
            assert_eq!(session.press(RESUME).unwrap(), true, "Firefox has nothing to go on with");
        }
        let action = if compliant { "allow" } else { "block" };
        wait::until("the second answer on record", wait::PATIENCE, || {
            let records = self.agent.activities(&["--type", "download", "--action", action])?;
            let of_the_rest = |record: &Value| {
                record["request"]["path"] == path.as_str()
                    && record["response"]["status"] == 206
                    && record["client"]["kind"] == "browser"
            };
            Ok(records.iter().any(of_the_rest).then_some(()))
        })
        .unwrap();
        if compliant {
            wait::until("the whole file", wait::PATIENCE, || {
                let whole = |(_, octets): &(String, Vec<u8>)| octets.ends_with(SECOND_HALF);
                Ok(browser.saved()?.iter().any(whole).then_some(()))
            })
            .unwrap();
        }
        session.close().unwrap();
    }
}

#[test]
fn what_is_left_of_a_download_is_decided_anew() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    let lanes = Kind::ALL.map(|kind| Lane { lab: &lab, agent: &agent, kind });
    let mut rows = serde_json::Map::new();
    rows.insert(
        "/page".to_owned(),
        json!({ "status": 200, "headers": [["content-type", "text/html"]], "body": "<title>An app</title>" }),
    );
    for lane in &lanes {
        for name in ["goes-on", "ends"] {
            rows.insert(format!("/{}/{name}", lane.kind.name()), row(&lane.cut(name)));
        }
    }
    let _origin = lab.serve_table(&Value::Object(rows), "http/1.1").unwrap();
    for lane in &lanes {
        let Some(browser) = browser::open(&lab, &agent, lane.kind) else { continue };
        lane.take(&browser, "goes-on", true);
        let browser = browser::open(&lab, &agent, lane.kind).unwrap();
        lane.take(&browser, "ends", false);
        let kept = browser.files_with(SECOND_HALF).unwrap();
        assert!(kept.is_empty(), "{:?} has the rest on disk: {kept:?}", lane.kind);
    }
}
