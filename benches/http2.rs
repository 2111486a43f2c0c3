//! HTTP/2: header blocks to lines and back, a whole exchange through the relay, and frames of a body.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis::http::h2::Side;
use portcullis::http::h2::hpack::{Decoder, Encoder, FieldList};
use portcullis_benches::http2::{self, block, data, download, encode, feed, grant, headers, relay};

fn hpack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http2/hpack");
    for (what, lines) in [("request", http2::request_lines()), ("response", http2::response_lines())] {
        let text: usize = lines.iter().map(|(name, value)| name.len() + value.len()).sum();
        group.throughput(Throughput::Bytes(text as u64));
        // As on a connection that has seen the like before: the second block names the first one's entries.
        let mut sender = Encoder::new(true);
        let (first, again) = (block(&lines, &mut sender), block(&lines, &mut sender));
        let (mut decoder, mut list) = (Decoder::new(65_536, 128), FieldList::new());
        decoder.decode(&first, &mut list).expect("decodes");
        group.bench_function(format!("decode {what}, {} octets", again.len()), |b| {
            b.iter(|| decoder.decode(black_box(&again), &mut list));
        });
        group.bench_function(format!("decode {what}, first one, {} octets", first.len()), |b| {
            b.iter(|| Decoder::new(65_536, 128).decode(black_box(&first), &mut list));
        });
        for (side, huffman) in [("origin", true), ("client", false)] {
            let mut encoder = Encoder::new(huffman);
            let mut out = Vec::with_capacity(4096);
            group.bench_function(format!("encode {what} to the {side}"), |b| {
                b.iter(|| {
                    out.clear();
                    encode(black_box(&lines), &mut encoder, &mut out);
                });
            });
        }
    }
    group.finish();
}

fn relaying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http2/relay");
    let (request, response) = (http2::request_lines(), http2::response_lines());
    let response: Vec<_> = response.into_iter().filter(|(name, _)| name != b"content-length").collect();
    let (mut to_relay, mut from_origin) = (Encoder::new(true), Encoder::new(true));
    let first = (block(&request, &mut to_relay), block(&response, &mut from_origin));
    let again = (block(&request, &mut to_relay), block(&response, &mut from_origin));
    let mut exchanges = relay();
    feed(&mut exchanges, Side::Client, &headers(1, true, &first.0));
    feed(&mut exchanges, Side::Origin, &headers(1, true, &first.1));
    let mut stream = 1;
    group.bench_function("exchange, both heads decoded, passed, encoded", |b| {
        b.iter(|| {
            stream += 2;
            feed(&mut exchanges, Side::Client, &headers(stream, true, black_box(&again.0)));
            feed(&mut exchanges, Side::Origin, &headers(stream, true, black_box(&again.1)));
        });
    });
    let (mut body, frame, grant) = (download(), data(1), grant());
    group.throughput(Throughput::Bytes(16_384));
    group.bench_function("DATA of 16 KiB and its two window updates", |b| {
        b.iter(|| {
            feed(&mut body, Side::Origin, black_box(&frame));
            feed(&mut body, Side::Client, &grant);
        });
    });
    group.finish();
}

criterion_group!(benches, hpack, relaying);
criterion_main!(benches);
