//! Classification from two parsed heads, what every response pays, and from the beginning of a body.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::catalog::Catalog;
use portcullis::classify::{Exchange, FirstBytes, MAX_LOOK_AHEAD, classify};
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
    // With the rules of its app, and with the beginning of the body: an archive to be told from an Office file.
    let catalog = Catalog::builtin();
    let app = catalog.lookup(HOST).expect("an app of the built-in catalog");
    let exchange = Exchange { app: Some(app), ..Exchange::new(&browser, &attachment, HOST) };
    group.bench_function("attachment, rules of the app", |b| b.iter(|| classify(black_box(&exchange))));
    let body = http::archive(MAX_LOOK_AHEAD);
    let exchange = Exchange { first_bytes: Some(FirstBytes::prefix(&body)), ..exchange };
    assert_eq!(classify(&exchange).file_type.map(|known| known.name()), Some("xlsx"));
    group.bench_function("attachment, rules and 8 KiB of the body", |b| {
        b.iter(|| classify(black_box(&exchange)))
    });
    group.finish();
}

criterion_group!(benches, classification);
criterion_main!(benches);
