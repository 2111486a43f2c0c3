//! Micro-benchmarks: nothing to link, the benches are the targets.
