//! The static table (RFC 7541 appendix A), by index and by name.

/// Entries of the table; dynamic entries follow from [`LEN`] + 1 on.
pub(super) const LEN: usize = 61;

#[rustfmt::skip]
const TABLE: [(&str, &str); LEN] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""),
    ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""),
    ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""),
    ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""),
    ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""),
    ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""),
    ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// Name and value at `index`, counted from 1.
pub(super) fn entry(index: usize) -> Option<(&'static [u8], &'static [u8])> {
    let (name, value) = TABLE.get(index.checked_sub(1)?)?;
    Some((name.as_bytes(), value.as_bytes()))
}

/// The first index with this name in lower case, and whether that index has this value too.
pub(super) fn find(name: &[u8], value: &[u8]) -> Option<(usize, bool)> {
    let first = by_name(name)?;
    let same_name = TABLE.get(first - 1..)?.iter().take_while(|(n, _)| n.as_bytes() == name);
    let exact = same_name.enumerate().find(|(_, (_, v))| !v.is_empty() && v.as_bytes() == value);
    Some(exact.map_or((first, false), |(at, _)| (first + at, true)))
}

/// Names in the order of their lengths, so that only those of the same length are compared.
static BY_LENGTH: [u8; LEN] = {
    let mut order = [0; LEN];
    let (mut place, mut length) = (0, 0);
    while length <= LONGEST_NAME {
        let mut at = 0;
        while at < LEN {
            if TABLE[at].0.len() == length {
                order[place] = at as u8;
                place += 1;
            }
            at += 1;
        }
        length += 1;
    }
    order
};

/// Where each length begins in [`BY_LENGTH`].
static LENGTHS: [u8; LONGEST_NAME + 2] = {
    let mut starts = [0; LONGEST_NAME + 2];
    let (mut place, mut length) = (0, 0);
    while length <= LONGEST_NAME {
        starts[length] = place;
        let mut at = 0;
        while at < LEN {
            if TABLE[at].0.len() == length {
                place += 1;
            }
            at += 1;
        }
        length += 1;
    }
    starts[length] = place;
    starts
};

const LONGEST_NAME: usize = "access-control-allow-origin".len();

fn by_name(name: &[u8]) -> Option<usize> {
    let from = usize::from(*LENGTHS.get(name.len())?);
    let to = usize::from(*LENGTHS.get(name.len() + 1)?);
    let same_length = BY_LENGTH.get(from..to)?.iter().map(|at| usize::from(*at));
    let at = same_length.into_iter().find(|at| TABLE.get(*at).is_some_and(|(n, _)| n.as_bytes() == name))?;
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_its_name_and_value() {
        for index in 1..=LEN {
            let (name, value) = entry(index).unwrap();
            let (found, exact) = find(name, value).unwrap();
            if value.is_empty() {
                assert_eq!((found, exact), (index, false), "{}", name.escape_ascii());
            } else {
                assert_eq!((found, exact), (index, true));
            }
        }
        assert_eq!(entry(0), None);
        assert_eq!(entry(62), None);
        assert_eq!(entry(8), Some((&b":status"[..], &b"200"[..])));
        assert_eq!(find(b":status", b"201"), Some((8, false)));
        assert_eq!(find(b":path", b"/index.html"), Some((5, true)));
        for unknown in ["", "x", "accepT", "cookies", "strict-transport-security-and-more"] {
            assert_eq!(find(unknown.as_bytes(), b""), None);
        }
    }
}
