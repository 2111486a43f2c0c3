//! The files that belong to an installation, and where they go.

/// The program.
pub const PROGRAM: &str = "/usr/bin/portcullis";

/// Whose a file is once it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours: replaced by every installation.
    Plain,
    /// The administrator's: never overwritten, removed only while it is as it was installed, or by a purge.
    Configuration,
}

/// A file, carried in the program.
#[derive(Debug)]
pub struct File {
    pub path: &'static str,
    pub content: &'static str,
    pub kind: Kind,
}

const fn plain(path: &'static str, content: &'static str) -> File {
    File { path, content, kind: Kind::Plain }
}

const fn configuration(path: &'static str, content: &'static str) -> File {
    File { path, content, kind: Kind::Configuration }
}

/// Everything but the program, manual pages and completion scripts.
pub const FILES: [File; 5] = [
    plain(
        "/usr/lib/systemd/system/portcullis.service",
        include_str!("../../../packaging/portcullis.service"),
    ),
    plain(
        "/usr/lib/sysusers.d/portcullis.conf",
        include_str!("../../../packaging/sysusers.d/portcullis.conf"),
    ),
    plain(
        "/usr/lib/tmpfiles.d/portcullis.conf",
        include_str!("../../../packaging/tmpfiles.d/portcullis.conf"),
    ),
    configuration("/etc/portcullis/portcullis.toml", include_str!("../../../packaging/portcullis.toml")),
    configuration(
        "/etc/portcullis/policies.d/10-block-downloads-unmanaged.toml.sample",
        include_str!("../../../packaging/policies.d/10-block-downloads-unmanaged.toml.sample"),
    ),
];

/// Directories of the administrator's, outermost first.
pub const DIRECTORIES: [&str; 3] =
    ["/etc/portcullis", "/etc/portcullis/policies.d", "/etc/portcullis/apps.d"];
