//! Content-Disposition: the everyday forms, and one made to be expensive.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::http::content_disposition::ContentDisposition;

fn disposition(criterion: &mut Criterion) {
    // Quotes that never close, commas, continuations, encoded words and escapes, as long as a field may reasonably be.
    let hostile = [
        "attachment; filename=\"a\\\"b,c; filename*0*=UTF-8''%41; filename*1=\"",
        &"=?UTF-8?Q?=41=42?= %E2%80%AE;,\\\"'filename*=x''y;".repeat(40),
    ]
    .concat();
    let samples: [(&str, &str); 3] = [
        ("plain attachment", "attachment; filename=\"Quarterly report.docx\""),
        (
            "filename* in UTF-8",
            "attachment; filename=\"Bericht.docx\"; filename*=UTF-8''Pr%C3%BCfbericht%20%E2%82%AC%202026.docx",
        ),
        ("hostile, 1.9 KiB", &hostile),
    ];
    let mut group = criterion.benchmark_group("disposition");
    for (name, value) in samples {
        assert!(ContentDisposition::parse([value.as_bytes()]).is_download());
        group.bench_function(name, |b| b.iter(|| ContentDisposition::parse([black_box(value.as_bytes())])));
    }
    group.finish();
}

criterion_group!(benches, disposition);
criterion_main!(benches);
