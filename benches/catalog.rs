//! From a host name to its app, with the built-in catalog and 10 to 1 000 000 domains more.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::catalog::Catalog;
use portcullis_benches::http::HOST;
use portcullis_benches::policies::{catalog_with, extra_domain};

const SIZES: [(usize, &str); 4] =
    [(10, "10"), (10_000, "10 000"), (100_000, "100 000"), (1_000_000, "1 000 000")];
/// No app's, and with as many labels as names of large origins have.
const MISS: &str = "d3a7f1.cdn.static.example.test";

fn catalog(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("catalog");
    for (extra, size) in SIZES {
        let begun = Instant::now();
        let catalog: Catalog = catalog_with(extra);
        eprintln!("catalog: built-in and {size} domains more read in {:.2?}", begun.elapsed());
        assert!(catalog.lookup(HOST).is_some() && catalog.lookup(MISS).is_none());
        group.bench_function(format!("hit, {size} more"), |b| b.iter(|| catalog.lookup(black_box(HOST))));
        group.bench_function(format!("miss, {size} more"), |b| b.iter(|| catalog.lookup(black_box(MISS))));
        // Another name each time, so that the table's lines come from memory as they do in use.
        let names: Vec<String> =
            (0..extra.min(100_000)).map(|number| extra_domain(number * 7919 % extra)).collect();
        assert!(names.iter().all(|name| catalog.lookup(name).is_some()));
        let mut next = names.iter().cycle();
        group.bench_function(format!("hit, another name each time, {size} more"), |b| {
            b.iter(|| next.next().and_then(|name| catalog.lookup(black_box(name))));
        });
    }
    group.finish();
}

criterion_group!(benches, catalog);
criterion_main!(benches);
