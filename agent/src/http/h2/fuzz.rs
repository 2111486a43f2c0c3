//! Entry points for fuzzers and property tests. Not on the data path.
