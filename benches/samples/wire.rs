//! A ClientHello of a browser with a post-quantum key share, and a DNS answer with a chain of aliases.

/// Bytes of the hello as a handshake message, without record header.
pub const HELLO_BYTES: usize = 1800;

/// A hello of exactly [`HELLO_BYTES`] with the extensions of a browser in their usual sizes (RFC 8446 section 4.1.2).
pub fn client_hello(server_name: &str) -> Vec<u8> {
    let extensions = |padding: usize| {
        [
            extension(0x2a2a, &[]),
            extension(0x0000, &name_list(server_name)),
            extension(0x0017, &[]),
            extension(0xff01, &[0]),
            extension(0x000a, &[0, 10, 0x3a, 0x3a, 0x11, 0xec, 0, 29, 0, 23, 0, 24]),
            extension(0x000b, &[1, 0]),
            extension(0x0023, &[]),
            extension(0x0010, b"\0\x0c\x02h2\x08http/1.1"),
            extension(0x0005, &[1, 0, 0, 0, 0]),
            extension(0x000d, &[0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1]),
            extension(0x0012, &[]),
            // GREASE, X25519MLKEM768 and X25519.
            extension(0x0033, &[5; 2 + 5 + 4 + 1216 + 4 + 32]),
            extension(0x002d, &[1, 1]),
            extension(0x002b, &[6, 0x7a, 0x7a, 3, 4, 3, 3]),
            extension(0x001b, &[2, 0, 2]),
            extension(0x4469, b"\0\x03\x02h2"),
            extension(0xfe0d, &[7; 186]),
            extension(0x1a1a, &[0]),
            extension(0x0015, &vec![0; padding]),
        ]
        .concat()
    };
    let missing = HELLO_BYTES.checked_sub(hello(&extensions(0)).len());
    hello(&extensions(missing.expect("the sample is too long already")))
}

fn hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([32].iter().chain([9; 32].iter()));
    body.extend(prefixed(&[0x13; 32]));
    body.extend([1, 0]);
    body.extend(prefixed(extensions));
    let mut out = vec![1, 0];
    out.extend(prefixed(&body));
    out
}

fn name_list(server_name: &str) -> Vec<u8> {
    let entry = [&[0][..], &prefixed(server_name.as_bytes())].concat();
    prefixed(&entry)
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(data)].concat()
}

/// With its length in two octets in front.
fn prefixed(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("the samples are short");
    [&length.to_be_bytes()[..], data].concat()
}

/// An answer for `question`: two aliases, then four addresses (RFC 1035 section 4.1).
pub fn dns_answer(question: &str) -> Vec<u8> {
    let to_question = [0xc0, 12];
    let (first, second) = (wire("tenant.farm.edge.test"), wire("farm-7.dual.edge.test"));
    let records = [
        record(&to_question, 5, &first),
        record(&first, 5, &second),
        record(&second, 1, &[192, 0, 2, 1]),
        record(&second, 1, &[192, 0, 2, 2]),
        record(&second, 1, &[192, 0, 2, 3]),
        record(&second, 1, &[192, 0, 2, 4]),
    ];
    let count = u8::try_from(records.len()).expect("there are six");
    let mut out = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
    out.extend(wire(question));
    out.extend([0, 1, 0, 1]);
    out.extend(records.concat());
    out
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &prefixed(data)].concat()
}

/// A name in wire form.
fn wire(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).expect("short")], label.as_bytes()].concat();
    name.split('.').flat_map(label).chain([0]).collect()
}
