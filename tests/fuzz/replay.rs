//! Every kept input through its target, without a fuzzer: what was once interesting, or broke something, stays so.

mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use targets::TARGETS;

/// Bytes that the corpora together may have in the tree.
const CORPUS_BYTES: u64 = 4 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// Paths below a directory, in an order that does not depend on the file system.
fn sorted(directory: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_input_holds_what_its_target_promises() {
    let mut bytes = 0;
    for (name, entry) in TARGETS {
        let inputs = sorted(&corpus().join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for path in inputs {
            let input = fs::read(&path).unwrap();
            bytes += input.len() as u64;
            // The panic's own message does not say which input it was.
            let held = std::panic::catch_unwind(|| entry(&input));
            assert!(held.is_ok(), "{} breaks a promise of {name}", path.display());
        }
    }
    assert!(bytes <= CORPUS_BYTES, "the corpora have grown to {bytes} bytes: `cargo xtask fuzz --minimise`");
}

#[test]
fn every_corpus_has_a_target() {
    for directory in sorted(&corpus()) {
        let name = directory.file_name().unwrap().to_str().unwrap();
        assert!(TARGETS.iter().any(|(known, _)| *known == name), "no target reads {}", directory.display());
    }
}
