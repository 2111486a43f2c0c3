//! All configuration texts together: settings, catalog and policies, or everything that is wrong with any of them.

use super::{Config, parse};
use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostic, SourceFile, Style};
use crate::policy::{PolicySet, References};

/// What the agent runs on.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub config: Config,
    pub catalog: Catalog,
    pub policies: PolicySet,
}

/// Reads the settings (`None`: built-in defaults), the files of `apps.d` and those of `policies.d`, each in name order.
/// Errors in one file do not hide those in another, nor bring up false ones there.
///
/// # Errors
/// Everything wrong with all the files; nothing is loaded then.
pub fn load_set(
    settings: Option<&SourceFile>,
    apps: &[SourceFile],
    policies: &[SourceFile],
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let config = match settings {
        Some(source) => {
            let read = parse::recover(source);
            diagnostics.extend(read.diagnostics);
            read.value
        }
        None => Some(Config::default()),
    };
    let apps = Catalog::recover(apps);
    diagnostics.extend(apps.diagnostics);
    let known = References {
        catalog: &apps.catalog,
        apps_complete: apps.complete,
        networks: config.as_ref().map(|config| &config.networks),
    };
    let (policies, found) = PolicySet::recover(policies, &known);
    diagnostics.extend(found);
    match config {
        Some(config) if diagnostics.is_empty() => Ok(Loaded { config, catalog: apps.catalog, policies }),
        Some(_) | None => Err(diagnostics),
    }
}

/// Entry for the fuzzer: `data` as the three kinds of files, parted by lines of `%%`.
///
/// # Panics
/// When a diagnostic points outside its file or cannot be rendered, or a set that was refused has no diagnostic.
pub fn fuzz_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split("\n%%\n");
    let mut file = |path: &str| SourceFile::new(path, parts.next().unwrap_or_default());
    let settings = file("portcullis.toml");
    let (apps, policies) = (file("apps.d/a.toml"), file("policies.d/p.toml"));
    let Err(found) = load_set(Some(&settings), &[apps], &[policies]) else { return };
    assert!(!found.is_empty());
    for diagnostic in found {
        assert!(diagnostic.span.end <= diagnostic.source.text.len() && diagnostic.line() >= 1);
        let rendered = diagnostic.render(Style::Plain);
        assert!(rendered.contains(diagnostic.path()));
    }
}
