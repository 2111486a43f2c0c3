//! Embeds the kernel object when one has been built, so that a plain `cargo build` never needs the BPF toolchain.

use std::path::{Path, PathBuf};
use std::{env, fs};

const OBJECT_VARIABLE: &str = "PORTCULLIS_EBPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    if env::var_os("CARGO_FEATURE_DAEMON").is_none() {
        return;
    }
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let object = match env::var_os(OBJECT_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => workspace.join("target/ebpf/portcullis.o"),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let into = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("portcullis.o");
    match fs::read(&object) {
        Ok(bytes) => fs::write(&into, bytes).expect("writing to OUT_DIR"),
        Err(_) => {
            println!(
                "cargo::warning=built without the kernel programs ({} is not there): `cargo xtask build` makes them",
                object.display()
            );
            fs::write(&into, []).expect("writing to OUT_DIR");
        }
    }
}
