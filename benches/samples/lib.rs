//! Inputs of the micro-benchmarks, made once and of the size that real traffic has. No measuring here.

pub mod http;
pub mod http2;
pub mod policies;
pub mod wire;
