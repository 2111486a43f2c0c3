//! Who is refused by the permissions of a file: told to the system's log by the command itself, as the daemon never sees
//! who cannot open its socket.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::printable;

/// Where journald and syslog daemons listen; journald adds who it was by itself.
const LOG: &str = "/dev/log";
/// Facility authpriv, severity warning (RFC 5424 section 6.2.1).
const PRIORITY: u8 = 10 * 8 + 4;

/// Says it as far as somebody listens; the command fails either way.
pub fn note(path: &Path) {
    let text = format!(
        "<{PRIORITY}>portcullis[{}]: refused: uid {} has no permission for {}",
        std::process::id(),
        nix::unistd::getuid(),
        printable::clean(&path.display().to_string()),
    );
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(text.as_bytes(), LOG)
    });
}
