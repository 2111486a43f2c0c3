//! What a finished handshake agreed on, for records: the facts of that side, never of the other.

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

/// Version, suite, group and protocol of one TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// `TLSv1.3` or `TLSv1.2`; nothing else is offered.
    pub version: &'static str,
    /// IANA name, for example `TLS13_AES_128_GCM_SHA256`.
    pub suite: Option<&'static str>,
    /// Key exchange group, for example `X25519MLKEM768`.
    pub group: Option<&'static str>,
    /// ALPN protocol id; absent when none was negotiated.
    pub alpn: Option<Vec<u8>>,
    /// Keys of an earlier connection were taken up, without a certificate.
    pub resumed: bool,
}

impl Negotiated {
    pub(super) fn of(connection: &CommonState) -> Self {
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "unknown",
            },
            suite: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
            group: connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}
