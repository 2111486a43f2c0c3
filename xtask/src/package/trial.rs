//! The .deb in a Debian of its own, under its own systemd: installed, used, upgraded and purged in a virtual machine.
//!
//! debootstrap makes the system once and it is kept in the target directory. The guest lives in memory (`vm`), so every
//! trial begins with the same one; `trial.sh` runs there and says how it went.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Package, deb};
use crate::apt;
use crate::command::{run as run_command, say};
use crate::vm;
use crate::workspace::{is_root, plain};

/// The Debian that the package is tried in, and what it has beyond the least: what the package depends on, and what the
/// trial's origin is made of.
const SUITE: &str = "bookworm";
const INCLUDED: &str = "bpftool,ca-certificates,curl,dbus,dnsmasq-base,iproute2,kmod,nginx-light,openssl,procps,systemd,systemd-sysv";
/// Directories that no step of the trial reads; they would only fill the guest's memory.
const LEFT_OUT: [&str; 9] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/zoneinfo",
    "usr/lib/x86_64-linux-gnu/gconv",
    "var/lib/apt/lists",
    "var/cache/apt",
    "boot",
];
/// Longest that the trial may take in an emulated machine, on a busy host. Deadlines inside go by the guest's own clock.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// Starts the lines of the guest's script that count.
const SAID: &str = "trial: ";
const PASS: &str = "trial: PASS ";
/// What the guest runs.
const SCRIPT: &str = include_str!("trial.sh");

const APP: &str = "[[app]]\nid = \"corp-files\"\nname = \"Corp Files\"\ncategory = \"file-hosting\"\ndomains = [\"files.corp.test\"]\n";
const POLICY: &str = "[[policy]]\nname = \"Prevent downloads\"\nstate = \"enabled\"\n[policy.users]\ninclude = [\"all\"]\n\
    [policy.apps]\ninclude = [\"corp-files\"]\n[policy.session]\ncontrol = \"block-downloads\"\n";
const NGINX: &str = "user root;\npid /trial/nginx.pid;\nerror_log /trial/nginx.log;\nevents {}\nhttp {\n\
    include /etc/nginx/mime.types;\naccess_log off;\nserver {\nlisten 198.18.0.10:443 ssl;\nserver_name files.corp.test;\n\
    ssl_certificate /trial/site.pem;\nssl_certificate_key /trial/site.key;\nroot /trial/origin;\n\
    location = /report.docx { add_header Content-Disposition 'attachment; filename=\"report.docx\"'; }\n}\n}\n";
const SERVICE: &str = "[Unit]\nDescription=The trial\nAfter=network.target dbus.socket\n[Service]\nExecStart=/trial/trial.sh\n\
    StandardOutput=file:/dev/console\nStandardError=inherit\n[Install]\nWantedBy=multi-user.target\n";

/// Fails when a check did.
pub(super) fn run(package: &Package, first: &Path) -> Result<()> {
    ensure!(is_root(), "the trial takes root (debootstrap): run `cargo xtask package --test` as root");
    vm::setup()?;
    let second = deb::build(package, &format!("{}-2", package.version))?;
    let system = system(package)?;
    let directory = package.directory.join("trial");
    let overlay = overlay(&directory, &system, first, &second)?;

    let kernel = vm::oldest_kernel()?;
    let archive = directory.join("guest.cpio");
    let file = fs::File::create(&archive)?;
    let mut base = vm::tree(&system)?;
    base.retain(|path| !LEFT_OUT.iter().any(|part| path.starts_with(part)));
    vm::pack(&system, &base, &file)?;
    vm::pack(&overlay, &vm::tree(&overlay)?, &file)?;
    let initramfs = vm::with_modules(&archive, &kernel, &directory)?;
    say(format_args!("booting Debian {SUITE} with systemd on Linux {}", kernel.release));
    let lines = vm::boot(&kernel, &initramfs, DEADLINE)?;

    judge("the .deb", lines.iter().map(String::as_str), SCRIPT)
}

/// Prints what a script said, and fails unless every check that is in it passed.
pub(super) fn judge<'a>(what: &str, lines: impl Iterator<Item = &'a str>, script: &str) -> Result<()> {
    let said: Vec<&str> = lines.filter(|line| line.starts_with(SAID)).collect();
    let passed = said.iter().filter(|line| line.starts_with(PASS)).count();
    println!("\n{}", said.join("\n"));
    // Fewer mean that a check failed, or that the script did not get to its end.
    let checks = script.lines().filter(|line| line.starts_with("check '")).count();
    if passed != checks {
        bail!("package --test: {passed} of {checks} checks of {what} passed");
    }
    say(format_args!("package --test: {passed} checks of {what} passed"));
    Ok(())
}

/// The tree of a fresh system, made once.
pub(super) fn system(package: &Package) -> Result<PathBuf> {
    let kept = package.directory.join(SUITE);
    // What it was made with tells whether it is still what is wanted.
    let mark = package.directory.join(format!("{SUITE}.included"));
    if fs::read_to_string(&mark).is_ok_and(|text| text == INCLUDED) {
        return Ok(kept);
    }
    apt::ensure(
        &["debootstrap"],
        "try the package in a Debian of its own",
        "Remedy: install debootstrap by hand.",
    )?;
    if kept.exists() {
        fs::remove_dir_all(&kept).with_context(|| kept.display().to_string())?;
    }
    run_command(
        plain("debootstrap").args(["--variant=minbase", &format!("--include={INCLUDED}"), SUITE]).arg(&kept),
    )?;
    fs::write(mark, INCLUDED)?;
    Ok(kept)
}

/// What the trial adds to the system.
fn overlay(directory: &Path, system: &Path, first: &Path, second: &Path) -> Result<PathBuf> {
    let overlay = directory.join("overlay");
    let _ = fs::remove_dir_all(&overlay);
    let (trial, units) = (overlay.join("trial"), overlay.join("etc/systemd/system"));
    fs::create_dir_all(&trial)?;
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    fs::create_dir_all(overlay.join("usr/share/doc"))?;
    fs::create_dir_all(overlay.join("usr/share/man/man1"))?;
    for (file, text) in
        [("app.toml", APP), ("policy.toml", POLICY), ("nginx.conf", NGINX), ("trial.sh", SCRIPT)]
    {
        fs::write(trial.join(file), text)?;
    }
    fs::set_permissions(trial.join("trial.sh"), fs::Permissions::from_mode(0o755))?;
    fs::copy(first, trial.join("portcullis_1.deb"))?;
    fs::copy(second, trial.join("portcullis_2.deb"))?;
    certificates(&trial)?;
    fs::write(units.join("trial.service"), SERVICE)?;
    symlink("../trial.service", units.join("multi-user.target.wants/trial.service"))?;
    // Nobody logs in on the line that the results come out of, and the origin is the trial's own.
    for unit in ["serial-getty@ttyS0.service", "nginx.service"] {
        symlink("/dev/null", units.join(unit))?;
    }
    ensure!(system.join("usr/lib/systemd/systemd").exists(), "debootstrap made a system without systemd");
    symlink("usr/lib/systemd/systemd", overlay.join("init"))?;
    Ok(overlay)
}

/// The origin's authority and its certificate for the one site.
fn certificates(to: &Path) -> Result<()> {
    let openssl = |arguments: &[&str]| {
        run_command(
            plain("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
                .args(["-nodes", "-days", "30"])
                .args(arguments)
                .current_dir(to),
        )
    };
    openssl(&["-subj", "/CN=Trial origin CA", "-keyout", "origin-ca.key", "-out", "origin-ca.pem"])?;
    openssl(&[
        "-subj",
        "/CN=files.corp.test",
        "-addext",
        "subjectAltName=DNS:files.corp.test",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "extendedKeyUsage=serverAuth",
        "-CA",
        "origin-ca.pem",
        "-CAkey",
        "origin-ca.key",
        "-keyout",
        "site.key",
        "-out",
        "site.pem",
    ])
}
