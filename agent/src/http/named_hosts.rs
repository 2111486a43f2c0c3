//! Hosts that a client names in clear text, as the most lenient server might read them: for connections that are relayed as
//! they are, and not parsed.

use super::h1::syntax::is_token_char;

/// Octets of a line that are kept: servers take no longer ones by default.
const KEPT: usize = 8 * 1024;
/// Longest method that is waited for: the registry's longest has 17.
const METHOD: usize = 32;
/// Longest method that some server might take.
const ANY_METHOD: usize = 256;

/// Follows what a client says, line by line. Lines may end in CR, LF or both, be folded, and stand anywhere: what is a head
/// to a server and what is a body is its own affair.
#[derive(Debug, Default)]
pub struct NamedHosts {
    /// The beginning of the line under way.
    line: Vec<u8>,
    /// Its end was read: only a blank goes on with it (RFC 9112 section 5.2).
    ended: bool,
    /// A line was read that may be a request's first.
    is_http: bool,
    is_foreign: bool,
}

impl NamedHosts {
    /// Takes in what comes next. `is_wanted` is asked about every host that is named: lower case, no port, no trailing dot.
    /// Returns whether it wanted one.
    pub fn read(&mut self, mut octets: &[u8], mut is_wanted: impl FnMut(&str) -> bool) -> bool {
        while !self.is_foreign && !octets.is_empty() {
            let end = memchr::memchr2(b'\r', b'\n', octets);
            let (piece, rest) = octets.split_at(end.unwrap_or(octets.len()));
            self.push(piece);
            octets = rest.get(1..).unwrap_or_default();
            if !self.is_http {
                self.is_foreign = !may_begin_request(&self.line);
            }
            if end.is_none() || self.ended || self.line.is_empty() {
                continue;
            }
            self.ended = true;
            if !self.is_http {
                self.is_http = may_be_request_line(&self.line);
                self.is_foreign = !self.is_http;
            }
            if self.names(&mut is_wanted) {
                return true;
            }
        }
        false
    }

    /// For a connection whose first words are a request.
    pub fn of_http() -> Self {
        Self { is_http: true, ..Self::default() }
    }

    /// Whether the first line is none of HTTP: nothing more is looked at.
    pub fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    fn push(&mut self, piece: &[u8]) {
        let Some(first) = piece.first() else { return };
        if std::mem::take(&mut self.ended) && !matches!(first, b' ' | b'\t') {
            self.line.clear();
        }
        for octet in piece {
            if self.line.len() == KEPT {
                break;
            }
            // Blanks count once, so that they push nothing out of what is kept.
            if !is_blank(*octet) || self.line.last().is_some_and(|last| *last != b' ') {
                self.line.push(if is_blank(*octet) { b' ' } else { *octet });
            }
        }
    }

    /// Asks about what the line names.
    fn names(&self, is_wanted: &mut impl FnMut(&str) -> bool) -> bool {
        let Some(named) = host_field(&self.line).or_else(|| request_authority(&self.line)) else {
            return false;
        };
        // Servers differ in what they take of `a:b@c`, `a,b` and the like: each of them may be meant.
        named.split(|octet| !is_of_name(*octet)).any(|host| {
            let Ok(host) = std::str::from_utf8(host) else { return false };
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            !host.is_empty() && is_wanted(&host)
        })
    }
}

/// Whether what a client has said so far looks like the beginning of a request, so that its end is worth waiting for. A
/// digit begins none: other protocols have lengths there.
pub fn begins_request(octets: &[u8]) -> bool {
    let first = octets.iter().find(|octet| !is_skipped(**octet));
    let looks = first.is_none_or(|first| first.is_ascii_alphabetic() || matches!(first, b'-' | b'_'));
    looks && is_method(octets, METHOD)
}

/// Whether some server might take it for that. Nothing is waited for, it is listened to.
pub fn may_begin_request(octets: &[u8]) -> bool {
    is_method(octets, ANY_METHOD)
}

/// A token of at most so many octets, whole or not, and what may follow it.
fn is_method(octets: &[u8], most: usize) -> bool {
    let octets = octets.iter().position(|octet| !is_skipped(*octet)).and_then(|start| octets.get(start..));
    let Some(octets) = octets else { return true };
    let method = octets.iter().take_while(|octet| is_token_char(**octet)).count();
    (1..=most).contains(&method) && octets.get(method).is_none_or(|next| is_skipped(*next))
}

/// Whether a whole line may be the first of a request. Without a version only GET is one (HTTP/0.9).
fn may_be_request_line(line: &[u8]) -> bool {
    let (method, rest) = words(line);
    !rest.is_empty() && (method.eq_ignore_ascii_case(b"get") || is_versioned(line, rest))
}

/// Whether a version stands behind the target, or might in what is not kept.
fn is_versioned(line: &[u8], rest: &[u8]) -> bool {
    line.len() == KEPT || rest.windows(5).any(|window| window.eq_ignore_ascii_case(b"http/"))
}

/// The authority that a request line names: of a target in absolute or in authority form (RFC 9112 section 3.2).
fn request_authority(line: &[u8]) -> Option<&[u8]> {
    if !may_be_request_line(line) {
        return None;
    }
    let (method, rest) = words(line);
    let target = words(rest).0;
    let authority = match memchr::memmem::find(target, b"://") {
        Some(at) if !target.get(..at)?.iter().any(|octet| matches!(octet, b'/' | b'?' | b'#')) => {
            target.get(at + 3..)?
        }
        _ if method.eq_ignore_ascii_case(b"connect") => target,
        _ => return None,
    };
    authority.split(|octet| matches!(octet, b'/' | b'?' | b'#' | b'\\')).next()
}

/// The value of a Host field, if the line is one.
fn host_field(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.trim_ascii_start().split_at_checked(4)?;
    let value = value.trim_ascii_start().strip_prefix(b":")?;
    name.eq_ignore_ascii_case(b"host").then_some(value)
}

/// The first word, and what follows it.
fn words(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (first, rest) = line.split_at(end);
    (first, rest.trim_ascii_start())
}

/// What servers split lines into words at, those that take them for Latin-1 text among them.
const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | 0x0b | 0x0c | 0x1c..=0x1f | 0x85 | 0xa0)
}

const fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_')
}

const fn is_skipped(octet: u8) -> bool {
    is_blank(octet) || matches!(octet, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `files.test` is found named, however the octets arrive.
    #[track_caller]
    fn check(said: &str, expected: bool) {
        let is_files = |host: &str| host == "files.test";
        assert_eq!(NamedHosts::default().read(said.as_bytes(), is_files), expected, "{said:?}");
        let mut piecewise = NamedHosts::default();
        let found = said.as_bytes().chunks(1).any(|octet| piecewise.read(octet, is_files));
        assert_eq!(found, expected, "{said:?} octet by octet");
    }

    #[test]
    fn a_host_is_found_however_it_is_written() {
        let plain = "GET / HTTP/1.1\r\nHost: files.test\r\n\r\n";
        for said in [
            plain.to_owned(),
            plain.replace("\r\n", "\n"),
            plain.replace("\r\n", "\r"),
            format!("\r\n{plain}"),
            plain.replace("GET", "get"),
            plain.replace("Host: files.test", "hOST \t:\tFiles.Test.:80"),
            plain.replace("Host: ", "Host:\r\n\t"),
            plain.replace("Host: ", &format!("Host:{}", " ".repeat(20_000))),
            plain.replace("Host: ", "Host: other.test\r\nHost: "),
            plain.replace("Host: ", "Host: other.test, "),
            plain.replace("Host: ", "Host: other.test@"),
            format!("{}{plain}", plain.replace("files", "other")),
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{plain}"),
            "GET http://files.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n".to_owned(),
            "get  HTTPS://u:p@FILES.test:443?x HTTP/1.1\n".to_owned(),
            "GET http://files.test/x\r\n".to_owned(),
            "CONNECT files.test:443 HTTP/1.1\r\n".to_owned(),
            plain.replace("files.test", "files.test:x@other.test"),
            plain.replace("files.test", "other.test;files.test"),
            "GET a+1://files.test/f HTTP/1.1\r\nHost: other.test\r\n\r\n".to_owned(),
            format!("_ /f HTTP/1.1\r\nHost: other.test\r\n\r\n{plain}"),
            format!("-1 /f HTTP/1.1\r\nHost: other.test\r\n\r\n{plain}"),
            format!("1{} /f HTTP/1.1\r\nHost: other.test\r\n\r\n{plain}", "a".repeat(60)),
            plain.replace("GET ", "GET\u{b}"),
            format!("\u{c}{plain}"),
            format!("GET /{} HTTP/1.1\r\nHost: files.test\r\n", "x".repeat(20_000)),
        ] {
            check(&said, true);
        }
    }

    #[test]
    fn what_is_named_elsewhere_is_not_what_a_request_is_for() {
        for said in [
            "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: files.test.other.test\r\nX-Host: files.test\r\n\r\n",
            "GET /?to=http://files.test/ HTTP/1.1\r\nHost: a\r\nReferer: http://files.test/\r\n\r\n",
            "GET http://other.test/http://files.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\nsee http://files.test/ there\r\n",
            "GET / HTTP/1.1\r\nHost: files.test",
        ] {
            check(said, false);
        }
    }

    #[test]
    fn other_protocols_are_known_by_their_first_line() {
        for said in [
            &b"SSH-2.0-OpenSSH_9.2\r\nHost: files.test\r\n"[..],
            b"NICK me\r\nHost: files.test\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"AMQP\0\0\x09\x01",
            b"\x30\x84\0\0\0\x0c\x02\x01\x01",
            &[b'a'; ANY_METHOD + 1],
            b"\x10\x2a",
        ] {
            let mut named = NamedHosts::default();
            assert!(!named.read(said, |host| host == "files.test") && named.is_foreign(), "{said:?}");
        }
        for said in
            [&b""[..], b"\r\n", b"G", b"get ", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\nA: b", b"get x\n"]
        {
            let mut named = NamedHosts::default();
            assert!(!named.read(said, |_| false) && !named.is_foreign(), "{said:?}");
        }
        assert!(begins_request(b"VERSION-CONTROL /") && !begins_request(b"a\0") && !begins_request(b"\x80"));
        // A message of LDAP, whose second octet is its length.
        assert!(!begins_request(b"0 \x02\x01\x01") && !begins_request(&[b'a'; METHOD + 1]));
    }
}
