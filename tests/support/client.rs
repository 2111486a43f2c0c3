//! Real clients: curl, Python and openssl, run among the lab's clients, and what they were answered.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::process::{Daemon, Finished, Place, run};
use crate::{Lab, wait};

/// Longest that a client may take, a download of the largest file on a busy machine included.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest for tens of thousands of requests.
const OFTEN: Duration = Duration::from_secs(3600);
const PYTHON: &str = "/usr/bin/python3";

/// An HTTP answer as a client received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Names as received.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Head and body as `curl --include` prints them; interim heads before them are left out.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .with_context(|| format!("no HTTP head in {:?}", String::from_utf8_lossy(bytes)))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .with_context(|| format!("no status in {head:?}"))?;
        if (100..200).contains(&status) && status != 101 {
            return Self::parse(&bytes[end + 4..]);
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Ok(Self { status, headers, body: bytes[end + 4..].to_vec() })
    }
}

/// One request by curl.
#[derive(Debug, Clone)]
pub struct Curl<'a> {
    url: String,
    uid: Option<u32>,
    place: Option<&'a Place>,
    protocol: &'static str,
    arguments: Vec<String>,
}

impl<'a> Curl<'a> {
    pub fn get(url: impl Into<String>) -> Self {
        Self { url: url.into(), uid: None, place: None, protocol: "--http1.1", arguments: Vec::new() }
    }

    /// Runs as the user with this uid.
    pub fn user(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Offers HTTP/2 and HTTP/1.1; without it HTTP/1.1 only.
    pub fn http2(mut self) -> Self {
        self.protocol = "--http2";
        self
    }

    /// Runs elsewhere than among the lab's clients.
    pub fn at(mut self, place: &'a Place) -> Self {
        self.place = Some(place);
        self
    }

    pub fn header(self, line: &str) -> Self {
        self.arguments(&["--header", line])
    }

    pub fn arguments(mut self, more: &[&str]) -> Self {
        self.arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// How curl ended, with everything it received.
    pub fn run(&self, lab: &Lab) -> Result<Finished> {
        let own = lab.client();
        let mut command = self.place.unwrap_or(&own).command("curl", self.uid)?;
        command
            .args(["--silent", "--show-error", "--include", self.protocol, "--max-time", "50", "--cacert"])
            .arg(lab.trust())
            .args(&self.arguments)
            .arg(&self.url);
        run(command, DEADLINE)
    }

    /// The answer; an error when curl got none.
    pub fn send(&self, lab: &Lab) -> Result<Reply> {
        let finished = self.run(lab)?;
        if finished.code != Some(0) {
            bail!("curl {} ended with {:?}: {}", self.url, finished.code, finished.stderr.trim());
        }
        Reply::parse(&finished.stdout)
    }
}

/// All of `paths` at once, each on a stream of its own, over one HTTP/2 connection: what each was answered.
pub fn streams(lab: &Lab, host: &str, paths: &[&str]) -> Result<Vec<Reply>> {
    let order = json!({ "host": host, "paths": paths, "trust": lab.trust() });
    let finished = python(lab, include_str!("streams.py"), &[&order.to_string()], None)?.succeeded()?;
    let answer: Value = serde_json::from_slice(&finished.stdout)?;
    answer.as_array().context("no replies")?.iter().map(reply).collect()
}

/// Issuer of the certificate that a client of `host` is shown, as openssl writes it; fails when it does not verify.
pub fn issuer(lab: &Lab, host: &str) -> Result<String> {
    issuer_at(lab, &lab.client(), host)
}

/// The same, asked from a place of its own.
pub fn issuer_at(lab: &Lab, place: &Place, host: &str) -> Result<String> {
    let mut command = place.command("openssl", None)?;
    command
        .args(["s_client", "-connect", &format!("{host}:443"), "-servername", host])
        .args(["-verify_return_error", "-verify_hostname", host, "-CAfile"])
        .arg(lab.trust());
    let finished = run(command, DEADLINE)?.succeeded().with_context(|| format!("openssl s_client {host}"))?;
    let text = finished.text();
    let line =
        text.lines().find_map(|line| line.strip_prefix("issuer=")).context("openssl names no issuer")?;
    Ok(line.to_owned())
}

/// Which kind of socket a probe opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    /// An IPv6 socket that dials `::ffff:a.b.c.d`.
    Mapped,
}

impl Family {
    pub const ALL: [Family; 3] = [Family::V4, Family::V6, Family::Mapped];

    fn name(self) -> &'static str {
        match self {
            Family::V4 => "v4",
            Family::V6 => "v6",
            Family::Mapped => "mapped",
        }
    }
}

/// What a Python program saw that dialled by hand.
#[derive(Debug)]
pub struct Probe {
    pub dialled: String,
    /// getpeername(): address and port.
    pub peer: (String, u64),
    /// Common name of the issuer of the server's certificate; absent without TLS.
    pub issuer: Option<String>,
    /// One per path, all over the same connection.
    pub replies: Vec<Reply>,
}

/// Connects to `host` by hand and asks for every path over that one connection.
pub fn probe(lab: &Lab, host: &str, family: Family, port: u16, paths: &[&str]) -> Result<Probe> {
    let order =
        json!({ "host": host, "family": family.name(), "port": port, "paths": paths, "trust": lab.trust() });
    let finished = python(lab, include_str!("probe.py"), &[&order.to_string()], None)?.succeeded()?;
    let answer: Value = serde_json::from_slice(&finished.stdout)?;
    let replies =
        answer["replies"].as_array().context("no replies")?.iter().map(reply).collect::<Result<_>>()?;
    Ok(Probe {
        dialled: answer["dialled"].as_str().unwrap_or_default().to_owned(),
        peer: (
            answer["peer"][0].as_str().unwrap_or_default().to_owned(),
            answer["peer"][1].as_u64().unwrap_or_default(),
        ),
        issuer: answer["issuer"].as_str().map(str::to_owned),
        replies,
    })
}

fn reply(value: &Value) -> Result<Reply> {
    let headers = value["headers"].as_array().context("no headers")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Reply {
        status: u16::try_from(value["status"].as_u64().context("no status")?)?,
        headers: headers.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        body: base64(value["body"].as_str().context("no body")?)?,
    })
}

/// A Python program, given as text, run among the clients.
pub fn python(lab: &Lab, program: &str, arguments: &[&str], uid: Option<u32>) -> Result<Finished> {
    let mut command = lab.client().command(PYTHON, uid)?;
    command.args(["-I", "-c", program]).args(arguments);
    run(command, DEADLINE)
}

/// Several clients ask `host` for `path`, whose body has `size` octets, on connections that they keep for a while, until that
/// many requests are done. Gives `{failures, connections: {issuer of the certificate: number}, again}`; the last are requests
/// that a kept connection had no answer for and a new one did.
pub fn ask_often(lab: &Lab, host: &str, path: &str, size: usize, requests: u32) -> Result<Value> {
    let mut command = lab.client().command(PYTHON, None)?;
    command.args(["-I", "-c", include_str!("requests.py"), host, path]);
    command.arg(size.to_string()).arg(lab.trust()).arg(requests.to_string());
    let finished = run(command, OFTEN)?.succeeded()?;
    Ok(serde_json::from_slice(&finished.stdout)?)
}

/// The same, running until it ends by itself or is dropped; `name` tells its log from others.
pub fn python_daemon(
    lab: &Lab,
    name: &str,
    program: &str,
    arguments: &[&str],
    uid: Option<u32>,
) -> Result<Daemon> {
    let mut command = lab.client().command(PYTHON, uid)?;
    command.args(["-I", "-u", "-c", program]).args(arguments);
    Daemon::spawn(name, command, lab.directory().join(format!("{name}.log")))
}

/// SHA-256 in hex, by coreutils.
pub fn sha256(bytes: &[u8]) -> Result<String> {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut child = crate::process::tool("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run sha256sum (package coreutils)")?;
    child.stdin.take().context("no standard input")?.write_all(bytes)?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
}

/// Decodes base64 (RFC 4648 section 4).
fn base64(text: &str) -> Result<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for character in text.bytes().take_while(|&byte| byte != b'=') {
        let value = ALPHABET.iter().position(|&known| known == character).context("no base64")?;
        bits = bits << 6 | u32::try_from(value)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff)?);
        }
    }
    Ok(bytes)
}

/// A plain GET from inside the clients' namespace, for the agent's own pages; HTTP/1.0, so the answer is never chunked.
pub fn page(lab: &Lab, port: u16, path: &str) -> Result<Reply> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    crate::netns::inside(&lab.client().netns, move || {
        use std::io::{Read as _, Write as _};
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(wait::PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Reply::parse(&answer)
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes_every_length() {
        for (text, expected) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")]
        {
            assert_eq!(base64(text).unwrap(), expected.as_bytes());
        }
        assert!(base64("Z!==").is_err());
    }

    #[test]
    fn an_answer_is_taken_apart_at_the_empty_line() {
        let reply =
            Reply::parse(b"HTTP/1.1 403 Forbidden\r\nX-A: 1\r\nx-b:2\r\n\r\nbody\r\n\r\nmore").unwrap();
        assert_eq!(reply.status, 403);
        assert_eq!(reply.header("X-B"), Some("2"));
        assert_eq!(reply.text(), "body\r\n\r\nmore");
        let reply = Reply::parse(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\nbody").unwrap();
        assert_eq!((reply.status, reply.text()), (201, "body".to_owned()));
        assert!(Reply::parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
