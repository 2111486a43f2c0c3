//! Ctrl-C and its like as a flag, so that a run ends the ordinary way and everything it made is removed.

use std::sync::atomic::{AtomicBool, Ordering};

static PENDING: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP only set the flag; waits fail when it is set.
#[allow(unsafe_code, reason = "the standard library has no signals")]
pub fn install() {
    extern "C" fn note(_signal: libc::c_int) {
        PENDING.store(true, Ordering::SeqCst);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores into an atomic, which is async-signal-safe.
        unsafe {
            libc::signal(signal, note as extern "C" fn(libc::c_int) as libc::sighandler_t);
        }
    }
}

/// Whether one of those signals has come.
pub fn pending() -> bool {
    PENDING.load(Ordering::SeqCst)
}
