//! Floods: each ends the connection at its limit, and not before.

use super::*;

/// Feeds `bytes(n)` until the connection is refused; how often that went well.
#[track_caller]
fn flood(from: Side, limits: Limits, bytes: impl Fn(u32) -> Vec<u8>) -> (usize, Refusal) {
    let mut harness = Harness::greeted(limits);
    harness.feed(Side::Client, &raw_headers(1, false, &POST));
    harness.feed(Side::Origin, &raw_headers(1, false, &OK));
    for n in 0..30_000 {
        harness.feed(from, &bytes(n));
        harness.written = Default::default();
        if let Some(error) = harness.error {
            assert_eq!(error.side, from);
            return (n as usize, error.refusal);
        }
    }
    panic!("a flood without end");
}

#[test]
fn each_flood_ends_at_its_limit() {
    let limits = Limits::default();
    let two = |n: u32| 2 * n + 3;
    let get = |n: u32| raw_headers(two(n), true, &GET);
    for from in [Side::Client, Side::Origin] {
        assert_eq!(flood(from, limits, |_| frame_of(6, 0, 0, &[0; 8])), (64, Refusal::PingFlood));
        assert_eq!(flood(from, limits, |_| frame_of(6, 1, 0, &[0; 8])), (100, Refusal::GlitchFlood));
        assert_eq!(flood(from, limits, |_| frame_of(4, 0, 0, &[])), (16, Refusal::SettingsFlood));
        assert_eq!(flood(from, limits, |_| raw_data(1, false, 0)), (100, Refusal::EmptyFlood));
        assert_eq!(flood(from, limits, |_| frame_of(0, 8, 1, &[1, 0])), (100, Refusal::EmptyFlood));
        assert_eq!(flood(from, limits, |_| window_update(0, 1)), (100, Refusal::WindowFlood));
        assert_eq!(flood(from, limits, |_| window_update(1, 1)), (100, Refusal::WindowFlood));
        assert_eq!(flood(from, limits, |_| frame_of(0xbb, 0, 0, &[])), (200, Refusal::PriorityFlood));
    }
    assert_eq!(flood(Side::Client, limits, |_| frame_of(2, 0, 9, &[0; 5])), (200, Refusal::PriorityFlood));
    // CVE-2023-44487: asked for and taken back.
    let rapid = |n: u32| [get(n), reset(two(n), 8)].concat();
    assert_eq!(flood(Side::Client, limits, rapid), (50, Refusal::RapidReset));
    // CVE-2025-8671: asked for, then made to be reset by the relay.
    let made = |n: u32| [get(n), window_update(two(n), 0)].concat();
    assert_eq!(flood(Side::Client, limits, made), (100, Refusal::GlitchFlood));
    let slow = Limits { glitches_per_second: 1_000_000, ..limits };
    assert_eq!(flood(Side::Client, slow, made), (500, Refusal::MadeReset));
    for from in [Side::Client, Side::Origin] {
        let go_away = |_| frame_of(7, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(flood(from, limits, go_away), (100, Refusal::GlitchFlood));
    }
    let bad = |n: u32| raw_headers(two(n), true, &[("Bad", "")]);
    assert_eq!(flood(Side::Client, limits, bad), (100, Refusal::GlitchFlood));
}

/// What was under way when a stream was reset does no harm; who sends more than that does not listen.
#[test]
fn on_a_stream_that_was_reset_no_more_comes_than_its_window_had_left() {
    let file = [OK[0], ("content-disposition", "attachment")];
    let elsewhere = [POST[0], POST[1], POST[2], (":path", "/elsewhere")];
    let sent_until_cut = |from: Side, grant: u32, before: usize| {
        let mut harness = greeted();
        let asked = if from == Side::Client && before == 0 { elsewhere } else { POST };
        harness.feed(Side::Client, &raw_headers(1, false, &asked));
        if grant > 0 {
            harness.feed(from.other(), &window_update(1, grant));
        }
        if from == Side::Origin || before > 0 {
            harness.feed(Side::Client, &raw_data(1, false, before));
            harness.feed(Side::Origin, &raw_headers(1, false, &file));
        }
        assert_eq!(outcomes(&harness).len(), 1, "it is blocked");
        for n in 0..1000 {
            harness.feed(from, &raw_data(1, false, 1000));
            if let Some(error) = harness.error {
                assert_eq!((error.side, error.refusal), (from, Refusal::WindowExceeded));
                return n;
            }
        }
        panic!("without end");
    };
    assert_eq!(sent_until_cut(Side::Origin, 0, 0), 65);
    assert_eq!(sent_until_cut(Side::Origin, 100_000, 0), 165);
    assert_eq!(sent_until_cut(Side::Client, 0, 0), 65);
    assert_eq!(sent_until_cut(Side::Client, 0, 16_000), 49);
    assert_eq!(sent_until_cut(Side::Client, 100_000, 16_000), 149);

    let mut ended = greeted();
    ended.feed(Side::Client, &raw_headers(1, true, &GET));
    ended.feed(Side::Origin, &raw_headers(1, false, &file));
    ended.feed(Side::Origin, &raw_data(1, true, 10));
    assert_eq!(ended.error, None);
    ended.feed(Side::Origin, &raw_data(1, true, 0));
    assert_eq!(ended.error.map(|error| error.refusal), Some(Refusal::StreamClosed));
}

/// The same while our answer waits for the client's window, and the stream is still there.
#[test]
fn a_stream_that_waits_for_its_answer_takes_no_more_than_its_window_either() {
    let answered = || {
        let mut harness = greeted();
        // All of the client's window is used up.
        harness.feed(Side::Client, &[raw_headers(1, true, &GET), window_update(1, 100_000)].concat());
        harness.feed(Side::Origin, &raw_headers(1, false, &OK));
        for len in [16_000, 16_000, 16_000, 16_000, 1535] {
            harness.feed(Side::Origin, &raw_data(1, false, len));
        }
        let elsewhere = [POST[0], POST[1], POST[2], (":path", "/elsewhere")];
        harness.feed(Side::Client, &raw_headers(3, false, &elsewhere));
        assert_eq!((harness.error, harness.relay.open_streams()), (None, 2));
        harness
    };
    let mut harness = answered();
    for n in 0..=65 {
        assert_eq!(harness.error, None, "{n}");
        harness.feed(Side::Client, &raw_data(3, false, 1000));
    }
    assert_eq!(harness.error.map(|error| error.refusal), Some(Refusal::WindowExceeded));
    let mut harness = answered();
    for n in 0..=100 {
        assert_eq!(harness.error, None, "{n}");
        harness.feed(Side::Client, &raw_headers(3, false, &[("a", "b")]));
    }
    assert_eq!(harness.error.map(|error| error.refusal), Some(Refusal::GlitchFlood));
}

#[test]
fn requests_behind_the_last_one_are_turned_away_up_to_a_limit() {
    let mut harness = greeted();
    harness.feed(Side::Client, &raw_headers(1, true, &GET));
    harness.feed(Side::Origin, &frame_of(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    for n in 1..=400 {
        harness.feed(Side::Client, &raw_headers(2 * n + 1, true, &GET));
        assert_eq!(harness.error, None, "{n}");
    }
    harness.feed(Side::Client, &raw_headers(803, true, &GET));
    assert_eq!(harness.error.map(|e| e.refusal), Some(Refusal::GlitchFlood));
}

#[test]
fn a_header_block_without_end_is_refused_early() {
    // CVE-2024-27316.
    let mut harness = greeted();
    harness.feed(Side::Client, &frame_of(1, 0, 1, &[0x82]));
    for _ in 0..20 {
        harness.feed(Side::Client, &frame_of(9, 0, 1, &[]));
    }
    assert_eq!(harness.error, None);
    harness.feed(Side::Client, &frame_of(9, 0, 1, &[]));
    assert_eq!(harness.error.map(|e| e.refusal), Some(Refusal::ContinuationFlood));
    let mut harness = greeted();
    harness.feed(Side::Client, &frame_of(1, 0, 1, &[0x82; 16_384]));
    harness.feed(Side::Client, &frame_of(9, 0, 1, &[0x82; 16_384]).repeat(8));
    assert_eq!(harness.error.map(|e| e.refusal), Some(Refusal::ContinuationFlood));
}

#[test]
fn streams_beyond_the_limit_are_turned_away_and_the_tables_stay_in_step() {
    let mut harness = greeted();
    for n in 0..110_u32 {
        harness.feed(Side::Client, &raw_headers(2 * n + 1, true, &GET));
    }
    assert_eq!(harness.error, None);
    assert_eq!(harness.relay.open_streams(), 100);
    let refused: Vec<_> = (100..110).map(|n| (2 * n + 1, 7)).collect();
    assert_eq!(resets(&harness.written[0]), refused);
    for n in 0..100_u32 {
        harness.feed(Side::Origin, &raw_headers(2 * n + 1, true, &OK));
    }
    assert_eq!(harness.relay.open_streams(), 0);
    harness.finish();
}

#[test]
fn honest_traffic_earns_its_control_frames() {
    let mut harness = greeted();
    harness.feed(Side::Client, &raw_headers(1, true, &GET));
    harness.feed(Side::Origin, &raw_headers(1, false, &OK));
    for _ in 0..5000 {
        harness.feed(Side::Origin, &raw_data(1, false, 16_384));
        harness.feed(Side::Client, &[window_update(0, 16_384), window_update(1, 16_384)].concat());
        harness.feed(Side::Client, &frame_of(6, 0, 0, &[7; 8]));
        harness.feed(Side::Origin, &frame_of(6, 1, 0, &[7; 8]));
        harness.written = Default::default();
    }
    assert_eq!(harness.error, None);
    // Cancelled requests are forgiven by those that went to their end.
    for n in 1..400_u32 {
        harness.pass_time(Duration::from_millis(50));
        let (cancelled, served) = (4 * n + 1, 4 * n + 3);
        harness.feed(Side::Client, &[raw_headers(cancelled, true, &GET), reset(cancelled, 8)].concat());
        harness.feed(Side::Client, &raw_headers(served, true, &GET));
        harness.feed(Side::Origin, &raw_headers(served, true, &OK));
        harness.written = Default::default();
    }
    assert_eq!(harness.error, None);
}

/// As libcurl 7.88 does it, any number of times within a second; who does it twice pays as anybody.
#[test]
fn a_stream_that_is_over_may_be_reset_once_more() {
    let mut harness = greeted();
    for n in 0..12_000_u32 {
        let id = 2 * n + 1;
        harness.feed(Side::Client, &raw_headers(id, true, &GET));
        harness.feed(Side::Origin, &raw_headers(id, true, &OK));
        harness.feed(Side::Client, &reset(id, 5));
        harness.written = Default::default();
    }
    assert_eq!(harness.error, None);
    for _ in 0..100 {
        harness.feed(Side::Client, &reset(1, 5));
    }
    assert_eq!(harness.error, None);
    harness.feed(Side::Client, &reset(1, 5));
    assert_eq!(harness.error.map(|error| error.refusal), Some(Refusal::ResetFlood));
}

#[test]
fn a_peer_that_does_not_read_is_read_no_more() {
    let mut harness = Harness::greeted(Limits { output: 100, ..Limits::default() });
    let pings = frame_of(6, 0, 0, &[0; 8]).repeat(20);
    let step = harness.relay.receive(Side::Client, &pings, Duration::ZERO).unwrap();
    assert_eq!((step.consumed, step.waits), (6 * 17, true));
    harness.relay.output(Side::Origin).clear();
    assert!(harness.relay.receive(Side::Client, &pings, Duration::ZERO).unwrap().consumed > 0);
}
