//! The hot functions by name: what `cargo xtask bench instructions` counts. Each is called a few times to warm up, then
//! from within [`counted`], which is the only place where valgrind collects.
//!
//! Without arguments it names them.
#![allow(clippy::print_stdout, reason = "the names are its output")]

use std::hint::black_box;

use portcullis::classify::{Exchange, classify};
use portcullis::http::h1::{
    Body, Emit, Framing, Limits, Piece, parse_request_head, parse_response_head, write_request,
    write_response,
};
use portcullis::http::h2::Side;
use portcullis::http::h2::hpack::{Decoder, Encoder, FieldList};
use portcullis::session::ClientKind;
use portcullis_benches::http::{self, HOST};
use portcullis_benches::http2::{self, block, data, download, encode, feed, grant};
use portcullis_benches::policies::{self, Others};

type Hot = Box<dyn FnMut()>;

const NAMES: [&str; 13] = [
    "chunked/64 KiB in 8 KiB chunks",
    "classify/attachment",
    "classify/page",
    "decide/1 policy",
    "decide/100 policies, 99 for other users",
    "heads/parse request",
    "heads/parse response",
    "heads/serialise request",
    "heads/serialise response",
    "hpack/decode first response",
    "hpack/decode response",
    "hpack/encode response",
    "http2/DATA of 16 KiB",
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        for name in NAMES {
            println!("{name}");
        }
        return;
    };
    let calls: u64 = arguments.next().and_then(|calls| calls.parse().ok()).unwrap_or(1);
    let mut hot = hot(&name).unwrap_or_else(|| panic!("no function {name:?}"));
    for _ in 0..WARM_UP {
        hot();
    }
    counted(&mut hot, calls);
}

/// Calls before the count: what is made once and kept is no part of it.
const WARM_UP: u64 = 3;

/// Valgrind finds it by its name.
#[inline(never)]
fn counted(hot: &mut Hot, calls: u64) {
    for _ in 0..calls {
        hot();
    }
}

fn hot(name: &str) -> Option<Hot> {
    let limits = Limits::default();
    let mut out = Vec::with_capacity(4096);
    Some(match name {
        "heads/parse request" => {
            let bytes = http::request_bytes();
            Box::new(move || drop(black_box(parse_request_head(black_box(&bytes), &limits))))
        }
        "heads/parse response" => {
            let bytes = http::response_bytes();
            Box::new(move || drop(black_box(parse_response_head(black_box(&bytes), &limits))))
        }
        "heads/serialise request" => {
            let request = http::request();
            Box::new(move || {
                out.clear();
                let _ = black_box(write_request(black_box(&request), Emit::new(Framing::None), &mut out));
            })
        }
        "heads/serialise response" => {
            let response = http::response();
            Box::new(move || {
                out.clear();
                let emit = Emit::new(Framing::Length(482_133));
                let _ = black_box(write_response(black_box(&response), "GET", emit, &mut out));
            })
        }
        "chunked/64 KiB in 8 KiB chunks" => {
            let encoded = http::chunked_body(64 * 1024, 8192);
            Box::new(move || {
                black_box(decode(black_box(&encoded), &limits));
            })
        }
        "classify/page" => classified(http::request(), http::page()),
        "classify/attachment" => classified(http::request(), http::response()),
        "decide/1 policy" => decided(1),
        "decide/100 policies, 99 for other users" => decided(100),
        "hpack/decode response" => {
            let (lines, mut sender) = (http2::response_lines(), Encoder::new(true));
            let (first, again) = (block(&lines, &mut sender), block(&lines, &mut sender));
            let (mut decoder, mut list) = (Decoder::new(65_536, 128), FieldList::new());
            let _ = decoder.decode(&first, &mut list);
            Box::new(move || {
                let _ = black_box(decoder.decode(black_box(&again), &mut list));
            })
        }
        "hpack/decode first response" => {
            let block = block(&http2::response_lines(), &mut Encoder::new(true));
            let mut list = FieldList::new();
            Box::new(move || {
                let _ = black_box(Decoder::new(65_536, 128).decode(black_box(&block), &mut list));
            })
        }
        "hpack/encode response" => {
            let (lines, mut encoder) = (http2::response_lines(), Encoder::new(false));
            Box::new(move || {
                out.clear();
                encode(black_box(&lines), &mut encoder, &mut out);
            })
        }
        "http2/DATA of 16 KiB" => {
            let (mut body, frame, grant) = (download(), data(1), grant());
            Box::new(move || {
                feed(&mut body, Side::Origin, black_box(&frame));
                feed(&mut body, Side::Client, &grant);
            })
        }
        _ => return None,
    })
}

fn classified(
    request: portcullis::http::head::RequestHead,
    response: portcullis::http::head::ResponseHead,
) -> Hot {
    Box::new(move || {
        let exchange =
            Exchange { client: Some(ClientKind::Browser), ..Exchange::new(&request, &response, HOST) };
        black_box(classify(black_box(&exchange)));
    })
}

fn decided(count: usize) -> Hot {
    let (session, device) = (policies::session(), policies::device());
    let (request, response) = (http::request(), http::response());
    let class = classify(&Exchange::new(&request, &response, HOST));
    let set = policies::policy_set(count, Others::SameApp);
    Box::new(move || {
        black_box(set.evaluate(black_box(&session), &device, &class, Some(482_133)));
    })
}

/// Length of the payload in `encoded`.
fn decode(mut encoded: &[u8], limits: &Limits) -> usize {
    let mut body = Body::new(Framing::Chunked, limits);
    let mut payload_bytes = 0;
    loop {
        let consumed = match body.next(encoded) {
            Ok(Piece::Data { payload, consumed }) => {
                payload_bytes += payload.len();
                consumed
            }
            Ok(Piece::More { consumed }) => consumed,
            Ok(Piece::End { .. }) | Err(_) => return payload_bytes,
        };
        encoded = encoded.get(consumed..).unwrap_or_default();
    }
}
