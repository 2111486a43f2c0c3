//! Verdicts: blocks, answers, heads that wait, and that nobody else notices.

use super::*;

const FILE: [(&str, &str); 2] = [(":status", "200"), ("content-disposition", "attachment")];

#[test]
fn a_block_leaks_no_byte_and_disturbs_no_neighbour() {
    let mut harness = greeted();
    harness.feed(Side::Client, &[raw_headers(1, true, &GET), raw_headers(3, true, &GET)].concat());
    harness.feed(Side::Origin, &raw_headers(3, false, &OK));
    harness.written = Default::default();
    // In one read: the file's head, and data of both streams in turns.
    let mut burst = raw_headers(1, false, &FILE);
    for _ in 0..3 {
        burst.extend([raw_data(3, false, 10), raw_data(1, false, 1000)].concat());
    }
    burst.extend(raw_data(3, true, 5));
    harness.feed(Side::Origin, &burst);
    let to_client: Vec<_> = frames(&harness.written[0]).into_iter().filter(|f| f.0 == 0).collect();
    let of = |id| to_client.iter().filter(move |f| f.2 == id).flat_map(|f| f.3.clone()).collect::<Vec<_>>();
    assert_eq!(of(1), vec![b'B'; 100]);
    assert_eq!(of(3), vec![b'd'; 35]);
    assert_eq!(resets(&harness.written[1]), [(1, ErrorCode::CANCEL.0)]);
    assert_eq!(granted(&harness.written[1]), 3000 - 100, "what was dropped, less what our page took");
    assert_eq!(outcomes(&harness), [(1, Outcome::Answered, 0, 100), (3, Outcome::Complete, 0, 35)]);
    // The client gives back what the page took: the origin hears of nothing but the neighbour's octets.
    harness.written = Default::default();
    harness.feed(Side::Client, &window_update(0, 135));
    assert_eq!(granted(&harness.written[1]), 135);
    harness.finish();
}

#[test]
fn requests_wait_in_their_order_and_others_do_not_wait_for_bodies() {
    let mut harness = greeted();
    harness.undecided = true;
    harness.feed(Side::Client, &[raw_headers(1, false, &POST), raw_data(1, false, 50)].concat());
    harness.feed(Side::Client, &[raw_headers(3, true, &GET), window_update(1, 77)].concat());
    assert_eq!(harness.written[1], b"");
    let heads: Vec<_> = harness.events.clone();
    let head = |n: u32| {
        heads.iter().find_map(|event| match event {
            Event::Request { stream, head, .. } if *stream == n => Some(head.clone()),
            _ => None,
        })
    };
    harness.relay.pass_request(3, &head(3).unwrap()).unwrap();
    harness.take_output(&[], Side::Origin);
    assert_eq!(harness.written[1], b"", "3 cannot be opened before 1");
    harness.relay.pass_request(1, &head(1).unwrap()).unwrap();
    harness.take_output(&[], Side::Origin);
    let order: Vec<_> = frames(&harness.written[1]).iter().map(|f| (f.0, f.2)).collect();
    assert_eq!(order, [(1, 1), (8, 1), (0, 1), (1, 3)]);
    // A response under judgement holds its own data and trailers only.
    harness.written = Default::default();
    let burst = [raw_headers(1, false, &OK), raw_headers(3, false, &OK), raw_data(1, false, 9)].concat();
    harness.feed(Side::Origin, &[burst, raw_data(3, false, 8), raw_headers(1, true, &[("t", "v")])].concat());
    assert_eq!(harness.relay.awaiting(), 2);
    harness.relay.pass_response(3, &ResponseHead::new(200, Version::Http2)).unwrap();
    harness.take_output(&[], Side::Client);
    let order: Vec<_> = frames(&harness.written[0]).iter().map(|f| (f.0, f.2)).collect();
    assert_eq!(order, [(1, 3), (0, 3)]);
    harness.relay.pass_response(1, &ResponseHead::new(200, Version::Http2)).unwrap();
    harness.take_output(&[], Side::Client);
    let order: Vec<_> = frames(&harness.written[0]).iter().map(|f| (f.0, f.2)).collect();
    assert_eq!(order, [(1, 3), (0, 3), (1, 1), (0, 1), (1, 1)]);
}

#[test]
fn what_is_held_has_a_bound() {
    let limits = Limits { held: 1000, ..Limits::default() };
    let mut harness = Harness::greeted(limits);
    harness.undecided = true;
    harness.feed(Side::Client, &raw_headers(1, false, &POST));
    let data = raw_data(1, false, 400);
    let step =
        |harness: &mut Harness| harness.relay.receive(Side::Client, &data.repeat(4), Duration::ZERO).unwrap();
    let first = step(&mut harness);
    assert_eq!((first.consumed, first.waits), (2 * data.len(), true));
    assert_eq!(step(&mut harness).consumed, 0);
    harness.relay.answer(1, &ResponseHead::new(403, Version::Http2), Vec::new()).unwrap();
    while harness.relay.next_event().is_some() {}
    assert_eq!(step(&mut harness).consumed, 4 * data.len(), "nobody waits for it any more");
}

#[test]
fn an_answer_keeps_to_the_windows_of_stream_and_connection() {
    let mut harness = Harness::new(Limits::default());
    let mut greeting = frame::PREFACE.to_vec();
    write::settings([(4, 30)], &mut greeting);
    harness.feed(Side::Client, &greeting);
    let mut elsewhere = GET;
    elsewhere[3].1 = "/elsewhere";
    harness.written = Default::default();
    harness.feed(Side::Client, &raw_headers(1, false, &elsewhere));
    assert_eq!(data_len(&harness.written[0]), 30);
    harness.feed(Side::Client, &window_update(1, 60));
    assert_eq!(data_len(&harness.written[0]), 90);
    assert_eq!(outcomes(&harness), []);
    harness.feed(Side::Client, &window_update(1, 60));
    assert_eq!(data_len(&harness.written[0]), 100);
    assert_eq!(resets(&harness.written[0]), [(1, 0)], "nobody reads the rest of the request");
    assert_eq!(outcomes(&harness), [(1, Outcome::Answered, 0, 100)]);
    // Its body is under way: taken, dropped and given back.
    harness.feed(Side::Client, &raw_data(1, true, 500));
    assert_eq!((harness.error, granted(&harness.written[0])), (None, 500));
    // A HEAD request gets the length only.
    elsewhere[0].1 = "HEAD";
    harness.written = Default::default();
    harness.feed(Side::Client, &raw_headers(3, true, &elsewhere));
    let frames = frames(&harness.written[0]);
    assert_eq!((frames.len(), frames[0].1 & 1), (1, 1));
}

#[test]
fn a_response_that_is_whole_survives_the_reset_behind_it() {
    let mut harness = greeted();
    harness.undecided = true;
    harness.feed(Side::Client, &raw_headers(1, false, &POST));
    let Event::Request { head, .. } = harness.events[0].clone() else { panic!("a request") };
    harness.relay.pass_request(1, &head).unwrap();
    harness.feed(Side::Origin, &[raw_headers(1, false, &OK), raw_data(1, true, 9), reset(1, 0)].concat());
    assert_eq!(outcomes(&harness), []);
    harness.relay.pass_response(1, &ResponseHead::new(200, Version::Http2)).unwrap();
    harness.feed(Side::Client, &[]);
    harness.take_output(&[], Side::Client);
    assert_eq!(data_len(&harness.written[0]), 9);
    assert_eq!(resets(&harness.written[0]), [(1, 0)]);
}

#[test]
fn what_our_page_took_from_the_window_is_waited_for_and_never_owed() {
    let mut harness = greeted();
    let mut elsewhere = GET;
    elsewhere[3].1 = "/elsewhere";
    harness.feed(Side::Client, &[raw_headers(1, true, &elsewhere), raw_headers(3, true, &GET)].concat());
    harness.feed(Side::Client, &raw_headers(5, true, &GET));
    harness.feed(Side::Origin, &[raw_headers(3, false, &OK), raw_headers(5, false, &OK)].concat());
    // The origin knows nothing of the page, and uses up what it was granted.
    harness.feed(Side::Origin, &raw_data(3, false, 16_384).repeat(3));
    harness.feed(Side::Origin, &[raw_data(3, true, 16_383), raw_headers(5, true, &[("t", "v")])].concat());
    assert_eq!(harness.error, None);
    assert_eq!(data_len(&harness.written[0]), 100 + 3 * 16_384, "the last frame would overrun the client");
    assert_eq!(outcomes(&harness)[1].0, 5, "others without data do not wait");
    harness.feed(Side::Client, &window_update(0, 99));
    assert_eq!(data_len(&harness.written[0]), 100 + 3 * 16_384);
    harness.feed(Side::Client, &window_update(0, 1));
    assert_eq!(data_len(&harness.written[0]), 100 + 65_535);
    assert_eq!(granted(&harness.written[1]), 0, "the client gave back the page, which was not the origin's");
    harness.feed(Side::Client, &window_update(0, 65_535));
    assert_eq!(granted(&harness.written[1]), 65_535);
    assert_eq!(outcomes(&harness)[2], (3, Outcome::Complete, 0, 65_535));
    harness.finish();
}

#[test]
fn a_client_that_cannot_read_a_page_yet_gets_the_rest_later_and_many_pages_have_a_bound() {
    let limits = Limits { answers: 150, ..Limits::default() };
    let mut harness = Harness::new(limits);
    let mut greeting = frame::PREFACE.to_vec();
    write::settings([(4, 0)], &mut greeting);
    harness.feed(Side::Client, &greeting);
    let mut elsewhere = GET;
    elsewhere[3].1 = "/elsewhere";
    harness.written = Default::default();
    harness
        .feed(Side::Client, &[raw_headers(1, true, &elsewhere), raw_headers(3, true, &elsewhere)].concat());
    let lengths: Vec<_> = read_heads(&harness.written[0])
        .iter()
        .map(|(_, fields)| fields.get("content-length").map(<[u8]>::to_vec))
        .collect();
    assert_eq!(lengths, [Some(b"100".to_vec()), Some(b"0".to_vec())]);
    assert_eq!(outcomes(&harness), [(3, Outcome::Answered, 0, 0)]);
    harness.feed(Side::Client, &window_update(1, 100));
    assert_eq!(outcomes(&harness)[1], (1, Outcome::Answered, 0, 100));
    harness.finish();
}
