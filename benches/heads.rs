//! HTTP/1.1 heads: from bytes to the model, and from the model to the bytes that go out.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis::http::h1::{
    Emit, Framing, Limits, parse_request_head, parse_response_head, write_request, write_response,
};
use portcullis_benches::http;

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("heads");

    let bytes = http::request_bytes();
    let request = http::request();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("parse request", |b| b.iter(|| parse_request_head(black_box(&bytes), &limits)));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("serialise request", |b| {
        b.iter(|| {
            out.clear();
            write_request(black_box(&request), Emit::new(Framing::None), &mut out)
        });
    });

    let bytes = http::response_bytes();
    let response = http::response();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("parse response", |b| b.iter(|| parse_response_head(black_box(&bytes), &limits)));
    group.bench_function("serialise response", |b| {
        b.iter(|| {
            out.clear();
            write_response(black_box(&response), "GET", Emit::new(Framing::Length(482_133)), &mut out)
        });
    });
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);
