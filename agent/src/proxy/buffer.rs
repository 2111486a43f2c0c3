//! Read buffers, pooled per worker thread: a connection holds one only while bytes in it are unread.

use std::cell::RefCell;

use crate::memory::pressure;

/// Size of every buffer: the largest head, or four TLS records and what stands around them.
pub const BUFFER: usize = 68 * 1024;
/// What a read is worth: a TLS record, which is opened straight into the buffer where it fits.
const WORTH: usize = 16 * 1024 + 256;
/// Buffers kept for reuse by one thread.
const POOLED: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take() -> Vec<u8> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER])
}

fn give_back(buffer: Vec<u8>) {
    if buffer.len() == BUFFER {
        POOL.with_borrow_mut(|pool| {
            if pressure::is_shedding() {
                pool.clear();
            } else if pool.len() < POOLED {
                pool.push(buffer);
            }
        });
    }
}

/// Bytes read from a peer and not yet used.
#[derive(Debug, Default)]
pub struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub fn with_bytes(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { buffer: bytes, start: 0, end }
    }

    pub fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Where the next read goes: room for a record, once what is unread leaves that. Empty when [`BUFFER`] bytes are unread.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.buffer.len() < BUFFER {
            let mut larger = take();
            let unread = self.unread();
            let count = unread.len();
            if let Some(to) = larger.get_mut(..count) {
                to.copy_from_slice(unread);
            }
            self.buffer = larger;
            (self.start, self.end) = (0, count);
        } else if self.start > 0 && self.buffer.len() - self.end < WORTH {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }

    /// Returns the buffer to the pool when nothing in it is unread.
    pub(super) fn release(&mut self) {
        if self.start == self.end && !self.buffer.is_empty() {
            give_back(std::mem::take(&mut self.buffer));
            (self.start, self.end) = (0, 0);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &mut Input, bytes: &[u8]) -> usize {
        let room = input.room();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        input.filled(count);
        count
    }

    #[test]
    fn bytes_stay_in_order_through_compaction_and_a_buffer_full_has_no_room() {
        let pattern: Vec<u8> = (0..3 * BUFFER).map(|i| (i % 251) as u8).collect();
        let mut input = Input::with_bytes(pattern[..100].to_vec());
        let (mut fed, mut seen) = (100, Vec::new());
        while fed < pattern.len() {
            fed += read(&mut input, &pattern[fed..]);
            let used = input.unread().len() / 3 + 1;
            seen.extend_from_slice(&input.unread()[..used]);
            input.consume(used);
        }
        seen.extend_from_slice(input.unread());
        assert_eq!(seen, pattern);

        let mut full = Input::default();
        assert_eq!(read(&mut full, &pattern), BUFFER);
        assert!(full.room().is_empty());
    }

    #[test]
    fn nothing_is_pooled_while_memory_is_short() {
        let give_two = || {
            let mut two = [Input::default(), Input::default()];
            two.iter_mut().for_each(|input| assert_eq!(read(input, b"a"), 1));
        };
        let pooled = || POOL.with_borrow(Vec::len);
        give_two();
        assert_eq!(pooled(), 2);
        pressure::inject(pressure::Level::Shed);
        give_two();
        assert_eq!(pooled(), 0);
        pressure::inject(pressure::Level::Enough);
        give_two();
        assert_eq!(pooled(), 2);
    }

    #[test]
    fn an_empty_input_holds_no_buffer_after_release_and_keeps_unread_bytes() {
        let mut input = Input::default();
        read(&mut input, b"abc");
        input.release();
        assert_eq!(input.unread(), b"abc");
        input.consume(3);
        input.release();
        assert!(input.buffer.is_empty());
    }
}
