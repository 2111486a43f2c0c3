//! A shell around the relay such as the agent has one, between two in-memory streams: reads, asks, writes.

use std::collections::HashMap;
use std::time::Duration;

use portcullis::http::h2::{ConnectionError, Event, Limits, Outcome, Relay, Side};
use portcullis::http::head::{RequestHead, ResponseHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Size of the read buffer of each side, as the agent has it.
const BUFFER: usize = 68 * 1024;

/// A response of ours.
pub type Page = (ResponseHead, Vec<u8>);

/// What is decided about heads.
pub struct Verdicts {
    /// Answered by us before the origin hears of it.
    pub request: fn(&RequestHead) -> Option<Page>,
    /// Answered by us in place of the origin's response.
    pub response: fn(&RequestHead, &ResponseHead) -> Option<Page>,
}

/// What the relay told.
#[derive(Debug, Default)]
pub struct Told {
    pub closed: HashMap<u32, (Outcome, u64, u64)>,
    pub error: Option<ConnectionError>,
}

struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    open: bool,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; BUFFER], start: 0, end: 0, open: true }
    }

    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }
}

/// Serves one pair of connections until both are closed.
pub async fn serve(client: DuplexStream, origin: DuplexStream, limits: Limits, verdicts: Verdicts) -> Told {
    let mut relay = Relay::new(limits);
    let mut told = Told::default();
    let mut heads = HashMap::new();
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut origin_in, mut origin_out) = tokio::io::split(origin);
    let mut buffers = [Buffer::new(), Buffer::new()];
    let begun = tokio::time::Instant::now();
    let mut to = [Vec::new(), Vec::new()];
    loop {
        // Everything that can be taken, with writing in between: the streams in memory are larger than what waits.
        loop {
            let mut moved = false;
            for (n, from) in [Side::Client, Side::Origin].into_iter().enumerate() {
                let buffer = &mut buffers[n];
                let input = &buffer.bytes[buffer.start..buffer.end];
                let step = match relay.receive(from, input, begun.elapsed()) {
                    Ok(step) => step,
                    Err(error) => {
                        told.error = Some(error);
                        for (side, out) in [(Side::Client, &mut client_out), (Side::Origin, &mut origin_out)]
                        {
                            let _ = out.write_all(relay.output(side)).await;
                        }
                        while let Some(event) = relay.next_event() {
                            answer(&mut relay, event, &verdicts, &mut heads, &mut told);
                        }
                        let _ = client_out.shutdown().await;
                        let _ = origin_out.shutdown().await;
                        return told;
                    }
                };
                let other = 1 - n;
                to[other].append(relay.output(from.other()));
                to[other].extend_from_slice(&input[step.forward.clone()]);
                buffer.start += step.consumed;
                moved |= step.consumed > 0;
                while let Some(event) = relay.next_event() {
                    moved = true;
                    answer(&mut relay, event, &verdicts, &mut heads, &mut told);
                }
                to[0].append(relay.output(Side::Client));
                to[1].append(relay.output(Side::Origin));
            }
            // Both directions at once: each peer reads while it writes.
            let (a, b) = (std::mem::take(&mut to[0]), std::mem::take(&mut to[1]));
            let (wrote_a, wrote_b) = tokio::join!(client_out.write_all(&a), origin_out.write_all(&b));
            if wrote_a.is_err() {
                relay.lost(Side::Client);
            }
            if wrote_b.is_err() {
                relay.lost(Side::Origin);
            }
            if !moved {
                break;
            }
        }
        let [a, b] = &mut buffers;
        if !a.open && !b.open {
            return told;
        }
        let (a_open, b_open) = (a.open, b.open);
        let (n, read) = tokio::select! {
            read = client_in.read(a.room()), if a_open => (0, read),
            read = origin_in.read(b.room()), if b_open => (1, read),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing moves: {relay:?}"),
        };
        match read {
            Ok(count) if count > 0 => buffers[n].end += count,
            _ => {
                buffers[n].open = false;
                relay.lost(if n == 0 { Side::Client } else { Side::Origin });
                if n == 0 {
                    let _ = origin_out.shutdown().await;
                } else if relay.open_streams() == 0 {
                    let _ = client_out.shutdown().await;
                }
            }
        }
    }
}

fn answer(
    relay: &mut Relay,
    event: Event,
    verdicts: &Verdicts,
    heads: &mut HashMap<u32, RequestHead>,
    told: &mut Told,
) {
    match event {
        Event::Request { stream, head, .. } => {
            match (verdicts.request)(&head) {
                Some((answer, body)) => relay.answer(stream, &answer, body).expect("writes"),
                None => relay.pass_request(stream, &head).expect("writes"),
            }
            heads.insert(stream, head);
        }
        Event::Response { stream, head, .. } => match (verdicts.response)(&heads[&stream], &head) {
            Some((answer, body)) => relay.answer(stream, &answer, body).expect("writes"),
            None => relay.pass_response(stream, &head).expect("writes"),
        },
        Event::Interim { stream, head } => relay.pass_interim(stream, &head),
        Event::BadRequest { stream, refusal } => relay.reset(stream, refusal.code()),
        Event::BadResponse { stream, .. } => {
            let head = ResponseHead::new(502, portcullis::http::head::Version::Http2);
            relay.answer(stream, &head, b"502\n".to_vec()).expect("writes");
        }
        Event::Closed { stream, outcome, to_origin, to_client } => {
            let before = told.closed.insert(stream, (outcome, to_origin, to_client));
            assert!(before.is_none(), "stream {stream} ended twice");
            heads.remove(&stream);
        }
        Event::GoAway { .. } => {}
    }
}
