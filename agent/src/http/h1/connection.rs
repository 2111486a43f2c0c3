//! What a message means for its connection: persistence, upgrades, expectations, interim responses.

use base64::Engine;

use super::framing::{Framing, declared, request_body};
use super::limits::Limits;
use super::refusal::Refusal;
use crate::http::head::{Fields, RequestHead, ResponseHead, Version};

/// Whether the sender of these fields keeps the connection open behind the message (RFC 9112 section 9.3).
pub fn keep_alive(fields: &Fields, version: Version) -> bool {
    match version {
        Version::Http2 => true,
        Version::Http11 => !fields.has_token("connection", "close"),
        Version::Http10 => {
            !fields.has_token("connection", "close") && fields.has_token("connection", "keep-alive")
        }
    }
}

/// Whether the connection to the origin can serve another request behind this response to `method`.
///
/// Not when the body ends with the connection, nor when the response has no body but announces one: an origin that is
/// wrong about that may send it all the same.
pub fn response_keep_alive(head: &ResponseHead, method: &str, framing: Framing) -> bool {
    let announced = declared(head.fields(), head.version());
    let quiet = match head.status() {
        204 => matches!(announced, Ok(None | Some(Framing::Length(0)))),
        // Without a length a 205 ends with the connection (RFC 9112 section 6.3 makes no exception for it).
        205 => method == "HEAD" || matches!(announced, Ok(Some(Framing::Length(0)))),
        _ => announced.is_ok(),
    };
    quiet && framing != Framing::Close && keep_alive(head.fields(), head.version())
}

/// What a request asks the connection to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// Nothing, or not in a way that obliges anybody: the field is stripped.
    None,
    /// A WebSocket (RFC 6455 section 4.1), and nothing else.
    WebSocket,
    /// HTTP/2 in clear text, which would carry requests past the parser: stripped, and worth an event.
    H2c,
    /// Another protocol, several at once, or a WebSocket asked for in a wrong way: stripped.
    Other,
}

/// Reads the Upgrade field of a request.
pub fn upgrade(head: &RequestHead) -> Upgrade {
    let asks = |protocol| head.fields().has_token("upgrade", protocol);
    if asks("h2c") || head.fields().get("http2-settings").is_some() {
        return Upgrade::H2c;
    }
    if head.fields().tokens("upgrade").next().is_none() {
        return Upgrade::None;
    }
    let alone = head.fields().count("upgrade") == 1 && head.fields().tokens("upgrade").count() == 1;
    let well_formed = head.method() == "GET"
        && head.version() == Version::Http11
        && head.fields().has_token("connection", "upgrade")
        // A body and a switch of protocols leave open where the new protocol begins.
        && matches!(request_body(head), Ok(Framing::None | Framing::Length(0)));
    if alone && well_formed && asks("websocket") && opens_websocket(head.fields()) {
        Upgrade::WebSocket
    } else {
        Upgrade::Other
    }
}

/// What besides the upgrade itself makes a handshake (RFC 6455 section 4.1): one key, and the one version there is.
fn opens_websocket(fields: &Fields) -> bool {
    let is_13 = |version: &[u8]| version.trim_ascii() == b"13";
    fields.count("sec-websocket-version") == 1
        && fields.get("sec-websocket-version").is_some_and(is_13)
        && fields.count("sec-websocket-key") == 1
        && fields.get("sec-websocket-key").is_some_and(is_key)
}

/// Sixteen octets in base64. What its last digit says beyond them is nobody's concern.
fn is_key(value: &[u8]) -> bool {
    let digit = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    value.trim_ascii().strip_suffix(b"==").is_some_and(|key| key.len() == 22 && key.iter().all(digit))
}

/// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1). Any other
/// expectation is refused.
pub fn expects_continue(head: &RequestHead) -> Result<bool, Refusal> {
    let mut members = head.fields().get_all("expect");
    let Some(expectation) = members.next() else { return Ok(false) };
    if members.next().is_some() || !expectation.eq_ignore_ascii_case(b"100-continue") {
        return Err(Refusal::Expectation);
    }
    Ok(head.version() == Version::Http11
        && !matches!(request_body(head), Ok(Framing::None | Framing::Length(0))))
}

/// The place of a response in its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Interim: more responses to the same request follow.
    Interim,
    /// The protocol was switched as asked; what follows is no HTTP.
    Switched,
    /// The response.
    Final,
}

/// Follows the responses to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responses {
    version: Version,
    /// What opens the WebSocket that was asked for.
    accept: Option<Accept>,
    interim: u16,
}

impl Responses {
    /// `upgrade` is what was forwarded to the origin with the request, so [`Upgrade::None`] when the field was stripped.
    pub fn to(request: &RequestHead, upgrade: Upgrade) -> Self {
        let key = request.fields().get("sec-websocket-key").filter(|_| upgrade == Upgrade::WebSocket);
        Self { version: request.version(), accept: key.map(accept), interim: 0 }
    }

    /// Places the next response.
    pub fn next(&mut self, response: &ResponseHead, limits: &Limits) -> Result<Turn, Refusal> {
        match response.status() {
            101 if self.is_opened_by(response) => Ok(Turn::Switched),
            101 => Err(Refusal::UpgradeUnasked),
            100..=199 if self.version == Version::Http10 => Err(Refusal::InterimVersion),
            100..=199 if self.interim >= limits.interim_responses => Err(Refusal::InterimFlood),
            100..=199 => {
                self.interim += 1;
                Ok(Turn::Interim)
            }
            _ => Ok(Turn::Final),
        }
    }

    /// Whether the WebSocket that was asked for is open (RFC 6455 section 4.1). Whoever cannot answer the key has not read
    /// the handshake.
    fn is_opened_by(&self, response: &ResponseHead) -> bool {
        let fields = response.fields();
        let accepts = |accept: Accept| {
            fields.count("sec-websocket-accept") == 1
                && fields.get("sec-websocket-accept").is_some_and(|value| value.trim_ascii() == accept)
        };
        self.accept.is_some_and(accepts)
            && response.version() == Version::Http11
            && fields.tokens("upgrade").count() == 1
            && fields.has_token("upgrade", "websocket")
    }
}

/// Base64 of a SHA-1.
type Accept = [u8; 28];

/// The answer to a key (RFC 6455 section 4.2.2).
fn accept(key: &[u8]) -> Accept {
    let mut digest = sha1_smol::Sha1::new();
    digest.update(key.trim_ascii());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut text = [0; 28];
    // Twenty octets fill it exactly.
    let _ = base64::engine::general_purpose::STANDARD.encode_slice(digest.digest().bytes(), &mut text);
    text
}
