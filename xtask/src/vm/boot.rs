//! One boot of a virtual machine: qemu without KVM, so that it runs anywhere; its serial line is all that comes out.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::kernels::Kernel;
use super::verdict::LAST;
use crate::command::{line, say};

/// Programs, servers and clients live in memory, and so does the whole root file system.
const MEMORY_MIB: &str = "1536";
/// The guest's clock counts its instructions, two nanoseconds each, and jumps to the next event when there are none: a busy
/// host makes the run longer, and no deadline inside of it.
const CLOCK: &str = "shift=1,sleep=off";
/// Lines kept of a guest that talks without end.
const LINES: usize = 100_000;
/// Characters shown of a line.
const SHOWN: usize = 200;
/// Between the last line and power off.
const POWER_OFF: Duration = Duration::from_secs(20);

/// Boots, shows the serial line and returns its lines once the guest has said its last.
pub(crate) fn run(kernel: &Kernel, initramfs: &Path, deadline: Duration) -> Result<Vec<String>> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-accel", "tcg,thread=single", "-icount", CLOCK, "-cpu", "max", "-smp", "1", "-m", MEMORY_MIB])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(initramfs)
        // A panic ends the machine instead of hanging it.
        .args(["-append", "console=ttyS0 panic=-1 quiet loglevel=3"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    say(line(&command));
    let mut qemu = command.spawn().context("cannot run qemu-system-x86_64")?;
    let output = qemu.stdout.take().context("qemu has no output")?;
    let (sender, receiver) = channel();
    // Ends with qemu's output.
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let text = printable(&String::from_utf8_lossy(&bytes));
            bytes.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });

    let mut end = Instant::now() + deadline;
    let mut lines: Vec<String> = Vec::new();
    let late = loop {
        match receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                // The doctor's answer is one long line; the verdict shows what is in it.
                println!("  | {}", text.chars().take(SHOWN).collect::<String>());
                if text.starts_with(LAST) {
                    end = end.min(Instant::now() + POWER_OFF);
                }
                if lines.len() < LINES {
                    lines.push(text);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if late {
        // It may have said all it had to say and hang in power off; the verdict is by its lines.
        let _ = qemu.kill();
    }
    let status = qemu.wait()?;
    if late && !lines.iter().any(|text| text.starts_with(LAST)) {
        bail!("Linux {} did not come to an end within {} s", kernel.release, deadline.as_secs());
    }
    if !late && !status.success() {
        bail!("qemu: {status}");
    }
    Ok(lines)
}

/// A line without the terminal's control sequences, which the firmware writes too.
fn printable(text: &str) -> String {
    let mut kept = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                while characters.next().is_some_and(|next| !next.is_ascii_alphabetic()) {}
            }
        } else if !character.is_control() || character == '\t' {
            kept.push(character);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_sequences_are_taken_out() {
        assert_eq!(printable("\u{1b}[2J\u{1b}[01;01Hvm-test: end\r\n"), "vm-test: end");
        assert_eq!(printable("a\tb\u{1b}"), "a\tb");
    }
}
