//! One stream as the relay sees it, and the table of those that are open.

use std::collections::VecDeque;

use super::Side;
use crate::http::h2::message::Scheme;
use crate::http::head::{Fields, RequestHead};

/// What becomes of the frames of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Kept until the head before them has its verdict.
    Held,
    Passing,
    /// Read, counted and dropped: the other side no longer takes part.
    Dropped,
}

/// A frame that waits: for a verdict, or for the window of the connection.
#[derive(Debug)]
pub(super) enum Held {
    /// A whole frame, and its octets without padding.
    Data {
        frame: Vec<u8>,
        content: usize,
        end: bool,
    },
    Trailers(Fields),
}

impl Held {
    /// Octets that count for the windows.
    pub(super) fn window(&self) -> i64 {
        match self {
            Self::Data { frame, .. } => {
                i64::try_from(frame.len()).unwrap_or(0) - crate::http::h2::frame::HEADER_LEN as i64
            }
            Self::Trailers(_) => 0,
        }
    }

    /// Memory, roughly: many small frames are not cheaper than what they hold.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Data { frame, .. } => frame.len() + 64,
            Self::Trailers(fields) => fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum(),
        }
    }
}

/// What one side sends on a stream.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) flow: Flow,
    /// The head came with END_STREAM.
    pub(super) head_ended: bool,
    /// Its sender has ended it.
    pub(super) ended: bool,
    /// The end has been passed on.
    pub(super) passed_end: bool,
    /// Octets the body must have, and has had so far.
    pub(super) declared: Option<u64>,
    pub(super) content: u64,
    /// Octets of the body that were passed on.
    pub(super) passed: u64,
    pub(super) held: VecDeque<Held>,
    /// What the receiver has granted beyond the initial window, less what was sent to it.
    pub(super) credit: i64,
    /// Of what is dropped: how much of its window the sender has left, which nobody adds to any more.
    pub(super) room: Option<i64>,
}

impl Half {
    fn new() -> Self {
        Self {
            flow: Flow::Held,
            head_ended: false,
            ended: false,
            passed_end: false,
            declared: None,
            content: 0,
            passed: 0,
            held: VecDeque::new(),
            credit: 0,
            room: None,
        }
    }

    /// What its sender may still send; `most`: the largest initial window it may go by.
    pub(super) fn room(&self, most: u32) -> i64 {
        self.room.unwrap_or_else(|| {
            let held: i64 = self.held.iter().map(Held::window).sum();
            i64::from(most) + self.credit - held
        })
    }

    /// Whether the body can go on by `content` octets, and end with them if `end`, by what the head declared.
    pub(super) fn fits(&self, content: usize, end: bool) -> bool {
        let sum = self.content.saturating_add(content as u64);
        match self.declared {
            Some(declared) if end => sum == declared,
            Some(declared) => sum <= declared,
            None => true,
        }
    }
}

/// The request on its way to the origin.
#[derive(Debug)]
pub(super) enum RequestState {
    /// Its head awaits the verdict; `false`: it cannot be passed.
    Judging(bool),
    /// To be passed when those before it are: streams are opened in the order of their numbers.
    Approved(Box<RequestHead>),
    Open,
    /// The origin knows nothing of it, or nothing any more.
    Gone,
}

/// The response on its way to the client.
#[derive(Debug)]
pub(super) enum ResponseState {
    Waiting,
    /// Its head awaits the verdict; `false`: it cannot be passed.
    Judging(bool),
    Passing,
    /// Ours, and how much of its body has been sent.
    Own {
        body: Vec<u8>,
        sent: usize,
    },
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) scheme: Scheme,
    pub(super) websocket: bool,
    /// What the length of a response depends on.
    pub(super) method: &'static str,
    pub(super) priority: Option<[u8; 5]>,
    pub(super) request: RequestState,
    pub(super) response: ResponseState,
    pub(super) interim: u16,
    pub(super) up: Half,
    pub(super) down: Half,
    /// What the client granted before the origin knew the stream.
    pub(super) early_grant: u32,
}

impl Stream {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            scheme: Scheme::Https,
            websocket: false,
            method: "GET",
            priority: None,
            request: RequestState::Judging(true),
            response: ResponseState::Waiting,
            interim: 0,
            up: Half::new(),
            down: Half::new(),
            early_grant: 0,
        }
    }

    /// What `side` sends.
    pub(super) fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.up,
            Side::Origin => &mut self.down,
        }
    }

    pub(super) fn half_ref(&self, side: Side) -> &Half {
        match side {
            Side::Client => &self.up,
            Side::Origin => &self.down,
        }
    }

    /// Whether the origin takes part in it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.request, RequestState::Open)
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(self.response, ResponseState::Own { .. })
    }
}

/// The open streams in the order of their numbers, in which clients open them.
#[derive(Debug, Default)]
pub(super) struct Streams(Vec<Stream>);

/// Room that an idle connection keeps.
const KEPT: usize = 4;

impl Streams {
    fn place(&self, id: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |stream| stream.id)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Stream> {
        self.0.get(self.place(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id).ok()?;
        self.0.get_mut(place)
    }

    /// Adds one with a higher number than all before it.
    pub(super) fn push(&mut self, stream: Stream) {
        self.0.push(stream);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = self.0.remove(self.place(id).ok()?);
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0.shrink_to(KEPT);
        }
        Some(stream)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.0.iter()
    }
}
