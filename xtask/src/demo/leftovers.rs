//! The last line of the demo: nothing of it is left on this machine.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lab::bpf::Objects;
use lab::wait;

use super::report::Report;

pub(crate) struct Leftovers {
    /// Objects with names like ours that were there before: an agent of the host itself.
    before: Objects,
    kernel: RefCell<Objects>,
    directory: RefCell<Option<PathBuf>>,
}

impl Leftovers {
    pub(crate) fn before() -> Result<Self> {
        Ok(Self {
            before: Objects::existing()?.ours(),
            kernel: RefCell::default(),
            directory: RefCell::default(),
        })
    }

    pub(crate) fn will_watch(&self, directory: &Path) {
        self.directory.replace(Some(directory.to_owned()));
    }

    pub(crate) fn will_watch_kernel(&self, objects: Objects) {
        self.kernel.replace(objects);
    }

    /// To be called when the lab is gone.
    pub(crate) fn report(&self, report: &mut Report) {
        report.heading("Afterwards");
        let kernel = self.kernel.borrow();
        let done = format!(
            "bpftool prog, map, link (the agent held {}); ip netns; cgroups; ps; files",
            kernel.len()
        );
        // An interruption has been reported already; here it must not hide what is left.
        let _ = report.line("nothing is left behind", &done, "nothing of the demo", || {
            let mut found = Vec::new();
            let rest = self.kernel_rest(&kernel)?;
            if !rest.is_empty() {
                found.push(format!("kernel objects: {rest}"));
            }
            found.extend(self.rest());
            let seen = if found.is_empty() {
                "no program, map or link, no namespace, no cgroup, no process, no file".to_owned()
            } else {
                found.join("\n")
            };
            Ok((found.is_empty(), seen))
        });
    }

    /// The kernel frees programs and maps a little after their last reference goes: asks for a while.
    fn kernel_rest(&self, held: &Objects) -> Result<Objects> {
        let rest = || -> Result<Objects> {
            let now = Objects::existing()?;
            let ours = now.clone().ours().not_in(&self.before);
            let known = now.also_in(held);
            Ok(if known.is_empty() { ours } else { known })
        };
        for _ in 0..100 {
            if rest()?.is_empty() {
                break;
            }
            std::thread::sleep(wait::STEP);
        }
        rest()
    }

    fn rest(&self) -> Vec<String> {
        let directory = self.directory.borrow();
        let Some(directory) = directory.as_deref() else { return Vec::new() };
        let id = std::process::id().to_string();
        let mut found = Vec::new();
        for (what, parent) in [("namespace", Path::new("/run/netns")), ("directory", Path::new("/tmp"))] {
            found.extend(names_with(parent, &id).map(|name| format!("{what} {name}")));
        }
        if let Ok(root) = lab::cgroup_root() {
            found.extend(names_with(&root, &id).map(|name| format!("cgroup {name}")));
        }
        found.extend(processes_naming(directory).map(|process| format!("process {process}")));
        found
    }
}

/// Entries that a lab of this process made.
fn names_with<'a>(parent: &Path, id: &'a str) -> impl Iterator<Item = String> + use<'a> {
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(move |name| name.starts_with("pc") && name.ends_with(id))
}

/// Processes whose command line names the lab's directory.
fn processes_naming(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let wanted = directory.to_string_lossy().into_owned();
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(move |entry| {
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        command.contains(&wanted).then(|| format!("{} {command}", entry.file_name().to_string_lossy()))
    })
}
