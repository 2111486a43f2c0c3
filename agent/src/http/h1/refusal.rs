//! Why a message is refused, and with which status: the one table of the codec's reasons.

use std::fmt;

/// Whose message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Client,
    Origin,
}

macro_rules! refusals {
    ($($variant:ident = $name:literal, $status:literal, $words:literal;)+) => {
        /// The reason a message is refused. After a refusal nothing more is read from that connection.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal { $(#[doc = $words] $variant,)+ }

        impl Refusal {
            pub const ALL: &[Refusal] = &[$(Refusal::$variant,)+];

            /// Stable text for records and metric labels.
            pub const fn name(self) -> &'static str {
                match self { $(Refusal::$variant => $name,)+ }
            }

            const fn request_status(self) -> u16 {
                match self { $(Refusal::$variant => $status,)+ }
            }

            const fn words(self) -> &'static str {
                match self { $(Refusal::$variant => $words,)+ }
            }
        }
    };
}

refusals! {
    // Octets and lines of a head.
    Nul = "nul", 400, "the head contains a NUL octet";
    BareCr = "bare-cr", 400, "a CR stands without its LF";
    BareLf = "bare-lf", 400, "a LF stands without its CR";
    BlankStart = "blank-start", 400, "empty lines stand where a start line belongs";
    FoldedLine = "folded-line", 400, "a field line begins with whitespace";
    HeadTooLarge = "head-too-large", 431, "the head is larger than the limit";
    TooManyFields = "too-many-fields", 431, "the head has more field lines than the limit";
    StartLineTooLong = "start-line-too-long", 414, "the start line is longer than the limit";

    // Start line.
    StartLine = "start-line", 400, "the start line is malformed";
    Version = "version", 505, "the protocol version is neither HTTP/1.1 nor HTTP/1.0";
    MethodRefused = "method-refused", 501, "CONNECT and TRACE are not served";
    Target = "target", 400, "the request target is malformed or in a form the method does not allow";
    Status = "status", 400, "the status code is not a number from 100 to 999";

    // Field lines.
    FieldName = "field-name", 400, "a field name is not a token followed by a colon";
    FieldValue = "field-value", 400, "a field value contains a control character";
    HostMissing = "host-missing", 400, "the Host field is missing";
    HostRepeated = "host-repeated", 400, "the Host field occurs more than once";
    HostInvalid = "host-invalid", 400, "the Host field is not a host name or address with an optional port";
    HostMismatch = "host-mismatch", 400, "the authority of the target differs from the Host field";
    Expectation = "expectation", 417, "the expectation is not 100-continue";

    // Framing.
    LengthInvalid = "length-invalid", 400, "Content-Length is not a decimal number below 2^63";
    LengthConflict = "length-conflict", 400, "Content-Length fields differ";
    LengthWithCoding = "length-with-coding", 400, "Content-Length and Transfer-Encoding occur together";
    TransferCoding = "transfer-coding", 400, "Transfer-Encoding is not exactly `chunked`, once";
    CodingVersion = "coding-version", 400, "Transfer-Encoding occurs in a version other than HTTP/1.1";
    NoLength = "no-length", 400, "a request body cannot end with the connection";

    // Body.
    ChunkSize = "chunk-size", 400, "a chunk size is not 1 to 16 hexadecimal digits below 2^63";
    ChunkExtension = "chunk-extension", 400, "a chunk extension is malformed or larger than the limit";
    ChunkEnd = "chunk-end", 400, "a chunk is not closed by CRLF after its last octet";
    TrailerTooLarge = "trailer-too-large", 431, "the trailer section is larger than the limit";
    Truncated = "truncated", 400, "the connection ended before the message did";

    // Order of responses.
    InterimBody = "interim-body", 400, "an interim response announces a body";
    InterimFlood = "interim-flood", 400, "more interim responses than the limit precede the final one";
    InterimVersion = "interim-version", 400, "an interim response answers an HTTP/1.0 request";
    UpgradeUnasked = "upgrade-unasked", 400, "the protocol is switched although no such upgrade was forwarded, or without an answer to its key";
    Unasked = "unasked", 400, "a response came before there was a request";
}

impl Refusal {
    /// The status that the client gets: what it did wrong, or 502 where the origin is at fault (RFC 9110 section 15.6.3).
    pub const fn status(self, of: Peer) -> u16 {
        match of {
            Peer::Client => self.request_status(),
            Peer::Origin => 502,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for Refusal {}
