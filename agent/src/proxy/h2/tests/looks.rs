//! Responses that are looked at before their verdict, and tunnels, which are not.

use super::*;

fn body(stream: u32, end: bool, octets: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write::header(octets.len(), kind::DATA, u8::from(end), stream, &mut frame);
    frame.extend_from_slice(octets);
    frame
}

#[tokio::test]
async fn a_response_is_judged_by_its_beginning_where_that_is_asked_for() {
    let (_, script) = run(async |setup| {
        setup
            .client
            .send(&[get(1, "/zip"), get(3, "/text"), get(5, "/short"), get(7, "/page")].concat())
            .await;
        setup.origin.next(kind::HEADERS, 7).await;
        for stream in [1, 3, 5] {
            setup.origin.send(&ok(stream, false, &[("x-look", "4")])).await;
        }
        // Octet by octet, with others among them, and one that nobody looks at.
        setup
            .origin
            .send(&[body(1, false, b"P"), body(3, false, b"Po"), body(1, false, b"K")].concat())
            .await;
        setup.origin.send(&[ok(7, false, &[]), body(7, true, b"page")].concat()).await;
        assert_eq!(setup.client.next(kind::DATA, 7).await.3, b"page");
        setup.origin.send(&[body(3, false, b"em more"), body(5, true, b"P")].concat()).await;
        assert_eq!(setup.client.next(kind::DATA, 3).await.3, b"Po");
        assert_eq!(setup.client.next(kind::DATA, 3).await.3, b"em more");
        assert_eq!(setup.client.next(kind::DATA, 5).await.3, b"P");
        setup.origin.send(&body(1, true, b"\x03\x04 and the rest")).await;
        assert_eq!(setup.client.next(kind::DATA, 1).await.3, b"403: an archive\n");
    })
    .await;
    let mut looked = script.looked.into_inner();
    looked.sort_unstable();
    assert_eq!(looked, [(1, true), (4, false), (4, false)]);
}

/// Of a beginning that is slow the first octets suffice, and what ends with its head is known whole.
#[tokio::test]
async fn a_look_waits_for_two_seconds_and_for_nothing_where_nothing_comes() {
    let (_, script) = run(async |setup| {
        setup.client.send(&[get(1, "/slow"), get(3, "/none")].concat()).await;
        setup.origin.next(kind::HEADERS, 3).await;
        let heads = [ok(1, false, &[("x-look", "64")]), ok(3, true, &[("x-look", "4")])];
        setup.origin.send(&heads.concat()).await;
        setup.client.next(kind::HEADERS, 3).await;
        setup.origin.send(&body(1, false, b"slow")).await;
        // Fewer than tell anything: they are waited for.
        let early = tokio::time::timeout(FIRST_OCTETS + SHORT, setup.client.next(kind::HEADERS, 1)).await;
        assert!(early.is_err());
        setup.origin.send(&body(1, false, b"er yet")).await;
        setup.client.next(kind::HEADERS, 1).await;
        setup.origin.send(&body(1, true, b"late")).await;
        for part in [&b"slow"[..], b"er yet", b"late"] {
            assert_eq!(setup.client.next(kind::DATA, 1).await.3, part);
        }
    })
    .await;
    assert_eq!(script.looked.into_inner(), [(0, true), (10, false)]);
}

/// What has shown nothing is waited for as if nothing had come; where no more can come it is judged at once.
#[tokio::test]
async fn a_look_that_shows_nothing_goes_on() {
    let (_, script) = run(async |setup| {
        setup.client.send(&[get(1, "/zip"), get(3, "/blanks")].concat()).await;
        setup.origin.next(kind::HEADERS, 3).await;
        for stream in [1, 3] {
            setup.origin.send(&ok(stream, false, &[("x-look", "4"), ("x-further", "1")])).await;
        }
        setup.origin.send(&body(1, false, b"        ")).await;
        let early = tokio::time::timeout(FIRST_OCTETS + SHORT, setup.client.next(kind::HEADERS, 1)).await;
        assert!(early.is_err());
        setup.origin.send(&[body(1, false, b"  "), body(1, false, b"text")].concat()).await;
        for part in [&b"        "[..], b"  ", b"text"] {
            assert_eq!(setup.client.next(kind::DATA, 1).await.3, part);
        }
        // The rest of the connection's window.
        for len in [16_384, 16_384, 16_384, 16_383 - 14] {
            setup.origin.send(&body(3, false, &vec![b' '; len])).await;
        }
        setup.client.next(kind::DATA, 3).await;
    })
    .await;
    let looked: Vec<_> = script.looked.into_inner();
    assert_eq!(looked.len(), 2, "{looked:?}");
    assert!(looked[0].0 > 10 && looked[1].0 == 65_535 - 14, "{looked:?}");
}

/// What does not come at all ends as any stream that stands still.
#[tokio::test]
async fn a_look_at_nothing_ends_with_its_stream() {
    let (_, script) = run_with(short(), async |setup| {
        setup.client.send(&get(1, "/never")).await;
        setup.origin.next(kind::HEADERS, 1).await;
        setup.origin.send(&ok(1, false, &[("x-look", "64")])).await;
        setup.client.next(kind::RST_STREAM, 1).await;
    })
    .await;
    assert!(script.looked.into_inner().is_empty());
}

/// More responses than there is room for their beginnings: none stands in the way of another.
#[tokio::test]
async fn looks_that_fill_the_room_are_ended_by_that() {
    run(async |setup| {
        let streams: Vec<u32> = (0..90).map(|n| 2 * n + 1).collect();
        setup.client.send(&streams.iter().flat_map(|stream| get(*stream, "/")).collect::<Vec<_>>()).await;
        setup.origin.next(kind::HEADERS, 179).await;
        for stream in &streams {
            setup.origin.send(&ok(*stream, false, &[("x-look", "8192")])).await;
            setup.origin.send(&raw_data(*stream, false, 600)).await;
        }
        for stream in &streams {
            setup.origin.send(&raw_data(*stream, true, 9)).await;
        }
        for _ in &streams {
            while setup.client.frame().await.unwrap().0 != kind::HEADERS {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_that_is_granted_is_no_download() {
    let (_, script) = run(async |setup| {
        let mut settings = Vec::new();
        write::settings([(frame::settings::ENABLE_CONNECT_PROTOCOL, 1)], &mut settings);
        setup.origin.send(&settings).await;
        setup.client.next(kind::SETTINGS, 0).await;
        let mut lines = vec![(":method", "CONNECT"), (":scheme", "https"), (":authority", "a.test")];
        lines.extend([(":path", "/"), (":protocol", "websocket")]);
        for stream in [1, 3] {
            setup.client.send(&raw_headers(stream, false, &lines)).await;
            setup.origin.next(kind::HEADERS, stream).await;
        }
        setup.origin.send(&ok(1, false, &[("x-block", "1"), ("x-look", "4")])).await;
        setup.origin.send(&raw_headers(3, false, &[(":status", "403"), ("x-block", "1")])).await;
        setup.origin.send(&raw_data(1, false, 7)).await;
        assert_eq!(setup.client.next(kind::DATA, 3).await.3, b"403: blocked\n");
        assert_eq!(setup.client.next(kind::DATA, 1).await.3.len(), 7);
    })
    .await;
    assert!(script.looked.into_inner().is_empty());
}

fn post(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut lines = vec![(":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];
    lines.extend(fields);
    raw_headers(stream, false, &lines)
}

/// Those behind it wait: streams are opened in the order of their numbers.
#[tokio::test]
async fn a_request_is_judged_by_its_beginning_where_that_is_asked_for() {
    let (_, script) = run(async |setup| {
        let look = [("x-look", "4")];
        let requests = [post(1, &look), post(3, &look), post(5, &look), post(7, &[]), get(9, "/")];
        setup.client.send(&requests.concat()).await;
        let bodies = [body(1, false, b"P"), body(3, false, b"Po"), body(1, false, b"K"), body(7, true, b"x")];
        setup.client.send(&bodies.concat()).await;
        setup
            .client
            .send(&[body(3, false, b"em"), body(5, true, b"P"), body(1, true, b"\x03\x04")].concat())
            .await;
        assert_eq!(setup.client.next(kind::DATA, 1).await.3, b"403: an archive\n");
        for (stream, content) in [(3, &b"Po"[..]), (3, b"em"), (5, b"P"), (7, b"x")] {
            assert_eq!(setup.origin.next(kind::DATA, stream).await.3, content);
        }
        setup.origin.next(kind::HEADERS, 9).await;
        // What was seen of a request is there when its response is judged, and at no other.
        for stream in [9, 7, 5] {
            setup.origin.send(&ok(stream, true, &[("x-block", "if-seen")])).await;
        }
        assert_eq!(setup.client.next(kind::DATA, 5).await.3, b"403: blocked\n");
        setup.client.send(&body(3, true, b"")).await;
        setup.origin.send(&ok(3, true, &[])).await;
        setup.client.next(kind::HEADERS, 3).await;
    })
    .await;
    let mut looked = script.looked.into_inner();
    looked.retain(|looked| *looked != (0, true));
    looked.sort_unstable();
    assert_eq!(looked, [(1, true), (4, false), (4, true)], "responses without a body left out");
}

#[tokio::test]
async fn a_look_at_a_request_ends_in_time_or_where_no_more_can_come() {
    let (_, script) = run(async |setup| {
        setup
            .client
            .send(&[post(1, &[("x-look", "9000"), ("x-patience", "1")]), body(1, false, b"slow")].concat())
            .await;
        assert_eq!(setup.origin.next(kind::DATA, 1).await.3, b"slow");
        // All that the windows allow is less than is asked for.
        setup.client.send(&post(3, &[("x-look", "65536")])).await;
        for _ in 0..3 {
            setup.client.send(&raw_data(3, false, 16384)).await;
        }
        setup.client.send(&raw_data(3, false, 16383 - 4)).await;
        setup.origin.next(kind::DATA, 3).await;
        // A client that has enough of it.
        setup.client.send(&post(5, &[("x-look", "9000")])).await;
        write_reset(&mut setup.client, 5).await;
        setup.client.send(&post(7, &[])).await;
        setup.origin.next(kind::HEADERS, 7).await;
    })
    .await;
    assert_eq!(script.looked.into_inner(), [(4, false), (65531, false)]);
}

async fn write_reset(client: &mut End, stream: u32) {
    let mut frame = Vec::new();
    write::reset(stream, ErrorCode::CANCEL, &mut frame);
    client.send(&frame).await;
}
