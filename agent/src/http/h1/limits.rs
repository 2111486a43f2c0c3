//! The named bounds of the codec.

/// Most field lines a head can have, whatever [`Limits::fields`] says: the parser's table lies on the stack.
pub const MAX_FIELDS: usize = 256;

/// How much the codec takes from one peer before it refuses. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A whole head: start line, field lines, empty line.
    pub head_bytes: usize,
    /// Field lines in a head; at most [`MAX_FIELDS`].
    pub fields: usize,
    /// A request line or status line without its CRLF.
    pub request_line: usize,
    /// The extensions of one chunk.
    pub chunk_extension: usize,
    /// Extensions in excess of twice the payload, over a whole body: a peer that sends little else is refused.
    pub chunk_extension_excess: usize,
    /// A trailer section.
    pub trailer_bytes: usize,
    /// Field lines in a trailer section; at most [`MAX_FIELDS`].
    pub trailer_fields: usize,
    /// Interim (1xx) responses before one final response.
    pub interim_responses: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            fields: 128,
            request_line: 8 * 1024,
            chunk_extension: 256,
            chunk_extension_excess: 16 * 1024,
            trailer_bytes: 8 * 1024,
            trailer_fields: 32,
            interim_responses: 16,
        }
    }
}
