//! The console in a real browser, over a log of a busy week.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use lab::agent::{Agent, Settings};
use lab::attachment::DOCX;
use lab::client::{Curl, page};
use lab::{Lab, run, wait};
use serde_json::{Value, json};

use super::{MONITORED, check_blocked, left_out, url};

/// Records in the log.
const RECORDS: &str = "100000";
/// Where pictures of the pages are put, to be looked at; they are made in any case.
const PICTURES_VARIABLE: &str = "PORTCULLIS_TEST_PICTURES";
const PORT: u16 = 9465;
/// Windows of a desk and of a phone.
const WIDTHS: [(u32, u32); 2] = [(1280, 900), (400, 860)];

/// A browser that goes from page to page with one profile.
struct Visitor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pictures: PathBuf,
}

impl Visitor {
    fn start(lab: &Lab) -> Self {
        let home = lab.directory().join("visitor");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = lab.client().command("/usr/bin/python3", None).unwrap();
        command.env("HOME", &home).env("TMPDIR", &home);
        command.args(["-I", "-u", "-c", include_str!("../../support/console.py")]).arg(home.join("profile"));
        let log = std::fs::File::create(lab.directory().join("visitor.log")).unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let pictures = std::env::var_os(PICTURES_VARIABLE).map_or_else(|| home.clone(), PathBuf::from);
        std::fs::create_dir_all(&pictures).unwrap();
        Self { child, orders, answers, pictures }
    }

    /// Goes to an address, runs a script there and takes a picture.
    #[track_caller]
    fn visit(&mut self, address: &str, (width, height): (u32, u32), script: &str, picture: &str) -> Value {
        let file = self.pictures.join(picture);
        let order = json!({
            "url": address, "width": width, "height": height, "dark": picture.contains("dark"), "script": script, "file": file,
        });
        writeln!(self.orders, "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let seen: Value = serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("{address}: {error}: {answer:?}; see visitor.log"));
        assert_eq!(seen["complaints"], json!([]), "{address}: {seen:#}");
        assert!(seen["wide"].as_i64().unwrap() <= 0, "{address}: wider than {width}: {seen:#}");
        assert!(file.metadata().is_ok_and(|file| file.len() > 2000), "{address}: no picture");
        seen
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(seen: &Value) -> &str {
    seen["text"].as_str().unwrap()
}

#[test]
fn the_pages_of_a_busy_agent_in_a_browser() {
    if !Path::new("/usr/bin/chromium").exists() {
        assert!(std::env::var_os("CI").is_none(), "Chromium is not installed");
        left_out("Chromium is not installed (cargo xtask setup --browser)");
        return;
    }
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    agent.wait_for_activity("the block", |record| record["decision"]["action"] == "block").unwrap();
    let mut fill = lab.client().command("/usr/bin/python3", None).unwrap();
    fill.args(["-I", "-c", include_str!("../../support/many_records.py")]);
    fill.arg(agent.config().with_file_name("state").join("activity.db")).arg(RECORDS);
    let id = run(fill, wait::PATIENCE * 6).unwrap().succeeded().unwrap().text();
    let id = id.trim();

    let console = || agent.command(&["console"]).unwrap().succeeded().unwrap().text().trim().to_owned();
    let address = console();
    assert!(address.starts_with(&format!("http://127.0.0.1:{PORT}/open?ticket=")), "{address}");
    let at = |path: &str| format!("http://127.0.0.1:{PORT}{path}");
    assert_eq!(page(&lab, PORT, "/activity").unwrap().status, 401, "nothing is shown without a session");

    let mut visitor = Visitor::start(&lab);
    let seen = visitor.visit(&address, WIDTHS[0], "", "first.png");
    assert!(text(&seen).contains("Overview") && seen["title"] == "Overview – Portcullis", "{seen:#}");
    for (name, window) in ["1280", "400", "1280-dark", "400-dark"].into_iter().zip(WIDTHS.into_iter().cycle())
    {
        for range in ["1h", "24h", "7d"] {
            let seen = visitor.visit(
                &at(&format!("/?range={range}")),
                window,
                "",
                &format!("overview-{range}-{name}.png"),
            );
            for expected in ["Blocked files", "Top users", "alice", "Time to a verdict"] {
                assert!(text(&seen).contains(expected), "{expected}: {seen:#}");
            }
        }
        let seen = visitor.visit(&at("/activity"), window, "", &format!("activity-{name}.png"));
        assert!(text(&seen).contains("Older") && text(&seen).contains("alice"), "{seen:#}");
        let filtered = at("/activity?user=alice&action=block&since=7d&file=*.csv");
        let count = "return document.querySelectorAll('a.row').length";
        let seen = visitor.visit(&filtered, window, count, &format!("activity-filtered-{name}.png"));
        assert_eq!(seen["value"], 50, "{seen:#}");
        assert!(
            !text(&seen).contains("Q3 forecast.xlsx") && text(&seen).contains("payroll-2026.csv"),
            "{seen:#}"
        );
        let seen =
            visitor.visit(&at(&format!("/activity?id={id}")), window, "", &format!("details-{name}.png"));
        for expected in ["report.docx", "included by \"corp-files\"", "/usr/bin/curl", "not compliant"] {
            assert!(text(&seen).contains(expected), "{expected}: {seen:#}");
        }
        let seen = visitor.visit(&at("/apps"), window, "", &format!("apps-{name}.png"));
        assert!(text(&seen).contains("Corp Files") && text(&seen).contains("paste.example"), "{seen:#}");
        let seen = visitor.visit(&at("/policies"), window, "", &format!("policies-{name}.png"));
        assert!(text(&seen).contains("Prevent downloads from unmanaged devices"), "{seen:#}");
        let shown = at("/policies?name=Watch+Memo");
        let seen = visitor.visit(&shown, window, "", &format!("policy-{name}.png"));
        assert!(text(&seen).contains("control = \"monitor-only\""), "{seen:#}");
        let seen = visitor.visit(&at("/health"), window, "", &format!("health-{name}.png"));
        assert!(
            text(&seen).contains("all well") && text(&seen).contains("certificate-authority"),
            "{seen:#}"
        );
    }

    // By keyboard: down the rows and up again; Escape closes what is open.
    let keys = "const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
        press('j'); press('j'); press('k');
        return [...document.querySelectorAll('a.row')].indexOf(document.activeElement)";
    let seen = visitor.visit(&at("/activity"), WIDTHS[0], keys, "keys.png");
    assert_eq!(seen["value"], 0, "{seen:#}");
    let close = "const close = document.querySelector('.drawer .close');
        let to = null;
        close.addEventListener('click', (event) => { event.preventDefault(); to = close.getAttribute('href'); });
        document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
        return to";
    let seen = visitor.visit(&at(&format!("/activity?user=alice&id={id}")), WIDTHS[0], close, "closed.png");
    assert_eq!(seen["value"], "/activity?user=alice", "{seen:#}");

    // The address was good for one session.
    let again = page(&lab, PORT, address.split_once("9465").unwrap().1).unwrap();
    assert_eq!((again.status, again.header("set-cookie")), (403, None));
}

#[test]
fn a_console_that_is_off_or_cannot_listen_is_told() {
    let lab = Lab::start().unwrap();
    let mut agent = Agent::start(&lab, &Settings::default()).unwrap();
    let restart = |agent: &mut Agent<'_>, listen: &str| {
        agent.stop().unwrap();
        agent
            .edit_config(|text| {
                format!("{}[console]\nlisten = \"{listen}\"\n", text.split("[console]").next().unwrap())
            })
            .unwrap();
        agent.start_again().unwrap();
        let status = agent.command(&["status", "--json"]).unwrap().text();
        serde_json::from_str::<Value>(&status).unwrap()["console"].clone()
    };
    assert_eq!(restart(&mut agent, "off"), Value::Null);
    let refused = agent.command(&["console"]).unwrap();
    assert!(refused.code == Some(1) && refused.stderr.contains("listen is off"), "{refused:?}");
    let taken = format!("127.0.0.1:{}", lab::agent::METRICS_PORT);
    let trouble = restart(&mut agent, &taken);
    assert!(trouble["trouble"].as_str().unwrap().contains("in use"), "{trouble}");
    let refused = agent.command(&["console"]).unwrap();
    assert!(refused.code == Some(1) && refused.stderr.contains(&taken), "{refused:?}");
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let free = restart(&mut agent, "[::1]:0");
    assert!(free["listen"].as_str().unwrap().starts_with("[::1]:"), "{free}");
}
