//! The clock of the kernel programs.
#![allow(unsafe_code, reason = "the standard library does not show the monotonic clock as a number")]

/// Nanoseconds of CLOCK_MONOTONIC, as bpf_ktime_get_ns() counts them. Zero, which is before everything, when the kernel
/// has no such clock.
pub(super) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the structure it is given, which lives for the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) } != 0 {
        return 0;
    }
    u64::try_from(now.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}
