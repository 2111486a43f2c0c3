//! Filters as SQL conditions with bound values.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::types::Value;

use super::Filter;
use crate::record::store::address_bytes;

/// A condition in SQL with the values bound to it. No text of the user ever becomes SQL.
#[derive(Debug, Clone)]
pub(super) struct Where {
    /// Each served by an index of its own, whose entries lie in the order of time.
    pub(super) keys: Vec<Key>,
    /// What an index holds side by side, but not in the order of time.
    pub(super) ranges: Vec<Range>,
    /// What else must hold, `ranges` included.
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// `column = value`.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) index: &'static str,
    column: &'static str,
    collation: &'static str,
    pub(super) value: Value,
}

impl Key {
    /// With a place for the value.
    pub(super) fn condition(&self, table: &str) -> String {
        format!("{table}.{} = ?{}", self.column, self.collation)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) index: &'static str,
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value>,
}

impl Where {
    /// No more than this.
    pub(super) fn only(sql: &str, values: Vec<Value>) -> Self {
        Self { keys: Vec::new(), ranges: Vec::new(), sql: sql.to_owned(), values }
    }

    /// The filter as one condition.
    pub(super) fn of(filter: &Filter) -> Self {
        let mut wanted = Self::but_app(filter);
        if let Some(app) = &filter.app {
            wanted.and("(app = ? OR suite = ?)", [app.clone().into(), app.clone().into()]);
        }
        wanted
    }

    /// The filter as conditions of which each row meets one at most, and each of which one index serves: joined by OR they
    /// would all have to be sorted.
    pub(super) fn alternatives(filter: &Filter) -> Vec<Self> {
        let Some(app) = &filter.app else { return vec![Self::but_app(filter)] };
        let [mut by_app, mut by_suite] = [Self::but_app(filter), Self::but_app(filter)];
        by_app.key("activities_app", "app", app.clone().into());
        by_suite.key("activities_suite", "suite", app.clone().into());
        by_suite.and("app <> ?", [app.clone().into()]);
        vec![by_app, by_suite]
    }

    fn but_app(filter: &Filter) -> Self {
        let mut wanted = Self::only("TRUE", Vec::new());
        if let Some(user) = &filter.user {
            match user.parse::<u32>() {
                Ok(uid) => wanted.and("(user = ? OR uid = ?)", [user.clone().into(), i64::from(uid).into()]),
                Err(_) => wanted.key("activities_user", "user", user.clone().into()),
            }
        }
        if let Some(kind) = filter.kind {
            wanted.key("activities_type", "type", kind.name().to_owned().into());
        }
        if let Some(action) = filter.action {
            wanted.key("activities_action", "action", action.name().to_owned().into());
        }
        if let Some(network) = filter.network {
            let (first, last) = (address_bytes(network.network()), address_bytes(network.broadcast()));
            let length = i64::try_from(first.len()).unwrap_or(0);
            if first == last {
                wanted.key("activities_ip", "client_ip", first.into());
            } else {
                wanted.range(
                    "activities_ip",
                    "length(client_ip) = ? AND client_ip BETWEEN ? AND ?",
                    vec![length.into(), first.into(), last.into()],
                );
            }
        }
        if let Some(device) = &filter.device {
            wanted.key("activities_device", "device", device.clone().into());
        }
        if let Some(since) = filter.since {
            wanted.and("time >= ?", [micros_up(since).into()]);
        }
        if let Some(until) = filter.until {
            wanted.and("time <= ?", [until.as_microsecond().into()]);
        }
        if let Some(policy) = &filter.policy {
            wanted.key("activities_policy", "policy", policy.clone().into());
        }
        if let Some(file) = filter.file.as_ref().filter(|file| !file.contains(['*', '?'])) {
            // The same letters as LIKE folds, and the index has them in this order.
            let value = file.clone().into();
            wanted.keys.push(Key {
                index: "activities_file",
                column: "file",
                collation: " COLLATE NOCASE",
                value,
            });
        } else if let Some(file) = &filter.file {
            wanted.range(
                "activities_file",
                "file IS NOT NULL AND file LIKE ? ESCAPE '\\'",
                vec![like(file).into()],
            );
        }
        wanted
    }

    pub(super) fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn key(&mut self, index: &'static str, column: &'static str, value: Value) {
        self.keys.push(Key { index, column, collation: "", value });
    }

    fn range(&mut self, index: &'static str, sql: &'static str, values: Vec<Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.extend(values.iter().cloned());
        self.ranges.push(Range { index, sql, values });
    }
}

/// Records carry whole microseconds: a bound between two of them begins at the later one.
pub(super) fn micros_up(time: Timestamp) -> i64 {
    let micros = time.as_microsecond();
    let exact = Timestamp::from_microsecond(micros).is_ok_and(|floor| floor >= time);
    if exact { micros } else { micros + 1 }
}

/// What a filter by address may be.
///
/// # Errors
/// What is expected, in words.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().map_err(|_| "expected an address or a network such as 10.0.0.0/8")?,
    };
    Ok(network.trunc())
}

/// `*.doc?` in the words of LIKE.
fn like(pattern: &str) -> String {
    let mut like = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '*' => like.push('%'),
            '?' => like.push('_'),
            '%' | '_' | '\\' => like.extend(['\\', c]),
            _ => like.push(c),
        }
    }
    like
}
