//! The whole agent between real programs: root, network namespaces, a cgroup of its own. Each test has its own lab.

mod activities;
mod apps;
mod browser;
mod browser_notice;
mod browser_pages;
mod browser_restrictions;
mod browser_resumes;
mod browser_saves;
mod clear_text;
mod console;
mod content;
mod controls;
mod doctor;
mod durability;
mod enforcement;
mod equality;
mod existing;
mod explicit;
mod exports;
mod failure_modes;
mod forms;
mod gateway;
mod gateway_net;
mod guard;
mod hidden_codings;
mod hostile;
mod http2;
mod idle;
mod kernel_tls;
mod kinds_of_connect;
mod lifecycle;
mod limits;
mod looking;
mod memory;
mod monitoring;
mod odd_downloads;
mod odd_hellos;
mod policies;
mod quic_browser;
mod records;
mod redirects;
mod rights;
mod signer;
mod static_client;
mod steering;
mod tls_records;
mod trust;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lab::Lab;
use lab::attachment::Resource;
use lab::client::{Curl, Reply};

/// The site that the blocking policy covers.
const MONITORED: &str = "files.corp.test";
/// How many times tests that kill the agent do so.
const KILLS_VARIABLE: &str = "PORTCULLIS_TEST_KILLS";

/// A site that no app owns.
const UNMONITORED: &str = "other.example.test";
/// A site that no app owns, on an address of one that is monitored.
const SHARED: &str = "shared.test";

fn url(host: &str, resource: Resource) -> String {
    format!("https://{host}{}", resource.path)
}

/// A copy that every user can run, wherever the build is.
fn binary_for_everybody(lab: &Lab) -> PathBuf {
    let copy = lab.directory().join("portcullis");
    if !copy.exists() {
        // By another process: a descriptor of ours, open for writing, could slip into a child of another test and
        // keep the copy from being run.
        let mut install = std::process::Command::new("install");
        install.arg("--mode=755").arg(lab::agent::binary().unwrap()).arg(&copy);
        assert!(install.status().unwrap().success());
    }
    copy
}

/// The reply is the block answer for this file, and nothing of the file.
#[track_caller]
fn check_blocked(reply: &Reply, resource: Resource) {
    let name = resource.file_name.expect("a download has a name");
    let text = reply.text().replace("&#39;", "'").replace("&#x27;", "'").replace("&apos;", "'");
    let expected =
        format!("Download blocked. Downloading {name} is blocked by your organization's security policy.");
    assert_eq!(reply.status, 403, "{}: {text}", resource.path);
    assert!(text.contains(&expected), "{}: no block text in {text:?}", resource.path);
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{}", resource.path);
    assert!(reply.header("x-portcullis-activity").is_some_and(|id| id.len() == 36), "{:?}", reply.headers);
    assert_eq!(reply.header("content-disposition"), None, "{}", resource.path);
    let start = &resource.body("")[..64];
    assert!(
        !reply.body.windows(64).any(|window| window == start),
        "{}: bytes of the file passed",
        resource.path
    );
}

/// The reply is the origin's own, byte for byte, its headers included.
#[track_caller]
fn check_passed(reply: &Reply, host: &str, resource: Resource) {
    assert_eq!(reply.status, 200, "{host}{}: {}", resource.path, reply.text());
    assert_eq!(reply.header("content-type"), Some(resource.mime), "{host}{}", resource.path);
    assert_eq!(reply.header("content-disposition"), resource.disposition, "{host}{}", resource.path);
    assert_eq!(reply.header("server"), Some("nginx"), "{host}{}", resource.path);
    assert_eq!(reply.header("x-portcullis-activity"), None, "{host}{}", resource.path);
    assert!(reply.body == resource.body(host), "{host}{}: the bytes differ", resource.path);
}

/// Octets of memory that a process holds.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Says what this machine cannot show, past the harness, which keeps what a passing test prints to itself.
fn left_out(what: &str) {
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}

/// One request of a loop: when it began, and the status or what went wrong.
struct Seen {
    begun: Instant,
    result: Result<u16, String>,
}

/// Requests one after another until told to stop.
fn request_until(stop: &AtomicBool, lab: &Lab, requests: &[Curl<'_>]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for request in requests.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        let result = request.send(lab).map(|reply| reply.status).map_err(|error| format!("{error:#}"));
        seen.push(Seen { begun, result });
    }
    seen
}

/// Ends a loop when the test ends, also when it fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
