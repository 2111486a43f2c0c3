//! What an app's requests look like: rules over method, host, path and query, and the status of the answer, that name the
//! activity.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::glob::Glob;
use crate::classify::ActivityType;

/// One `[[app.activity]]`. Each part that is given must match; within a part one of the alternatives suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRule {
    pub activity: ActivityType,
    /// Methods, upper case; empty: any.
    pub methods: Vec<Arc<str>>,
    /// Host globs; empty: any host of the app.
    pub hosts: Vec<Glob>,
    /// Path globs, matched without the query and with percent-encoding undone; empty: any.
    pub paths: Vec<Glob>,
    /// Query parameters that must all be there.
    pub query: Vec<QueryParameter>,
    /// Statuses of the response; empty: any.
    pub statuses: Vec<RangeInclusive<u16>>,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// Lower case, no port.
    pub host: &'a str,
    /// Without query.
    pub path: &'a str,
    /// Without the `?`.
    pub query: Option<&'a str>,
    /// Of the response; absent while there is none, and then every rule on statuses may still match.
    pub status: Option<u16>,
}

/// A query parameter and the globs of which its value must match one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryParameter {
    pub name: Arc<str>,
    pub values: Vec<Glob>,
}

impl ActivityRule {
    /// Nothing is allocated.
    pub fn matches(&self, asked: &Asked<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|m| m.eq_ignore_ascii_case(asked.method)))
            && (self.hosts.is_empty() || self.hosts.iter().any(|g| g.matches_encoded(asked.host)))
            && (self.paths.is_empty() || self.paths.iter().any(|g| g.matches_encoded(asked.path)))
            && self.query.iter().all(|parameter| parameter.matches(asked.query.unwrap_or_default()))
            && (self.statuses.is_empty()
                || asked
                    .status
                    .is_none_or(|status| self.statuses.iter().any(|range| range.contains(&status))))
    }

    /// How much the rule fixes; of two rules that match, the one that fixes more says what the request is.
    pub(super) fn specificity(&self) -> usize {
        let least = |globs: &[Glob]| globs.iter().map(Glob::specificity).min().unwrap_or(0);
        let query: usize = self.query.iter().map(|p| p.name.len() + least(&p.values)).sum();
        // A rule that fixes the status as well says more than the same one without.
        let status = if self.statuses.is_empty() { 0 } else { 3 };
        least(&self.hosts) + least(&self.paths) + query + status
    }
}

impl QueryParameter {
    fn matches(&self, query: &str) -> bool {
        query.split('&').any(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            name.eq_ignore_ascii_case(&self.name)
                && self.values.iter().any(|glob| glob.matches_encoded(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> ActivityRule {
        ActivityRule {
            activity: ActivityType::Download,
            methods: vec!["GET".into(), "HEAD".into()],
            hosts: vec![Glob::octets("mail*.corp.test").unwrap()],
            paths: vec![Glob::octets("/mail/*").unwrap()],
            query: vec![
                QueryParameter { name: "view".into(), values: vec![Glob::octets("att").unwrap()] },
                QueryParameter {
                    name: "disp".into(),
                    values: vec![Glob::octets("attd").unwrap(), Glob::octets("z*").unwrap()],
                },
            ],
            statuses: vec![200..=299, 304..=304],
        }
    }

    #[track_caller]
    fn check(method: &str, host: &str, path: &str, query: Option<&str>, expected: bool) {
        let asked = Asked { method, host, path, query, status: Some(200) };
        assert_eq!(rule().matches(&asked), expected);
        assert_eq!(rule().matches(&Asked { status: Some(304), ..asked }), expected);
        assert_eq!(rule().matches(&Asked { status: None, ..asked }), expected);
        assert!(!rule().matches(&Asked { status: Some(302), ..asked }));
    }

    #[test]
    fn every_part_must_match_and_one_alternative_suffices() {
        check("GET", "mail.corp.test", "/mail/u/0/", Some("ui=2&view=att&disp=attd"), true);
        check("head", "MAIL2.corp.test", "/Mail/x", Some("disp=zip&VIEW=%61tt"), true);
        check("POST", "mail.corp.test", "/mail/u/0/", Some("view=att&disp=attd"), false);
        check("GET", "files.corp.test", "/mail/u/0/", Some("view=att&disp=attd"), false);
        check("GET", "mail.corp.test", "/files/u/0/", Some("view=att&disp=attd"), false);
        check("GET", "mail.corp.test", "/mail/u/0/", Some("view=att&disp=inline"), false);
        check("GET", "mail.corp.test", "/mail/u/0/", Some("disp=attd"), false);
        check("GET", "mail.corp.test", "/mail/u/0/", None, false);
    }
}
