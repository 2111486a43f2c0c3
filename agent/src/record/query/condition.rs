//! Filters, as SQL conditions with bound values that a record must meet, and as what its columns are asked for.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use memchr::memmem::Finder;
use rusqlite::types::Value;

use super::Filter;
use super::file_name::{Pattern, like};
use crate::record::segments::Kind;
use crate::record::store::address_bytes;

/// A condition in SQL with the values bound to it. No text of the user ever becomes SQL.
#[derive(Debug, Clone)]
pub(super) struct Where {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
    /// What the columns say of it, the cheapest first: records that fail one of them do not meet the condition.
    pub(super) tests: Vec<Test>,
    /// Microseconds since 1970 that are part of it, both included.
    pub(super) since: i64,
    pub(super) until: i64,
}

/// Some column has what is wanted of it.
#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) any: Vec<(Kind, Wanted)>,
}

/// What is wanted of a column's value.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Is(Box<Finder<'static>>),
    /// An address of the family of both, between them.
    Network {
        first: Vec<u8>,
        last: Vec<u8>,
    },
    Name(Pattern),
}

impl Wanted {
    pub(super) fn is(value: &[u8]) -> Self {
        Self::Is(Box::new(Finder::new(value).into_owned()))
    }
}

impl Where {
    /// No more than this.
    pub(super) fn only(sql: &str, values: Vec<Value>) -> Self {
        Self { sql: sql.to_owned(), values, tests: Vec::new(), since: i64::MIN, until: i64::MAX }
    }

    /// A column has this value.
    pub(super) fn has(kind: Kind, value: &str) -> Self {
        let mut wanted = Self::only("TRUE", Vec::new());
        wanted.is(kind, value);
        wanted
    }

    pub(super) fn of(filter: &Filter) -> Self {
        let mut wanted = Self::only("TRUE", Vec::new());
        if let Some(kind) = filter.kind {
            wanted.is(Kind::Type, kind.name());
        }
        if let Some(action) = filter.action {
            wanted.is(Kind::Action, action.name());
        }
        if let Some(app) = &filter.app {
            let either = format!("({} = ? OR {} = ?)", Kind::App.sql(), Kind::Suite.sql());
            wanted.and(&either, [app.clone().into(), app.clone().into()]);
            wanted.test([Kind::App, Kind::Suite].map(|kind| (kind, Wanted::is(app.as_bytes()))));
        }
        if let Some(policy) = &filter.policy {
            wanted.is(Kind::Policy, policy);
        }
        if let Some(device) = &filter.device {
            wanted.is(Kind::Device, device);
        }
        match filter.user.as_ref().map(|user| (user, user.parse::<u32>())) {
            Some((user, Ok(uid))) => {
                let uid = i64::from(uid);
                let either = format!("({} = ? OR {} = ?)", Kind::User.sql(), Kind::Uid.sql());
                wanted.and(&either, [user.clone().into(), uid.into()]);
                wanted.test([
                    (Kind::User, Wanted::is(user.as_bytes())),
                    (Kind::Uid, Wanted::is(&uid.to_be_bytes())),
                ]);
            }
            Some((user, Err(_))) => wanted.is(Kind::User, user),
            None => {}
        }
        if let Some(network) = filter.network {
            let (first, last) = (address_bytes(network.network()), address_bytes(network.broadcast()));
            let length = i64::try_from(first.len()).unwrap_or(0);
            wanted.and(
                "length(client_ip) = ? AND client_ip BETWEEN ? AND ?",
                [length.into(), first.clone().into(), last.clone().into()],
            );
            let one = first == last;
            wanted.test([(
                Kind::Address,
                if one { Wanted::is(&first) } else { Wanted::Network { first, last } },
            )]);
        }
        wanted.within(
            filter.since.map_or(i64::MIN, micros_up),
            filter.until.map_or(i64::MAX, |until| until.as_microsecond()),
        );
        if let Some(file) = &filter.file {
            wanted.and("file LIKE ? ESCAPE '\\'", [like(file).into()]);
            wanted.test([(Kind::File, Wanted::Name(Pattern::new(file)))]);
        }
        wanted
    }

    /// Microseconds since 1970, both included.
    pub(super) fn within(&mut self, since: i64, until: i64) {
        (self.since, self.until) = (since, until);
        if since > i64::MIN {
            self.and("time >= ?", [since.into()]);
        }
        if until < i64::MAX {
            self.and("time <= ?", [until.into()]);
        }
    }

    pub(super) fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn is(&mut self, kind: Kind, value: &str) {
        self.and(&format!("{} = ?", kind.sql()), [value.to_owned().into()]);
        self.test([(kind, Wanted::is(value.as_bytes()))]);
    }

    fn test<const N: usize>(&mut self, any: [(Kind, Wanted); N]) {
        self.tests.push(Test { any: any.into() });
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
