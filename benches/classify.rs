//! Classification from two parsed heads: what every response pays.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::classify::{Exchange, classify};
use portcullis::session::ClientKind;
use portcullis_benches::http::{self, HOST};

fn classification(criterion: &mut Criterion) {
    let (browser, native) = (http::request(), http::native_request());
    let (page, attachment, octets) = (http::page(), http::response(), http::octet_stream());
    let samples = [
        ("page", &browser, &page, ClientKind::Browser, false),
        ("attachment", &browser, &attachment, ClientKind::Browser, true),
        ("octet-stream, native client", &native, &octets, ClientKind::Native, true),
    ];
    let mut group = criterion.benchmark_group("classify");
    for (name, request, response, client, download) in samples {
        let exchange = Exchange { client: Some(client), ..Exchange::new(request, response, HOST) };
        assert_eq!(classify(&exchange).download, download, "{name}");
        group.bench_function(name, |b| b.iter(|| classify(black_box(&exchange))));
    }
    group.finish();
}

criterion_group!(benches, classification);
criterion_main!(benches);
