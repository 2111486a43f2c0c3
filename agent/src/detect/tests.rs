//! Vectors, near misses, and that the way a text is cut changes nothing.

use proptest::prelude::*;

use super::{Counts, Detector, DetectorSet, Detectors, detect};

/// `{"id","parts","matches"}`: the text in parts, so that scanners of repositories find no secret here.
#[derive(serde::Deserialize)]
struct Vector {
    id: String,
    parts: Vec<String>,
    matches: std::collections::BTreeMap<String, u32>,
}

fn vectors() -> Vec<Vector> {
    let lines = include_str!("../../../tests/fixtures/detect.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn named(counts: &Counts) -> std::collections::BTreeMap<String, u32> {
    counts.found().map(|(detector, count)| (detector.name().to_owned(), count)).collect()
}

fn in_pieces(text: &[u8], mut len: impl FnMut() -> usize) -> Counts {
    let mut detectors = Detectors::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(len().clamp(1, rest.len()));
        detectors.push(piece);
        rest = behind;
    }
    detectors.finish()
}

#[test]
fn every_vector_gives_exactly_its_matches() {
    let wrong: Vec<String> = vectors()
        .iter()
        .filter_map(|vector| {
            let found = named(&detect(vector.parts.concat().as_bytes()));
            (found != vector.matches).then(|| format!("{}: {found:?}, not {:?}", vector.id, vector.matches))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_detector_has_a_vector_that_matches_and_a_name() {
    for detector in Detector::ALL {
        assert_eq!(Detector::from_name(detector.name()), Some(detector));
        assert!(vectors().iter().any(|vector| vector.matches.contains_key(detector.name())), "{detector:?}");
    }
    assert_eq!(Detector::from_name("credit_card"), None);
}

#[test]
fn vectors_match_wherever_the_window_ends() {
    for vector in vectors() {
        let text = vector.parts.concat();
        for before in [1, 900, 15_000, 15_359, 15_361, 16_383, 16_385, 33_333] {
            let padded = [" ".repeat(before), text.clone(), " ".repeat(2000)].concat();
            assert_eq!(named(&detect(padded.as_bytes())), vector.matches, "{} behind {before}", vector.id);
        }
    }
}

#[test]
fn octet_by_octet_is_the_same() {
    for vector in vectors() {
        assert_eq!(
            named(&in_pieces(vector.parts.concat().as_bytes(), || 1)),
            vector.matches,
            "{}",
            vector.id
        );
    }
}

#[test]
fn counts_of_a_set_add_up_and_do_not_overflow() {
    let mut counts = detect(b"4242424242424242, ssn 536904399");
    let set = |detectors: &[Detector]| detectors.iter().copied().collect::<DetectorSet>();
    assert_eq!(counts.of_set(set(&[Detector::CreditCard])), 1);
    assert_eq!(counts.of_set(set(&[Detector::CreditCard, Detector::UsSsn, Detector::Iban])), 2);
    assert_eq!(counts.of_set(set(&[])), 0);
    for _ in 0..40 {
        counts.add(&counts.clone());
    }
    assert_eq!(counts.of(Detector::CreditCard), u32::MAX);
}

/// Vectors one behind the other between stretches of what their finders look for.
fn long_text() -> impl Strategy<Value = Vec<u8>> {
    let vectors: Vec<String> = vectors().iter().map(|vector| vector.parts.concat()).collect();
    let noise = proptest::collection::vec(
        proptest::sample::select(b"0123456789_-.~A=:>wWey\"\\ \n".to_vec()),
        0..3000,
    );
    let piece = (proptest::sample::select(vectors), noise).prop_map(|(vector, mut noise)| {
        noise.extend_from_slice(vector.as_bytes());
        noise
    });
    proptest::collection::vec(piece, 1..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_cut_gives_the_same(text in long_text(), cuts in proptest::collection::vec(1_usize..9000, 1..50)) {
        let mut cuts = cuts.iter().copied().cycle();
        prop_assert_eq!(in_pieces(&text, || cuts.next().unwrap_or(1)), detect(&text));
    }

    #[test]
    fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert_eq!(in_pieces(&octets, || 7), detect(&octets));
    }
}
