//! Hundreds of odd responses that make clients save a file: Content-Disposition in every form that the fixtures know,
//! every type that browsers save, codings, framings, statuses, ranges and versions. Under block no client has a byte of
//! them on disk, under monitor-only they arrive as the origin sent them (A3, A6, A7, A15, A31).

mod table;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use lab::agent::{Agent, Settings};
use lab::browser::Kind;
use lab::client::python;
use lab::{Daemon, Lab, OWN_SITE, wait};
use serde_json::{Value, json};

use super::browser;
use table::{MARK, Odd};

/// One process of a client that asks for all of them.
const ALL_OF_THEM: Duration = Duration::from_secs(120);
/// Every how many rows one goes through the browsers.
const SAMPLE: usize = 9;
/// Where files are navigated to from.
const PAGE: &str = "/page";

const MONITOR: &str =
    "[[policy]]\nname = \"Watch\"\napps.include = [\"corp-files\"]\nsession.control = \"monitor-only\"\n";

fn serve(lab: &Lab, rows: &[Odd], protocols: &str) -> Daemon {
    let mut table: serde_json::Map<String, Value> =
        rows.iter().map(|odd| (odd.path.clone(), odd.row.clone())).collect();
    table.insert(
        PAGE.to_owned(),
        json!({ "status": 200, "headers": [["content-type", "text/html"]], "body": "<!doctype html><title>A page</title>" }),
    );
    lab.serve_table(&Value::Object(table), protocols).unwrap()
}

fn address(odd: &Odd) -> String {
    format!("https://{OWN_SITE}{}", odd.path)
}

/// What Python got: status, digest or what went wrong, and whether the file's octets were in it.
fn by_python(lab: &Lab, rows: &[Odd]) -> HashMap<String, (u64, String, bool)> {
    let paths = lab.directory().join("paths.json");
    fs::write(&paths, json!(rows.iter().map(|odd| &odd.path).collect::<Vec<_>>()).to_string()).unwrap();
    let trust = lab.trust();
    let arguments = [OWN_SITE, paths.to_str().unwrap(), trust.to_str().unwrap(), MARK];
    let finished =
        python(lab, include_str!("odd_downloads/fetch.py"), &arguments, None).unwrap().succeeded().unwrap();
    let seen: Value = serde_json::from_slice(&finished.stdout).unwrap();
    seen.as_object()
        .unwrap()
        .iter()
        .map(|(path, seen)| {
            let text = seen[1].as_str().unwrap().to_owned();
            (path.clone(), (seen[0].as_u64().unwrap(), text, seen[2].as_bool().unwrap()))
        })
        .collect()
}

/// curl saves each under the number of its row; what it complains about.
fn by_curl(lab: &Lab, rows: &[Odd], into: &Path, protocol: &str) -> String {
    fs::create_dir_all(into).unwrap();
    let mut orders = String::new();
    for (number, odd) in rows.iter().enumerate() {
        orders += &format!("url = \"{}\"\noutput = \"{}/{number}\"\n", address(odd), into.display());
    }
    let file = lab.directory().join("curl.conf");
    fs::write(&file, orders).unwrap();
    let mut command = lab.client().command("curl", None).unwrap();
    command.args(["--silent", "--show-error", protocol, "--raw", "--max-time", "20"]);
    command.arg("--cacert").arg(lab.trust()).arg("--config").arg(&file);
    // Its status is the last transfer's; what counts is what it saved.
    lab::run(command, ALL_OF_THEM).unwrap().stderr
}

/// wget saves each under the name that the response gives it.
fn by_wget(lab: &Lab, rows: &[Odd], into: &Path) {
    fs::create_dir_all(into).unwrap();
    let list = lab.directory().join("wget.list");
    fs::write(&list, rows.iter().map(|odd| address(odd) + "\n").collect::<String>()).unwrap();
    let mut command = lab.client().command("wget", None).unwrap();
    command.args(["--quiet", "--content-disposition", "--content-on-error", "--tries=1", "--timeout=20"]);
    command
        .arg("--ca-certificate")
        .arg(lab.trust())
        .arg("--directory-prefix")
        .arg(into)
        .arg("--input-file")
        .arg(&list);
    lab::run(command, ALL_OF_THEM).unwrap();
}

/// Names of the files in which octets of the odd ones stand.
fn with_marks(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        if content.windows(MARK.len()).any(|part| part == MARK.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn of_800_odd_downloads_none_is_saved_under_block_and_all_are_equal_when_watched() {
    let rows = table::rows();
    assert!(rows.len() >= 800, "{}", rows.len());
    let lab = Lab::start().unwrap();
    let _origin = serve(&lab, &rows, "h2,http/1.1");
    let saved = |name: &str| lab.directory().join("saved").join(name);
    let direct = by_python(&lab, &rows);
    by_curl(&lab, &rows, &saved("direct"), "--http2");
    for odd in &rows {
        let (_, said, whole) = &direct[&odd.path];
        assert!(whole, "{}: not served: {said}", odd.path);
    }

    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let blocked = by_python(&lab, &rows);
    let passed: Vec<_> = blocked.iter().filter(|(_, (status, _, whole))| *whole || *status != 403).collect();
    assert!(passed.is_empty(), "{passed:?}");
    by_curl(&lab, &rows, &saved("curl"), "--http1.1");
    by_curl(&lab, &rows, &saved("curl2"), "--http2");
    by_wget(&lab, &rows, &saved("wget"));
    for client in ["curl", "curl2", "wget"] {
        assert_eq!(with_marks(&saved(client)), Vec::<String>::new(), "{client}");
        let files = fs::read_dir(saved(client)).unwrap().count();
        assert!(files >= rows.len(), "{client}: {files} answers");
    }

    agent.write_policy("10-downloads.toml", MONITOR).unwrap();
    wait::until("the policy that watches", wait::PATIENCE, || {
        Ok((by_python(&lab, &rows[..1])[&rows[0].path].0 == 200).then_some(()))
    })
    .unwrap();
    let watched = by_python(&lab, &rows);
    let said = by_curl(&lab, &rows, &saved("watched"), "--http2");
    let mut wrong: Vec<String> = Vec::new();
    for (number, odd) in rows.iter().enumerate() {
        if watched[&odd.path] != direct[&odd.path] {
            wrong.push(format!("{}: Python: {:?} not {:?}", odd.path, watched[&odd.path], direct[&odd.path]));
        }
        let read = |name: &str| fs::read(saved(name).join(number.to_string())).ok();
        if read("watched") != read("direct") {
            wrong.push(format!("{}: curl", odd.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\ncurl said: {said}\n{}", agent.log());
}

#[test]
fn of_odd_downloads_navigated_to_no_browser_saves_one_under_block_and_each_saves_what_is_watched() {
    let rows: Vec<Odd> = table::rows().into_iter().filter(|odd| odd.browsers_save).step_by(SAMPLE).collect();
    assert!(rows.len() >= 75, "{}", rows.len());
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    for (kind, protocols) in [(Kind::Chromium, "h2,http/1.1"), (Kind::Firefox, "http/1.1")] {
        let Some(browser) = browser::open(&lab, &agent, kind) else { continue };
        let _origin = serve(&lab, &rows, protocols);
        agent.set_compliant(false).unwrap();
        let mut session = browser.start(&[]).unwrap();
        let mut wrong = Vec::new();
        for odd in &rows {
            let failed = session.open(&address(odd)).unwrap();
            let page = session.look().unwrap();
            if !page.text.contains("Download blocked.") || page.address != address(odd) {
                wrong.push(format!("{kind:?} at {}: {failed:?}, {page:?}", odd.path));
            }
        }
        session.close().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", agent.log());
        assert_eq!(browser.files_with(MARK.as_bytes()).unwrap(), Vec::<std::path::PathBuf>::new());

        agent.set_compliant(true).unwrap();
        let mut session = browser.start(&[]).unwrap();
        let mut wrong = Vec::new();
        for odd in &rows {
            // A page that saves one file after another by itself is stopped by Chromium; each has its own tab.
            session.fresh().unwrap();
            session.open(&format!("https://{OWN_SITE}{PAGE}")).unwrap();
            // Driven to a file by its address, Firefox would wait for a page. What counts is the file.
            let _ = session.run(&format!("location.href = {:?}", odd.path));
            let saved = wait::until("the file", wait::PATIENCE, || {
                Ok(browser.saved()?.into_iter().find(|(_, content)| *content == odd.body))
            });
            match saved {
                // Chromium, driven so, would write the next of this name over it.
                Ok((name, _)) => fs::remove_file(browser.downloads().join(name)).unwrap(),
                Err(error) => wrong.push(format!("{}: {error}", odd.path)),
            }
        }
        assert!(wrong.is_empty(), "{kind:?} did not save on a compliant device: {wrong:#?}");
        session.close().unwrap();
    }
}
