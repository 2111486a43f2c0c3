//! Why a frame, a message or a connection is refused, and with which error code: the one table of HTTP/2's reasons.

use std::fmt;

/// An error code as it goes over the wire (RFC 9113 section 7). Unknown codes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    pub const NO_ERROR: Self = Self(0x0);
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    pub const INTERNAL_ERROR: Self = Self(0x2);
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub const STREAM_CLOSED: Self = Self(0x5);
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub const REFUSED_STREAM: Self = Self(0x7);
    pub const CANCEL: Self = Self(0x8);
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
}

macro_rules! refusals {
    ($($variant:ident = $name:literal, $code:ident, $words:literal;)+) => {
        /// The reason something is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal { $(#[doc = $words] $variant,)+ }

        impl Refusal {
            pub const ALL: &[Refusal] = &[$(Refusal::$variant,)+];

            /// Stable text for records and metric labels.
            pub const fn name(self) -> &'static str {
                match self { $(Refusal::$variant => $name,)+ }
            }

            /// What the peer is told.
            pub const fn code(self) -> ErrorCode {
                match self { $(Refusal::$variant => ErrorCode::$code,)+ }
            }

            const fn words(self) -> &'static str {
                match self { $(Refusal::$variant => $words,)+ }
            }
        }
    };
}

refusals! {
    // The connection and its frames.
    Preface = "preface", PROTOCOL_ERROR, "the connection does not begin as HTTP/2 does";
    FrameTooLarge = "frame-too-large", FRAME_SIZE_ERROR, "a frame is larger than the limit";
    FrameSize = "frame-size", FRAME_SIZE_ERROR, "a frame has not the size of its type";
    StreamZero = "stream-zero", PROTOCOL_ERROR, "a frame stands on stream 0 that belongs to a stream";
    NotStreamZero = "not-stream-zero", PROTOCOL_ERROR, "a frame about the connection stands on a stream";
    Padding = "padding", PROTOCOL_ERROR, "the padding is longer than the frame";
    SelfDependency = "self-dependency", PROTOCOL_ERROR, "a stream depends on itself";
    ZeroIncrement = "zero-increment", PROTOCOL_ERROR, "a window grows by nothing";
    WindowOverflow = "window-overflow", FLOW_CONTROL_ERROR, "a window grows beyond 2^31-1";
    WindowExceeded = "window-exceeded", FLOW_CONTROL_ERROR, "more octets arrive than the window has room for";
    SettingValue = "setting-value", PROTOCOL_ERROR, "a setting has a value it cannot have";
    SettingWindow = "setting-window", FLOW_CONTROL_ERROR, "the initial window is larger than 2^31-1";
    SettingsAck = "settings-ack", PROTOCOL_ERROR, "settings are acknowledged that nobody sent";
    Push = "push", PROTOCOL_ERROR, "a push arrives although it was turned off";
    PriorityUpdate = "priority-update", PROTOCOL_ERROR, "a priority update is malformed or goes the wrong way";
    HeaderBlockTorn = "header-block-torn", PROTOCOL_ERROR, "another frame stands within a header block";
    Continuation = "continuation", PROTOCOL_ERROR, "a CONTINUATION continues nothing";
    Compression = "compression", COMPRESSION_ERROR, "a header block cannot be decoded";

    // Streams.
    StreamIdle = "stream-idle", PROTOCOL_ERROR, "a frame stands on a stream that was never opened";
    StreamNumber = "stream-number", PROTOCOL_ERROR, "a stream is opened with a number it cannot have";
    StreamClosed = "stream-closed", STREAM_CLOSED, "a frame stands on a stream that its sender has closed";
    NoHead = "no-head", PROTOCOL_ERROR, "a body begins without a head";
    TooManyStreams = "too-many-streams", REFUSED_STREAM, "more streams are open than the limit";

    // Messages.
    HeadTooLarge = "head-too-large", PROTOCOL_ERROR, "the head is larger than the limit";
    TargetTooLong = "target-too-long", PROTOCOL_ERROR, "the path is longer than the limit";
    FieldName = "field-name", PROTOCOL_ERROR, "a field name is not a token in lower case";
    FieldValue = "field-value", PROTOCOL_ERROR, "a field value has a control character, or whitespace at an end";
    ConnectionField = "connection-field", PROTOCOL_ERROR, "a field about one connection occurs";
    PseudoOrder = "pseudo-order", PROTOCOL_ERROR, "a pseudo-header field stands behind a field, or in a trailer section";
    PseudoUnknown = "pseudo-unknown", PROTOCOL_ERROR, "a pseudo-header field has no place in this message";
    PseudoRepeated = "pseudo-repeated", PROTOCOL_ERROR, "a pseudo-header field is repeated";
    PseudoMissing = "pseudo-missing", PROTOCOL_ERROR, "a pseudo-header field is missing";
    Method = "method", PROTOCOL_ERROR, "the method is not a token";
    MethodRefused = "method-refused", PROTOCOL_ERROR, "CONNECT is served for WebSockets only, TRACE never";
    Target = "target", PROTOCOL_ERROR, "the path is malformed";
    Scheme = "scheme", PROTOCOL_ERROR, "the scheme is neither https nor http";
    Authority = "authority", PROTOCOL_ERROR, "the authority is missing, repeated or malformed";
    HostMismatch = "host-mismatch", PROTOCOL_ERROR, "the authority differs from the Host field";
    Status = "status", PROTOCOL_ERROR, "the status is not a number from 100 to 999, or is 101";
    ContentLength = "content-length", PROTOCOL_ERROR, "Content-Length is malformed, or the body has another length";
    InterimEnd = "interim-end", PROTOCOL_ERROR, "an interim response ends its stream";
    InterimFlood = "interim-flood", ENHANCE_YOUR_CALM, "more interim responses than the limit precede the final one";
    TrailersOpen = "trailers-open", PROTOCOL_ERROR, "a trailer section does not end its stream";
    OriginLost = "origin-lost", INTERNAL_ERROR, "the connection to the origin ended before it answered";

    // Floods.
    ContinuationFlood = "continuation-flood", ENHANCE_YOUR_CALM, "a header block has more frames than the limit";
    ResetFlood = "reset-flood", ENHANCE_YOUR_CALM, "streams are reset faster than the limit";
    RapidReset = "rapid-reset", ENHANCE_YOUR_CALM, "more requests are taken back before their response than the limit";
    MadeReset = "made-reset", ENHANCE_YOUR_CALM, "more streams had to be reset for errors than the limit";
    PingFlood = "ping-flood", ENHANCE_YOUR_CALM, "pings come faster than the limit, or too many wait for an answer";
    SettingsFlood = "settings-flood", ENHANCE_YOUR_CALM, "settings come faster than the limit, or too many wait";
    EmptyFlood = "empty-flood", ENHANCE_YOUR_CALM, "frames without content come faster than the limit";
    WindowFlood = "window-flood", ENHANCE_YOUR_CALM, "windows grow in more steps than the data explains";
    PriorityFlood = "priority-flood", ENHANCE_YOUR_CALM, "priorities and unknown frames come faster than the limit";
    GlitchFlood = "glitch-flood", ENHANCE_YOUR_CALM, "frames that mean nothing any more come faster than the limit";
}

impl Refusal {
    /// The status for a request refused with this reason, where it is answered and not reset.
    pub const fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge => 431,
            Self::TargetTooLong => 414,
            Self::MethodRefused => 501,
            _ => 400,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_distinct_names_and_words() {
        let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|r| r.name()).collect();
        let words: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|r| r.to_string()).collect();
        assert_eq!((names.len(), words.len()), (Refusal::ALL.len(), Refusal::ALL.len()));
        for refusal in Refusal::ALL {
            assert_ne!(refusal.code(), ErrorCode::NO_ERROR);
            assert!((400..=501).contains(&refusal.status()));
        }
    }
}
