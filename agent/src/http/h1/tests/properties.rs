//! Properties over generated input: the answers do not depend on how bytes arrive, and nothing panics or loops.

use proptest::collection::vec;
use proptest::prelude::*;

use super::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK};
use super::fuzz::{Decoded, decode, fuzz_chunked, fuzz_fields, fuzz_head};
use super::*;
use crate::http::head::{Fields, Version};

/// Bytes that look like a head, or nearly so: fragments in any order find more than noise does.
fn head_like() -> impl Strategy<Value = Vec<u8>> {
    let fragments: Vec<&'static str> = vec![
        "GET / HTTP/1.1\r\n",
        "POST http://a.test/x?y HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.0\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 304\r\n",
        "HTTP/1.1 103 Early Hints\r\n",
        "Host: a.test\r\n",
        "Content-Length: 5\r\n",
        "content-length:05\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: keep-alive, x\r\n",
        "Connection: close\r\n",
        "Upgrade: websocket\r\n",
        "Expect: 100-continue\r\n",
        "X-Empty:\r\n",
        "X-Text: \u{e4} b \t\r\n",
        "\r\n",
        "\r",
        "\n",
        "\0",
        " ",
        ":",
        "\u{7f}",
    ];
    // Mostly a good start, Host and end, so that the properties behind the parser are reached.
    let start = prop::sample::select(vec!["GET / HTTP/1.1\r\nHost: a.test\r\n", "HTTP/1.1 200 OK\r\n", ""]);
    (start, vec(prop::sample::select(fragments), 0..8), any::<bool>()).prop_map(|(start, middle, end)| {
        let end = if end { "\r\n\r\n" } else { "" };
        [start, &middle.concat(), end].concat().into_bytes()
    })
}

fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks {
        if let Some(header) = ChunkHeader::new(chunk.len()) {
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(CHUNK_END);
        }
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

/// Cuts `bytes` at arbitrary places.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at(cut.index(bytes.len() + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

/// The field lines that another parser finds in a head, which takes whatever begins it.
fn lines_by_httparse(head: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let start = memchr::memchr(b'\n', head)? + 1;
    match httparse::parse_headers(head.get(start..)?, &mut table) {
        Ok(httparse::Status::Complete((consumed, lines))) if start + consumed == head.len() => {
            Some(lines.iter().map(|line| (line.name.into(), line.value.into())).collect())
        }
        _ => None,
    }
}

fn lines(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_answered(data in vec(any::<u8>(), 0..300)) {
        fuzz_head(&data);
        fuzz_chunked(&data);
        fuzz_fields(&data);
    }

    #[test]
    fn head_like_bytes_are_answered(data in head_like()) {
        fuzz_head(&data);
    }

    #[test]
    fn chunk_like_bytes_are_answered(split in any::<u8>(), text in "[0-3a;=x \r\n]{0,40}|([0-3](;x)?\r\n[a\r\n]{0,3}\r\n){0,5}0\r\n(X: y\r\n)?\r\n") {
        fuzz_chunked(&[&[split], text.as_bytes()].concat());
    }

    #[test]
    fn field_like_bytes_are_answered(lines in vec(("[a-zA-Z-]{1,8}", "[ -~\t\r\n]{0,8}"), 0..6)) {
        let mut data = Vec::new();
        for (name, value) in &lines {
            data.extend([name.as_bytes(), b"\xff", value.as_bytes(), b"\xff"].concat());
        }
        fuzz_fields(&data);
    }

    #[test]
    fn what_is_encoded_decodes_whatever_the_split(
        chunks in vec(vec(any::<u8>(), 0..70), 0..8),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let encoded = encode(&chunks);
        let expected = Decoded { payload: chunks.concat(), consumed: encoded.len(), end: Ok(true) };
        prop_assert_eq!(decode(Framing::Chunked, pieces(&encoded, &cuts)), expected);
    }

    #[test]
    fn a_written_request_reads_back_as_the_same_model(
        method in "[A-Z]{3,6}",
        path in "/[!-\"$->@-~]{0,20}",
        lines in vec(("X-[a-z]{1,6}", "([!-~\u{a0}-\u{ff}]([ -~]{0,10}[!-~])?)?"), 0..10),
        length in any::<u32>(),
    ) {
        prop_assume!(!["TRACE", "TRACK"].contains(&method.as_str()));
        let mut head = RequestHead::new(&method, &path, Version::Http11).with("Host", "a.test");
        for (name, value) in &lines {
            head.fields_mut().push(name.as_bytes(), value.as_bytes());
        }
        head.fields_mut().push(b"Content-Length", length.to_string().as_bytes());
        let mut out = Vec::new();
        prop_assert_eq!(write_request(&head, Emit::new(Framing::Length(length.into())), &mut out), Ok(()));
        prop_assert_eq!(parse_request_head(&out, &Limits::default()), Parsed::Complete(head, out.len()));
    }

    #[test]
    fn what_is_taken_another_parser_reads_alike(
        lines_in in vec((vec(any::<u8>(), 0..6), "[ \t]{0,2}", vec(any::<u8>(), 0..70), "[ \t]{0,2}"), 0..6),
        plain in any::<bool>(),
    ) {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for (mut name, before, mut value, after) in lines_in {
            if plain {
                name.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
                value.iter_mut().for_each(|byte| *byte = (*byte).max(b' '));
            }
            head.extend([&name[..], b":", before.as_bytes(), &value, after.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        match parse_response_head(&head, &Limits::default()) {
            Parsed::Complete(read, consumed) => {
                let other = lines_by_httparse(&head[..consumed]);
                prop_assert_eq!(other, Some(lines(read.fields())), "{}", head.escape_ascii());
            }
            answer => {
                let refused = !plain || head.contains(&0x7f) || lines_by_httparse(&head).is_none();
                prop_assert!(refused, "{answer:?} to {}", head.escape_ascii());
            }
        }
    }
}
