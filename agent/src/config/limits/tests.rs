//! Every key of `[limits]`, the ends of its range, and what is said beyond them; the schema and the shipped file say the
//! same.

use serde_json::Value as Json;

use super::*;
use crate::config::{Config, parse};
use crate::diagnostic::SourceFile;

const SCHEMA: &str = include_str!("../../../../packaging/schemas/portcullis.schema.json");
const SHIPPED: &str = include_str!("../../../../packaging/portcullis.toml");

fn complaints(text: &str) -> Vec<String> {
    let found = parse(&SourceFile::new("p.toml", text)).err().unwrap_or_default();
    found.iter().map(|fault| fault.to_string()[7..].to_owned()).collect()
}

#[track_caller]
fn good(text: &str) -> Config {
    parse(&SourceFile::new("p.toml", text)).unwrap_or_else(|found| panic!("{text}\n{found:#?}"))
}

/// As a value of the key is written in the file.
fn written(unit: Unit, number: u64) -> String {
    if unit == Unit::Count { number.to_string() } else { format!("\"{}\"", shown(unit, number)) }
}

/// Table, name, unit, range, default, and where the bound is read from.
type Seen = (&'static str, &'static str, Unit, (u64, u64), u64, Box<dyn Fn(&Limits) -> u64>);

/// Every key of all tables.
fn all() -> Vec<Seen> {
    fn of<L: Default + 'static>(
        table: &'static str,
        keys: &'static [Key<L>],
        part: fn(&Limits) -> &L,
    ) -> impl Iterator<Item = Seen> {
        keys.iter().map(move |key| {
            let get: Box<dyn Fn(&Limits) -> u64> = Box::new(move |limits| (key.get)(part(limits)));
            let default = (key.get)(&L::default());
            (table, key.name, key.unit, (key.least, key.most), default, get)
        })
    }
    of("http1", &HTTP1, |limits| &limits.http1)
        .chain(of("http2", &HTTP2, |limits| &limits.http2))
        .chain(of("timeouts", &TIMEOUTS, |limits| &limits.timeouts))
        .collect()
}

#[test]
fn every_key_takes_the_ends_of_its_range_and_nothing_beyond() {
    for (table, name, unit, (least, most), default, get) in all() {
        assert!((least..=most).contains(&default), "{name}: the default is {default}");
        for number in [least, most] {
            let text = format!("[limits.{table}]\n{name} = {}", written(unit, number));
            // A bound may be more than another that is left at its default, and that alone is said then.
            let said = complaints(&text);
            if said.is_empty() {
                assert_eq!(get(&good(&text).limits), number, "{text}");
            }
            assert!(said.iter().all(|line| line.contains("must not be more than")), "{said:?}");
        }
        for number in [least.checked_sub(1), Some(most + 1)].into_iter().flatten() {
            let text = format!("[limits.{table}]\n{name} = {}", written(unit, number));
            let (least, most) = (shown(unit, least), shown(unit, most));
            let place = format!("2:{}: `limits.{table}.{name}`", name.len() + 4);
            assert_eq!(complaints(&text), [format!("{place}: must lie between {least} and {most}")]);
        }
    }
}

#[test]
fn bounds_that_contradict_each_other_are_named_at_the_key_that_was_set() {
    for (text, said) in [
        (
            "[limits.http1]\nhead_bytes = \"8KiB\"\nrequest_line = \"9KiB\"",
            "3:16: `limits.http1.request_line`: `request_line` must not be more than `head_bytes` (they are 9KiB and 8KiB)",
        ),
        (
            "[limits.http2]\nheader_block = \"32KiB\"",
            "2:16: `limits.http2.header_block`: `header_list` must not be more than `header_block` (they are 64KiB and 32KiB)",
        ),
        (
            "[limits.http2]\nconcurrent_streams = 600",
            "2:22: `limits.http2.concurrent_streams`: `concurrent_streams` must not be more than `remembered_resets` \
             (they are 600 and 512)",
        ),
        (
            "[limits.http2]\nresets = 50",
            "2:10: `limits.http2.resets`: `resets_per_second` must not be more than `resets` (they are 100 and 50)",
        ),
    ] {
        assert_eq!(complaints(text), [said]);
    }
    good("[limits.http2]\nconcurrent_streams = 600\nremembered_resets = 600");
}

#[test]
fn the_memory_of_all_is_bounded_where_a_setting_says_so() {
    assert_eq!(good("").limits.memory, None);
    assert_eq!(good("[limits]\nmemory = \"2GiB\"").limits.memory, Some(2 << 30));
    assert_eq!(good("[limits]\nmemory = \"16MiB\"").limits.memory, Some(16 << 20));
    for beyond in ["16777215B", "1025GiB"] {
        assert_eq!(
            complaints(&format!("[limits]\nmemory = \"{beyond}\"")),
            ["2:10: `limits.memory`: must lie between 16MiB and 1024GiB"]
        );
    }
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let said = schema["properties"]["limits"]["properties"]["memory"]["description"].as_str().unwrap();
    assert!(said.ends_with(": 16MiB to 1024GiB."), "{said}");
    assert!(SHIPPED.contains("memory = \"2GiB\"\n"));
}

#[test]
fn slips_are_told_with_what_was_meant() {
    for (text, said) in [
        ("[limits.http3]", "1:9: `limits.http3`: unknown key (did you mean `http1`?)"),
        ("[limits.http1]\nfeilds = 9", "2:1: `limits.http1.feilds`: unknown key (did you mean `fields`?)"),
        (
            "[limits.timeouts]\nstal = \"1s\"",
            "2:1: `limits.timeouts.stal`: unknown key (did you mean `stall`?)",
        ),
        (
            "[limits.timeouts]\nstall = 60",
            "2:9: `limits.timeouts.stall`: expected a string, found an integer",
        ),
        (
            "[limits.http1]\nfields = \"64\"",
            "2:10: `limits.http1.fields`: expected an integer, found a string",
        ),
        (
            "[limits.http2]\nheld = \"1M\"",
            "2:8: `limits.http2.held`: unknown unit of size \"M\" (did you mean `1MiB`?)",
        ),
    ] {
        assert_eq!(complaints(text), [said]);
    }
}

#[test]
fn the_schema_and_the_shipped_file_have_every_key_with_its_default() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let limits = &schema["properties"]["limits"]["properties"];
    for (table, name, unit, (least, most), default, _) in all() {
        let key = &limits[table]["properties"][name];
        let (least, most, default) = (shown(unit, least), shown(unit, most), written(unit, default));
        assert_eq!(key["default"].to_string(), default, "{table}.{name}");
        if unit == Unit::Count {
            assert_eq!((key["minimum"].to_string(), key["maximum"].to_string()), (least, most), "{name}");
        } else {
            let said = key["description"].as_str().unwrap_or_default();
            assert!(said.ends_with(&format!(": {least} to {most}.")), "{table}.{name}: {said}");
        }
        assert!(SHIPPED.contains(&format!("\n#{name} = {default}\n")), "{table}.{name} = {default}");
    }
    for (table, count) in [("http1", HTTP1.len()), ("http2", HTTP2.len()), ("timeouts", TIMEOUTS.len())] {
        assert_eq!(limits[table]["properties"].as_object().map(|keys| keys.len()), Some(count), "{table}");
    }
}
