//! Beginnings of bodies under every coding: seen, not yet seen, hidden.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    let level = Compression::new(6);
    match coding {
        "gzip" => {
            let mut to = GzEncoder::new(Vec::new(), level);
            to.write_all(plain).and_then(|()| to.finish()).unwrap()
        }
        "deflate" => {
            let mut to = ZlibEncoder::new(Vec::new(), level);
            to.write_all(plain).and_then(|()| to.finish()).unwrap()
        }
        "bare deflate" => {
            let mut to = DeflateEncoder::new(Vec::new(), level);
            to.write_all(plain).and_then(|()| to.finish()).unwrap()
        }
        "zstd" => zstd::encode_all(plain, 3).unwrap(),
        other => panic!("{other}"),
    }
}

fn look<'a>(codings: &[&str], octets: &'a [u8]) -> Beginning<'a> {
    let fields: Fields = codings.iter().map(|coding| ("Content-Encoding", *coding)).collect();
    FirstBytes::prefix(octets).decoded(&fields)
}

fn decoded(codings: &[&str], octets: &[u8]) -> Option<Vec<u8>> {
    match look(codings, octets) {
        Beginning::Octets(octets) => Some(octets.into_owned()),
        Beginning::Nothing | Beginning::Hidden => None,
    }
}

#[test]
fn codings_are_undone() {
    let plain = b"%PDF-1.7 and more of it, and more of it, and more of it";
    assert_eq!(decoded(&[], plain).unwrap(), plain);
    assert_eq!(decoded(&["identity"], plain).unwrap(), plain);
    for coding in ["gzip", "deflate", "zstd"] {
        assert_eq!(decoded(&[coding], &encoded(coding, plain)).unwrap(), plain, "{coding}");
    }
    assert_eq!(decoded(&["X-GZIP"], &encoded("gzip", plain)).unwrap(), plain);
    assert_eq!(decoded(&["deflate"], &encoded("bare deflate", plain)).unwrap(), plain);
    // A stream of RFC 7932 that says `hello`: one uncompressed meta-block, then the end.
    assert_eq!(decoded(&["br"], b"\x0b\x02\x80hello\x03").unwrap(), b"hello");
    let twice = encoded("gzip", &encoded("zstd", plain));
    assert_eq!(decoded(&["zstd, gzip"], &twice).unwrap(), plain);
    assert_eq!(decoded(&["zstd", "gzip"], &twice).unwrap(), plain);
}

#[test]
fn what_cannot_be_undone_is_not_seen() {
    assert_eq!(look(&["gzip, gzip, gzip, gzip, gzip"], b"x"), Beginning::Hidden);
    for coding in ["gzip", "deflate", "br", "zstd"] {
        assert_eq!(look(&[coding], b""), Beginning::Nothing, "{coding}");
    }
    let file = encoded("gzip", b"PK\x03\x04");
    assert_eq!(look(&["gzip"], &file[..10]), Beginning::Nothing);
    assert_eq!(look(&["gzip"], b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff"), Beginning::Hidden, "a reserved block");
}

#[test]
fn a_coding_that_is_not_there_hides_nothing() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for plain in [&b"PK\x03\x04\x14\0\0\0\x08\0 and what is in it"[..], b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"]
        {
            assert_eq!(decoded(&[coding], plain).as_deref(), Some(plain), "{coding}");
        }
    }
}

/// Begins with a file, and goes on with letters that a coding can only make half as long.
fn large() -> Vec<u8> {
    let noise = (0u32..60_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
    b"PK\x03\x04\x14\0".iter().copied().chain(noise.map(|octet| b'a' + octet % 16)).collect()
}

#[test]
fn streams_that_say_nothing_for_as_long_as_a_look_hide_what_follows() {
    const HEAD: &[u8] = b"\x1f\x8b\x08\x00\0\0\0\0\0\xff";
    let file = encoded("bare deflate", b"PK\x03\x04\x14\0");
    let nothing = b"\0\0\0\xff\xff".repeat(40_000);
    let with = |flag: u8, field: &[u8]| {
        let mut head = HEAD.to_vec();
        head[3] = flag;
        [&head, field, &file].concat()
    };
    let long = MAX_LONG_LOOK + 10;
    let skipped = |len: usize| {
        [b"\x50\x2a\x4d\x18".as_slice(), &u32::try_from(len).unwrap().to_le_bytes(), &vec![b'x'; len]]
            .concat()
    };
    let empty_zstd = encoded("zstd", b"");
    for (coding, stream) in [
        ("gzip", [HEAD, &nothing, &file].concat()),
        ("gzip", encoded("gzip", b"").repeat(10_000)),
        ("gzip", with(8, &[&vec![b'n'; long][..], b"\0"].concat())),
        ("gzip", with(16, &[&vec![b'c'; long][..], b"\0"].concat())),
        ("deflate", [&b"\x78\x9c"[..], &nothing, &file].concat()),
        ("deflate", [&nothing[..], &file].concat()),
        // One octet of the file alone in front.
        ("gzip", [HEAD, b"\0\x01\0\xfe\xffP", &nothing, &file].concat()),
        ("zstd", [skipped(long), encoded("zstd", &large())].concat()),
        ("zstd", [skipped(10).repeat(10_000), encoded("zstd", &large())].concat()),
        ("zstd", [empty_zstd.repeat(20_000), encoded("zstd", &large())].concat()),
        // Frames of which every block is empty, or of one octet again and again.
        ("zstd", [b"\x28\xb5\x2f\xfd\x00\x58".as_slice(), &b"\0\0\0".repeat(60_000)].concat()),
        // Metadata (RFC 7932 section 9.2): empty, and 64 KiB that are skipped.
        ("br", [b"\x6b\0".as_slice(), &vec![6; long]].concat()),
        (
            "br",
            [b"\x6b\0".as_slice(), &[b"\xe6\xff\x3f".as_slice(), &[b'x'; 65_536]].concat().repeat(3)]
                .concat(),
        ),
        ("zstd, gzip", encoded("gzip", &skipped(long))),
    ] {
        let start = &stream[..stream.len().min(MAX_LONG_LOOK)];
        if coding == "zstd, gzip" {
            // Within another coding nothing tells how much there would have to be.
            assert_eq!(look(&["zstd, gzip"], start), Beginning::Nothing);
            continue;
        }
        assert!(look(&[coding], start) == Beginning::Hidden, "{coding} {:?}", &stream[..12]);
        let shorter = &stream[..MAX_LOOK_AHEAD];
        assert!(look(&[coding], shorter) != Beginning::Hidden, "{coding}: a longer look may show it");
    }
    // What is no longer than a look is seen, whatever stands before it.
    let behind = with(4, &[&[0x60, 0xea][..], &[b'x'; 60_000]].concat());
    assert_eq!(look(&["gzip"], &behind), Beginning::Octets(b"PK\x03\x04\x14\0".into()));
    let behind = [skipped(60_000), encoded("zstd", b"PK\x03\x04")].concat();
    assert_eq!(look(&["zstd"], &behind), Beginning::Octets(b"PK\x03\x04".into()));
}

#[test]
fn a_look_goes_on_until_something_is_shown() {
    let further = |codings: &[&str], octets: &[u8]| {
        let fields: Fields = codings.iter().map(|coding| ("Content-Encoding", *coding)).collect();
        FirstBytes::prefix(octets).further(&fields)
    };
    let large = large();
    let patient = |most| Some(Further { most, patient: true });
    // A block says nothing before it is whole, and where it ends it says itself.
    let stream = encoded("zstd", &large);
    let end = zstd_block_end(&stream[..MAX_LOOK_AHEAD]).expect("the end of a block");
    assert!((MAX_LOOK_AHEAD..MAX_LONG_LOOK).contains(&end), "{end}");
    for seen in [20, MAX_LOOK_AHEAD, end - 1] {
        assert_eq!(further(&["zstd"], &stream[..seen]), patient(end), "{seen}");
        assert_eq!(look(&["zstd"], &stream[..seen]), Beginning::Nothing);
    }
    assert_eq!(further(&["zstd"], &stream[..end]), None);
    assert!(decoded(&["zstd"], &stream[..end]).is_some_and(|seen| large.starts_with(&seen)));
    // Of other codings any octet may be the one.
    for coding in ["gzip", "deflate", "br", "zstd"] {
        assert_eq!(further(&[coding], b""), patient(1), "{coding}");
    }
    let file = encoded("gzip", &large);
    assert_eq!(further(&["gzip"], &file[..5]), patient(6));
    assert_eq!(further(&["gzip"], &file[..1000]), None, "it came slowly, and shows something");
    assert_eq!(further(&["gzip"], &file[..MAX_LOOK_AHEAD]), None);
    let nothing = [&file[..10], &b"\0\0\0\xff\xff".repeat(40_000)].concat();
    assert_eq!(further(&["gzip"], &nothing[..MAX_LOOK_AHEAD]), patient(MAX_LOOK_AHEAD * 3 / 2));
    assert_eq!(further(&["gzip"], &nothing[..MAX_LONG_LOOK - 1]), patient(MAX_LONG_LOOK));
    assert_eq!(further(&["gzip"], &nothing[..MAX_LONG_LOOK]), None);
    let one = [&file[..10], b"\0\x01\0\xfe\xffP", &nothing[10..]].concat();
    let most = MAX_LOOK_AHEAD * 3 / 2;
    assert_eq!(further(&["gzip"], &one[..MAX_LOOK_AHEAD]), Some(Further { most, patient: false }));
    // Nothing to wait for.
    for codings in [&[][..], &["compress"], &["gzip, gzip, gzip, gzip, gzip"]] {
        assert_eq!(further(codings, b""), None, "{codings:?}");
    }
    assert_eq!(further(&["gzip"], b"no gzip"), None);
    let fields: Fields = [("Content-Encoding", "gzip")].into_iter().collect();
    assert_eq!(FirstBytes::whole(&file[..5]).further(&fields), None);
}

#[test]
fn where_a_coding_is_unknown_none_is_undone() {
    for coding in ["compress", "utf-8", "aws-chunked, gzip", "gzip, none"] {
        assert_eq!(decoded(&[coding], b"PK\x03\x04").unwrap(), b"PK\x03\x04", "{coding}");
    }
}

#[test]
fn a_prefix_is_undone_as_far_as_it_goes_and_a_bomb_no_further_than_the_bound() {
    let noise: Vec<u8> = (0u32..40_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let whole = encoded("gzip", &noise);
    let seen = decoded(&["gzip"], &whole[..4096]).unwrap();
    assert!(seen.len() > 1000 && noise.starts_with(&seen), "{}", seen.len());
    for coding in ["gzip", "deflate", "zstd"] {
        let bomb = encoded(coding, &vec![b'a'; 64 << 20]);
        assert_eq!(decoded(&[coding], &bomb).unwrap().len(), MAX_DECODED, "{coding}");
    }
}

#[test]
fn what_is_no_inner_coding_is_seen_no_further_than_the_bound() {
    let bomb = encoded("gzip", &vec![0; 1 << 20]);
    assert_eq!(decoded(&["zstd, gzip"], &bomb).unwrap().len(), MAX_DECODED);
    let named = vec![b'a'; MAX_LONG_LOOK];
    assert_eq!(decoded(&["gzip"], &named).unwrap().len(), MAX_DECODED);
}

#[test]
fn a_frame_that_wants_a_huge_window_is_not_read() {
    // Magic, a descriptor without content size, a window of 2^31 octets (RFC 8878 section 3.1.1).
    assert_eq!(look(&["zstd"], b"\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00a"), Beginning::Hidden);
}

proptest! {
    #[test]
    fn no_octets_break_a_decoder(coding in "gzip|deflate|br|zstd", octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let seen = decoded(&[&coding], &octets);
        prop_assert!(seen.is_none_or(|seen| !seen.is_empty() && seen.len() <= MAX_DECODED));
    }
}
