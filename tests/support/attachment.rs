//! What the origin serves: pages, data and attachments of several types, with the file name a user should read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// One resource under every site of the lab.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// Path of the URL.
    pub path: &'static str,
    /// Media type that the origin declares.
    pub mime: &'static str,
    /// Content-Disposition as the origin sends it, in bytes of UTF-8.
    pub disposition: Option<&'static str>,
    /// The name under which a client would save it; absent where it is no download.
    pub file_name: Option<&'static str>,
    /// Bytes. Zero: text of its own.
    pub size: usize,
}

const fn attachment(
    path: &'static str,
    mime: &'static str,
    disposition: &'static str,
    file_name: &'static str,
    size: usize,
) -> Resource {
    Resource { path, mime, disposition: Some(disposition), file_name: Some(file_name), size }
}

const fn inline(path: &'static str, mime: &'static str) -> Resource {
    Resource { path, mime, disposition: None, file_name: None, size: 0 }
}

pub const PAGE: Resource = inline("/index.html", "text/html; charset=utf-8");
pub const DATA: Resource = inline("/api/list.json", "application/json");
pub const SCRIPT: Resource = inline("/app.js", "application/javascript");

pub const DOCX: Resource = attachment(
    "/content/report.docx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    r#"attachment; filename="report.docx""#,
    "report.docx",
    40_000,
);
pub const PDF: Resource = attachment(
    "/content/contract.pdf",
    "application/pdf",
    r#"attachment; filename="contract.pdf""#,
    "contract.pdf",
    70_000,
);
pub const ZIP: Resource = attachment(
    "/content/bundle.zip",
    "application/zip",
    "attachment; filename=bundle.zip",
    "bundle.zip",
    90_000,
);
pub const CSV: Resource = attachment(
    "/content/export?id=1",
    "text/csv; charset=utf-8",
    r#"attachment; filename="export.csv""#,
    "export.csv",
    20_000,
);
pub const OCTETS: Resource =
    attachment("/content/blob.bin", "application/octet-stream", "attachment", "blob.bin", 30_000);
pub const NO_EXTENSION: Resource =
    attachment("/content/raw/README", "text/plain", r#"attachment; filename="README""#, "README", 5_000);
pub const UNICODE: Resource = attachment(
    "/content/unicode",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    r#"attachment; filename="plan.xlsx"; filename*=UTF-8''na%C3%AFve%20plan%20%E2%82%AC.xlsx"#,
    "naïve plan €.xlsx",
    25_000,
);
/// Large enough that nothing could hold it in a buffer unnoticed.
pub const BIG: Resource = attachment(
    "/content/big.iso",
    "application/x-iso9660-image",
    r#"attachment; filename="big.iso""#,
    "big.iso",
    48 << 20,
);
/// The same size, but sent slowly: still under way while a test does something else.
pub const SLOW: Resource = attachment(
    "/content/slow.iso",
    "application/x-iso9660-image",
    r#"attachment; filename="slow.iso""#,
    "slow.iso",
    8 << 20,
);

pub const PASSING: [Resource; 3] = [PAGE, DATA, SCRIPT];
pub const DOWNLOADS: [Resource; 7] = [DOCX, PDF, ZIP, CSV, OCTETS, NO_EXTENSION, UNICODE];

/// Everything, for the origin's configuration.
pub(crate) fn all() -> impl Iterator<Item = Resource> {
    PASSING.into_iter().chain(DOWNLOADS).chain([BIG, SLOW])
}

impl Resource {
    /// Path without the query.
    fn file(&self) -> &'static str {
        self.path.split('?').next().unwrap_or(self.path)
    }

    /// Where it lies: with its site when it names the site, else with what all sites share.
    fn directory(&self, documents: &Path, host: &str) -> PathBuf {
        documents.join(if self.size == 0 { host } else { "shared" })
    }

    /// The body, byte for byte, as the origin sends it from the site `host`.
    pub fn body(&self, host: &str) -> Vec<u8> {
        match self.path {
            path if path == PAGE.path => format!(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{host}</title></head>\n\
                 <body><h1>Welcome to {host}</h1><p><a href=\"/content/report.docx\">report.docx</a></p></body></html>\n"
            )
            .into_bytes(),
            path if path == DATA.path => format!("{{\"host\":\"{host}\",\"files\":[\"report.docx\"]}}\n").into_bytes(),
            path if path == SCRIPT.path => format!("document.title = \"{host}\";\n").into_bytes(),
            _ => noise(self.size),
        }
    }
}

/// The nginx location that serves this resource for the site `host`.
pub(crate) fn location(resource: &Resource, documents: &Path, host: &str) -> String {
    let file = resource.file();
    let root = resource.directory(documents, host);
    let mut lines = format!(
        "location = {file} {{ root {}; types {{ }} default_type \"{}\";",
        root.display(),
        resource.mime
    );
    if let Some(disposition) = resource.disposition {
        lines += &format!(" add_header Content-Disposition '{}';", disposition.replace('\'', "\\'"));
    }
    if resource.path == SLOW.path {
        lines += " limit_rate 2m;";
    }
    lines + " }\n"
}

/// Writes the documents of the sites named, and once those that are the same on all of them.
pub(crate) fn write(documents: &Path, hosts: &[&str]) -> Result<()> {
    for resource in all() {
        let own = if resource.size == 0 { hosts } else { &[""] };
        for host in own {
            let path = resource.directory(documents, host).join(resource.file().trim_start_matches('/'));
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, resource.body(host))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Bytes without a pattern, the same for the same length every time (xorshift).
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
