//! The demo's lines, in the order in which a newcomer should see them.

use anyhow::Result;
use lab::agent::Agent;
use lab::attachment::{BIG, DOCX, DOWNLOADS, PAGE, PDF, Resource};
use lab::client::{Curl, Family, Reply, issuer, probe, sha256, streams};
use lab::{Lab, NOBODY, ORIGIN_CA_NAME};

use super::browser;
use super::report::Report;

const FILES: &str = "files.corp.test";
const MEMO: &str = "notes.memo.test";
const OTHER: &str = "other.example.test";
const SHARED: &str = "shared.test";

pub(crate) fn tell(report: &mut Report, lab: &Lab, agent: &Agent<'_>) -> Result<()> {
    report.heading("Real clients");
    unmanaged(report, lab)?;
    compliant(report, lab, agent)?;
    others(report, lab, agent)?;
    browser::lines(report, lab, agent)?;
    records(report, agent)
}

/// The device is not compliant.
fn unmanaged(report: &mut Report, lab: &Lab) -> Result<()> {
    report.line(
        "a page of a monitored app passes",
        &format!("curl {}", url(FILES, PAGE)),
        "200, the origin's bytes, a certificate of this host's own CA",
        || {
            let reply = get(lab, FILES, PAGE)?;
            let issuer = issuer(lab, FILES)?;
            let holds = passed(&reply, FILES, PAGE) && !issuer.contains(ORIGIN_CA_NAME);
            Ok((holds, format!("{}; issuer: {issuer}", summary(&reply))))
        },
    )?;
    report.line(
        "an attachment is blocked, and the user is told",
        &format!("curl {}", url(FILES, DOCX)),
        &format!("403 and \"{}\"", text(DOCX)),
        || {
            let reply = get(lab, FILES, DOCX)?;
            Ok((blocked(&reply, DOCX), format!("{}: {}", summary(&reply), reply.text().trim())))
        },
    )?;
    report.line(
        "so is every other type of attachment",
        "curl, for pdf, zip, csv, octet-stream, no extension, a name in UTF-8",
        "403 for each, with its file name",
        || {
            let mut seen = Vec::new();
            let mut holds = true;
            for resource in DOWNLOADS.into_iter().skip(1) {
                let reply = get(lab, FILES, resource)?;
                holds &= blocked(&reply, resource);
                seen.push(format!("{} {}", reply.status, resource.file_name.unwrap_or_default()));
            }
            Ok((holds, seen.join(", ")))
        },
    )?;
    report.line(
        "Python is no way around, nor is IPv6",
        &format!(
            "a Python program dials {FILES} by IPv4, IPv6 and IPv4-mapped IPv6: attachment, page, attachment"
        ),
        "403, 200, 403 over one connection each; getpeername() shows the address that was dialled",
        || {
            let mut seen = Vec::new();
            let mut holds = true;
            for family in Family::ALL {
                let probe = probe(lab, FILES, family, 443, &[DOCX.path, PAGE.path, PDF.path])?;
                let [first, page, last] = &probe.replies[..] else { anyhow::bail!("not three answers") };
                holds &= blocked(first, DOCX) && passed(page, FILES, PAGE) && blocked(last, PDF);
                holds &= probe.peer == (probe.dialled.clone(), 443);
                seen.push(format!(
                    "{}: {}, {}, {}; peer {} port {}",
                    probe.dialled, first.status, page.status, last.status, probe.peer.0, probe.peer.1
                ));
            }
            Ok((holds, seen.join("\n")))
        },
    )?;
    report.line(
        "HTTP/2: streams of one connection are judged each for itself",
        &format!("a Python program asks {FILES} for attachment, page, attachment, page at once, over one connection"),
        "403, 200, 403, 200",
        || {
            let replies = streams(lab, FILES, &[DOCX.path, PAGE.path, PDF.path, PAGE.path])?;
            let [first, page, second, again] = &replies[..] else { anyhow::bail!("not four answers") };
            let pages = passed(page, FILES, PAGE) && passed(again, FILES, PAGE);
            let statuses: Vec<String> = replies.iter().map(|reply| reply.status.to_string()).collect();
            Ok((blocked(first, DOCX) && blocked(second, PDF) && pages, statuses.join(", ")))
        },
    )?;
    report.line(
        "a program that asks for JSON is told in JSON",
        &format!("curl --header 'Accept: application/json' {}", url(FILES, PDF)),
        "403 and an error object with the file's name",
        || {
            let reply = Curl::get(url(FILES, PDF)).header("Accept: application/json").send(lab)?;
            let value: serde_json::Value = serde_json::from_slice(&reply.body)?;
            let holds = reply.status == 403
                && value["error"]["code"] == "download_blocked"
                && value["error"]["filename"] == "contract.pdf";
            Ok((holds, format!("{}: {value}", summary(&reply))))
        },
    )
}

/// The device becomes compliant, and is not again.
fn compliant(report: &mut Report, lab: &Lab, agent: &Agent<'_>) -> Result<()> {
    agent.set_compliant(true)?;
    for resource in [DOCX, BIG] {
        report.line(
            &format!(
                "on a compliant device {} passes, byte for byte",
                resource.file_name.unwrap_or_default()
            ),
            &format!("device management says compliant; curl {} | sha256sum", url(FILES, resource)),
            &format!("200, sha256 {}", sha256(&resource.body(FILES))?),
            || {
                let reply = get(lab, FILES, resource)?;
                Ok((
                    passed(&reply, FILES, resource),
                    format!("{}, sha256 {}", summary(&reply), sha256(&reply.body)?),
                ))
            },
        )?;
    }
    agent.set_compliant(false)
}

fn others(report: &mut Report, lab: &Lab, agent: &Agent<'_>) -> Result<()> {
    report.line(
        "an excluded user passes",
        &format!("device not compliant again; as nobody, of the group breakglass: curl {}", url(FILES, DOCX)),
        "200, the origin's bytes; 403 for any other user",
        || {
            let excluded = Curl::get(url(FILES, DOCX)).user(NOBODY).send(lab)?;
            let included = Curl::get(url(FILES, DOCX)).user(4242).send(lab)?;
            let holds = passed(&excluded, FILES, DOCX) && blocked(&included, DOCX);
            Ok((holds, format!("nobody: {}; uid 4242: {}", summary(&excluded), summary(&included))))
        },
    )?;
    report.line(
        "under monitor-only a download passes and is on record",
        &format!("curl {}; portcullis activity --app memo", url(MEMO, PDF)),
        "200, the origin's bytes; a record with the action monitor",
        || {
            let reply = get(lab, MEMO, PDF)?;
            let record = agent.wait_for_activity("the download from Memo", |record| {
                record["app"]["id"] == "memo" && record["type"] == "download"
            })?;
            let holds = passed(&reply, MEMO, PDF) && record["decision"]["action"] == "monitor";
            Ok((holds, format!("{}; record: {}", summary(&reply), record["decision"])))
        },
    )?;
    for (name, host) in [
        ("an unmonitored site keeps the origin's certificate", OTHER),
        ("so does one that shares a monitored site's address", SHARED),
    ] {
        report.line(
            name,
            &format!("openssl s_client {host}; curl {}", url(host, DOCX)),
            &format!("issuer {ORIGIN_CA_NAME}; 200, the origin's bytes"),
            || {
                let issuer = issuer(lab, host)?;
                let reply = get(lab, host, DOCX)?;
                let holds = issuer.contains(ORIGIN_CA_NAME) && passed(&reply, host, DOCX);
                Ok((holds, format!("issuer: {issuer}; {}", summary(&reply))))
            },
        )?;
    }
    Ok(())
}

fn records(report: &mut Report, agent: &Agent<'_>) -> Result<()> {
    report.heading("portcullis activity");
    let table = agent.command(&["activity"])?;
    report.quote(&table.text());
    report.line(
        "every download is on record, with who, what and why",
        "portcullis activity --json",
        "blocked, passed and monitored downloads; the metrics count the same",
        || {
            let mut holds = table.code == Some(0);
            let mut seen = Vec::new();
            for (app, action) in [("corp-files", "block"), ("memo", "monitor")] {
                let filters = ["--type", "download", "--app", app, "--action", action, "--limit", "1000"];
                let records = agent.activities(&filters)?.len();
                let labels = [("app", app), ("type", "download"), ("action", action)];
                let counted = agent.metric("portcullis_activities_total", &labels)?;
                holds &= records > 0 && counted == records as f64;
                seen.push(format!("{app} {action}: {records} on record, {counted} counted"));
            }
            Ok((holds, seen.join("; ")))
        },
    )?;

    report.heading("GET /metrics, the key lines");
    const KEY: [&str; 9] = [
        "portcullis_connections_total",
        "portcullis_requests_total",
        "portcullis_activities_total",
        "portcullis_decisions_total",
        "portcullis_bytes_total",
        "portcullis_tls_handshakes_total",
        "portcullis_certificates_minted_total",
        "portcullis_activity_log_lost_total",
        "portcullis_device_compliant",
    ];
    let page = agent.metrics()?;
    let lines: Vec<&str> = page.lines().filter(|line| KEY.iter().any(|key| line.starts_with(key))).collect();
    report.quote(&lines.join("\n"));
    Ok(())
}

pub(super) fn url(host: &str, resource: Resource) -> String {
    format!("https://{host}{}", resource.path)
}

/// What the user must read.
pub(super) fn text(resource: Resource) -> String {
    let name = resource.file_name.unwrap_or_default();
    format!("Download blocked. Downloading {name} is blocked by your organization's security policy.")
}

fn get(lab: &Lab, host: &str, resource: Resource) -> Result<Reply> {
    Curl::get(url(host, resource)).send(lab)
}

fn passed(reply: &Reply, host: &str, resource: Resource) -> bool {
    reply.status == 200 && reply.body == resource.body(host)
}

fn blocked(reply: &Reply, resource: Resource) -> bool {
    reply.status == 403 && reply.text().contains(&text(resource))
}

fn summary(reply: &Reply) -> String {
    format!(
        "{}, {} bytes of {}",
        reply.status,
        reply.body.len(),
        reply.header("content-type").unwrap_or("no type")
    )
}
