//! `[limits]`: what one peer may ask for and how long it may take, and the memory of all, each bound with the range it
//! can be set to.

use std::time::Duration;

use crate::document::{Fault, Table, Value, parse_duration, parse_size};
use crate::http::h1::MAX_FIELDS;
use crate::http::{h1, h2};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// The bounds of an inspected connection, and that of all. One that begins takes those in force, and keeps them to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Octets of anonymous memory of the whole process; `None`: as much as the cgroup or the machine gives.
    pub memory: Option<u64>,
    pub http1: h1::Limits,
    pub http2: h2::Limits,
    pub timeouts: Timeouts,
}

/// The waits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Connecting to the origin; its TLS handshake has a deadline of its own.
    pub connect: Duration,
    /// From the first byte of a request head to its last.
    pub request_head: Duration,
    /// Between two requests on a connection.
    pub idle: Duration,
    /// For the head of a response once the request is sent.
    pub response_head: Duration,
    /// Without a byte moving in a body.
    pub stall: Duration,
    /// In which a client takes too little of what waits for it.
    pub unread: Duration,
    /// Time that the sender of a body is waited for before it has to keep to `body_rate`.
    pub body_grace: Duration,
    /// Octets a second: the least that a client sends of a request's body, or takes of what waits for it. 0: any.
    pub body_rate: u32,
    /// Without a byte moving where silence is part of the purpose: upgraded and untouched connections, gRPC.
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            response_head: Duration::from_secs(600),
            stall: Duration::from_secs(300),
            unread: Duration::from_secs(60),
            body_grace: Duration::from_secs(30),
            body_rate: 128,
            // As long as a NAT keeps an established connection (RFC 5382 section 5).
            tunnel: Duration::from_secs(2 * 3600 + 240),
        }
    }
}

/// How a bound is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    /// In octets.
    Size,
    /// In milliseconds.
    Time,
}

/// One key of a table `L`, and the range of its values.
struct Key<L> {
    name: &'static str,
    unit: Unit,
    least: u64,
    most: u64,
    set: fn(&mut L, u64),
    get: fn(&L) -> u64,
}

/// A number in its unit as the place of a bound has it.
trait Amount: Copy {
    /// Within the key's range, which fits.
    fn of(number: u64) -> Self;
    fn number(self) -> u64;
}

macro_rules! amounts {
    ($($integer:ty),*) => {$(
        impl Amount for $integer {
            fn of(number: u64) -> Self {
                Self::try_from(number).unwrap_or(Self::MAX)
            }
            fn number(self) -> u64 {
                u64::try_from(self).unwrap_or(u64::MAX)
            }
        }
    )*};
}
amounts!(u16, u32, usize);

impl Amount for Option<u64> {
    fn of(number: u64) -> Self {
        Some(number)
    }

    fn number(self) -> u64 {
        self.unwrap_or(0)
    }
}

impl Amount for Duration {
    fn of(number: u64) -> Self {
        Self::from_millis(number)
    }

    fn number(self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }
}

/// `unit name, least to most`: a key has the name of its place.
macro_rules! keys {
    ($($unit:ident $name:ident, $least:expr, $most:expr;)*) => {
        [$(Key {
            name: stringify!($name),
            unit: Unit::$unit,
            least: $least,
            most: $most,
            set: |limits, number| limits.$name = Amount::of(number),
            get: |limits| limits.$name.number(),
        }),*]
    };
}

/// Most field lines that can be allowed.
const FIELDS: u64 = MAX_FIELDS as u64;

static WHOLE: [Key<Limits>; 1] = keys! {
    Size memory, 16 * MIB, 1024 * GIB;
};

/// Heads and trailer sections are read in one buffer (`proxy::buffer`), which has room for 64 KiB and a record.
static HTTP1: [Key<h1::Limits>; 8] = keys! {
    Size head_bytes, 8 * KIB, 64 * KIB;
    Size request_line, KIB, 32 * KIB;
    Count fields, 16, FIELDS;
    Size trailer_bytes, KIB, 64 * KIB;
    Count trailer_fields, 1, FIELDS;
    Size chunk_extension, 16, 4 * KIB;
    Size chunk_extension_excess, KIB, MIB;
    Count interim_responses, 1, 100;
};

/// What is held has to have room for a frame, and for the window that every stream begins with.
static HTTP2: [Key<h2::Limits>; 24] = keys! {
    Count concurrent_streams, 1, 1000;
    Size header_list, 16 * KIB, 256 * KIB;
    Size header_block, 16 * KIB, 512 * KIB;
    Count fields, 16, FIELDS;
    Size target, KIB, 32 * KIB;
    Count continuations, 1, 100;
    Count interim_responses, 1, 100;
    Size held, 128 * KIB, 16 * MIB;
    Size answers, 64 * KIB, 16 * MIB;
    Size output, 64 * KIB, 16 * MIB;
    Count remembered_resets, 1, 10_000;
    Count resets_per_second, 1, 10_000;
    Count resets, 10, 1_000_000;
    Count early_resets, 1, 10_000;
    Count made_resets, 1, 10_000;
    Count pings_per_second, 1, 10_000;
    Count pings, 1, 1000;
    Count settings_per_second, 1, 1000;
    Count settings, 1, 100;
    Count empty_per_second, 1, 10_000;
    Count windows_per_second, 1, 10_000;
    Count priorities_per_second, 1, 10_000;
    Count glitches_per_second, 1, 10_000;
    Count turned_away_per_second, 1, 10_000;
};

static TIMEOUTS: [Key<Timeouts>; 9] = keys! {
    Time connect, SECOND, 300 * SECOND;
    Time request_head, SECOND, 600 * SECOND;
    Time idle, SECOND, HOUR;
    Time response_head, SECOND, DAY;
    Time stall, SECOND, DAY;
    Time unread, SECOND, DAY;
    Time body_grace, SECOND, HOUR;
    Count body_rate, 0, 64 * KIB;
    Time tunnel, SECOND, 7 * DAY;
};

const fn names<L, const N: usize>(keys: &[Key<L>; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = keys[at].name;
        at += 1;
    }
    names
}

const LIMITS_KEYS: &[&str] = &["memory", "http1", "http2", "timeouts"];
static HTTP1_KEYS: [&str; HTTP1.len()] = names(&HTTP1);
static HTTP2_KEYS: [&str; HTTP2.len()] = names(&HTTP2);
static TIMEOUTS_KEYS: [&str; TIMEOUTS.len()] = names(&TIMEOUTS);

/// Reads `[limits]`.
pub(super) fn limits(root: &Table<'_>) -> Limits {
    let table = root.table("limits", LIMITS_KEYS);
    let mut limits = Limits::default();
    set_all(&table, &WHOLE, &mut limits);
    let http1 = table.table("http1", &HTTP1_KEYS);
    set_all(&http1, &HTTP1, &mut limits.http1);
    no_more(&http1, &HTTP1, &limits.http1, "request_line", "head_bytes");
    let http2 = table.table("http2", &HTTP2_KEYS);
    set_all(&http2, &HTTP2, &mut limits.http2);
    for (part, whole) in [
        ("target", "header_list"),
        ("header_list", "header_block"),
        ("concurrent_streams", "remembered_resets"),
        ("resets_per_second", "resets"),
    ] {
        no_more(&http2, &HTTP2, &limits.http2, part, whole);
    }
    set_all(&table.table("timeouts", &TIMEOUTS_KEYS), &TIMEOUTS, &mut limits.timeouts);
    limits
}

fn set_all<L>(table: &Table<'_>, keys: &'static [Key<L>], limits: &mut L) {
    for key in keys {
        if let Some(number) = table.get(key.name).and_then(|value| read(&value, key)) {
            (key.set)(limits, number);
        }
    }
}

/// The number that a value of the key stands for, within the key's range.
fn read<L>(value: &Value<'_>, key: &Key<L>) -> Option<u64> {
    let (unit, range) = (key.unit, key.least..=key.most);
    let within = |number: u64| {
        let (least, most) = (shown(unit, key.least), shown(unit, key.most));
        let outside = || Fault::new(format!("must lie between {least} and {most}"));
        if range.contains(&number) { Ok(number) } else { Err(outside()) }
    };
    match unit {
        Unit::Count => value.integer(range),
        Unit::Size => value.parse(|text| within(parse_size(text)?)),
        Unit::Time => value.parse(|text| within(parse_duration(text)?.number())),
    }
}

/// A bound as the file would have it, in the largest unit that leaves no rest.
fn shown(unit: Unit, number: u64) -> String {
    let units: &[(u64, &str)] = match unit {
        Unit::Count => &[],
        Unit::Size => &[(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")],
        Unit::Time => &[(DAY, "d"), (HOUR, "h"), (60 * SECOND, "m"), (SECOND, "s"), (1, "ms")],
    };
    match units.iter().find(|(factor, _)| number >= *factor && number.is_multiple_of(*factor)) {
        Some((factor, name)) => format!("{}{name}", number / factor),
        None => number.to_string(),
    }
}

/// Complains where a part may be more than its whole: the key that does not hold what it says would mislead.
fn no_more<L>(table: &Table<'_>, keys: &[Key<L>], limits: &L, part: &'static str, whole: &'static str) {
    let find = |name| keys.iter().find(|key| key.name == name).map(|key| (key.unit, (key.get)(limits)));
    let (Some((unit, lesser)), Some((_, greater))) = (find(part), find(whole)) else { return };
    if lesser > greater
        && let Some(value) = table.get(part).or_else(|| table.get(whole))
    {
        let (lesser, greater) = (shown(unit, lesser), shown(unit, greater));
        let fault = Fault::new(format!("`{part}` must not be more than `{whole}`"));
        value.complain(fault.help(format!("they are {lesser} and {greater}")));
    }
}

#[cfg(test)]
mod tests;
