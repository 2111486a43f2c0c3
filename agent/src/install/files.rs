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
pub const FILES: [File; 20] = [
    plain(
        "/usr/share/portcullis/schemas/activity.schema.json",
        include_str!("../../../packaging/schemas/activity.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/apps.schema.json",
        include_str!("../../../packaging/schemas/apps.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/explain.schema.json",
        include_str!("../../../packaging/schemas/explain.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/policies.schema.json",
        include_str!("../../../packaging/schemas/policies.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/portcullis.schema.json",
        include_str!("../../../packaging/schemas/portcullis.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/what-if.schema.json",
        include_str!("../../../packaging/schemas/what-if.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/app-list.schema.json",
        include_str!("../../../packaging/schemas/app-list.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/doctor.schema.json",
        include_str!("../../../packaging/schemas/doctor.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/policy.schema.json",
        include_str!("../../../packaging/schemas/policy.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/replay.schema.json",
        include_str!("../../../packaging/schemas/replay.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/schemas/status.schema.json",
        include_str!("../../../packaging/schemas/status.schema.json"),
    ),
    plain(
        "/usr/share/portcullis/grafana/portcullis.json",
        include_str!("../../../packaging/grafana/portcullis.json"),
    ),
    plain(
        "/usr/share/portcullis/prometheus/portcullis.rules.yml",
        include_str!("../../../packaging/prometheus/portcullis.rules.yml"),
    ),
    plain(
        "/usr/lib/systemd/system/portcullis.service",
        include_str!("../../../packaging/portcullis.service"),
    ),
    plain(
        "/usr/lib/systemd/system/portcullis-signer.service",
        include_str!("../../../packaging/portcullis-signer.service"),
    ),
    plain(
        "/usr/lib/systemd/system/portcullis-signer.socket",
        include_str!("../../../packaging/portcullis-signer.socket"),
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

/// Directories that come and go with the files, outermost first.
pub const DIRECTORIES: [&str; 7] = [
    "/etc/portcullis",
    "/etc/portcullis/policies.d",
    "/etc/portcullis/apps.d",
    "/usr/share/portcullis",
    "/usr/share/portcullis/schemas",
    "/usr/share/portcullis/grafana",
    "/usr/share/portcullis/prometheus",
];
