//! What h2spec asks for, by section of RFC 9113: the error, and that it costs a stream or the connection.

use super::*;

#[track_caller]
fn connection_error(section: &str, from: Side, bytes: &[u8], refusal: Refusal) {
    let mut harness = greeted();
    harness.feed(Side::Client, &raw_headers(1, false, &POST));
    harness.feed(from, bytes);
    assert_eq!(harness.error, Some(ConnectionError { side: from, refusal }), "{section}");
    let written = &harness.written[usize::from(from == Side::Origin)];
    let last = frames(written).pop().unwrap();
    assert_eq!(last.0, frame::kind::GOAWAY, "{section}");
    assert_eq!(last.3[4..], refusal.code().0.to_be_bytes(), "{section}");
    harness.finish();
}

#[track_caller]
fn stream_error(section: &str, bytes: &[u8], code: ErrorCode) {
    let mut harness = greeted();
    harness.feed(Side::Client, &raw_headers(1, false, &POST));
    harness.feed(Side::Client, bytes);
    assert_eq!(harness.error, None, "{section}");
    assert_eq!(resets(&harness.written[0]), [(1, code.0)], "{section}");
    assert_eq!(resets(&harness.written[1]), [(1, code.0)], "the origin's work ends too: {section}");
    assert_eq!(outcomes(&harness).len(), 1);
    // The connection goes on.
    harness.feed(Side::Client, &raw_headers(3, true, &GET));
    harness.feed(Side::Origin, &raw_headers(3, true, &OK));
    assert_eq!(outcomes(&harness)[1], (3, Outcome::Complete, 0, 0), "{section}");
    harness.finish();
}

#[test]
fn connections_end_for_frames_that_leave_them_in_doubt() {
    use Side::{Client, Origin};
    let cases: &[(&str, Side, Vec<u8>, Refusal)] = &[
        ("4.2 DATA beyond the frame size", Client, raw_data(1, false, 16_385), Refusal::FrameTooLarge),
        ("4.2 SETTINGS beyond it", Origin, frame_of(4, 0, 0, &[0; 16_386]), Refusal::FrameTooLarge),
        ("4.3 a block that does not decode", Client, frame_of(1, 5, 3, &[0x80]), Refusal::Compression),
        ("4.3 the same as trailers", Client, frame_of(1, 5, 1, &[0xff]), Refusal::Compression),
        (
            "4.3 another frame within a block",
            Client,
            [frame_of(1, 0, 3, &[0x82]), frame_of(6, 0, 0, &[0; 8])].concat(),
            Refusal::HeaderBlockTorn,
        ),
        (
            "4.3 another stream within a block",
            Client,
            [frame_of(1, 0, 3, &[0x82]), frame_of(9, 4, 5, &[])].concat(),
            Refusal::HeaderBlockTorn,
        ),
        (
            "6.2 an unknown frame within a block",
            Client,
            [frame_of(1, 0, 3, &[0x82]), frame_of(0xee, 0, 0, &[])].concat(),
            Refusal::HeaderBlockTorn,
        ),
        ("5.1 idle: DATA", Client, raw_data(3, false, 1), Refusal::StreamIdle),
        ("5.1 idle: RST_STREAM", Client, reset(3, 0), Refusal::StreamIdle),
        ("5.1 idle: WINDOW_UPDATE", Client, window_update(3, 1), Refusal::StreamIdle),
        ("5.1 idle: HEADERS of an origin", Origin, raw_headers(3, true, &OK), Refusal::StreamIdle),
        ("5.1 idle: DATA of an origin", Origin, raw_data(3, true, 1), Refusal::StreamIdle),
        ("5.1 closed: DATA", Client, [reset(1, 8), raw_data(1, false, 1)].concat(), Refusal::StreamClosed),
        (
            "5.1 closed: HEADERS",
            Client,
            [reset(1, 8), raw_headers(1, true, &GET)].concat(),
            Refusal::StreamClosed,
        ),
        ("5.1.1 an even stream", Client, raw_headers(2, true, &GET), Refusal::StreamNumber),
        (
            "5.1.1 a lower stream",
            Client,
            [raw_headers(5, true, &GET), raw_headers(3, true, &GET)].concat(),
            Refusal::StreamClosed,
        ),
        ("6.1 DATA on stream 0", Client, raw_data(0, false, 1), Refusal::StreamZero),
        ("6.1 padding too long", Client, frame_of(0, 8, 1, &[5, 0, 0]), Refusal::Padding),
        ("6.1 padding without length", Client, frame_of(0, 8, 1, &[]), Refusal::FrameSize),
        ("6.2 HEADERS on stream 0", Client, frame_of(1, 5, 0, &[0x82]), Refusal::StreamZero),
        ("6.2 padding too long", Client, frame_of(1, 0xd, 3, &[9, 0x82]), Refusal::Padding),
        ("6.2 priority cut short", Client, frame_of(1, 0x25, 3, &[0; 4]), Refusal::FrameSize),
        ("6.3 PRIORITY on stream 0", Client, frame_of(2, 0, 0, &[0; 5]), Refusal::StreamZero),
        ("6.4 RST_STREAM on stream 0", Client, reset(0, 0), Refusal::StreamZero),
        ("6.4 RST_STREAM of another size", Client, frame_of(3, 0, 1, &[0; 3]), Refusal::FrameSize),
        ("6.5 SETTINGS on a stream", Client, frame_of(4, 0, 1, &[]), Refusal::NotStreamZero),
        ("6.5 SETTINGS of another size", Client, frame_of(4, 0, 0, &[0; 7]), Refusal::FrameSize),
        ("6.5 an acknowledgement with payload", Client, frame_of(4, 1, 0, &[0; 6]), Refusal::FrameSize),
        ("6.5 an acknowledgement of nothing", Client, frame_of(4, 1, 0, &[]), Refusal::SettingsAck),
        ("6.5.2 ENABLE_PUSH 2", Client, frame_of(4, 0, 0, &[0, 2, 0, 0, 0, 2]), Refusal::SettingValue),
        (
            "6.5.2 ENABLE_PUSH of an origin",
            Origin,
            frame_of(4, 0, 0, &[0, 2, 0, 0, 0, 1]),
            Refusal::SettingValue,
        ),
        (
            "6.5.2 INITIAL_WINDOW_SIZE",
            Client,
            frame_of(4, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            Refusal::SettingWindow,
        ),
        (
            "6.5.2 MAX_FRAME_SIZE too small",
            Client,
            frame_of(4, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]),
            Refusal::SettingValue,
        ),
        (
            "6.5.2 MAX_FRAME_SIZE too large",
            Client,
            frame_of(4, 0, 0, &[0, 5, 1, 0, 0, 0]),
            Refusal::SettingValue,
        ),
        (
            "8441 3 ENABLE_CONNECT_PROTOCOL 2",
            Origin,
            frame_of(4, 0, 0, &[0, 8, 0, 0, 0, 2]),
            Refusal::SettingValue,
        ),
        ("6.6 PUSH_PROMISE of an origin", Origin, frame_of(5, 4, 1, &[0, 0, 0, 2, 0x82]), Refusal::Push),
        ("8.4 PUSH_PROMISE of a client", Client, frame_of(5, 4, 1, &[0, 0, 0, 2, 0x82]), Refusal::Push),
        ("6.7 PING on a stream", Client, frame_of(6, 0, 1, &[0; 8]), Refusal::NotStreamZero),
        ("6.7 PING of another size", Client, frame_of(6, 0, 0, &[0; 7]), Refusal::FrameSize),
        ("6.8 GOAWAY on a stream", Client, frame_of(7, 0, 1, &[0; 8]), Refusal::NotStreamZero),
        ("6.8 GOAWAY cut short", Client, frame_of(7, 0, 0, &[0; 7]), Refusal::FrameSize),
        ("6.9 an increment of 0", Client, window_update(0, 0), Refusal::ZeroIncrement),
        ("6.9 WINDOW_UPDATE of another size", Client, frame_of(8, 0, 0, &[0; 3]), Refusal::FrameSize),
        ("6.9.1 a window beyond 2^31-1", Client, window_update(0, frame::MAX_31), Refusal::WindowOverflow),
        (
            "6.9.1 more than the connection's window",
            Client,
            raw_data(1, false, 16_384).repeat(4),
            Refusal::WindowExceeded,
        ),
        ("6.10 CONTINUATION of nothing", Client, frame_of(9, 4, 1, &[]), Refusal::Continuation),
        ("6.10 CONTINUATION on stream 0", Client, frame_of(9, 4, 0, &[]), Refusal::Continuation),
        (
            "9218 7.1 PRIORITY_UPDATE of an origin",
            Origin,
            frame_of(16, 0, 0, b"\0\0\0\x01u=1"),
            Refusal::PriorityUpdate,
        ),
        (
            "9218 7.1 PRIORITY_UPDATE of nothing",
            Client,
            frame_of(16, 0, 0, b"\0\0\0\0u=1"),
            Refusal::PriorityUpdate,
        ),
    ];
    for (section, from, bytes, refusal) in cases {
        connection_error(section, *from, bytes, *refusal);
    }
}

#[test]
fn streams_end_for_frames_that_concern_only_them() {
    for (section, bytes, code) in [
        ("5.1 half-closed: DATA", raw_data(1, true, 0).repeat(2), ErrorCode::STREAM_CLOSED),
        (
            "5.1 half-closed: HEADERS",
            [raw_data(1, true, 0), raw_headers(1, true, &[("a", "b")])].concat(),
            ErrorCode::STREAM_CLOSED,
        ),
        (
            "5.3.1 a stream that depends on itself",
            frame_of(2, 0, 1, &[0, 0, 0, 1, 9]),
            ErrorCode::PROTOCOL_ERROR,
        ),
        ("6.3 PRIORITY of another size", frame_of(2, 0, 1, &[0; 4]), ErrorCode::FRAME_SIZE_ERROR),
        ("6.9 an increment of 0", window_update(1, 0), ErrorCode::PROTOCOL_ERROR),
        ("6.9.1 a window beyond 2^31-1", window_update(1, frame::MAX_31), ErrorCode::FLOW_CONTROL_ERROR),
        ("8.1 a second head without end", raw_headers(1, false, &[("a", "b")]), ErrorCode::PROTOCOL_ERROR),
        ("8.1 a pseudo-header field as trailer", raw_headers(1, true, &GET), ErrorCode::PROTOCOL_ERROR),
    ] {
        stream_error(section, &bytes, code);
    }
}

#[test]
fn the_connection_begins_with_preface_and_settings() {
    for (from, bytes, refused) in [
        (Side::Client, &b"GET / HTTP/1.1\r\n"[..], true),
        (Side::Client, b"PRI * HTTP/2.0\r\n\r\nXX", true),
        (Side::Client, b"PRI * HTTP/2.0\r\n\r\nSM", false),
        (Side::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x06\0\0\0\0\0", true),
        (Side::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\x01\0\0\0\0", true),
        (Side::Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", false),
        (Side::Origin, b"HTTP/1.1 400 Bad Request\r\n", true),
        (Side::Origin, b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01", true),
        (Side::Origin, b"\0\0\0\x04\0\0\0\0\0", false),
    ] {
        let mut harness = Harness::new(Limits::default());
        harness.feed(from, bytes);
        assert_eq!(harness.error.is_some(), refused, "{}", bytes.escape_ascii());
        harness.finish();
    }
}

#[test]
fn settings_reach_the_other_side_as_far_as_they_concern_it() {
    let mut harness = Harness::new(Limits::default());
    let mut greeting = frame::PREFACE.to_vec();
    // Table 64 KiB, push, 1 MiB windows, frames of 1 MiB, lists of 1 MiB, an unknown one.
    let pairs = [(1, 65_536), (2, 1), (4, 1 << 20), (5, 1 << 20), (6, 1 << 20), (9, 1), (0x1a2a, 7)];
    write::settings(pairs, &mut greeting);
    harness.feed(Side::Client, &greeting);
    let mut expected = frame::PREFACE.to_vec();
    write::settings([(2, 0), (4, 1 << 20), (6, 65_536), (9, 1)], &mut expected);
    assert_eq!(harness.written[1], expected);
    let mut theirs = Vec::new();
    write::settings([(1, 0), (3, 1000), (4, 5), (5, 1 << 20), (8, 1)], &mut theirs);
    harness.written = Default::default();
    harness.feed(Side::Origin, &theirs);
    let mut expected = Vec::new();
    write::settings([(3, 100), (4, 5), (8, 1)], &mut expected);
    assert_eq!(harness.written[0], expected);
    // Nobody has heard an acknowledgement yet: they come from the other end.
    assert_eq!(harness.written[1], b"");
    let ack = frame_of(4, 1, 0, &[]);
    harness.feed(Side::Client, &ack);
    assert_eq!(harness.written[1], b"", "this was for ours");
    harness.feed(Side::Client, &ack);
    assert_eq!(harness.written[1], ack);
    harness.written = Default::default();
    harness.feed(Side::Origin, &ack);
    assert_eq!(harness.written[0], ack);
    // A table of nothing: the next block says so first.
    harness.feed(Side::Client, &raw_headers(1, true, &GET));
    assert_eq!(frames(&harness.written[1]).pop().unwrap().3[0], 0x20);
}

#[test]
fn pings_go_from_end_to_end_and_unknown_frames_nowhere() {
    let mut harness = greeted();
    let ping = frame_of(6, 0, 0, b"abcdefgh");
    let pong = frame_of(6, 1, 0, b"abcdefgh");
    harness.feed(Side::Client, &ping);
    assert_eq!((&harness.written[1], harness.written[0].len()), (&ping, 0));
    harness.feed(Side::Origin, &pong);
    assert_eq!(harness.written[0], pong);
    harness.feed(
        Side::Origin,
        &[pong.clone(), frame_of(0xfa, 3, 1, b"grease"), frame_of(0xa, 0, 1, b"alt")].concat(),
    );
    assert_eq!(harness.written[0], pong, "nobody asked twice; no frame that was not understood passes");
    harness.relay.lost(Side::Origin);
    harness.written = Default::default();
    harness.feed(Side::Client, &ping);
    assert_eq!(frames(&harness.written[0]).pop().unwrap().3, b"abcdefgh");
}

#[test]
fn a_graceful_end_of_either_side_is_passed_on() {
    let mut harness = greeted();
    for stream in [1, 3, 5] {
        harness.feed(Side::Client, &raw_headers(stream, true, &GET));
    }
    harness.written = Default::default();
    harness.feed(Side::Origin, &frame_of(7, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0, b'w', b'h', b'y']));
    let expected = [frame_of(7, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]), reset(5, 7)].concat();
    assert_eq!(harness.written[0], expected, "stream 5 may be asked for elsewhere");
    harness.feed(Side::Client, &raw_headers(7, true, &GET));
    assert_eq!(resets(&harness.written[0]), [(5, 7), (7, 7)]);
    for stream in [1, 3] {
        harness.feed(Side::Origin, &raw_headers(stream, true, &OK));
    }
    assert_eq!(harness.relay.open_streams(), 0);
    assert!(harness.relay.is_closing());

    let mut harness = greeted();
    harness.feed(Side::Client, &raw_headers(1, true, &GET));
    harness.relay.shut_down(false);
    harness.relay.shut_down(true);
    harness.feed(Side::Client, &raw_headers(3, true, &GET));
    harness.feed(Side::Origin, &raw_headers(1, true, &OK));
    let away: Vec<_> =
        frames(&harness.written[0]).into_iter().filter(|f| f.0 == 7).map(|f| f.3[..4].to_vec()).collect();
    assert_eq!(away, [[0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 1]]);
    assert_eq!(resets(&harness.written[0]), [(3, 7)]);
    assert!(harness.relay.is_idle());
}
