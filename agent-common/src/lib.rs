//! What the kernel programs and the agent both say: layouts, counters, limits, and the parsers they share.
//!
//! `no_std`, no allocation, no policy, no HTTP. The very same parser code runs in the kernel, in unit tests and under
//! the fuzzer, because it reads from a [`byte_source::ByteSource`].
#![no_std]

pub mod abi;
pub mod byte_source;
pub mod client_hello;
pub mod counter;
pub mod dns;
pub mod domain;
pub mod first_words;
pub mod limits;
pub mod name;
