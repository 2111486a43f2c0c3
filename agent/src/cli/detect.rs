//! `portcullis detect`: what the content detectors find in a text, as numbers. Needs no daemon and no rights.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::USAGE;
use crate::detect::scan::{Held, Scan, Unscanned, scan};
use crate::detect::{Counts, Detectors, detect};
use crate::http::head::Fields;

/// Longest line taken: a text is one JSON value and has to be held at once.
const MAX_LINE: u64 = 64 << 20;

/// Broken lines reported before reading is given up: more is not a file of texts.
const MAX_COMPLAINTS: usize = 20;

/// Largest file whose format is read; a larger one is read as text.
const MAX_HELD: u64 = 64 << 20;

/// What is read of a larger one at a time.
const PIECE: usize = 64 * 1024;

/// Numbers only: what was found is never printed.
#[derive(Debug, clap::Args)]
pub struct DetectArgs {
    /// A text, a page, an Office file or an archive, looked at as bodies are. Standard input when left out
    pub file: Option<PathBuf>,

    /// The input is lines of JSON, {"id","text"}, and so is the output: {"id","matches":[{"detector","count"}]}
    #[arg(long)]
    pub jsonl: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: serde_json::Value,
    text: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::Value>,
    matches: Vec<Match>,
    /// Why a part of it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    unscanned: Option<&'static str>,
}

#[derive(Serialize)]
struct Match {
    detector: &'static str,
    count: u32,
}

impl<'a> Answer<'a> {
    fn new(id: Option<&'a serde_json::Value>, counts: &Counts) -> Self {
        let matches = counts.found().map(|(detector, count)| Match { detector: detector.name(), count });
        Self { id, matches: matches.collect(), unscanned: None }
    }
}

/// Runs the command on the process's own standard streams.
pub fn run(args: &DetectArgs) -> anyhow::Result<ExitCode> {
    let name =
        args.file.as_ref().map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    let input: Box<dyn BufRead> = match &args.file {
        Some(file) => {
            Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot open {name}"))?))
        }
        None => Box::new(io::stdin().lock()),
    };
    let mut out = io::stdout().lock();
    let done = if args.jsonl {
        each_line(input, &mut out, |complaint| {
            let _ = writeln!(io::stderr(), "{name}: {complaint}");
        })
    } else {
        whole(input, &mut out, args.json).map(|()| 0)
    };
    match done {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::from(USAGE)),
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).with_context(|| format!("cannot read {name} or write the answer")),
    }
}

/// A file or a text, looked at as bodies are.
fn whole(mut input: impl Read, out: &mut dyn Write, json: bool) -> io::Result<()> {
    let mut octets = Vec::new();
    input.by_ref().take(MAX_HELD + 1).read_to_end(&mut octets)?;
    let found = if octets.len() as u64 <= MAX_HELD {
        scan(&Fields::new(), Held { octets: &octets, complete: true })
    } else {
        as_it_lies(octets, input)?
    };
    let unscanned = found.unscanned.map(Unscanned::name);
    if json {
        let answer = Answer { unscanned, ..Answer::new(None, &found.counts) };
        return writeln!(out, "{}", serde_json::to_string(&answer)?);
    }
    if found.counts.is_empty() {
        writeln!(out, "nothing was found")?;
    }
    for (detector, count) in found.counts.found() {
        writeln!(out, "{:<24}{count}", detector.name())?;
    }
    if let Some(why) = found.unscanned {
        writeln!(out, "not all of it was looked at: {why} ({})", why.name())?;
    }
    Ok(())
}

/// What is too long to be held is read as text.
fn as_it_lies(mut piece: Vec<u8>, mut input: impl Read) -> io::Result<Scan> {
    let mut detectors = Detectors::new();
    detectors.push(&piece);
    piece.truncate(PIECE);
    loop {
        let count = match input.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(Scan { counts: detectors.finish(), unscanned: Some(Unscanned::TooLarge) });
        }
        detectors.push(piece.get(..count).unwrap_or_default());
    }
}

/// Lines are answered as they come, so that the input may be a pipe that stays open. Returns how many were broken.
fn each_line(
    mut input: impl BufRead,
    out: &mut dyn Write,
    mut complain: impl FnMut(String),
) -> io::Result<usize> {
    let mut broken = 0;
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let complete = line.ends_with(b"\n") || (line.len() as u64) < MAX_LINE;
        let text = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        let fault = if complete {
            match serde_json::from_slice::<Line>(text) {
                Ok(line) => {
                    let answer = Answer::new(Some(&line.id), &detect(line.text.as_bytes()));
                    writeln!(out, "{}", serde_json::to_string(&answer)?)?;
                    continue;
                }
                // What serde_json says of the text quotes none of its strings but names of fields.
                Err(error) => format!("not {{\"id\",\"text\"}}, at column {}", error.column()),
            }
        } else {
            format!("longer than {MAX_LINE} octets")
        };
        complain(format!("line {number}: {fault}"));
        broken += 1;
        if broken == MAX_COMPLAINTS || !complete {
            break;
        }
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    //! The command on inputs in memory.

    use super::*;

    fn text(input: &[u8], json: bool) -> String {
        let mut out = Vec::new();
        whole(input, &mut out, json).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn lines(input: &str) -> (String, Vec<String>, usize) {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let broken = each_line(input.as_bytes(), &mut out, |complaint| complaints.push(complaint)).unwrap();
        (String::from_utf8(out).unwrap(), complaints, broken)
    }

    #[test]
    fn a_text_is_answered_by_numbers() {
        let input = "4242424242424242, DE89 3704 0044 0532 0130 00, 5555555555554444";
        assert_eq!(text(input.as_bytes(), false), "credit-card             2\niban                    1\n");
        let json = r#"{"matches":[{"detector":"credit-card","count":2},{"detector":"iban","count":1}]}"#;
        assert_eq!(text(input.as_bytes(), true), format!("{json}\n"));
        assert_eq!(text(b"", true), "{\"matches\":[]}\n");
        assert_eq!(text(b"\xff\x00", false), "nothing was found\n");
    }

    #[test]
    fn a_file_is_read_as_a_body_is() {
        let found = "credit-card             1\n";
        assert_eq!(text(br#"{"a":"4242\u00a04242\u00a04242\u00a04242"}"#, false), found);
        assert_eq!(text(b"<p>4242&nbsp;4242&nbsp;4242&nbsp;4242", false), found);
        let sixteen =
            "\u{FEFF}4242424242424242".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        assert_eq!(text(&sixteen, false), found);
        let entry = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\x1b\0\0\0\0\0\0\0\x01\0\0\0a<w:t>4242424242</w:t>424242";
        assert_eq!(text(entry, false), found);
        let sealed =
            "nothing was found\nnot all of it was looked at: the text of this format is not read (format)\n";
        assert_eq!(text(b"%PDF-1.7", false), sealed);
        assert_eq!(text(b"%PDF-1.7", true), "{\"matches\":[],\"unscanned\":\"format\"}\n");
        let long = [vec![b' '; usize::try_from(MAX_HELD).unwrap()], b" 4242424242424242".to_vec()].concat();
        assert!(text(&long, false).starts_with(&format!("{found}not all of it")));
    }

    #[test]
    fn lines_are_answered_around_a_broken_one() {
        let input = "\u{FEFF}{\"id\":\"a\",\"text\":\"4242 4242\"}\r\n\n{\"id\":\"b\",\"text\":4242424242424242}\n\
                     {\"text\":\"4242\\u00a04242\\u00a04242\\u00a04242\",\"id\":3}";
        let (out, complaints, broken) = lines(input);
        assert_eq!(
            out,
            "{\"id\":\"a\",\"matches\":[]}\n\
             {\"id\":3,\"matches\":[{\"detector\":\"credit-card\",\"count\":1}]}\n"
        );
        assert_eq!((complaints.len(), broken), (1, 1));
        assert!(complaints[0].starts_with("line 3: ") && !complaints[0].contains("4242424242424242"));
    }

    #[test]
    fn a_file_of_something_else_is_given_up() {
        let (out, complaints, broken) = lines(&"nonsense\n".repeat(1000));
        assert_eq!((out.as_str(), complaints.len(), broken), ("", MAX_COMPLAINTS, MAX_COMPLAINTS));
    }
}
