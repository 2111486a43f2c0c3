//! What a finished handshake agreed on, for records: the facts of that side, never of the other.

use rustls::CommonState;

/// Version, suite, group and protocol of one TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// IANA name, for example `TLS13_AES_128_GCM_SHA256`.
    pub suite: Option<&'static str>,
    /// Key exchange group, for example `X25519MLKEM768`.
    pub group: Option<&'static str>,
    /// ALPN protocol id; absent when none was negotiated.
    pub alpn: Option<Vec<u8>>,
}

impl Negotiated {
    pub(super) fn of(connection: &CommonState) -> Self {
        Self {
            version: connection.protocol_version().and_then(|v| v.as_str()).unwrap_or("unknown"),
            suite: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
            group: connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        }
    }
}
