//! Chromium's lines, when it is installed: what a person sees.

use anyhow::Result;
use lab::Lab;
use lab::agent::Agent;
use lab::attachment::{DOCX, PAGE};
use lab::browser::{Browser, Kind};

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
    let browser = Browser::new(lab, agent, Kind::Chromium)?;
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
            &format!("Chromium, headless, after `portcullis ca trust`: {}", url(host, resource)),
            &format!("\"{expected}\""),
            || {
                let page = without_tags(&browser.document(&url(host, resource), &[])?);
                Ok((page.contains(&expected), format!("\"{}\"", page.trim())))
            },
        )?;
    }
    Ok(())
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
