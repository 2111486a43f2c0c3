//! What the lines of a guest mean. Pure: lines in, verdict out.
//!
//! The guest's script (`init.sh`) marks what it reports; qemu's exit status says nothing.

use std::fmt;

use serde_json::Value;

/// Starts the guest's last line. Without it the guest broke down on the way.
pub(super) const LAST: &str = "vm-test: end";
/// Starts the line with the answer of `portcullis doctor --json`.
const DOCTOR: &str = "vm-test: doctor ";
/// Starts the line with the exit status of the tests.
const TESTS: &str = "vm-test: tests ended with ";
/// What libtest prints when every test passed, before their number.
const PASSED: &str = "test result: ok. ";

/// Lines shown of the verifier's log.
const TAIL: usize = 40;

/// What happened on one kernel.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    programs: Vec<Program>,
    passed: Vec<String>,
    /// Everything that speaks against it.
    faults: Vec<String>,
}

#[derive(Debug)]
struct Program {
    name: String,
    instructions: Option<u64>,
    milliseconds: f64,
}

impl Verdict {
    pub(super) fn of(lines: &[String], with_tests: bool) -> Self {
        let mut verdict = Self::default();
        let answer = lines.iter().find_map(|line| line.strip_prefix(DOCTOR));
        match answer.map(serde_json::from_str::<Value>) {
            Some(Ok(answer)) => verdict.read_doctor(&answer),
            Some(Err(error)) => verdict.faults.push(format!("the doctor's answer is no JSON: {error}")),
            None => verdict.faults.push("the guest did not get as far as loading the programs".to_owned()),
        }
        if with_tests {
            verdict.read_tests(lines);
        }
        if !lines.iter().any(|line| line == LAST) {
            verdict.faults.push("the guest did not get to its end".to_owned());
        }
        verdict
    }

    pub(super) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    fn read_doctor(&mut self, answer: &Value) {
        for program in answer["programs"].as_array().into_iter().flatten() {
            let name = program["name"].as_str().unwrap_or("?").to_owned();
            if let Some(refusal) = program["refusal"].as_str() {
                self.faults.push(format!("{name} is refused: {}", end_of(refusal)));
                continue;
            }
            self.programs.push(Program {
                name,
                instructions: program["instructions"].as_u64(),
                milliseconds: program["micros"].as_f64().unwrap_or_default() / 1000.0,
            });
        }
        if self.programs.is_empty() {
            self.faults.push(format!("no program was loaded: {answer}"));
        }
        for check in answer["checks"].as_array().into_iter().flatten() {
            // Refused programs are told above, with more of the log.
            let told = check["name"].as_str().is_some_and(|name| name.starts_with("program pc_"));
            if check["outcome"] == "failed" && !told {
                self.faults.push(format!("doctor: {} {}", check["name"], check["found"]));
            }
        }
    }

    fn read_tests(&mut self, lines: &[String]) {
        let passed = |line: &&String| line.starts_with("test ") && line.ends_with(" ... ok");
        self.passed = lines.iter().filter(passed).cloned().collect();
        for line in lines.iter().filter(|line| line.starts_with("test ") && line.ends_with(" ... FAILED")) {
            self.faults.push(line.clone());
        }
        let status = lines.iter().find_map(|line| line.strip_prefix(TESTS));
        if status != Some("0") {
            self.faults.push(format!("the tests ended with {}", status.unwrap_or("nothing at all")));
        }
        let number =
            lines.iter().find_map(|line| line.strip_prefix(PASSED)?.split(' ').next()?.parse::<usize>().ok());
        if number.is_none_or(|number| number == 0) {
            self.faults.push("no test passed".to_owned());
        }
    }
}

/// The last lines of the verifier's log: what it stumbled over stands at its end.
fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.trim_end().lines().collect();
    let skip = lines.len().saturating_sub(TAIL);
    let shown = lines.get(skip..).unwrap_or_default().join("\n    ");
    if skip == 0 { shown } else { format!("({skip} lines before)\n    {shown}") }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for program in &self.programs {
            let instructions = program.instructions.map_or_else(|| "?".to_owned(), |count| count.to_string());
            writeln!(
                f,
                "  {:<16}{instructions:>9} instructions verified, loaded in {:.0} ms",
                program.name, program.milliseconds
            )?;
        }
        if !self.programs.is_empty() {
            let all: f64 = self.programs.iter().map(|program| program.milliseconds).sum();
            writeln!(f, "  {} programs loaded in {all:.0} ms", self.programs.len())?;
        }
        writeln!(f, "  {} tests passed", self.passed.len())?;
        for fault in &self.faults {
            writeln!(f, "  FAULT {fault}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"vm-test: doctor {"programs":[{"name":"pc_dns_in","instructions":190000,"micros":2500000}],"checks":[{"name":"btf","outcome":"ok","found":"there"}]}
test netns::steering::a ... ok
test result: ok. 1 passed; 0 failed; 0 ignored
vm-test: tests ended with 0
vm-test: end"#;

    fn verdict(text: &str) -> Verdict {
        Verdict::of(&text.lines().map(str::to_owned).collect::<Vec<_>>(), true)
    }

    #[test]
    fn a_guest_that_says_all_of_it_is_good() {
        let verdict = verdict(GOOD);
        assert!(verdict.is_good(), "{verdict}");
        assert!(verdict.to_string().contains("190000 instructions verified, loaded in 2500 ms"), "{verdict}");
    }

    #[test]
    fn every_missing_or_changed_line_is_a_fault() {
        for (from, to) in [
            ("vm-test: end", "vm-test: ended"),
            ("vm-test: end", "Kernel panic - not syncing"),
            ("ended with 0", "ended with 101"),
            ("1 passed", "0 passed"),
            ("test result: ok.", "test result: FAILED."),
            ("vm-test: doctor {", "vm-test: doctor "),
            ("vm-test: doctor ", "doctor "),
            ("\"outcome\":\"ok\"", "\"outcome\":\"failed\""),
            ("\"instructions\":190000", "\"refusal\":\"R1 invalid mem access\""),
        ] {
            let changed = GOOD.replace(from, to);
            assert_ne!(changed, GOOD, "{from}");
            assert!(!verdict(&changed).is_good(), "{from} -> {to}");
        }
        let cut = GOOD.lines().take(3).collect::<Vec<_>>().join("\n");
        assert!(!verdict(&cut).is_good());
    }

    #[test]
    fn a_refused_program_is_told_with_the_verifiers_words() {
        let text = GOOD.replace("\"instructions\":190000", "\"refusal\":\"R1 invalid mem access\"");
        assert!(verdict(&text).to_string().contains("pc_dns_in is refused: R1 invalid mem access"));
        let log = format!("{}R2 unbounded", "0: (b7) r0 = 0\n".repeat(TAIL + 10));
        let shown = end_of(&log);
        assert!(shown.starts_with("(11 lines before)") && shown.ends_with("R2 unbounded"), "{shown}");
        assert_eq!(shown.lines().count(), TAIL + 1);
    }
}
