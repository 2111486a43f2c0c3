//! Streams whose client keeps its window shut, or lets its request trickle, and their neighbours that are silent by nature.

use super::*;

/// As much as a stream may send before its receiver says more.
const WINDOW: usize = 65_535;

fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let lines = [(":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/up")];
    raw_headers(stream, false, &[&lines, more].concat())
}

fn whole_window(stream: u32) -> Vec<u8> {
    let mut frames = Vec::new();
    for from in (0..WINDOW).step_by(16_384) {
        frames.extend(raw_data(stream, false, (WINDOW - from).min(16_384)));
    }
    frames
}

fn wide_connection() -> Vec<u8> {
    let mut frames = Vec::new();
    write::window_update(0, 1 << 30, &mut frames);
    frames
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn a_window_that_stays_shut_costs_its_stream_and_no_other() {
    let timeouts = Timeouts { unread: SHORT, ..Timeouts::default() };
    run_with(timeouts, async |setup| {
        setup.client.send(&[wide_connection(), get(1, "/file"), get(3, "/events")].concat()).await;
        setup.client.send(&post(5, &[GRPC])).await;
        setup.origin.next(kind::WINDOW_UPDATE, 0).await;
        setup.origin.next(kind::HEADERS, 5).await;
        setup.origin.send(&[ok(3, false, &[]), raw_data(3, false, 5)].concat()).await;
        for stream in [1, 5] {
            setup.origin.send(&[ok(stream, false, &[]), whole_window(stream)].concat()).await;
        }
        let (.., code) = setup.client.next(kind::RST_STREAM, 1).await;
        assert_eq!(code, ErrorCode::CANCEL.0.to_be_bytes());
        setup.origin.next(kind::RST_STREAM, 1).await;
        tokio::time::sleep(SHORT * 2).await;
        setup.origin.send(&raw_data(3, true, 6)).await;
        let (.., event) = setup.client.next(kind::DATA, 3).await;
        assert_eq!(event.len(), 6, "silent for as long, and not to blame");
        let mut more = Vec::new();
        write::window_update(5, 10, &mut more);
        setup.client.send(&more).await;
        setup.origin.next(kind::WINDOW_UPDATE, 5).await;
        setup.origin.send(&raw_data(5, true, 7)).await;
        let (.., message) = setup.client.next(kind::DATA, 5).await;
        assert_eq!(message.len(), 7, "a call whose client is busy with what it has");
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_room_loses_the_streams_that_wait_for_it() {
    let timeouts = Timeouts { unread: SHORT, ..Timeouts::default() };
    run_with(timeouts, async |setup| {
        setup.client.send(&[get(1, "/file"), get(3, "/file")].concat()).await;
        setup.origin.next(kind::HEADERS, 3).await;
        setup.origin.send(&[ok(3, false, &[]), ok(1, false, &[]), whole_window(1)].concat()).await;
        let mut cut =
            [setup.client.next(kind::RST_STREAM, 1).await, { setup.client.next(kind::RST_STREAM, 3).await }];
        cut.sort_unstable();
        assert!(cut.iter().all(|(.., code)| *code == ErrorCode::CANCEL.0.to_be_bytes()), "{cut:?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_of_ours_is_not_kept_for_a_client_that_has_no_room() {
    let timeouts = Timeouts { unread: SHORT, ..Timeouts::default() };
    run_with(timeouts, async |setup| {
        let mut no_room = Vec::new();
        write::settings([(frame::settings::INITIAL_WINDOW_SIZE, 0)], &mut no_room);
        setup.client.send(&no_room).await;
        setup.origin.next(kind::SETTINGS, 0).await;
        let mut ack = Vec::new();
        write::settings_ack(&mut ack);
        setup.origin.send(&ack).await;
        setup.client.send(&get(1, "/refused")).await;
        setup.client.next(kind::HEADERS, 1).await;
        let (.., code) = setup.client.next(kind::RST_STREAM, 1).await;
        assert_eq!(code, ErrorCode::CANCEL.0.to_be_bytes());
    })
    .await;
}

#[tokio::test]
async fn a_request_that_trickles_is_answered_and_one_that_is_held_up_is_not() {
    let timeouts =
        Timeouts { body_grace: SHORT, stall: SHORT * 20, response_head: SHORT * 20, ..Timeouts::default() };
    run_with(timeouts, async |setup| {
        setup.origin.send(&wide_connection()).await;
        setup.client.next(kind::WINDOW_UPDATE, 0).await;
        // One that trickles, a call, one that its origin takes no more of, one that waits to be asked.
        setup.client.send(&[post(1, &[]), post(3, &[GRPC]), post(5, &[]), whole_window(5)].concat()).await;
        setup.client.send(&post(7, &[("expect", "100-continue")])).await;
        setup.origin.next(kind::HEADERS, 7).await;
        let until = Instant::now() + SHORT * 4;
        while Instant::now() < until {
            setup.client.send(&[raw_data(1, false, 1), raw_data(3, false, 1)].concat()).await;
            tokio::time::sleep(SHORT / 10).await;
        }
        let (.., block) = setup.client.next(kind::HEADERS, 1).await;
        assert!(block.windows(3).any(|window| window == b"408"), "{}", block.escape_ascii());
        setup.origin.next(kind::RST_STREAM, 1).await;
        for stream in [3, 5, 7] {
            setup.origin.send(&ok(stream, true, &[])).await;
            let (.., block) = setup.client.next(kind::HEADERS, stream).await;
            assert!(!block.windows(3).any(|window| window == b"408"), "{stream}");
        }
    })
    .await;
}
