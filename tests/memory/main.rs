//! Real implementations of protocols against the pure half, in memory.

mod http2;
