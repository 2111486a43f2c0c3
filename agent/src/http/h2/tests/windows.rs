//! The windows of both connections stay exact, whatever is blocked, answered or reset.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What two honest peers do.
#[derive(Debug, Clone)]
enum Act {
    Ask { elsewhere: bool },
    Respond { stream: u8, file: bool },
    Data { from_origin: bool, stream: u8, len: u16, end: bool },
    Reset { by_origin: bool, stream: u8 },
    Grant { by_origin: bool, share: u8 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => any::<bool>().prop_map(|elsewhere| Act::Ask { elsewhere }),
        3 => (0..6_u8, any::<bool>()).prop_map(|(stream, file)| Act::Respond { stream, file }),
        8 => (any::<bool>(), 0..6_u8, 0..16_000_u16, prop::bool::weighted(0.2))
            .prop_map(|(from_origin, stream, len, end)| Act::Data { from_origin, stream, len, end }),
        1 => (any::<bool>(), 0..6_u8).prop_map(|(by_origin, stream)| Act::Reset { by_origin, stream }),
        4 => (any::<bool>(), any::<u8>()).prop_map(|(by_origin, share)| Act::Grant { by_origin, share }),
    ]
}

/// A stream as its two peers see it.
#[derive(Clone, Copy, Default)]
struct Seen {
    asked: bool,
    responded: bool,
    ended: [bool; 2],
}

/// One direction of DATA: what its sender may send, and what its receiver has not given back.
#[derive(Default)]
struct Direction {
    sent: i64,
    received: i64,
    given_back: i64,
}

fn sum_ok(harness: &Harness, directions: &mut [Direction; 2]) {
    for (to, direction) in [(0, 1), (1, 0)] {
        let written = harness.written[to].strip_prefix(frame::PREFACE).unwrap_or(&harness.written[to]);
        directions[direction].received = data_len(written);
    }
    for (side, direction) in directions.iter().enumerate() {
        // What `side` may send in all: never more than its window as granted by the relay, which it is held to here.
        let to_it = harness.written[side].strip_prefix(frame::PREFACE).unwrap_or(&harness.written[side]);
        let may_send = 65_535 + granted(to_it);
        assert!(direction.sent <= may_send, "a window of {side} was cut");
        // What it gets: never more than it granted.
        let receiver = 1 - side;
        let most = 65_535 + direction.given_back;
        assert!(direction.received <= most, "the window of {receiver} was overrun");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_is_overrun_and_none_shrinks(acts in vec(act(), 1..80)) {
        let limits = Limits { early_resets: 1000, ..Limits::default() };
        let mut harness = Harness::greeted(limits);
        harness.written = Default::default();
        let mut seen = [Seen::default(); 6];
        let mut next = 0;
        // By sender: the client's DATA, the origin's DATA.
        let mut directions: [Direction; 2] = Default::default();
        let mut sent_on = [[0; 6]; 2];
        for act in acts {
            match act {
                Act::Ask { elsewhere } if next < 6 => {
                    let mut lines = POST;
                    if elsewhere {
                        lines[3].1 = "/elsewhere";
                    }
                    seen[next].asked = true;
                    harness.feed(Side::Client, &raw_headers(2 * next as u32 + 1, false, &lines));
                    next += 1;
                }
                Act::Respond { stream, file } => {
                    let at = usize::from(stream);
                    let id = 2 * u32::from(stream) + 1;
                    let opened = read_heads(&harness.written[1]).iter().any(|(opened, _)| *opened == id);
                    if opened && !seen[at].responded && !seen[at].ended[1] {
                        seen[at].responded = true;
                        let lines: &[_] = if file { &[OK[0], ("content-disposition", "attachment")] } else { &OK };
                        harness.feed(Side::Origin, &raw_headers(id, false, lines));
                    }
                }
                Act::Data { from_origin, stream, len, end } => {
                    let (at, side) = (usize::from(stream), usize::from(from_origin));
                    let window = 65_535 + granted(&harness.written[side]) - directions[side].sent;
                    let spoken = if from_origin { seen[at].responded } else { seen[at].asked };
                    if spoken && !seen[at].ended[side] && i64::from(len) <= window {
                        // One stream alone could use up its own window, which is not what is asked here.
                        let id = 2 * u32::from(stream) + 1;
                        let frame = raw_data(id, end, usize::from(len));
                        let from = if from_origin { Side::Origin } else { Side::Client };
                        let grant = window_update(id, u32::from(len).max(1));
                        harness.feed(from.other(), &grant);
                        // Where the stream goes nowhere, its sender is granted nothing.
                        let room = 65_535 + granted_on(&harness.written[side], id) - sent_on[side][at];
                        if harness.error.is_none() && i64::from(len) <= room {
                            directions[side].sent += i64::from(len);
                            sent_on[side][at] += i64::from(len);
                            harness.feed(from, &frame);
                            seen[at].ended[side] |= end;
                        }
                    }
                }
                Act::Reset { by_origin, stream } => {
                    let (at, side) = (usize::from(stream), usize::from(by_origin));
                    let spoken = if by_origin { seen[at].responded } else { seen[at].asked };
                    if spoken && !seen[at].ended[side] {
                        seen[at].ended = [true; 2];
                        let from = if by_origin { Side::Origin } else { Side::Client };
                        harness.feed(from, &reset(2 * u32::from(stream) + 1, 8));
                    }
                }
                Act::Grant { by_origin, share } => {
                    // Gives back a share of what it has received and not given back yet.
                    let direction = &mut directions[usize::from(!by_origin)];
                    let open = direction.received - direction.given_back;
                    let grant = open * i64::from(share) / 255;
                    if grant > 0 {
                        direction.given_back += grant;
                        let from = if by_origin { Side::Origin } else { Side::Client };
                        harness.feed(from, &window_update(0, grant as u32));
                    }
                }
                Act::Ask { .. } => {}
            }
            // Streams that were reset on the way are over for their peers, as they would hear of it.
            for side in 0..2 {
                for (id, _) in resets(&harness.written[side]) {
                    seen[(id as usize - 1) / 2].ended = [true; 2];
                }
            }
            prop_assert_eq!(harness.error, None);
            sum_ok(&harness, &mut directions);
        }
        // All streams end, all is given back: both may send as much as in the beginning.
        for (at, seen) in seen.iter().enumerate() {
            let id = 2 * at as u32 + 1;
            if seen.asked && harness.relay.open_streams() > 0 {
                harness.relay.reset(id, ErrorCode::CANCEL);
            }
        }
        while harness.relay.next_event().is_some() {}
        harness.take_output(&[], Side::Client);
        for (direction, by) in [(0, Side::Origin), (1, Side::Client)] {
            sum_ok(&harness, &mut directions);
            let open = directions[direction].received - directions[direction].given_back;
            if open > 0 {
                directions[direction].given_back += open;
                harness.feed(by, &window_update(0, open as u32));
            }
        }
        prop_assert_eq!(harness.error, None);
        for (side, direction) in directions.iter().enumerate() {
            let may_send = 65_535 + granted(&harness.written[side]) - direction.sent;
            prop_assert_eq!(may_send, 65_535, "side {}", side);
        }
    }
}
