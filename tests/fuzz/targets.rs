//! The table of fuzz targets: a name, which is also the directory of its corpus, and the function that takes the bytes.
//!
//! A new target is a line here. Its function panics when a promise of the parser is broken; it lives beside the parser,
//! or under `targets/` where the check takes a second implementation that the product must not carry.

mod client_hello;
mod dns;
mod exchange;
mod names;

use portcullis::classify::{fuzz_first_bytes, fuzz_form};
use portcullis::config::fuzz_config;
use portcullis::detect::fuzz_detect;
use portcullis::detect::scan::fuzz_scan;
use portcullis::http::content_disposition::fuzz_disposition;
use portcullis::http::h1::fuzz::{fuzz_chunked, fuzz_fields, fuzz_head};
use portcullis::http::h2::fuzz::{fuzz_hpack, fuzz_relay};

/// Takes any bytes; panics when a promise is broken.
pub type Entry = fn(&[u8]);

pub const TARGETS: &[(&str, Entry)] = &[
    ("h1_head", fuzz_head),
    ("h1_chunked", fuzz_chunked),
    ("h1_fields", fuzz_fields),
    ("h2_hpack", fuzz_hpack),
    ("h2_relay", fuzz_relay),
    ("disposition", fuzz_disposition),
    ("config", fuzz_config),
    ("detect", fuzz_detect),
    ("scan", fuzz_scan),
    ("client_hello", client_hello::fuzz_client_hello),
    ("dns_answer", dns::fuzz_dns_answer),
    ("host_pattern", names::fuzz_host_pattern),
    ("glob", names::fuzz_glob),
    ("first_bytes", fuzz_first_bytes),
    ("form", fuzz_form),
    ("exchange", exchange::fuzz_exchange),
    ("recorded", exchange::fuzz_recorded),
];
