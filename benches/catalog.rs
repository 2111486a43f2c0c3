//! From a host name to its app, with the built-in catalog and with 100 000 domains more.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::catalog::Catalog;
use portcullis_benches::http::HOST;
use portcullis_benches::policies::{catalog_with, extra_domain};

const EXTRA: usize = 100_000;
/// No app's, and with as many labels as names of large origins have.
const MISS: &str = "d3a7f1.cdn.static.example.test";

fn catalog(criterion: &mut Criterion) {
    let (builtin, large) = (Catalog::builtin(), catalog_with(EXTRA));
    let mut group = criterion.benchmark_group("catalog");
    for (size, catalog) in [("built-in", &builtin), ("100 000 more", &large)] {
        assert!(catalog.lookup(HOST).is_some() && catalog.lookup(MISS).is_none());
        group.bench_function(format!("hit, {size}"), |b| b.iter(|| catalog.lookup(black_box(HOST))));
        group.bench_function(format!("miss, {size}"), |b| b.iter(|| catalog.lookup(black_box(MISS))));
    }
    // Another name each time, so that the table's lines come from memory as they do in use.
    let names: Vec<String> = (0..EXTRA).map(|number| extra_domain(number * 7919 % EXTRA)).collect();
    assert!(names.iter().all(|name| large.lookup(name).is_some()));
    let mut next = names.iter().cycle();
    group.bench_function("hit, another name each time, 100 000 more", |b| {
        b.iter(|| next.next().and_then(|name| large.lookup(black_box(name))));
    });
    group.finish();
}

criterion_group!(benches, catalog);
criterion_main!(benches);
