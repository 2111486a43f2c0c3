//! ZIP archives, Office files among them: the text of each entry.
//!
//! Local headers are followed and not the directory: it stands at the end, which may lie beyond what is held. Libraries for
//! ZIP want that end, or sizes that many writers put behind the content.

use std::collections::HashSet;

use flate2::{Decompress, FlushDecompress, Status};
use foldhash::fast::FixedState;

use super::sink::Sink;
use super::{Unscanned, entity};
use crate::zip::{Entry, LOCAL_HEADER, Method, next_header};

/// What an entry of the directory begins with, and how long it is before the name.
const DIRECTORY_HEADER: &[u8] = b"PK\x01\x02";
const DIRECTORY_FIXED: usize = 46;
/// Octets inflated at a time.
const PIECE: usize = 16 << 10;

/// `complete`: the archive is held to its end.
pub(super) fn read(octets: &[u8], complete: bool, depth: usize, sink: &mut Sink) -> Option<Unscanned> {
    let Some(depth) = depth.checked_sub(1) else { return Some(Unscanned::Format) };
    let mut inflater = Inflater { state: Decompress::new(false), piece: vec![0; PIECE], out: Vec::new() };
    let mut unscanned = None;
    let mut rest = octets;
    let mut names = HashSet::with_hasher(FixedState::default());
    let place = |behind: &[u8]| octets.len() - behind.len();
    // All before it has been read.
    let mut read = 0;
    // Each turn steps over a header, and takes one of the entries that a body may have.
    while let Some(found) = next_header(rest) {
        let Some(entry) = Entry::read(found) else {
            rest = found.get(LOCAL_HEADER.len()..).unwrap_or_default();
            continue;
        };
        if !sink.room.take_entry() {
            unscanned = unscanned.or(Some(Unscanned::TooLarge));
            break;
        }
        names.insert(entry.name);
        let content = place(entry.rest);
        as_it_lies(octets.get(read..content), sink);
        read = read.max(content);
        sink.new_text();
        let (why, behind) = match entry.method {
            _ if entry.encrypted => (Some(Unscanned::Format), entry.rest),
            Method::Stored => {
                // Headers within it are looked for all the same.
                read = read.max(place(entry.rest) + entry.content().len());
                stored(&entry, complete, depth, sink)
            }
            Method::Deflate => {
                let (why, behind) = inflater.entry(&entry, complete, depth, sink);
                if why != Some(Unscanned::Broken) {
                    read = read.max(place(behind));
                }
                (why, behind)
            }
            Method::Other => (Some(Unscanned::Format), entry.rest),
        };
        unscanned = unscanned.or(why);
        rest = behind;
    }
    directory(octets.get(read..).unwrap_or_default(), &names, sink);
    unscanned.or(names.is_empty().then_some(Unscanned::Broken))
}

/// What belongs to no entry that can be read: headers with the names in them, and what only looks like an archive.
fn as_it_lies(octets: Option<&[u8]>, sink: &mut Sink) {
    if let Some(octets) = octets.filter(|octets| !octets.is_empty()) {
        sink.new_text();
        sink.text(octets);
    }
}

/// What stands behind the entries: a directory of the same names, and what is none.
fn directory(octets: &[u8], names: &HashSet<&[u8], FixedState>, sink: &mut Sink) {
    let start = memchr::memmem::find(octets, DIRECTORY_HEADER).unwrap_or(octets.len());
    let (before, mut rest) = octets.split_at(start);
    as_it_lies(Some(before), sink);
    while let Some((name, remarks, behind)) = directory_entry(rest) {
        if !names.contains(name) {
            as_it_lies(Some(name), sink);
        }
        as_it_lies(Some(remarks), sink);
        rest = behind;
    }
    as_it_lies(Some(rest), sink);
}

/// An entry of a directory (APPNOTE.TXT section 4.3.12): its name, extra field and comment, and what follows it.
fn directory_entry(octets: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let lengths = octets.strip_prefix(DIRECTORY_HEADER)?.get(24..30)?;
    let length = |at: usize| {
        let two = lengths.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(u16::from_le_bytes(two)))
    };
    let (name, behind) = octets.get(DIRECTORY_FIXED..)?.split_at_checked(length(0)?)?;
    let (remarks, behind) = behind.split_at_checked(length(2)? + length(4)?)?;
    Some((name, remarks, behind))
}

fn stored<'a>(
    entry: &Entry<'a>,
    complete: bool,
    depth: usize,
    sink: &mut Sink,
) -> (Option<Unscanned>, &'a [u8]) {
    let content = match entry.size {
        Some(_) => entry.content(),
        None => {
            let behind = next_header(entry.rest).map_or(0, <[u8]>::len);
            entry.rest.get(..entry.rest.len() - behind).unwrap_or_default()
        }
    };
    // One header may claim what others stand in: without a bound each of them would be read to the end.
    if content.len() > sink.room.octets() {
        return (Some(Unscanned::TooLarge), &[]);
    }
    sink.room.take_octets(content.len());
    let cut = !complete && content.len() == entry.rest.len();
    let unscanned = entity(b"", content, !cut, depth, sink);
    // A directory may name headers within this content. Those of an archive have been followed.
    let followed = content.starts_with(LOCAL_HEADER);
    (unscanned, if followed { entry.rest.get(content.len()..).unwrap_or_default() } else { entry.rest })
}

struct Inflater {
    state: Decompress,
    piece: Vec<u8>,
    out: Vec<u8>,
}

impl Inflater {
    /// Reads one entry. Returns what follows its content.
    fn entry<'a>(
        &mut self,
        entry: &Entry<'a>,
        complete: bool,
        depth: usize,
        sink: &mut Sink,
    ) -> (Option<Unscanned>, &'a [u8]) {
        self.state.reset(false);
        self.out.clear();
        let mut left = entry.rest;
        let ended = loop {
            let most = PIECE.min(sink.room.octets());
            let Some(piece) = self.piece.get_mut(..most).filter(|piece| !piece.is_empty()) else {
                break Err(Unscanned::TooLarge);
            };
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(left, piece, FlushDecompress::None);
            let read = usize::try_from(self.state.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.state.total_out() - written).unwrap_or(usize::MAX);
            left = left.get(read..).unwrap_or_default();
            self.out.extend_from_slice(piece.get(..written).unwrap_or_default());
            sink.room.take_octets(written);
            match status {
                Ok(Status::StreamEnd) => break Ok(true),
                Ok(_) if read > 0 || written > 0 => {}
                // The octets end before the stream does.
                Ok(_) if left.is_empty() && !complete => break Ok(false),
                Ok(_) | Err(_) => break Err(Unscanned::Broken),
            }
        };
        let found = entity(b"", &self.out, ended == Ok(true), depth, sink);
        (ended.err().or(found), left)
    }
}
