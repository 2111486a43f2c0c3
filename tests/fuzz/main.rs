//! The fuzzer's program. `PORTCULLIS_FUZZ_TARGET` names the target; all arguments are libFuzzer's own.
#![no_main]

mod targets;

use std::sync::OnceLock;

use targets::{Entry, TARGETS};

const VARIABLE: &str = "PORTCULLIS_FUZZ_TARGET";

fn chosen() -> Entry {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    found.unwrap_or_else(|| panic!("{VARIABLE} is one of {}", names.join(", "))).1
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static ENTRY: OnceLock<Entry> = OnceLock::new();
    ENTRY.get_or_init(chosen)(data);
});
