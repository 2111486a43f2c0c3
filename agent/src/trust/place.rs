//! The system whose stores are meant: this one, or one below a directory (an image, a container's root).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::StoreError;

/// Where programs are looked for below the root.
const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Characters of a failed command's output that are passed on.
const OUTPUT: usize = 600;

/// A system by its root directory.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn is_this_system(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a path of that system is found from here.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A path from here, as that system names it.
    pub fn name_of(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(path))
    }

    /// The path of a program in that system.
    pub fn program(&self, name: &str) -> Option<String> {
        PROGRAM_DIRECTORIES
            .iter()
            .map(|directory| format!("{directory}/{name}"))
            .find(|path| self.at(path).metadata().is_ok_and(|file| file.is_file()))
    }

    /// Runs a program of that system, in it. `input` is written to its standard input.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<(), StoreError> {
        let mut command = if self.is_this_system() {
            Command::new(program)
        } else {
            let mut command = Command::new("chroot");
            command.arg(&self.root).arg(program);
            command
        };
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = [program].iter().chain(arguments).copied().collect::<Vec<_>>().join(" ");
        let failed = |output: String| StoreError::Command { command: shown.clone(), output };
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read its input may have ended already; its status tells.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stderr, output.stdout].concat();
        let text: String = String::from_utf8_lossy(&text).trim().chars().take(OUTPUT).collect();
        Err(failed(if text.is_empty() { output.status.to_string() } else { text }))
    }
}
