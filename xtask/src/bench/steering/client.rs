//! The near end: a process in its place of the lab that is told a load and a time a line, and answers with what came of it.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::load::{self, Load, Sample};

/// One such process, or the server, which answers once. It is killed on drop.
pub(super) struct Client {
    name: &'static str,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts this program in another role and waits until it says that it is there.
    pub(super) fn start(name: &'static str, place: lab::Place, role: &str) -> Result<Self> {
        let mut command = place.command(std::env::current_exe()?, None)?;
        command.args(["bench", "steering-end", role]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        let orders = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let mut client = Self { name, child, orders, answers: BufReader::new(output).lines() };
        client.answer()?;
        Ok(client)
    }

    pub(super) fn measure(&mut self, load: &Load, slot: Duration) -> Result<Sample> {
        writeln!(self.orders, "{} {}", load.name, slot.as_millis())?;
        let answer = self.answer().with_context(|| format!("{} of {}", load.name, self.name))?;
        Sample::from_json(&serde_json::from_str(&answer)?)
    }

    fn answer(&mut self) -> Result<String> {
        let line = self.answers.next().with_context(|| format!("the {} has ended", self.name))?;
        Ok(line?)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does as it is told until there is nothing more to be told.
pub(super) fn serve() -> Result<()> {
    println!("{{}}");
    for line in std::io::stdin().lines() {
        let line = line?;
        let (name, milliseconds) = line.split_once(' ').context("a line is a load and milliseconds")?;
        let slot = Duration::from_millis(milliseconds.parse()?);
        let sample = load::run(name, slot).with_context(|| format!("the load {name}"))?;
        println!("{}", json!(sample.to_json()));
    }
    Ok(())
}
