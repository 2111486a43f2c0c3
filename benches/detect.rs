//! The content detectors over prose, JSON and tables, beside the plain speed of the regex crate over the same.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis::detect::{Detector, detect};
use regex::bytes::RegexSet;

const SIZE: usize = 256 * 1024;

/// What the detectors look for as far as expressions can say it: no check digits, no ranges, no words nearby.
fn plain() -> RegexSet {
    RegexSet::new([
        r"\b[2-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}\b",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"(?i)\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,4})?\b",
        r"(?i)\b[a-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[a-d]\b",
        r"\b\d{9}\b",
        r#"(?i)(?:password|passwd|pwd)["']?\s*[=:]\s*["']?[^\s"',;]{6,128}"#,
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
        r"\bgh[pousr]_[0-9A-Za-z]{36}",
        r"\bglpat-[\w-]{20}",
        r"\bxox[a-z]-[0-9A-Za-z-]{20,}",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{43,56}",
        r"(?i)accountkey=[A-Za-z0-9+/]{86}==",
        r"\b\w{3}\dQ~[\w~.-]{31,34}",
        r"\bAIza[\w-]{35}",
        r"\bnpm_[0-9A-Za-z]{36}",
        r"\b[sr]k_(?:test|live|prod)_[0-9A-Za-z]{10,99}",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
        r"\bey[\w-]{17,}\.ey[\w-]{17,}\.",
        r#"(?i)(?:secret|token|api_?key)["']?\s*[=:]\s*["']?[\w.+/-]{16,}"#,
    ])
    .expect("the expressions are well-formed")
}

fn repeated(unit: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text: String = (0..)
        .map(unit)
        .scan(0, |len, part| {
            (*len < SIZE).then(|| {
                *len += part.len();
                part
            })
        })
        .collect();
    text.truncate(SIZE);
    text.into_bytes()
}

fn detection(criterion: &mut Criterion) {
    let prose = repeated(|_| {
        "The committee met on 12 May at the town hall. It was agreed that a third of the budget goes to the wards; \
         what is left over is kept for the winter, as in the year before.\n"
            .to_owned()
    });
    let json = repeated(|i| {
        format!(
            "{{\"id\":\"b7f3-{i}\",\"createdDateTime\":\"2024-05-12T10:30:{:02}Z\",\"author\":{{\"name\":\"Ada \
             Example\",\"mail\":\"ada@corp.test\"}},\"size\":{},\"webUrl\":\"https://files.corp.test/sites/a/{i}\"}},\n",
            i % 60,
            i * 7919
        )
    });
    let table = repeated(|i| {
        format!(
            "{i},{},{},{}.{:02},ward {}\n",
            100_000_000 + i * 7919,
            10_000_000_000_000_000 + i,
            i * 31,
            i % 100,
            i % 12
        )
    });
    let plain = plain();
    let mut group = criterion.benchmark_group("detect");
    group.throughput(Throughput::Bytes(SIZE as u64));
    for (name, text) in [("prose", &prose), ("JSON", &json), ("table of numbers", &table)] {
        assert!(detect(text).is_empty(), "{name}: {:?}", detect(text));
        group.bench_function(name, |b| b.iter(|| detect(black_box(text)).of(Detector::CreditCard)));
        group.bench_function(format!("{name}, expressions of the regex crate"), |b| {
            b.iter(|| plain.matches(black_box(text)).matched_any());
        });
    }
    group.finish();
}

criterion_group!(benches, detection);
criterion_main!(benches);
