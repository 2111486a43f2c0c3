//! Room for one host name while a message is read, and the reversed key that the pattern trie is asked for.

use crate::abi::PatternKey;
use crate::byte_source::{ByteSource, Slot};
use crate::domain::{END, KEY_SIZE, MAX_NAME};

/// One name: as text, and as the reversed key of [`crate::domain`]. Lives in a map in the kernel.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct NameBuffer {
    pub(crate) text: [u8; KEY_SIZE],
    pub(crate) key: PatternKey,
}

impl NameBuffer {
    pub const fn new() -> Self {
        Self { text: [0; KEY_SIZE], key: PatternKey { bits: 0, bytes: [0; KEY_SIZE] } }
    }

    /// The name read last, as the pattern trie is asked for it.
    #[inline(always)]
    pub fn key(&self) -> &PatternKey {
        &self.key
    }

    /// Makes the key of `text[1..=length]`.
    #[inline(always)]
    pub(crate) fn key_of_text(&mut self, length: usize) {
        let mut j = 0;
        while j < KEY_SIZE - 1 {
            self.key.bytes[j] = lower(self.text[length.wrapping_sub(j) & (KEY_SIZE - 1)]);
            j += 1;
        }
        // Out of LLVM's sight, which drops a mask that it can prove redundant; the verifier of 6.1 cannot follow.
        self.key.bytes[core::hint::black_box(length) & (KEY_SIZE - 1)] = END;
        self.key.bits = (length as u32 + 1) * 8;
    }

    /// Makes the key of the `length` bytes at `at`, without a trailing dot. False when they are too many or none.
    #[inline(always)]
    pub(crate) fn read<S: ByteSource + ?Sized>(&mut self, source: &S, at: usize, length: usize) -> bool {
        if length == 0 || length > MAX_NAME {
            return false;
        }
        let dot = source.byte(at.wrapping_add(length).wrapping_sub(1)) == b'.';
        let length = source.forget(Slot::NameLength, length - dot as usize) & (KEY_SIZE - 1);
        if length == 0 {
            return false;
        }
        let last = source.forget(Slot::Position, at.wrapping_add(length).wrapping_sub(1));
        let mut j = 0;
        // Always as many: a bound that depends on the length would make the verifier walk every length apart.
        while j < KEY_SIZE - 1 {
            self.key.bytes[j] = lower(source.byte(last.wrapping_sub(j)));
            j += 1;
        }
        self.key.bytes[length] = END;
        self.key.bits = (length as u32 + 1) * 8;
        true
    }
}

impl Default for NameBuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(always)]
fn lower(octet: u8) -> u8 {
    let upper = octet.wrapping_sub(b'A') < 26;
    octet | ((upper as u8) << 5)
}
