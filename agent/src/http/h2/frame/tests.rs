//! Frames: written ones read back.

use super::*;

#[test]
fn written_frames_read_back() {
    let mut out = Vec::new();
    write::ping(true, *b"12345678", &mut out);
    write::reset(5, ErrorCode::CANCEL, &mut out);
    write::window_update(7, 9, &mut out);
    write::go_away(3, ErrorCode::NO_ERROR, &mut out);
    write::priority(9, [0, 0, 0, 3, 200], &mut out);
    write::priority_update(11, b"u=2", &mut out);
    write::settings_ack(&mut out);
    write::settings([(4, 5)], &mut out);
    let mut rest = &out[..];
    let mut next = || {
        let header = FrameHeader::parse(rest).unwrap();
        let (frame, after) = rest.split_at(HEADER_LEN + header.len);
        rest = after;
        parse(header, &frame[HEADER_LEN..]).unwrap()
    };
    assert_eq!(next(), Frame::Ping { ack: true, opaque: *b"12345678" });
    assert_eq!(next(), Frame::Reset { stream: 5, code: ErrorCode::CANCEL });
    assert_eq!(next(), Frame::WindowUpdate { stream: 7, increment: 9 });
    assert_eq!(next(), Frame::GoAway { last: 3, code: ErrorCode::NO_ERROR });
    assert_eq!(next(), Frame::Priority { stream: 9, priority: [0, 0, 0, 3, 200] });
    assert_eq!(next(), Frame::PriorityUpdate { stream: 11, value: b"u=2" });
    assert_eq!(next(), Frame::SettingsAck);
    assert_eq!(next(), Frame::Settings(&[0, 4, 0, 0, 0, 5]));
    assert!(rest.is_empty());
}

#[test]
fn fewer_octets_than_a_header_are_none() {
    for len in 0..HEADER_LEN {
        assert_eq!(FrameHeader::parse(&[0; HEADER_LEN][..len]), None);
    }
    let header = FrameHeader::parse(&[0, 1, 2, 0, 9, 0x80, 0, 0, 1]).unwrap();
    assert_eq!(
        (header.len, header.stream, header.plain),
        (258, 1, false),
        "the reserved bit is no part of it"
    );
    assert!(FrameHeader::parse(&[0, 1, 2, 0, 9, 0, 0, 0, 1]).unwrap().plain);
}
