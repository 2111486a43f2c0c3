//! Heads: what is malformed by RFC 9113 section 8 never reaches the other side, and what passes is what was judged.

use super::*;

/// The request's lines but those with a name in `without`, then `with`.
fn request_with(without: &[&str], with: &[(&str, &str)]) -> Vec<u8> {
    let mut lines: Vec<_> = POST.into_iter().filter(|(name, _)| !without.contains(name)).collect();
    lines.extend(with);
    raw_headers(1, false, &lines)
}

#[test]
fn malformed_requests_reach_no_origin() {
    use Refusal::*;
    let long = format!("/{}", "p".repeat(8192));
    let large = "v".repeat(16_000);
    let cases: &[(&[&str], Lines<'_>, Refusal)] = &[
        (&[":method"], &[], PseudoMissing),
        (&[":path"], &[], PseudoMissing),
        (&[":scheme"], &[], PseudoMissing),
        (&[":authority"], &[], Authority),
        (&[], &[(":path", "/2")], PseudoRepeated),
        (&[], &[(":status", "200")], PseudoUnknown),
        (&[], &[(":x", "1")], PseudoUnknown),
        (&[], &[("a", "b"), (":x", "1")], PseudoOrder),
        (&[":path"], &[(":path", "")], Target),
        (&[":path"], &[(":path", "x")], Target),
        (&[":path"], &[(":path", "*")], Target),
        (&[":path"], &[(":path", "/a b")], Target),
        (&[":path"], &[(":path", "/a\r\nx: y")], Target),
        (&[":path"], &[(":path", &long)], TargetTooLong),
        (&[":method"], &[(":method", "GE T")], Method),
        (&[":method"], &[(":method", "")], Method),
        (&[":method"], &[(":method", "CONNECT")], MethodRefused),
        (&[":method"], &[(":method", "TRACE")], MethodRefused),
        (&[":method"], &[(":method", "CONNECT"), (":protocol", "connect-udp")], MethodRefused),
        (&[], &[(":protocol", "websocket")], PseudoUnknown),
        (&[":scheme"], &[(":scheme", "ftp")], Scheme),
        (&[":authority"], &[(":authority", "")], Authority),
        (&[":authority"], &[(":authority", "u@a.test")], Authority),
        (&[], &[("host", "b.test")], HostMismatch),
        (&[], &[("host", "a.test"), ("host", "a.test")], Authority),
        (&[], &[("Upper", "x")], FieldName),
        (&[], &[("", "x")], FieldName),
        (&[], &[("a b", "x")], FieldName),
        (&[], &[("a:b", "x")], FieldName),
        (&[], &[("a\0", "x")], FieldName),
        (&[], &[("n", "x\r\ny: z")], FieldValue),
        (&[], &[("n", "x\ny")], FieldValue),
        (&[], &[("n", "\0")], FieldValue),
        (&[], &[("n", " x")], FieldValue),
        (&[], &[("n", "x\t")], FieldValue),
        (&[], &[("connection", "close")], ConnectionField),
        (&[], &[("keep-alive", "1")], ConnectionField),
        (&[], &[("proxy-connection", "x")], ConnectionField),
        (&[], &[("transfer-encoding", "chunked")], ConnectionField),
        (&[], &[("upgrade", "websocket")], ConnectionField),
        (&[], &[("te", "gzip")], ConnectionField),
        (&[], &[("te", "trailers, gzip")], ConnectionField),
        (&[], &[("content-length", "x")], ContentLength),
        (&[], &[("content-length", "1"), ("content-length", "2")], ContentLength),
        (&[], &[("content-length", "+1")], ContentLength),
        (&[], &[("a", &large), ("b", &large), ("c", &large), ("d", &large), ("e", &large)], HeadTooLarge),
    ];
    for (without, with, refusal) in cases {
        let mut harness = greeted();
        let block = request_with(without, with);
        harness.feed(Side::Client, &block);
        let what = format!("{without:?} {:?}", with.first());
        assert_eq!(harness.error, None, "{what}");
        assert_eq!(crate::http::h2::fuzz::refusals(&harness.events), [*refusal], "{what}");
        assert_eq!(harness.written[1], b"", "{what}");
        assert_eq!(resets(&harness.written[0]), [(1, refusal.code().0)]);
        harness.finish();
    }
}

#[test]
fn malformed_responses_reach_no_client() {
    use Refusal::*;
    let cases: &[(Lines<'_>, bool, Refusal)] = &[
        (&[], true, PseudoMissing),
        (&[("a", "b")], true, PseudoMissing),
        (&[(":status", "200"), (":status", "200")], true, PseudoRepeated),
        (&[(":status", "200"), (":path", "/")], true, PseudoUnknown),
        (&[(":method", "GET")], true, PseudoUnknown),
        (&[(":status", "2000")], true, Status),
        (&[(":status", "20")], true, Status),
        (&[(":status", "+20")], true, Status),
        (&[(":status", "099")], true, Status),
        (&[(":status", "101")], false, Status),
        (&[(":status", "100")], true, InterimEnd),
        (&[(":status", "200"), ("Content-Disposition", "attachment")], true, FieldName),
        (&[(":status", "200"), ("content-disposition", "attachment\r\n")], true, FieldValue),
        (&[(":status", "200"), ("connection", "content-disposition")], true, ConnectionField),
        (&[(":status", "200"), ("a", "b"), (":status", "200")], true, PseudoOrder),
        (&[(":status", "200"), ("content-length", "5")], true, ContentLength),
    ];
    for (lines, end, refusal) in cases {
        let mut harness = greeted();
        harness.feed(Side::Client, &raw_headers(1, true, &GET));
        harness.feed(Side::Origin, &raw_headers(1, *end, lines));
        assert_eq!(harness.error, None, "{lines:?}");
        assert_eq!(crate::http::h2::fuzz::refusals(&harness.events), [*refusal], "{lines:?}");
        assert_eq!(resets(&harness.written[1]), [(1, refusal.code().0)], "{lines:?}");
        assert_eq!(read_heads(&harness.written[0])[0].1.get(":status"), Some(&b"502"[..]));
        assert_eq!(outcomes(&harness), [(1, Outcome::Answered, 0, 3)]);
        harness.finish();
    }
}

#[test]
fn a_body_has_the_length_that_was_declared() {
    let length = [(":status", "200"), ("content-length", "10")];
    for (method, body, fine) in [
        ("GET", raw_data(1, true, 10), true),
        ("GET", [raw_data(1, false, 4), raw_data(1, true, 6)].concat(), true),
        ("GET", [raw_data(1, false, 10), raw_headers(1, true, &[("t", "v")])].concat(), true),
        ("GET", frame_of(0, 9, 1, b"\x030123456789\0\0\0"), true),
        ("GET", raw_data(1, true, 9), false),
        ("GET", raw_data(1, false, 11), false),
        ("GET", raw_headers(1, true, &[("t", "v")]), false),
        ("HEAD", raw_data(1, true, 0), true),
        ("HEAD", raw_data(1, true, 10), false),
    ] {
        let mut harness = greeted();
        let mut lines = GET;
        lines[0].1 = method;
        harness.feed(Side::Client, &raw_headers(1, true, &lines));
        harness.feed(Side::Origin, &[raw_headers(1, false, &length), body.clone()].concat());
        let outcome =
            if fine { Outcome::Complete } else { Outcome::Refused(Side::Origin, Refusal::ContentLength) };
        assert_eq!(outcomes(&harness)[0].1, outcome, "{method} {}", body.escape_ascii());
        harness.finish();
    }
}

#[test]
fn what_passes_keeps_its_fields_their_order_and_their_secrecy() {
    let mut harness = greeted();
    let mut lines = GET.to_vec();
    lines.extend([
        ("te", "trailers"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("host", "A.test"),
        ("x-odd", "\u{e4}"),
    ]);
    harness.feed(Side::Client, &raw_headers(1, true, &lines));
    let heads = read_heads(&harness.written[1]);
    let expected: Vec<_> = lines.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    assert_eq!(heads[0].1.iter().collect::<Vec<_>>(), expected);
    // A literal that is never indexed stays one.
    let mut list = super::super::hpack::FieldList::new();
    let mut block = vec![0x88, 0x10, 5];
    block.extend(b"token\x06secret");
    harness.feed(Side::Origin, &frame_of(1, 5, 1, &block));
    let frame = frames(&harness.written[0]).pop().unwrap();
    super::super::hpack::Decoder::new(9999, 99).decode(&frame.3, &mut list).unwrap();
    assert!(list.lines()[1].never_indexed && list.name(&list.lines()[1]) == b"token");
}

#[test]
fn a_websocket_and_grpc_pass() {
    let mut harness = greeted();
    let mut lines = GET.to_vec();
    lines[0].1 = "CONNECT";
    lines.push((":protocol", "websocket"));
    harness.feed(Side::Origin, &frame_of(4, 0, 0, &[0, 8, 0, 0, 0, 1]));
    harness.written = Default::default();
    harness.feed(Side::Client, &raw_headers(1, false, &lines));
    assert!(matches!(harness.events[0], Event::Request { websocket: true, end: false, .. }));
    assert_eq!(read_heads(&harness.written[1])[0].1.get(":protocol"), Some(&b"websocket"[..]));
    harness.feed(Side::Origin, &raw_headers(1, false, &OK));
    harness.feed(Side::Origin, &raw_data(1, false, 7));
    harness.feed(Side::Client, &raw_data(1, true, 5));
    harness.feed(Side::Origin, &raw_data(1, true, 2));
    assert_eq!(outcomes(&harness), [(1, Outcome::Complete, 5, 9)]);

    harness.feed(Side::Client, &[raw_headers(3, false, &POST), raw_data(3, true, 5)].concat());
    let trailers = [("grpc-status", "0"), ("set-cookie", "x=y"), ("content-disposition", "attachment")];
    let response =
        [raw_headers(3, false, &OK), raw_data(3, false, 5), raw_headers(3, true, &trailers)].concat();
    harness.feed(Side::Origin, &response);
    let (_, last) = read_heads(&harness.written[0]).pop().unwrap();
    assert_eq!(last.iter().collect::<Vec<_>>(), [(&b"grpc-status"[..], &b"0"[..])]);
    assert_eq!(outcomes(&harness)[1], (3, Outcome::Complete, 5, 5));
    harness.finish();
}

#[test]
fn a_tunnel_that_was_not_offered_is_not_asked_for() {
    for offer in [&[][..], &[0, 8, 0, 0, 0, 0]] {
        let mut harness = greeted();
        harness.feed(Side::Origin, &frame_of(4, 0, 0, offer));
        let mut lines = GET.to_vec();
        lines[0].1 = "CONNECT";
        lines.push((":protocol", "websocket"));
        harness.written = Default::default();
        harness.feed(Side::Client, &raw_headers(1, false, &lines));
        assert_eq!(crate::http::h2::fuzz::refusals(&harness.events), [Refusal::MethodRefused]);
        assert!(read_heads(&harness.written[1]).is_empty());
    }
}

#[test]
fn interim_responses_pass_up_to_their_limit() {
    let mut harness = greeted();
    harness.feed(Side::Client, &raw_headers(1, true, &GET));
    harness.feed(Side::Origin, &raw_headers(1, false, &[(":status", "103"), ("link", "</a>")]).repeat(16));
    assert_eq!(read_heads(&harness.written[0]).len(), 16);
    harness.feed(Side::Origin, &raw_headers(1, false, &[(":status", "100")]));
    assert_eq!(crate::http::h2::fuzz::refusals(&harness.events), [Refusal::InterimFlood]);
}

#[test]
fn a_head_of_several_frames_is_one_head() {
    let large = "x".repeat(9_000);
    let mut lines = GET.to_vec();
    lines.extend([("a", large.as_str()), ("b", &large), ("c", &large), ("d", &large)]);
    let mut harness = greeted();
    let sent = raw_headers(1, true, &lines);
    assert_eq!(frames(&sent).len(), 3);
    harness.feed(Side::Client, &sent);
    let heads = read_heads(&harness.written[1]);
    assert_eq!(heads[0].1.len(), 8);
    assert_eq!(heads[0].1.get("d").map(<[u8]>::len), Some(9_000));
    harness.finish();
}
