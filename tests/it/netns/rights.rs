//! A8: who may ask the agent, read the log and change policies, and where a refusal is told.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use lab::agent::{Agent, Settings};
use lab::attachment::DOCX;
use lab::client::{Curl, python};
use lab::{Lab, NOBODY};

use super::{MONITORED, check_blocked, url};

/// Runs a command as the given user where somebody listens at /dev/log, and prints what arrived there.
const WITH_SYSLOG: &str = r#"
import ctypes, os, socket, subprocess, sys
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(CLONE_NEWNS) == 0
assert libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0
assert libc.mount(b"tmpfs", b"/dev", b"tmpfs", 0, None) == 0
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
os.chmod("/dev/log", 0o666)
ended = subprocess.run(sys.argv[2:], user=int(sys.argv[1]), group=65534, extra_groups=[], stdin=subprocess.PIPE, capture_output=True, text=True)
print(ended.returncode, ended.stdout, ended.stderr)
log.setblocking(False)
try:
    while True:
        print("told:", log.recv(4096).decode())
except BlockingIOError:
    pass
"#;

/// What the control socket says to who is not let in; he is told without being heard.
const ASK: &str = r#"
import socket, sys
ask = socket.socket(socket.AF_UNIX)
ask.settimeout(20)
try:
    ask.connect(sys.argv[1])
    print(ask.makefile().readline())
except PermissionError:
    print("kept out")
"#;

#[test]
fn ordinary_users_may_neither_ask_nor_read_nor_change_and_are_told_of() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    check_blocked(&Curl::get(url(MONITORED, DOCX)).send(&lab).unwrap(), DOCX);
    let binary = super::binary_for_everybody(&lab);
    let (binary, config) = (binary.to_str().unwrap(), agent.config());
    let home = config.parent().unwrap();

    for (command, what) in [
        (&["status"][..], "control.sock"),
        (&["reload"], "control.sock"),
        (&["apps"], "control.sock"),
        (&["activity"], "activity.db"),
        (&["explain", "00000000-0000-7000-8000-000000000000"], "activity.db"),
    ] {
        let user = NOBODY.to_string();
        let mut arguments = vec![user.as_str(), binary];
        arguments.extend(command);
        arguments.extend(["--config", config.to_str().unwrap()]);
        let seen = python(&lab, WITH_SYSLOG, &arguments, None).unwrap().succeeded().unwrap().text();
        assert!(seen.starts_with("1 "), "{command:?}: {seen}");
        assert!(seen.contains("no permission to"), "{command:?}: {seen}");
        let told = seen.lines().find(|line| line.starts_with("told: <84>portcullis["));
        let told = told.unwrap_or_else(|| panic!("{command:?}: nothing was told: {seen}"));
        assert!(told.contains(&format!("uid {user}")) && told.contains(what), "{command:?}: {told}");
    }

    // Nobody but root writes what decides.
    for path in ["portcullis.toml", "policies.d", "policies.d/10-downloads.toml", "apps.d"] {
        let found = fs::metadata(home.join(path)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o022), (0, 0), "{path}");
    }

    let socket = home.join("run/control.sock");
    let ask =
        || python(&lab, ASK, &[socket.to_str().unwrap()], Some(NOBODY)).unwrap().succeeded().unwrap().text();
    assert_eq!(ask().trim(), "kept out");
    // Where somebody opened the way, the agent itself refuses, and its log says whom.
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(ask().contains("not permitted"));
    let log = agent.log();
    let told = log.lines().find(|line| line.contains("refused a client of the control socket"));
    assert!(told.is_some_and(|line| line.contains(&format!("uid={NOBODY}"))), "{log}");
}
