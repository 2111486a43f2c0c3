//! Kernel releases, and the oldest that is supported.

/// The oldest series on which the programs were loaded and seen to steer (`cargo xtask vm-test`).
///
/// An older number alone refuses nobody: distributions carry features back (RHEL 9 calls its kernel 5.14). There the
/// programs themselves are asked, by loading them.
pub const OLDEST: Release = Release { major: 6, minor: 1 };

/// First two numbers of `uname -r`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    pub major: u32,
    pub minor: u32,
}

impl Release {
    /// Reads `6.1.0-56-cloud-amd64` and the like; `None` when it does not begin with two numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, rest) = text.trim().split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self { major: major.parse().ok()?, minor: rest.get(..digits)?.parse().ok()? })
    }

    pub fn is_supported(self) -> bool {
        self >= OLDEST
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
