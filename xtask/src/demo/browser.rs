//! Chromium's lines, when it is installed: what a person sees.

use std::path::{Path, PathBuf};

use anyhow::Result;
use lab::agent::Agent;
use lab::attachment::{DOCX, PAGE, Resource};
use lab::{Lab, run, wait};

use super::report::Report;
use super::story::{text, url};
use crate::setup;

pub(crate) fn lines(report: &mut Report, lab: &Lab, agent: &Agent<'_>) -> Result<()> {
    if !setup::has_browser() {
        report.note("");
        report.note(
            "Chromium is not installed: its lines are left out (cargo xtask demo --browser installs it)",
        );
        return Ok(());
    }
    let browser = Browser::with_cas(lab, &[agent.ca(), lab.origin_ca()])?;
    for (host, resource, expected) in [
        ("files.corp.test", PAGE, "Welcome to files.corp.test".to_owned()),
        ("files.corp.test", DOCX, text(DOCX)),
        ("other.example.test", PAGE, "Welcome to other.example.test".to_owned()),
    ] {
        let name = match expected.starts_with("Download blocked") {
            true => "Chromium shows the block as a page",
            false => "Chromium shows a page",
        };
        report.line(
            name,
            &format!("chromium --headless {}", url(host, resource)),
            &format!("\"{expected}\""),
            || {
                let page = browser.visible_text(host, resource)?;
                Ok((page.contains(&expected), format!("\"{}\"", page.trim())))
            },
        )?;
    }
    Ok(())
}

struct Browser<'lab> {
    lab: &'lab Lab,
    home: PathBuf,
}

impl<'lab> Browser<'lab> {
    /// A home directory whose trust store has these CAs.
    fn with_cas(lab: &'lab Lab, cas: &[PathBuf]) -> Result<Self> {
        let home = lab.directory().join("browser");
        let store = home.join(".pki/nssdb");
        std::fs::create_dir_all(&store)?;
        let database = format!("sql:{}", store.display());
        let certutil = |arguments: &[&str], file: Option<&Path>| -> Result<()> {
            let mut command = lab.client().command("certutil", None)?;
            command.args(["-d", &database]).args(arguments).args(file);
            run(command, wait::PATIENCE)?.succeeded().map(drop)
        };
        certutil(&["-N", "--empty-password"], None)?;
        for (number, ca) in cas.iter().enumerate() {
            certutil(&["-A", "-t", "C,,", "-n", &format!("ca {number}"), "-i"], Some(ca))?;
        }
        Ok(Self { lab, home })
    }

    /// The text of the page as it stands in the browser's window.
    fn visible_text(&self, host: &str, resource: Resource) -> Result<String> {
        let mut command = self.lab.client().command("chromium", None)?;
        command
            .env("HOME", &self.home)
            // Its singleton socket, which it leaves behind when it is killed.
            .env("TMPDIR", &self.home)
            // In the lab everything runs as root, which Chromium's sandbox refuses.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--dump-dom"])
            .arg(format!("--user-data-dir={}", self.home.join("profile").display()))
            .arg(url(host, resource));
        let document = run(command, wait::PATIENCE * 3)?.succeeded()?.text();
        Ok(without_tags(&document))
    }
}

/// The text of an HTML document: no tags, no style, the entities that block pages use resolved.
fn without_tags(document: &str) -> String {
    let mut rest = document;
    let mut text = String::new();
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        text.push(' ');
        let tag = &rest[start..];
        // Styles and titles are no visible text.
        let end = ["style", "title", "script"]
            .iter()
            .filter(|name| tag[1..].starts_with(**name))
            .find_map(|name| tag.find(&format!("</{name}")))
            .unwrap_or(0);
        rest = tag[end..].find('>').map_or("", |close| &tag[end + close + 1..]);
    }
    text.push_str(rest);
    let text =
        text.replace("&#39;", "'").replace("&#x27;", "'").replace("&quot;", "\"").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::without_tags;

    #[test]
    fn only_visible_text_remains() {
        let page =
            "<html><head><title>T</title><style>a{}</style></head><body><h1>A &amp;\n b</h1>c</body></html>";
        assert_eq!(without_tags(page), "A & b c");
        assert_eq!(without_tags("plain <broken"), "plain");
    }
}
