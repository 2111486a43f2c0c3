//! Decoder and encoder against RFC 7541 appendix C, against blocks from another implementation, and against each other.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIST: usize = 64 * 1024;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn text(list: &FieldList) -> String {
    let lines: Vec<String> =
        list.iter().map(|(n, v)| format!("{}: {}", n.escape_ascii(), v.escape_ascii())).collect();
    lines.join("\n")
}

#[track_caller]
fn decode(decoder: &mut Decoder, block: &str) -> String {
    let mut list = FieldList::new();
    decoder.decode(&hex(block), &mut list).unwrap();
    assert!(!list.is_too_large());
    text(&list)
}

#[track_caller]
fn refused(block: &str) -> HpackError {
    Decoder::new(LIST, 128).decode(&hex(block), &mut FieldList::new()).unwrap_err()
}

const REQUESTS: [&str; 3] = [
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache",
    ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value",
];

#[test]
fn appendix_c_2_single_fields() {
    let mut decoder = Decoder::new(LIST, 128);
    assert_eq!(
        decode(&mut decoder, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"),
        "custom-key: custom-header"
    );
    assert_eq!(decode(&mut decoder, "040c 2f73 616d 706c 652f 7061 7468"), ":path: /sample/path");
    let mut list = FieldList::new();
    decoder.decode(&hex("1008 7061 7373 776f 7264 0673 6563 7265 74"), &mut list).unwrap();
    assert_eq!(text(&list), "password: secret");
    assert!(list.lines()[0].never_indexed);
    assert_eq!(decode(&mut decoder, "82"), ":method: GET");
    assert_eq!(decode(&mut decoder, "be"), "custom-key: custom-header");
}

#[test]
fn appendix_c_3_and_4_requests() {
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = Decoder::new(LIST, 128);
        for (block, expected) in blocks.iter().zip(REQUESTS) {
            assert_eq!(decode(&mut decoder, block), expected);
        }
    }
}

#[test]
fn appendix_c_5_and_6_responses_with_eviction() {
    let date =
        |second| format!("date: Mon, 21 Oct 2013 20:13:{second} GMT\nlocation: https://www.example.com");
    for blocks in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ] {
        let mut decoder = Decoder::new(LIST, 128);
        let mut list = FieldList::new();
        // The examples have a table of 256 octets: 0x3fe101 says so.
        decoder.decode(&hex("3fe101"), &mut list).unwrap();
        assert_eq!(
            decode(&mut decoder, blocks[0]),
            format!(":status: 302\ncache-control: private\n{}", date(21))
        );
        assert_eq!(
            decode(&mut decoder, blocks[1]),
            format!(":status: 307\ncache-control: private\n{}", date(21))
        );
        assert_eq!(
            decode(&mut decoder, blocks[2]),
            format!(
                ":status: 200\ncache-control: private\n{}\ncontent-encoding: gzip\n\
                 set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                date(22)
            )
        );
    }
}

#[test]
fn what_is_no_header_block_is_refused() {
    for (block, error) in [
        ("80", HpackError::Index),
        ("be", HpackError::Index),
        ("ff00", HpackError::Index),
        ("7f00 00", HpackError::Index),
        ("40", HpackError::Truncated),
        ("4001 61", HpackError::Truncated),
        ("4001 6105 62", HpackError::Truncated),
        ("ff", HpackError::Truncated),
        ("ffff ffff ffff 7f", HpackError::Integer),
        ("0081 0001 62", HpackError::Huffman),
        ("0001 6184 ffff ffff", HpackError::Huffman),
        ("3fe2 1f", HpackError::SizeUpdate),
        ("8220", HpackError::SizeUpdate),
    ] {
        assert_eq!(refused(block), error, "{block}");
    }
    // Up to what was allowed, and more than once at the start.
    let mut list = FieldList::new();
    assert_eq!(Decoder::new(LIST, 128).decode(&hex("20 3fe1 1f 82"), &mut list), Ok(()));
}

#[test]
fn every_prefix_of_a_block_is_answered() {
    let block =
        hex("4803 3330 3258 0770 7269 7661 7465 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf be");
    for end in 0..=block.len() {
        let mut list = FieldList::new();
        let answer = Decoder::new(LIST, 128).decode(&block[..end], &mut list);
        assert!(matches!(answer, Ok(()) | Err(HpackError::Truncated)), "{end}: {answer:?}");
    }
}

#[test]
fn a_bomb_keeps_the_tables_in_step_and_no_lines() {
    // One entry of 4000 octets, then a thousand references to it.
    let mut bomb = vec![0x40, 1, b'x'];
    super::integer::encode(4000, 7, 0, &mut bomb);
    bomb.extend(vec![b'y'; 4000]);
    bomb.extend(vec![0xbe; 1000]);
    let mut decoder = Decoder::new(LIST, 128);
    let mut list = FieldList::new();
    decoder.decode(&bomb, &mut list).unwrap();
    assert!(list.is_too_large());
    assert!(list.text_len() <= LIST && list.lines().len() <= 17);
    decoder.decode(&[0xbe], &mut list).unwrap();
    assert!(!list.is_too_large());
    assert_eq!(list.iter().next().map(|(n, v)| (n.len(), v.len())), Some((1, 4000)));
    // Many small lines.
    decoder.decode(&[0x82; 128], &mut list).unwrap();
    assert!(!list.is_too_large());
    decoder.decode(&[0x82; 129], &mut list).unwrap();
    assert!(list.is_too_large());
    // Lines behind the limit still fill the table.
    let mut block = vec![0x82; 200];
    block.extend([0x40, 1, b'n', 1, b'v']);
    decoder.decode(&block, &mut list).unwrap();
    decoder.decode(&[0xbe], &mut list).unwrap();
    assert_eq!(text(&list), "n: v");
}

#[test]
fn secrets_stay_out_of_every_table() {
    let mut encoder = Encoder::new(false);
    let mut out = Vec::new();
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("set-cookie", "a=b"),
        ("cookie", "short"),
        ("proxy-authorization", "y"),
    ] {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        assert_eq!(Indexing::of(name, value), Indexing::Never);
        let before = out.len();
        encoder.field(name, value, Indexing::Never, &mut out);
        assert_eq!(out[before] & 0xf0, 0x10);
        let before = out.len();
        encoder.field(name, value, Indexing::Never, &mut out);
        assert_eq!(out[before] & 0xf0, 0x10, "the second one is no reference to the first");
    }
    let mut list = FieldList::new();
    Decoder::new(LIST, 128).decode(&out, &mut list).unwrap();
    assert!(list.lines().iter().all(|line| line.never_indexed));
    // A pair of the static table marked as a secret stays a literal.
    out.clear();
    encoder.field(b":method", b"GET", Indexing::Never, &mut out);
    assert_eq!(out[0] & 0xf0, 0x10);
}

#[test]
fn a_repeated_head_shrinks_to_its_indices() {
    let mut encoder = Encoder::new(true);
    let head =
        [(":method", "GET"), (":authority", "contoso.sharepoint.com"), ("user-agent", "Mozilla/5.0 (X11)")];
    let sizes: Vec<usize> = (0..2)
        .map(|_| {
            let mut out = Vec::new();
            for (name, value) in head {
                encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Table, &mut out);
            }
            out.len()
        })
        .collect();
    assert!(sizes[0] > 20);
    assert_eq!(sizes[1], 3);
}

#[test]
fn a_changed_table_size_is_said_at_the_start_of_the_next_block() {
    let mut encoder = Encoder::new(false);
    let mut decoder = Decoder::new(LIST, 128);
    let mut list = FieldList::new();
    let mut block = |encoder: &mut Encoder| {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.field(b"name", b"value", Indexing::Table, &mut out);
        decoder.decode(&out, &mut list).unwrap();
        assert_eq!(text(&list), "name: value");
        out
    };
    assert_eq!(block(&mut encoder)[0], 0x40);
    assert_eq!(block(&mut encoder), [0xbe]);
    encoder.allow(0);
    assert_eq!(block(&mut encoder)[0], 0x20);
    encoder.allow(100);
    encoder.allow(10);
    encoder.allow(1 << 30);
    let out = block(&mut encoder);
    assert_eq!(out[..4], [0x2a, 0x3f, 0xe1, 0x1f], "the smallest, then the last");
    assert_eq!(block(&mut encoder), [0xbe]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_blocks_are_answered(blocks in vec(vec(any::<u8>(), 0..80), 0..6)) {
        let mut decoder = Decoder::new(300, 10);
        let mut list = FieldList::new();
        for block in blocks {
            if decoder.decode(&block, &mut list).is_err() {
                break;
            }
            prop_assert!(list.lines().len() <= 10 && list.text_len() <= 300);
        }
    }

    #[test]
    fn what_is_encoded_decodes_as_it_was(
        huffman in any::<bool>(),
        blocks in vec((prop::option::of(0_usize..6000), vec(("[a-d]{1,3}|cookie|etag|:path|accept", "[ -~]{0,30}|x{900,1100}", 0..3_u8), 0..12)), 1..12),
    ) {
        let mut encoder = Encoder::new(huffman);
        let mut decoder = Decoder::new(LIST, 128);
        let mut list = FieldList::new();
        for (size, lines) in blocks {
            if let Some(size) = size {
                encoder.allow(size);
            }
            let mut out = Vec::new();
            encoder.begin(&mut out);
            for (name, value, how) in &lines {
                let how = [Indexing::Table, Indexing::Without, Indexing::Never][usize::from(*how)];
                encoder.field(name.as_bytes(), value.as_bytes(), how, &mut out);
            }
            prop_assert_eq!(decoder.decode(&out, &mut list), Ok(()));
            let found: Vec<_> = list.iter().collect();
            let expected: Vec<_> = lines.iter().map(|(n, v, _)| (n.as_bytes(), v.as_bytes())).collect();
            prop_assert_eq!(found, expected);
            for (line, (_, _, how)) in list.lines().iter().zip(&lines) {
                prop_assert_eq!(line.never_indexed, *how == 2);
            }
        }
    }
}
