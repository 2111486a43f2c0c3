//! The authority in the trust stores of this machine's real programs, in a copy of its /etc: believed by each of them
//! after `ca trust`, by none after `ca untrust`, and gone without a trace.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::left_out;

/// A copy of everything that `ca trust` and the tools behind it write to, put over the original for a script alone.
/// dpkg is among them: by its triggers Debian tells Java's keystore of the change.
const COPIES: &str = r#"
set -eu
program=$1 config=$2 scratch=$3
for directory in /etc /usr/local/share /var/lib/dpkg /var/lib/ca-certificates-java; do
    [ -d "$directory" ] || continue
    mkdir -p "$scratch$directory"
    cp -a "$directory/." "$scratch$directory/"
    mount --bind "$scratch$directory" "$directory"
done
"#;

const SCRIPT: &str = r#"
# A store that was not up to date would change by being brought up to date.
update-ca-certificates >/dev/null 2>&1
inventory() {
    find /etc /usr/local/share -xdev -printf '%p %y %m %u %g %l\n' | sort
    find /etc /usr/local/share -xdev -type f ! -path /etc/ssl/certs/java/cacerts -exec sha256sum {} + | sort
}
inventory > "$scratch/before"
"$program" ca init --config "$config" > /dev/null
"$program" ca trust --config "$config" >&2
"$program" ca trust --config "$config" >&2
"$program" ca status --json --config "$config" > "$scratch/status-trusted" || true
"$program" ca untrust --config "$config" >&2
"$program" ca status --json --config "$config" > "$scratch/status-after" || true
inventory > "$scratch/after"
"#;

/// What every machine that runs these tests has.
const ALWAYS: [&str; 4] = ["curl", "openssl", "python", "chromium"];

#[test]
fn every_installed_program_believes_the_authority_between_trust_and_untrust_and_nothing_is_left() {
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("portcullis.toml");
    let shown = scratch.path().display();
    fs::write(&config, format!("[paths]\nstate = \"{shown}/state\"\nrun = \"{shown}/run\"\n")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &[COPIES, SCRIPT].concat(), "sh"]);
    command.arg(lab::agent::binary().unwrap()).arg(&config).arg(scratch.path());
    let finished = lab::run(command, Duration::from_secs(600)).unwrap().succeeded().unwrap();

    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap();
    let verdicts = |name: &str| -> Vec<(String, String)> {
        let answer: Value = serde_json::from_str(&read(name)).unwrap();
        let clients = answer["clients"].as_array().unwrap();
        let text = |client: &Value, key: &str| client[key].as_str().unwrap().to_owned();
        clients.iter().map(|client| (text(client, "client"), text(client, "verdict"))).collect()
    };
    for (name, wanted) in [("status-trusted", "trusts"), ("status-after", "refuses")] {
        for (client, verdict) in verdicts(name) {
            if verdict == "not-installed" && !ALWAYS.contains(&client.as_str()) {
                left_out(&format!("{client} is not installed: whether it believes the authority"));
            } else {
                assert_eq!(verdict, wanted, "{client}, {name}: {}\n{}", read(name), finished.stderr);
            }
        }
    }
    let (before, after) = (read("before"), read("after"));
    let gone: Vec<_> = before.lines().filter(|line| !after.contains(*line)).collect();
    let come: Vec<_> = after.lines().filter(|line| !before.contains(*line)).collect();
    assert_eq!((gone, come), (Vec::new(), Vec::new()), "{}", finished.stderr);
    assert!(!scratch.path().join("state/trust").exists());
}

/// The stores of the system alone, while curl asks a site of the authority's without a pause.
const ROTATION: &str = r#"
update-ca-certificates >/dev/null 2>&1
# Java's keystore dates its entries, so that it differs whenever it was written.
java=/etc/ssl/certs/java/cacerts
inventory() { find /etc /usr/local/share -xdev -type f ! -path "$java" -exec sha256sum {} + | sort; }
inventory > "$scratch/before"
"$program" ca init --config "$config" > /dev/null
"$program" ca trust --store system --config "$config" >&2
believes() { "$program" ca status --client curl --client openssl --json --config "$config" > "$scratch/$1"; }
ask() {
    while [ ! -e "$scratch/enough" ]; do
        if believes asked; then echo believed; else cat "$scratch/asked"; fi
    done > "$scratch/answers"
}
ask &
"$program" ca rotate --config "$config" > "$scratch/rotated"
believes during
[ "$(grep -c 'BEGIN CERTIFICATE' /etc/ssl/certs/ca-certificates.crt)" -gt 1 ]
"$program" ca rotate --finish --config "$config" > "$scratch/finished"
believes finished-status
touch "$scratch/enough"
wait
"$program" ca untrust --config "$config" >&2
inventory > "$scratch/after"
if [ -e "$java" ] && grep -q Portcullis "$java"; then echo "Java still has the authority" >&2; exit 1; fi
"#;

/// Another authority follows while clients go on asking: there is no moment at which the system's store has not the root
/// that is in force.
#[test]
fn a_rotation_is_believed_by_the_systems_store_all_along() {
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("portcullis.toml");
    let shown = scratch.path().display();
    fs::write(&config, format!("[paths]\nstate = \"{shown}/state\"\nrun = \"{shown}/run\"\n")).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "/bin/sh",
        "-c",
        &[COPIES, ROTATION].concat(),
        "sh",
    ]);
    command.arg(lab::agent::binary().unwrap()).arg(&config).arg(scratch.path());
    lab::run(command, Duration::from_secs(300)).unwrap().succeeded().unwrap();

    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap();
    let answers = read("answers");
    assert!(answers.lines().count() > 2, "{answers}");
    assert!(answers.lines().all(|line| line == "believed"), "{answers}");
    assert!(read("rotated").contains("Root to follow"), "{}", read("rotated"));
    assert!(!read("finished").contains("Root to follow"), "{}", read("finished"));
    let subject = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap()["subject"].clone();
    assert_ne!(subject("during"), subject("finished-status"));
    assert_eq!(read("before"), read("after"));
}
