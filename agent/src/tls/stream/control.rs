//! What peers say to each other beside data once the handshake is done: alerts, key updates, tickets, the end.

use std::io;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, Error, PeerMisbehaved, ProtocolVersion};

use super::record::{RecordKey, kind};
use super::sending::Sending;
use crate::tls::socket::Socket;

/// Handshake messages behind the handshake (RFC 8446 section 4; HelloRequest: RFC 5246 section 7.4).
mod message {
    pub const HELLO_REQUEST: u8 = 0;
    pub const CLIENT_HELLO: u8 = 1;
    pub const NEW_SESSION_TICKET: u8 = 4;
    pub const KEY_UPDATE: u8 = 24;
    /// Type, and length in three octets.
    pub const HEADER: usize = 4;
}

/// Largest handshake message that is put together from records.
const MAX_MESSAGE: usize = 64 * 1024;
/// Key updates in a row without data between them: each costs a derivation, and lawful peers need one in 2^24 records.
const MAX_KEY_UPDATES: u8 = 32;
/// Records in a row without data in them: parts of messages, tickets, empty records. Lawful peers send a few tickets.
const MAX_BESIDE: u8 = 64;
/// Warnings of TLS 1.2 that are ignored.
const MAX_WARNINGS: u8 = 4;
/// Requests to renegotiate that are rebuffed before they are an attack.
const MAX_RENEGOTIATIONS: u8 = 1;
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// Session tickets come to clients only.
pub trait Tickets {
    /// Whether the peer says nothing before it has the end of the handshake.
    const PEER_WAITS: bool;
    fn ticket(&mut self, payload: &[u8]) -> Result<(), Error>;
    /// The message with which the peer would begin to renegotiate in TLS 1.2.
    const RENEGOTIATION: u8;
}

impl Tickets for KernelConnection<ClientConnectionData> {
    const PEER_WAITS: bool = true;
    const RENEGOTIATION: u8 = message::HELLO_REQUEST;

    fn ticket(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.handle_new_session_ticket(payload)
    }
}

impl Tickets for KernelConnection<ServerConnectionData> {
    const PEER_WAITS: bool = false;
    const RENEGOTIATION: u8 = message::CLIENT_HELLO;

    fn ticket(&mut self, _: &[u8]) -> Result<(), Error> {
        Err(unexpected(message::NEW_SESSION_TICKET))
    }
}

/// How reading ended.
#[derive(Debug)]
enum End {
    CloseNotify,
    Failed(Error),
}

/// The state of what is said beside data.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) version: ProtocolVersion,
    /// Records that a key may protect.
    pub(super) limit: u64,
    /// The beginning of a handshake message that goes on in the next record.
    partial: Vec<u8>,
    beside_left: u8,
    key_updates_left: u8,
    warnings_left: u8,
    renegotiations_left: u8,
    /// The peer asked for a key update of ours.
    owes_key_update: bool,
    owes_no_renegotiation: bool,
    end: Option<End>,
    /// close_notify or a fatal alert has been sealed: nothing comes behind it.
    has_closed: bool,
}

impl Control {
    pub(super) fn new<Role>(connection: &KernelConnection<Role>) -> Self {
        use rustls::SupportedCipherSuite::{Tls12, Tls13};
        let limit = match connection.negotiated_cipher_suite() {
            Tls12(suite) => suite.common.confidentiality_limit,
            Tls13(suite) => suite.common.confidentiality_limit,
        };
        Self {
            version: connection.protocol_version(),
            limit,
            partial: Vec::new(),
            beside_left: MAX_BESIDE,
            key_updates_left: MAX_KEY_UPDATES,
            warnings_left: MAX_WARNINGS,
            renegotiations_left: MAX_RENEGOTIATIONS,
            owes_key_update: false,
            owes_no_renegotiation: false,
            end: None,
            has_closed: false,
        }
    }

    fn is_tls13(&self) -> bool {
        self.version == ProtocolVersion::TLSv1_3
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn end(&mut self, error: Error) {
        self.end = Some(End::Failed(error));
    }

    /// What a reader is told from now on.
    pub(super) fn ended(&self) -> Option<io::Result<()>> {
        Some(match self.end.as_ref()? {
            End::CloseNotify => Ok(()),
            End::Failed(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error.clone())),
        })
    }

    pub(super) fn owes_answer(&self) -> bool {
        (self.owes_key_update || self.owes_no_renegotiation) && !self.has_closed
    }

    /// A record with `length` octets of data arrived.
    pub(super) fn application_data(&mut self, length: usize) -> Result<(), Error> {
        if !self.partial.is_empty() {
            return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
        }
        if length == 0 {
            return self.beside();
        }
        self.beside_left = MAX_BESIDE;
        self.key_updates_left = MAX_KEY_UPDATES;
        Ok(())
    }

    /// A record without data arrived: each costs a decryption, and the reader gets nothing for it.
    fn beside(&mut self) -> Result<(), Error> {
        spend(&mut self.beside_left, PeerMisbehaved::TooManyEmptyFragments)
    }

    /// A record of anything else arrived.
    pub(super) fn message<Role>(
        &mut self,
        kind: u8,
        content: &[u8],
        connection: &mut KernelConnection<Role>,
        opener: &mut RecordKey,
    ) -> Result<(), Error>
    where
        KernelConnection<Role>: Tickets,
    {
        self.beside()?;
        match kind {
            kind::ALERT => self.alert(content),
            kind::HANDSHAKE => self.handshake(content, connection, opener),
            _ => Err(Error::InappropriateMessage {
                expect_types: vec![rustls::ContentType::ApplicationData],
                got_type: kind.into(),
            }),
        }
    }

    fn alert(&mut self, content: &[u8]) -> Result<(), Error> {
        if !self.partial.is_empty() {
            return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
        }
        // An alert is one record (RFC 8446 section 5.1).
        let [level, description] = *content else { return Err(malformed()) };
        let description = AlertDescription::from(description);
        let is_warning = match (self.is_tls13(), description) {
            (_, AlertDescription::CloseNotify) => {
                self.end = Some(End::CloseNotify);
                return Ok(());
            }
            // Every other alert ends a connection of TLS 1.3, whatever its level says (RFC 8446 section 6.2).
            (true, description) => description == AlertDescription::UserCanceled,
            (false, _) => level == WARNING,
        };
        if !is_warning {
            // Nothing is to be said to a peer that has ended the connection.
            self.has_closed = true;
            return Err(Error::AlertReceived(description));
        }
        spend(&mut self.warnings_left, PeerMisbehaved::TooManyWarningAlertsReceived)
    }

    fn handshake<Role>(
        &mut self,
        content: &[u8],
        connection: &mut KernelConnection<Role>,
        opener: &mut RecordKey,
    ) -> Result<(), Error>
    where
        KernelConnection<Role>: Tickets,
    {
        if content.is_empty() {
            // RFC 8446 section 5.1 forbids fragments of zero length.
            return Err(malformed());
        }
        let mut pending = std::mem::take(&mut self.partial);
        pending.extend_from_slice(content);
        let mut rest = pending.as_slice();
        while let Some([kind, high, middle, low]) = rest.first_chunk::<{ message::HEADER }>() {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            if length > MAX_MESSAGE {
                return Err(malformed());
            }
            let Some(payload) = rest.get(message::HEADER..message::HEADER + length) else { break };
            rest = rest.get(message::HEADER + length..).unwrap_or_default();
            match (*kind, self.is_tls13()) {
                (message::KEY_UPDATE, true) => {
                    // What comes behind it in the same record was sealed with the key that is gone now.
                    if !rest.is_empty() {
                        return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
                    }
                    self.key_update(payload, connection, opener)?;
                }
                (message::NEW_SESSION_TICKET, true) => connection.ticket(payload)?,
                (kind, false) if kind == <KernelConnection<Role> as Tickets>::RENEGOTIATION => {
                    spend(&mut self.renegotiations_left, PeerMisbehaved::TooManyRenegotiationRequests)?;
                    self.owes_no_renegotiation = true;
                }
                (kind, _) => return Err(unexpected(kind)),
            }
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn key_update<Role>(
        &mut self,
        payload: &[u8],
        connection: &mut KernelConnection<Role>,
        opener: &mut RecordKey,
    ) -> Result<(), Error> {
        let is_requested = match payload {
            [0] => false,
            [1] => true,
            _ => return Err(malformed()),
        };
        spend(&mut self.key_updates_left, PeerMisbehaved::TooManyKeyUpdateRequests)?;
        *opener = RecordKey::new(connection.update_rx_secret()?, self.version)?;
        self.owes_key_update |= is_requested;
        Ok(())
    }

    /// Whether [`Self::before_sealing`] has something to say, or to refuse. `records`: how many the present key protects.
    pub(super) fn has_to_speak(&self, records: u64) -> bool {
        self.has_closed || self.owes_key_update || self.owes_no_renegotiation || self.is_worn(records)
    }

    /// One record is kept for the announcement of a new key.
    fn is_worn(&self, records: u64) -> bool {
        self.records_left(records) == 0
    }

    /// Records of data that the present key may still protect.
    pub(super) fn records_left(&self, records: u64) -> u64 {
        self.limit.saturating_sub(1).saturating_sub(records)
    }

    /// What must stand in front of the next record: an answer that is owed, and a new key before the old one protected
    /// too many records (RFC 8446 section 5.5). Where there can be none the connection ends: in TLS 1.2, and where a kernel
    /// seals that keeps its key. The error may have an alert before it, to be pushed.
    pub(super) fn before_sealing<Role, S: Socket>(
        &mut self,
        connection: &mut KernelConnection<Role>,
        sending: &mut Sending,
        stream: &S,
    ) -> Result<(), Error> {
        if self.has_closed {
            return Err(Error::General("the connection is closed".into()));
        }
        if std::mem::take(&mut self.owes_no_renegotiation) {
            let alert = [WARNING, AlertDescription::NoRenegotiation.into()];
            sending.say(kind::ALERT, &alert)?;
        }
        let is_worn = self.is_worn(sending.records());
        if is_worn && !self.is_tls13() {
            sending.end("its key is worn");
            return Err(Error::EncryptError);
        }
        if is_worn || std::mem::take(&mut self.owes_key_update) {
            self.owes_key_update = false;
            // Without a new key nothing more can be said once it was announced.
            self.has_closed = true;
            if !sending.takes_new_key(stream) {
                sending.end(if is_worn { "its key is worn" } else { "the peer asks for a new key" });
                sending.say(kind::ALERT, &[FATAL, AlertDescription::InternalError.into()])?;
                return Err(Error::General("the kernel takes no new key".into()));
            }
            let update_not_requested = [message::KEY_UPDATE, 0, 0, 1, 0];
            sending.say(kind::HANDSHAKE, &update_not_requested)?;
            sending.renew(connection.update_tx_secret()?, self.version)?;
            self.has_closed = false;
        }
        Ok(())
    }

    /// Says that nothing more comes, once.
    pub(super) fn seal_close(&mut self, sending: &mut Sending) -> Result<(), Error> {
        if std::mem::replace(&mut self.has_closed, true) {
            return Ok(());
        }
        sending.say(kind::ALERT, &[WARNING, AlertDescription::CloseNotify.into()])
    }

    /// Says what the peer did wrong, once.
    pub(super) fn seal_fatal(&mut self, error: &Error, sending: &mut Sending) {
        if std::mem::replace(&mut self.has_closed, true) {
            return;
        }
        // Without the alert the peer sees the connection end all the same.
        let _ = sending.say(kind::ALERT, &[FATAL, alert_for(error).into()]);
    }
}

fn spend(left: &mut u8, misbehaviour: PeerMisbehaved) -> Result<(), Error> {
    *left = left.checked_sub(1).ok_or(misbehaviour)?;
    Ok(())
}

fn malformed() -> Error {
    Error::InvalidMessage(rustls::InvalidMessage::MessageTooShort)
}

fn unexpected(kind: u8) -> Error {
    Error::InappropriateHandshakeMessage { expect_types: Vec::new(), got_type: kind.into() }
}

/// RFC 8446 section 6.2.
fn alert_for(error: &Error) -> AlertDescription {
    match error {
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        _ => AlertDescription::InternalError,
    }
}
