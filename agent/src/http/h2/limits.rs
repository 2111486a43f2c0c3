//! The named bounds of HTTP/2. Rates are per second and connection side.

/// How much one connection pair may take and hold before it is refused. Sizes in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams open at once; advertised to the client.
    pub concurrent_streams: u32,
    /// A decoded field list, counted as RFC 9113 section 6.5.2 does; advertised to both sides.
    pub header_list: usize,
    /// Field lines of a list, after cookies were split by their sender.
    pub fields: usize,
    /// `:path`.
    pub target: usize,
    /// CONTINUATION frames of one header block.
    pub continuations: u32,
    /// Octets of a header block before it is decoded.
    pub header_block: usize,
    /// Interim (1xx) responses before one final response.
    pub interim_responses: u16,
    /// Octets of frames held back on one side while heads await their verdicts.
    pub held: usize,
    /// Octets of our own bodies that wait for the client's window, over all streams: further answers go without one.
    pub answers: usize,
    /// How far our own bodies may outrun what the client has given back: so much of the origin's data may have to wait.
    pub answer_gap: u32,
    /// Octets waiting to be written to one side, beyond which nothing more is read.
    pub output: usize,
    /// Reset streams that are remembered, so that frames under way to them do no harm.
    pub remembered_resets: usize,
    /// RST_STREAM frames of one side.
    pub resets_per_second: u32,
    /// The same over the life of the connection.
    pub resets: u32,
    /// Requests taken back before their response, in excess of the responses that went to their end (CVE-2023-44487).
    pub early_resets: u32,
    /// Streams that we had to reset for what one side did, over the life of the connection (CVE-2025-8671).
    pub made_resets: u32,
    /// Further ones are earned by DATA frames: clients measure their bandwidth by pings.
    pub pings_per_second: u32,
    /// Pings under way to one side.
    pub pings: u32,
    pub settings_per_second: u32,
    /// SETTINGS frames under way to one side.
    pub settings: usize,
    /// DATA frames without content that do not end their stream.
    pub empty_per_second: u32,
    /// WINDOW_UPDATE frames in excess of those that the DATA frames of the other direction explain.
    pub windows_per_second: u32,
    /// PRIORITY, PRIORITY_UPDATE and unknown frames.
    pub priorities_per_second: u32,
    /// Frames on closed streams, pongs without ping, GOAWAY and the like.
    pub glitches_per_second: u32,
    /// Requests that find no more room: behind the last one that the origin takes, or beyond the streams that may be open.
    pub turned_away_per_second: u32,
    /// Whether an origin's offer of WebSockets (RFC 8441) reaches the client.
    pub websocket: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_streams: 100,
            header_list: 64 * 1024,
            fields: 128,
            target: 8 * 1024,
            continuations: 20,
            header_block: 128 * 1024,
            interim_responses: 16,
            held: 256 * 1024,
            answers: 256 * 1024,
            answer_gap: 65_535,
            output: 256 * 1024,
            remembered_resets: 512,
            resets_per_second: 100,
            resets: 10_000,
            early_resets: 50,
            made_resets: 500,
            pings_per_second: 100,
            pings: 64,
            settings_per_second: 50,
            settings: 16,
            empty_per_second: 100,
            windows_per_second: 100,
            priorities_per_second: 200,
            glitches_per_second: 100,
            // A client that asks for as much as it may, and has heard of the end late.
            turned_away_per_second: 400,
            websocket: true,
        }
    }
}
