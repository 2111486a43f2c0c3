//! The chunked decoder over 64 KiB of payload, in large and in small chunks.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis::http::h1::{Body, Framing, Limits, Piece};
use portcullis_benches::http;

const PAYLOAD: usize = 64 * 1024;

/// Length of the payload in `encoded`.
fn decode(mut encoded: &[u8], limits: &Limits) -> usize {
    let mut body = Body::new(Framing::Chunked, limits);
    let mut payload_bytes = 0;
    loop {
        let consumed = match body.next(encoded).expect("the sample is well-formed") {
            Piece::Data { payload, consumed } => {
                payload_bytes += payload.len();
                consumed
            }
            Piece::More { consumed } => consumed,
            Piece::End { .. } => return payload_bytes,
        };
        encoded = &encoded[consumed..];
    }
}

fn chunked(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("chunked");
    group.throughput(Throughput::Bytes(PAYLOAD as u64));
    for (name, chunk) in [("64 KiB in 8 KiB chunks", 8192), ("64 KiB in 100 byte chunks", 100)] {
        let encoded = http::chunked_body(PAYLOAD, chunk);
        assert_eq!(decode(&encoded, &limits), PAYLOAD);
        group.bench_function(name, |b| b.iter(|| decode(black_box(&encoded), &limits)));
    }
    group.finish();
}

criterion_group!(benches, chunked);
criterion_main!(benches);
