//! What the relay knows of one of its two connections.

use std::collections::VecDeque;

use super::budget::Budgets;
use crate::http::h2::Limits;
use crate::http::h2::frame::settings::Settings;
use crate::http::h2::frame::write;
use crate::http::h2::hpack::{Decoder, Encoder};

/// Window of a connection, and of a stream until settings say otherwise (RFC 9113 section 6.9.2).
pub(super) const INITIAL_WINDOW: u32 = 65_535;

/// A SETTINGS frame that was written to a peer and awaits its acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unacked {
    Own,
    /// These values of the other side, which gets the acknowledgement.
    Of(Settings),
}

/// A header block of several frames.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) end: bool,
    pub(super) priority: Option<[u8; 5]>,
    pub(super) bytes: Vec<u8>,
    pub(super) continuations: u32,
}

/// A stream that was reset.
#[derive(Debug, Clone, Copy)]
struct Reset {
    stream: u32,
    /// How much DATA may be under way on it: what its window had left. Negative behind its end.
    room: i64,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) decoder: Decoder,
    /// Towards this peer.
    pub(super) encoder: Encoder,
    /// What is to be written to this peer.
    pub(super) out: Vec<u8>,
    /// Octets of DATA that may be sent to this peer, and that this peer may send.
    pub(super) send: i64,
    pub(super) granted: i64,
    /// What is held of its frames: octets for the windows, and memory.
    pub(super) held: i64,
    pub(super) held_memory: usize,
    /// Its initial window for streams, as far as it was acknowledged.
    pub(super) initial_window: u32,
    /// SETTINGS written to it.
    pub(super) unacked: VecDeque<Unacked>,
    /// It has sent its first SETTINGS.
    pub(super) greeted: bool,
    pub(super) block: Option<Block>,
    pub(super) budgets: Budgets,
    /// Pings written to it that it has not answered.
    pub(super) pings: u32,
    /// Streams on which frames of this peer may still be under way although they are over.
    reset: VecDeque<Reset>,
    /// It takes no part any more.
    pub(super) lost: bool,
    /// It takes requests that open a tunnel (RFC 8441 section 3).
    pub(super) offers_connect: bool,
}

impl Peer {
    pub(super) fn new(limits: &Limits, huffman: bool) -> Self {
        Self {
            decoder: Decoder::new(limits.header_list, limits.fields),
            encoder: Encoder::new(huffman),
            out: Vec::new(),
            send: i64::from(INITIAL_WINDOW),
            granted: i64::from(INITIAL_WINDOW),
            held: 0,
            held_memory: 0,
            initial_window: INITIAL_WINDOW,
            unacked: VecDeque::new(),
            greeted: false,
            block: None,
            budgets: Budgets::default(),
            pings: 0,
            reset: VecDeque::new(),
            lost: false,
            offers_connect: false,
        }
    }

    /// Remembers that frames of this peer on `stream` mean nothing any more.
    pub(super) fn remember_reset(&mut self, stream: u32, room: i64, limits: &Limits) {
        if self.reset.len() >= limits.remembered_resets {
            self.reset.pop_front();
        }
        self.reset.push_back(Reset { stream, room });
    }

    /// How much DATA may still come on a stream that was reset.
    pub(super) fn room_on(&self, stream: u32) -> Option<i64> {
        self.reset.iter().find(|reset| reset.stream == stream).map(|reset| reset.room)
    }

    /// So much of it has come; `end`: there is no more.
    pub(super) fn take_room_on(&mut self, stream: u32, len: i64, end: bool) {
        if let Some(reset) = self.reset.iter_mut().find(|reset| reset.stream == stream) {
            reset.room = if end { -1 } else { reset.room - len };
        }
    }

    /// Gives the peer `increment` octets more of the connection's window.
    pub(super) fn grant(&mut self, increment: i64) {
        if let Ok(increment) = u32::try_from(increment)
            && increment > 0
        {
            self.granted += i64::from(increment);
            write::window_update(0, increment, &mut self.out);
        }
    }
}
