//! Buffers of whole reads and writes, pooled per worker thread: a connection holds one only while octets in it wait.

use std::cell::{Cell, RefCell};

use super::record::{MAX_PLAINTEXT, OVERHEAD};

/// Kept free behind a record for what is said beside data: an alert, a key update.
const CONTROL: usize = 128;
/// Size of each: what one read may take and one write may give, eight records at a time.
pub(super) const BUFFER: usize = 8 * (MAX_PLAINTEXT + OVERHEAD) + CONTROL;
/// Buffers kept for reuse by one thread.
const POOLED: usize = 16;
/// Buffers that connections of one thread keep with the beginning of a record in them. Beyond that it moves to a place of
/// its own size: whoever never sends the end of it holds no more than he sent.
pub(super) const WAITING: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static WAITING_NOW: Cell<usize> = const { Cell::new(0) };
}

fn take() -> Box<[u8]> {
    // A thread that ends has no pool any more, but may still drop connections.
    let pooled = POOL.try_with(|pool| pool.borrow_mut().pop());
    pooled.ok().flatten().unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    if buffer.len() == BUFFER {
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOLED {
                pool.push(buffer);
            }
        });
    }
}

/// Octets in order, taken from the front and added at the end.
#[derive(Debug, Default)]
pub struct Queue {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// One of [`WAITING`].
    waits: bool,
}

impl Queue {
    /// Holds `octets`, which may be more than [`BUFFER`].
    pub(super) fn with(octets: Vec<u8>) -> Self {
        let end = octets.len();
        Self { buffer: octets.into_boxed_slice(), start: 0, end, waits: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn front(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn front_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Hands out the first `count` octets with the buffer they are in. What stands behind the first `used` stays.
    pub(super) fn split_front(&mut self, count: usize, used: usize) -> Self {
        let rest = self.front().get(used..).unwrap_or_default();
        let kept = match rest.len() {
            0 => Self::default(),
            length => {
                let mut kept = Self::default();
                match kept.room().get_mut(..length) {
                    Some(to) => {
                        to.copy_from_slice(rest);
                        kept.filled(length);
                        kept
                    }
                    // More than a buffer takes.
                    None => Self::with(rest.to_vec()),
                }
            }
        };
        let mut front = std::mem::replace(self, kept);
        front.end = front.end.min(front.start + count);
        front
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Where more goes: at least what lies free behind the end.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.go_on();
        if self.buffer.len() < BUFFER {
            let mut larger = take();
            let count = self.front().len();
            if let Some(to) = larger.get_mut(..count) {
                to.copy_from_slice(self.front());
            }
            self.buffer = larger;
            (self.start, self.end) = (0, count);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Like [`Self::room`], with everything that is free at the end.
    pub(super) fn whole_room(&mut self) -> &mut [u8] {
        if self.start > 0 && self.buffer.len() >= BUFFER {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.room()
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }

    /// Whether another whole record fits behind the end.
    pub(super) fn has_room_for_record(&self) -> bool {
        BUFFER - self.end.min(BUFFER) >= MAX_PLAINTEXT + OVERHEAD + CONTROL
    }

    /// Octets of memory it holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Before a wait: the buffer goes back to the pool, and what is left in it moves to one of its own size.
    pub(super) fn settle(&mut self) {
        if self.is_empty() {
            self.go_on();
            give_back(std::mem::take(&mut self.buffer));
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() >= BUFFER
            && self.front().len() <= MAX_PLAINTEXT + OVERHEAD
            && !self.may_wait()
        {
            let rest: Box<[u8]> = self.front().into();
            let count = rest.len();
            give_back(std::mem::replace(&mut self.buffer, rest));
            (self.start, self.end) = (0, count);
        }
    }

    /// Whether its buffer may be kept during a wait.
    fn may_wait(&mut self) -> bool {
        if !self.waits {
            let _ = WAITING_NOW.try_with(|now| {
                if now.get() < WAITING {
                    now.set(now.get() + 1);
                    self.waits = true;
                }
            });
        }
        self.waits
    }

    /// A wait is over.
    fn go_on(&mut self) {
        if std::mem::take(&mut self.waits) {
            let _ = WAITING_NOW.try_with(|now| now.set(now.get().saturating_sub(1)));
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.go_on();
        give_back(std::mem::take(&mut self.buffer));
    }
}
