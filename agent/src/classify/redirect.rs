//! Redirects from an app to storage that belongs to none, and the memory of who was led where.
//!
//! A signed address takes no cookie and no credentials, so the request that fetches the file shows nothing of the app that
//! handed it out. What shows it is the redirect before: for a while the target counts as the app's, for whom was led there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::HostPattern;
use crate::http::head::ResponseHead;
use crate::session::Whom;

/// Redirects remembered at a time. A further one pushes out what ends first.
pub const MAX_LEADS: usize = 4096;
/// How long a client may take from the redirect to the connection it leads to. Browsers take milliseconds, download
/// managers resume within minutes; signatures of most services hold longer.
pub const LEAD_LIFE: Duration = Duration::from_secs(300);

/// Whether browsers go where a response leads, and do not look at its body. Any other 3xx, or one without an address to go
/// to, is shown or saved like a 200.
pub fn leads_on(response: &ResponseHead) -> bool {
    matches!(response.status(), 301 | 302 | 303 | 307 | 308)
        && response.fields().get_all("location").any(|address| !address.trim_ascii().is_empty())
}

/// Host that a redirect leads to: lower case, no port, no trailing dot. `None` when it is none, or stays on `own`.
pub fn target(response: &ResponseHead, own: &str) -> Option<String> {
    if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let address = std::str::from_utf8(response.fields().get("location")?).ok()?.trim();
    // RFC 3986 section 4.2: without a scheme, an address that begins so names a host as well.
    let rest = match address.strip_prefix("//") {
        Some(rest) => rest,
        None => {
            let (scheme, rest) = address.split_once("://")?;
            ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)).then_some(rest)?
        }
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    match HostPattern::parse(host) {
        Ok(HostPattern::Exact(name)) if *name != *own => Some(name.to_string()),
        _ => None,
    }
}

/// The app that a client was led from, and until when that counts.
#[derive(Debug, Clone)]
struct Lead {
    app: Arc<str>,
    until: Instant,
}

/// Who was led where.
#[derive(Debug, Default)]
pub struct Leads {
    held: HashMap<(Whom, Box<str>), Lead>,
}

impl Leads {
    /// Remembers that `app` led `who` to `host` at `now`. A later app of the same client at the same host takes over.
    /// Returns a host that was pushed out, if nobody is led to it any more.
    pub fn note(&mut self, who: Whom, host: &str, app: &Arc<str>, now: Instant) -> Option<Box<str>> {
        let key = (who, Box::from(host));
        let full = self.held.len() >= MAX_LEADS && !self.held.contains_key(&key);
        let first = self.held.iter().filter(|_| full).min_by_key(|(_, lead)| lead.until);
        let first = first.map(|(key, _)| key.clone());
        if let Some(first) = &first {
            self.held.remove(first);
        }
        self.held.insert(key, Lead { app: app.clone(), until: now + LEAD_LIFE });
        let (_, left) = first?;
        (!self.held.keys().any(|(_, host)| *host == left)).then_some(left)
    }

    /// The id of the app that led `who` to `host`.
    pub fn find(&self, who: Whom, host: &str, now: Instant) -> Option<&Arc<str>> {
        let lead = self.held.get(&(who, Box::from(host)))?;
        (now < lead.until).then_some(&lead.app)
    }

    /// Forgets what has ended. Returns the hosts that nobody is led to any more.
    pub fn forget(&mut self, now: Instant) -> Vec<Box<str>> {
        let mut left: Vec<Box<str>> =
            self.held.extract_if(|_, lead| now >= lead.until).map(|((_, host), _)| host).collect();
        left.sort_unstable();
        left.dedup();
        let held: HashSet<&str> = self.held.keys().map(|(_, host)| &**host).collect();
        left.retain(|host| !held.contains(&**host));
        left
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Version;

    #[track_caller]
    fn check(status: u16, location: &str, expected: Option<&str>) {
        let response = ResponseHead::new(status, Version::Http11).with("Location", location);
        assert_eq!(target(&response, "files.corp.test").as_deref(), expected, "{status} {location}");
    }

    #[test]
    fn the_target_is_the_host_that_clients_go_to() {
        check(302, "https://b.storage.test/k?sig=x", Some("b.storage.test"));
        check(303, "HTTPS://B.Storage.Test.:443/k", Some("b.storage.test"));
        check(307, "//b.storage.test/k", Some("b.storage.test"));
        check(301, "http://user:pass@b.storage.test", Some("b.storage.test"));
        check(308, "https://b.storage.test?x=https://c.test/", Some("b.storage.test"));
        check(302, " https://b.storage.test#x ", Some("b.storage.test"));
        check(302, "https://files.corp.test/other", None);
        check(302, "/other", None);
        check(302, "other", None);
        check(302, "", None);
        check(302, "https://198.18.0.1/k", None);
        check(302, "https://[fd18::1]/k", None);
        check(302, "ftp://b.storage.test/", None);
        check(200, "https://b.storage.test/", None);
        check(304, "https://b.storage.test/", None);
    }

    #[test]
    fn a_lead_is_one_clients_for_a_while() {
        let (app, start) = (Arc::from("corp"), Instant::now());
        let mut leads = Leads::default();
        assert_eq!(leads.note(Whom::User(7), "b.test", &app, start), None);
        let at = |who, host, after| leads.find(who, host, start + after).map(|app| &**app);
        assert_eq!(at(Whom::User(7), "b.test", Duration::ZERO), Some("corp"));
        assert_eq!(at(Whom::User(7), "b.test", LEAD_LIFE - Duration::from_millis(1)), Some("corp"));
        assert_eq!(at(Whom::User(7), "b.test", LEAD_LIFE), None);
        assert_eq!(at(Whom::User(8), "b.test", Duration::ZERO), None);
        assert_eq!(at(Whom::User(7), "c.test", Duration::ZERO), None);
    }

    #[test]
    fn hosts_are_told_when_nobody_is_led_there_any_more() {
        let (app, start) = (Arc::from("corp"), Instant::now());
        let mut leads = Leads::default();
        leads.note(Whom::User(7), "a.test", &app, start);
        leads.note(Whom::User(8), "a.test", &app, start + Duration::from_secs(1));
        leads.note(Whom::User(7), "b.test", &app, start);
        assert_eq!(leads.forget(start + LEAD_LIFE), [Box::from("b.test")]);
        assert_eq!(leads.forget(start + LEAD_LIFE + Duration::from_secs(1)), [Box::from("a.test")]);
        assert!(leads.is_empty());
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_the_latest() {
        let (app, start) = (Arc::from("corp"), Instant::now());
        let mut leads = Leads::default();
        for number in 0..MAX_LEADS + 10 {
            let at = start + Duration::from_millis(number as u64);
            let out = leads.note(Whom::User(7), &format!("h{number}.test"), &app, at);
            let expected = number.checked_sub(MAX_LEADS).map(|first| format!("h{first}.test"));
            assert_eq!(out.as_deref(), expected.as_deref());
        }
        assert_eq!(leads.held.len(), MAX_LEADS);
        let find = |number: usize| leads.find(Whom::User(7), &format!("h{number}.test"), start);
        assert!(
            find(0).is_none() && find(9).is_none() && find(10).is_some() && find(MAX_LEADS + 9).is_some()
        );
    }
}
