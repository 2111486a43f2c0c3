//! Heads as they arrive: need-more at every prefix, limits on partial input, each byte examined once.

use super::*;

#[test]
fn every_prefix_of_a_valid_request_needs_more() {
    let heads = [
        "GET / HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n",
        "\r\nPOST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nEmpty:\r\n\r\n",
        "GET http://a/ HTTP/1.0\r\n\r\n",
    ];
    for head in heads {
        let whole = parse_request_head(head.as_bytes(), &Limits::default());
        let mut reader = RequestReader::new(Target::Origin);
        for end in 0..head.len() {
            let prefix = &head.as_bytes()[..end];
            assert_eq!(parse_request_head(prefix, &Limits::default()), Parsed::More, "{prefix:?}");
            assert_eq!(reader.read(prefix, &Limits::default()), Parsed::More, "{prefix:?}");
        }
        assert_eq!(reader.read(head.as_bytes(), &Limits::default()), whole);
        assert!(matches!(whole, Parsed::Complete(_, consumed) if consumed == head.len()));
    }
}

#[test]
fn every_prefix_of_a_valid_response_needs_more() {
    let heads = ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX:\r\n\r\n", "HTTP/1.0 404\r\n\r\n"];
    for head in heads {
        let mut reader = ResponseReader::new();
        for end in 0..head.len() {
            let prefix = &head.as_bytes()[..end];
            assert_eq!(parse_response_head(prefix, &Limits::default()), Parsed::More, "{prefix:?}");
            assert_eq!(reader.read(prefix, &Limits::default()), Parsed::More, "{prefix:?}");
        }
        let answer = reader.read(head.as_bytes(), &Limits::default());
        assert!(matches!(answer, Parsed::Complete(_, consumed) if consumed == head.len()), "{answer:?}");
    }
}

#[test]
fn pipelined_requests_are_read_one_after_the_other() {
    let bytes =
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\nGET /3";
    let mut reader = RequestReader::new(Target::Origin);
    let mut at = 0;
    for path in ["/1", "/second"] {
        let Parsed::Complete(head, consumed) = reader.read(&bytes[at..], &Limits::default()) else {
            panic!()
        };
        assert_eq!(head.path(), path);
        at += consumed;
    }
    assert_eq!(reader.read(&bytes[at..], &Limits::default()), Parsed::More);
}

/// The first length at which a growing input is refused, and why. `None`: never.
fn refused_at(bytes: &[u8], limits: &Limits) -> Option<(usize, Refusal)> {
    let mut reader = RequestReader::new(Target::Origin);
    (0..=bytes.len()).find_map(|end| match reader.read(&bytes[..end], limits) {
        Parsed::Refused(refusal) => Some((end, refusal)),
        _ => None,
    })
}

#[test]
fn a_foreign_first_line_is_refused_before_the_rest_arrives() {
    let limits = Limits::default();
    assert_eq!(refused_at(b"GET / HTTP/2.0\r\nHost", &limits), Some((16, Refusal::Version)));
    assert_eq!(refused_at(b"\x16\x03\x01\x00", &limits), Some((4, Refusal::Nul)));
    assert_eq!(refused_at(b"EHLO a.test\r\n", &limits), Some((13, Refusal::Version)));
    assert_eq!(refused_at(b"GET / HTTP/1.1\r\nA: b\n", &limits), Some((21, Refusal::BareLf)));
    // A CR may be the first half of a line end, so one more byte is needed to tell.
    assert_eq!(refused_at(b"GET / HTTP/1.1\r\nA: b\rc", &limits), Some((22, Refusal::BareCr)));
}

#[test]
fn limits_hold_exactly_and_on_partial_input() {
    let limits = Limits { head_bytes: 60, fields: 3, request_line: 20, ..Limits::default() };
    let line = |path: usize| format!("GET {} HTTP/1.1\r\n", "/".repeat(path));
    assert_eq!(refused_at(format!("{}Host: a\r\n\r\n", line(7)).as_bytes(), &limits), None);
    let too_long = Some((22, Refusal::StartLineTooLong));
    assert_eq!(refused_at(format!("{}Host: a\r\n\r\n", line(8)).as_bytes(), &limits), too_long);
    assert_eq!(refused_at(&[b'A'; 99], &limits), too_long);

    let head = |value: usize| format!("{}Host: a\r\nX: {}\r\n\r\n", line(7), "x".repeat(value));
    let fits = 60 - head(0).len();
    assert_eq!(refused_at(head(fits).as_bytes(), &limits), None);
    let too_large = Some((60, Refusal::HeadTooLarge));
    assert_eq!(refused_at(head(fits + 1).as_bytes(), &limits), too_large);
    assert_eq!(refused_at(head(999).as_bytes(), &limits), too_large);
    // The same in one go, also when what stands behind the limit would be refused for another reason.
    for tail in ["", "\n", "\0", "\r\n\r\n"] {
        let bytes = head(99) + tail;
        assert_eq!(parse_request_head(bytes.as_bytes(), &limits), Parsed::Refused(Refusal::HeadTooLarge));
    }

    assert_eq!(refused_at(format!("{}Host: a\r\nA:\r\nB:\r\n\r\n", line(1)).as_bytes(), &limits), None);
    let crowded = format!("{}Host: a\r\nA:\r\nB:\r\nC:\r\n", line(1));
    assert_eq!(refused_at(crowded.as_bytes(), &limits), Some((crowded.len(), Refusal::TooManyFields)));
}

#[test]
fn the_default_limits_are_those_documented() {
    let head = |fields: usize, size: usize| {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        for at in 1..fields {
            head.extend_from_slice(format!("F{at}: ").as_bytes());
            head.resize(head.len() + size, b'x');
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        parse_request_head(&head, &Limits::default())
    };
    assert!(matches!(head(128, 1), Parsed::Complete(..)));
    assert_eq!(head(129, 1), Parsed::Refused(Refusal::TooManyFields));
    assert!(matches!(head(65, 1000), Parsed::Complete(..)));
    assert!(matches!(head(67, 1000), Parsed::Refused(Refusal::HeadTooLarge)));
    let many =
        Limits { fields: usize::MAX, head_bytes: usize::MAX, request_line: usize::MAX, ..Limits::default() };
    let crowd = "F:\r\n".repeat(MAX_FIELDS + 1);
    let bytes = format!("GET / HTTP/1.1\r\n{crowd}\r\n");
    assert_eq!(parse_request_head(bytes.as_bytes(), &many), Parsed::Refused(Refusal::TooManyFields));
}

#[test]
fn a_refusal_stays_when_asked_again() {
    for bytes in [
        "GET / HTTP/1.1\r\nX: a\n",
        "GET /\r\n",
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n x",
        "GET / HTTP/1.1\r\nX\r\n\r\n",
    ] {
        let mut reader = RequestReader::new(Target::Origin);
        let first = reader.read(bytes.as_bytes(), &Limits::default());
        let longer = format!("{bytes}\r\nHost: a\r\n\r\n");
        match first {
            Parsed::Refused(_) => {
                assert_eq!(reader.read(bytes.as_bytes(), &Limits::default()), first);
                assert_eq!(reader.read(longer.as_bytes(), &Limits::default()), first);
            }
            _ => assert!(matches!(reader.read(longer.as_bytes(), &Limits::default()), Parsed::Refused(_))),
        }
    }
}
