//! `portcullis classify`: reads recorded exchanges, prints for each what it is and why. Needs no daemon and no rights.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::{USAGE, complain};
use crate::catalog::Catalog;
use crate::classify::classify;
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::exchange::{self, Answer, Format, ReadError, Record, Trial};
use crate::reload::read_directory;
use crate::session::{Device, User};

/// Longest line taken: a head and a body that somebody recorded whole.
const MAX_LINE: u64 = 64 << 20;

/// Largest HAR document taken; it is one JSON value and has to be held at once.
const MAX_HAR: u64 = 1 << 30;

/// Broken lines reported before reading is given up: more is not a file of exchanges.
const MAX_COMPLAINTS: usize = 20;

#[derive(Debug, clap::Args)]
pub struct ClassifyArgs {
    /// HTTP exchanges, one JSON object a line, or a HAR file. Standard input when left out
    pub file: Option<PathBuf>,

    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Say too what the policies in this directory would decide
    #[arg(long, value_name = "DIR", requires_all = ["user", "device"])]
    pub policies: Option<PathBuf>,

    /// Who is taken to have made the exchanges: the name of a user, or a uid
    #[arg(long, requires = "policies")]
    pub user: Option<String>,

    /// A group of that user; may be repeated
    #[arg(long = "group", value_name = "NAME", requires = "policies")]
    pub groups: Vec<String>,

    /// The device they are taken to come from
    #[arg(long, value_name = "STATE", requires = "policies")]
    pub device: Option<DeviceState>,

    /// A directory with additions to the built-in app catalog. Left out: `apps.d` beside the policies or, where there is
    /// none, beside the settings file that was named
    #[arg(long, value_name = "DIR")]
    pub apps: Option<PathBuf>,
}

/// How a device stands, as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceState {
    Compliant,
    Unmanaged,
}

impl ClassifyArgs {
    /// The files of apps: of the directory that was named, else those that stand beside what was named. `config`: the
    /// settings file as given; that of the host has no part in what is asked here.
    fn app_files(&self, config: Option<&Path>) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
        let beside = |path: &Path| {
            let apps = std::path::absolute(path).ok()?.parent()?.join("apps.d");
            apps.is_dir().then_some(apps)
        };
        let beside = || self.policies.as_deref().and_then(beside).or_else(|| config.and_then(beside));
        self.apps.clone().or_else(beside).as_deref().map_or_else(|| Ok(Vec::new()), read_directory)
    }

    /// The apps whose rules name activities, and what decides, if policies were given.
    fn read(&self, config: Option<&Path>) -> Result<(Catalog, Option<Trial>), Vec<Diagnostic>> {
        match self.trial(config)? {
            Some(trial) => Ok((trial.catalog().clone(), Some(trial))),
            None => Ok((Catalog::build(&self.app_files(config)?)?, None)),
        }
    }

    /// What decides, if policies were given.
    fn trial(&self, config: Option<&Path>) -> Result<Option<Trial>, Vec<Diagnostic>> {
        let Some(policies) = &self.policies else { return Ok(None) };
        let policies = read_directory(policies)?;
        let apps = self.app_files(config)?;
        let user = made_up_user(self.user.as_deref().unwrap_or_default(), &self.groups);
        let device = made_up_device(self.device.unwrap_or(DeviceState::Unmanaged), &[]);
        Trial::new(&apps, &policies, user, device).map(Some)
    }
}

/// A user as the command line has it: a name, or a uid, and groups.
pub(super) fn made_up_user(name: &str, groups: &[String]) -> User {
    let uid = name.parse().ok();
    let name = if uid.is_none() { Some(name.into()) } else { None };
    User { uid, name, groups: groups.iter().map(|group| Arc::from(group.as_str())).collect() }
}

/// A device as the command line has it.
pub(super) fn made_up_device(state: DeviceState, tags: &[String]) -> Device {
    Device {
        id: "made up".into(),
        compliant: state == DeviceState::Compliant,
        reason: "as given on the command line".into(),
        tags: tags.iter().map(|tag| Arc::from(tag.as_str())).collect(),
        os: "linux".into(),
    }
}

/// Runs the command on the process's own standard streams.
pub fn run(args: &ClassifyArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let (catalog, trial) = match args.read(config.as_deref()) {
        Ok(read) => read,
        Err(faults) => {
            complain(&faults);
            return Ok(ExitCode::from(USAGE));
        }
    };
    let name =
        args.file.as_ref().map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    let input: Box<dyn BufRead> = match &args.file {
        Some(file) => {
            Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot open {name}"))?))
        }
        None => Box::new(io::stdin().lock()),
    };
    // Standard output writes whole lines by itself.
    let mut out = io::stdout().lock();
    let show = |record: &Record, out: &mut dyn Write| {
        let found = classify(&record.exchange_with(&catalog));
        let mut answer = Answer::new(record, &found);
        if let Some(trial) = &trial {
            answer = answer.with_decision(trial.decide(record, &found).as_ref());
        }
        writeln!(out, "{}", if args.json { answer.to_json() } else { answer.to_text() })
    };
    let complain = |error: &ReadError| {
        let _ = writeln!(io::stderr(), "{name}: {error}");
    };
    match each_record(input, &mut out, show, complain) {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::from(USAGE)),
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).with_context(|| format!("cannot read {name} or write the answers")),
    }
}

/// Calls `show` for every record of `input`, `complain` for every broken one. Returns how many were broken.
///
/// Lines are answered as they come, so that the input may be a pipe that stays open.
pub fn each_record(
    mut input: impl BufRead,
    out: &mut dyn Write,
    mut show: impl FnMut(&Record, &mut dyn Write) -> io::Result<()>,
    mut complain: impl FnMut(&ReadError),
) -> io::Result<usize> {
    let mut broken = 0;
    let mut undecided = true;
    let mut line = Vec::new();
    for number in 1usize.. {
        line.clear();
        if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let complete = line.ends_with(b"\n") || (line.len() as u64) < MAX_LINE;
        let text = std::str::from_utf8(&line);
        if undecided
            && let Ok(text) = text
            && !text.trim().is_empty()
        {
            undecided = false;
            if Format::of_first_line(text) == Format::Har {
                return har(text, input, out, show, complain);
            }
        }
        let record = match text {
            _ if !complete => Err(ReadError { line: number, what: format!("longer than {MAX_LINE} octets") }),
            Ok(text) => exchange::read_line(text, number),
            Err(error) => Err(ReadError {
                line: number,
                what: format!("no UTF-8 at octet {}", error.valid_up_to() + 1),
            }),
        };
        match record {
            Ok(Some(record)) => show(&record, out)?,
            Ok(None) => {}
            Err(error) => {
                complain(&error);
                broken += 1;
                if broken == MAX_COMPLAINTS || !complete {
                    break;
                }
            }
        }
    }
    Ok(broken)
}

fn har(
    first: &str,
    input: impl Read,
    out: &mut dyn Write,
    mut show: impl FnMut(&Record, &mut dyn Write) -> io::Result<()>,
    mut complain: impl FnMut(&ReadError),
) -> io::Result<usize> {
    let mut document = first.as_bytes().to_vec();
    input.take(MAX_HAR).read_to_end(&mut document)?;
    let records = match String::from_utf8(document) {
        Ok(text) => exchange::read_har(&text),
        Err(_) => Err(ReadError { line: 0, what: "no HAR document: not UTF-8".to_owned() }),
    };
    match records {
        Ok(records) => {
            for record in &records {
                show(record, out)?;
            }
            Ok(0)
        }
        Err(error) => {
            complain(&error);
            Ok(1)
        }
    }
}

#[cfg(test)]
mod tests {
    //! The command on inputs in memory.

    use std::io::Cursor;

    use super::*;

    /// Ids answered, complaints made, number of broken records.
    fn read(input: &[u8]) -> (Vec<String>, Vec<String>, usize) {
        let mut complaints = Vec::new();
        let mut out = Vec::new();
        let show = |record: &Record, out: &mut dyn Write| writeln!(out, "{}", record.id);
        let complain = |error: &ReadError| complaints.push(error.to_string());
        let broken = each_record(Cursor::new(input), &mut out, show, complain).expect("memory does not fail");
        let ids = String::from_utf8(out).expect("text").lines().map(str::to_owned).collect();
        (ids, complaints, broken)
    }

    fn line(id: &str) -> String {
        format!(
            r#"{{"id":"{id}","request":{{"method":"GET","url":"https://h/"}},"response":{{"status":200}}}}"#
        )
    }

    #[test]
    fn lines_are_answered_around_a_broken_one() {
        let input = format!("\n{}\r\n{{\"id\":\n\n{}", line("a"), line("b"));
        let (ids, complaints, broken) = read(input.as_bytes());
        assert_eq!(ids, ["a", "b"]);
        assert_eq!((complaints.len(), broken), (1, 1));
        assert!(complaints[0].starts_with("line 3: "), "{}", complaints[0]);
    }

    #[test]
    fn octets_that_are_no_text_are_named() {
        let (ids, complaints, _) = read(&[line("a").as_bytes(), b"\n{\"\xff\"}\n"].concat());
        assert_eq!(ids, ["a"]);
        assert_eq!(complaints, ["line 2: no UTF-8 at octet 3"]);
    }

    #[test]
    fn a_file_of_something_else_is_given_up() {
        let (ids, complaints, broken) = read("nonsense\n".repeat(1000).as_bytes());
        assert_eq!((ids.len(), complaints.len(), broken), (0, MAX_COMPLAINTS, MAX_COMPLAINTS));
    }

    #[test]
    fn a_har_file_is_read_whole() {
        let document = "{\n\"log\":{\"entries\":[{\"request\":{\"method\":\"GET\",\"url\":\"https://h/\"},\n\"response\":{\"status\":200}}]}}\n";
        assert_eq!(read(document.as_bytes()), (vec!["1".to_owned()], Vec::new(), 0));
        let (ids, complaints, broken) = read(&document.as_bytes()[..60]);
        assert_eq!((ids.len(), broken), (0, 1));
        assert!(complaints[0].contains("no HAR document"), "{}", complaints[0]);
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ClassifyArgs,
    }

    fn parse(words: &[&str]) -> Result<ClassifyArgs, clap::Error> {
        let line = clap::Parser::try_parse_from(["classify"].iter().chain(words));
        line.map(|Line { args }| args)
    }

    #[test]
    fn policies_take_a_user_and_a_device() {
        assert!(parse(&["--policies", "p", "--user", "u", "--device", "unmanaged", "f"]).is_ok());
        assert!(parse(&["--policies", "p", "--user", "u"]).is_err());
        assert!(parse(&["--policies", "p", "--device", "compliant"]).is_err());
        assert!(parse(&["--user", "u", "--device", "compliant"]).is_err());
        assert!(parse(&["--policies", "p", "--user", "u", "--device", "managed"]).is_err());
        assert!(parse(&["f"]).unwrap().trial(None).unwrap().is_none());
    }

    #[test]
    fn policies_and_apps_are_read_from_their_directories() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let folder = directory.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("10.toml"), text).unwrap();
            folder.display().to_string()
        };
        let apps = write("apps.d", "[[app]]\nid = \"corp-files\"\ndomains = [\"h.corp.test\"]\n");
        let policies = write(
            "policies.d",
            "[[policy]]\nname = \"P\"\nusers.include = [\"group:staff\"]\napps.include = [\"corp-files\"]\n\
             session.control = \"monitor-only\"\n",
        );
        let who = ["--user", "1000", "--group", "staff", "--device", "compliant"];
        let given = |words: &[&str]| parse(&[words, &who].concat()).unwrap().trial(None);

        let trial = given(&["--policies", &policies, "--apps", &apps]).unwrap().unwrap();
        let text = line("a").replace("https://h/", "https://h.corp.test/");
        let record = exchange::read_line(&text, 1).unwrap().unwrap();
        let decision = trial.decide(&record, &classify(&record.exchange())).unwrap();
        assert_eq!(decision.action().name(), "monitor");

        // Left out, they are those beside the policies, and for policies from elsewhere those beside the settings.
        assert!(given(&["--policies", &policies]).is_ok());
        let moved = directory.path().join("elsewhere/policies.d");
        std::fs::create_dir(directory.path().join("elsewhere")).unwrap();
        std::fs::rename(&policies, &moved).unwrap();
        let moved = moved.display().to_string();
        let args = parse(&[&["--policies", &moved][..], &who].concat()).unwrap();
        assert!(args.trial(Some(&directory.path().join("portcullis.toml"))).is_ok());

        // The app is not built in, and a directory that was named must be there.
        assert!(given(&["--policies", &moved]).unwrap_err()[0].path().ends_with("policies.d/10.toml"));
        let absent = directory.path().join("absent").display().to_string();
        assert_eq!(given(&["--policies", &absent]).unwrap_err()[0].path(), absent);
    }

    #[test]
    fn nothing_is_fine() {
        assert_eq!(read(b""), (Vec::new(), Vec::new(), 0));
    }
}
