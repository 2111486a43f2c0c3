//! Record protection once the handshake is done (RFC 8446 section 5.2, RFC 5246 section 6.2.3.3): keys, nonces and
//! sequence numbers of one direction, records opened and sealed from one buffer into another, or where they lie.
//!
//! The secrets come from rustls, the AEAD from aws-lc-rs. Nothing here knows a socket or a message.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, Error, PeerMisbehaved, ProtocolVersion};

/// Octets in front of every record.
pub(super) const HEADER: usize = 5;
/// Most plaintext of a record (RFC 8446 section 5.1).
pub(super) const MAX_PLAINTEXT: usize = 1 << 14;
/// Most that protection may add to it: 256 octets in TLS 1.3, 2048 in TLS 1.2 (RFC 5246 section 6.2.3).
const MAX_EXPANSION_13: usize = 256;
const MAX_EXPANSION_12: usize = 2048;
/// What stands behind the plaintext of a record of ours: in TLS 1.3 its true type, then the tag.
const TAG: usize = MAX_TAG_LEN;
/// Explicit part of the nonce, in front of each AES-GCM record of TLS 1.2 (RFC 5288 section 3).
const EXPLICIT: usize = 8;
/// Most that sealing adds to plaintext, header included.
pub(super) const OVERHEAD: usize = HEADER + EXPLICIT + 1 + TAG;

/// Content types (RFC 8446 section 5.1).
pub(super) mod kind {
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Tls13,
    Tls12Gcm,
    Tls12ChaCha,
}

/// The key of one direction, and the number of the next record under it.
#[derive(Debug)]
pub(super) struct RecordKey {
    aead: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    form: Form,
}

/// Octets around the plaintext of a record: header and explicit nonce, and type and tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub before: usize,
    pub behind: usize,
}

/// A record within the input, as its header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub kind: u8,
    /// Octets behind the header.
    pub length: usize,
}

impl RecordHeader {
    /// `None` while the header is not whole. The record may still lack its end.
    pub(super) fn read(input: &[u8]) -> Option<Self> {
        let [kind, _, _, high, low] = *input.first_chunk::<HEADER>()?;
        Some(Self { kind, length: usize::from(u16::from_be_bytes([high, low])) })
    }
}

impl RecordKey {
    pub(super) fn new(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        version: ProtocolVersion,
    ) -> Result<Self, Error> {
        let tls13 = version == ProtocolVersion::TLSv1_3;
        let gcm = if tls13 { Form::Tls13 } else { Form::Tls12Gcm };
        let (algorithm, key, iv, form) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv, gcm),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv, gcm),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&aead::CHACHA20_POLY1305, key, iv, if tls13 { Form::Tls13 } else { Form::Tls12ChaCha })
            }
            _ => return Err(Error::General("a cipher suite without known record keys".into())),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        Ok(Self { aead: LessSafeKey::new(key), iv, sequence, form })
    }

    /// Records protected with this key so far.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Checks a header before anything is read or decrypted for it.
    pub(super) fn admit(&self, header: RecordHeader) -> Result<(), Error> {
        let (is_known, expansion) = match self.form {
            // What is not encrypted has no place behind the handshake.
            Form::Tls13 => (header.kind == kind::APPLICATION_DATA, MAX_EXPANSION_13),
            _ => (
                matches!(header.kind, kind::ALERT | kind::HANDSHAKE | kind::APPLICATION_DATA),
                MAX_EXPANSION_12,
            ),
        };
        if !is_known {
            return Err(Error::InappropriateMessage {
                expect_types: vec![rustls::ContentType::ApplicationData],
                got_type: header.kind.into(),
            });
        }
        if header.length > MAX_PLAINTEXT + expansion {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(())
    }

    /// Octets of plaintext, with what TLS 1.3 puts behind it, in a record of this length.
    pub(super) fn room_for(&self, header: RecordHeader) -> usize {
        let explicit = if self.form == Form::Tls12Gcm { EXPLICIT } else { 0 };
        header.length.saturating_sub(TAG + explicit)
    }

    /// Opens one record. `body` is what stands behind its header, `out` has [`Self::room_for`] octets. Gives the true
    /// content type and the number of octets of plaintext at the start of `out`.
    pub(super) fn open(
        &mut self,
        header: RecordHeader,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(u8, usize), Error> {
        let (explicit, sealed) = match self.form {
            Form::Tls12Gcm => body.split_at_checked(EXPLICIT).ok_or(Error::DecryptError)?,
            Form::Tls13 | Form::Tls12ChaCha => (&[][..], body),
        };
        let length = sealed.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let (ciphertext, tag) = sealed.split_at_checked(length).ok_or(Error::DecryptError)?;
        let out = out.get_mut(..length).ok_or(Error::DecryptError)?;
        let nonce = match explicit.first_chunk::<EXPLICIT>() {
            Some(explicit) => self.explicit_nonce(*explicit),
            None => Nonce::assume_unique_for_key(self.nonce()),
        };
        let opened = match self.form {
            Form::Tls13 => {
                let aad = Aad::from(header_of(kind::APPLICATION_DATA, body.len()));
                self.aead.open_separate_gather(nonce, aad, ciphertext, tag, out)
            }
            Form::Tls12Gcm | Form::Tls12ChaCha => {
                let aad = Aad::from(self.aad12(header.kind, length));
                self.aead.open_separate_gather(nonce, aad, ciphertext, tag, out)
            }
        };
        opened.map_err(|_| Error::DecryptError)?;
        self.opened(header, out)
    }

    /// Opens one whole record, header included, where it lies. Gives the true content type and the number of octets of
    /// plaintext, which stand where [`Self::layout`] says.
    pub(super) fn open_in_place(
        &mut self,
        header: RecordHeader,
        record: &mut [u8],
    ) -> Result<(u8, usize), Error> {
        let (front, sealed) = record.split_at_mut_checked(self.layout().before).ok_or(Error::DecryptError)?;
        let length = sealed.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let (text, tag) = sealed.split_at_mut_checked(length).ok_or(Error::DecryptError)?;
        let nonce = match front.get(HEADER..).and_then(<[u8]>::first_chunk::<EXPLICIT>) {
            Some(explicit) => self.explicit_nonce(*explicit),
            None => Nonce::assume_unique_for_key(self.nonce()),
        };
        let opened = if self.form == Form::Tls13 {
            let aad = Aad::from(header_of(kind::APPLICATION_DATA, header.length));
            self.aead.open_in_place_separate_tag(nonce, aad, tag, text)
        } else {
            let aad = Aad::from(self.aad12(header.kind, length));
            self.aead.open_in_place_separate_tag(nonce, aad, tag, text)
        };
        let text = opened.map_err(|_| Error::DecryptError)?;
        self.opened(header, text)
    }

    /// Counts a record that was authenticated, and takes it apart.
    fn opened(&mut self, header: RecordHeader, text: &[u8]) -> Result<(u8, usize), Error> {
        self.advance()?;
        // Padding counts (RFC 8446 section 5.4).
        if self.form == Form::Tls13 && text.len() > MAX_PLAINTEXT + 1 {
            return Err(Error::PeerSentOversizedRecord);
        }
        let (kind, length) = match self.form {
            // Zeros behind the type are padding (RFC 8446 section 5.4).
            Form::Tls13 => {
                let at = text.iter().rposition(|octet| *octet != 0);
                let kind = at.and_then(|at| Some((*text.get(at)?, at)));
                kind.ok_or(PeerMisbehaved::IllegalTlsInnerPlaintext)?
            }
            Form::Tls12Gcm | Form::Tls12ChaCha => (header.kind, text.len()),
        };
        if length > MAX_PLAINTEXT {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok((kind, length))
    }

    /// What stands around the plaintext of a record without padding.
    pub(super) fn layout(&self) -> Layout {
        match self.form {
            Form::Tls13 => Layout { before: HEADER, behind: 1 + TAG },
            Form::Tls12Gcm => Layout { before: HEADER + EXPLICIT, behind: TAG },
            Form::Tls12ChaCha => Layout { before: HEADER, behind: TAG },
        }
    }

    /// Seals application data of which `length` octets stand in `record` where [`Self::layout`] says. Gives the length of
    /// the record, which begins where `record` does.
    pub(super) fn seal_in_place(&mut self, record: &mut [u8], length: usize) -> Result<usize, Error> {
        let Layout { before, behind } = self.layout();
        let whole = before + length + behind;
        let (front, rest) = record
            .get_mut(..whole)
            .and_then(|record| record.split_at_mut_checked(before))
            .ok_or(Error::EncryptError)?;
        let (text, end) = rest.split_at_mut_checked(length).ok_or(Error::EncryptError)?;
        let nonce = self.nonce();
        let header = header_of(kind::APPLICATION_DATA, whole - HEADER);
        let (front_header, front_explicit) =
            front.split_first_chunk_mut::<HEADER>().ok_or(Error::EncryptError)?;
        *front_header = header;
        if let Some(explicit) = front_explicit.first_chunk_mut::<EXPLICIT>() {
            *explicit = *nonce.last_chunk::<EXPLICIT>().ok_or(Error::EncryptError)?;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        if self.form == Form::Tls13 {
            let kind = [kind::APPLICATION_DATA];
            self.aead.seal_in_place_scatter(nonce, Aad::from(header), text, &kind, end)
        } else {
            let aad = Aad::from(self.aad12(kind::APPLICATION_DATA, length));
            self.aead.seal_in_place_scatter(nonce, aad, text, &[], end)
        }
        .map_err(|_| Error::EncryptError)?;
        self.advance()?;
        Ok(whole)
    }

    /// Seals at most [`MAX_PLAINTEXT`] octets as one record at the start of `out`; gives the record's length.
    pub(super) fn seal(&mut self, kind: u8, plaintext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let nonce = self.nonce();
        let (inner_kind, explicit): (&[u8], &[u8]) = match self.form {
            Form::Tls13 => (&[kind], &[]),
            Form::Tls12Gcm => (&[], nonce.get(NONCE_LEN - EXPLICIT..).unwrap_or_default()),
            Form::Tls12ChaCha => (&[], &[]),
        };
        let length = explicit.len() + plaintext.len() + inner_kind.len() + TAG;
        let outer_kind = if self.form == Form::Tls13 { kind::APPLICATION_DATA } else { kind };
        let header = header_of(outer_kind, length);
        let record = out.get_mut(..HEADER + length).ok_or(Error::EncryptError)?;
        let (front, sealed) = record.split_at_mut(HEADER + explicit.len());
        let (front_header, front_explicit) = front.split_at_mut(HEADER);
        front_header.copy_from_slice(&header);
        front_explicit.copy_from_slice(explicit);
        let (ciphertext, end) = sealed.split_at_mut(plaintext.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self.form {
            Form::Tls13 => {
                let aad = Aad::from(header);
                self.aead.seal_out_of_place_scatter(nonce, aad, plaintext, ciphertext, inner_kind, end)
            }
            Form::Tls12Gcm | Form::Tls12ChaCha => {
                let aad = Aad::from(self.aad12(kind, plaintext.len()));
                self.aead.seal_out_of_place_scatter(nonce, aad, plaintext, ciphertext, inner_kind, end)
            }
        }
        .map_err(|_| Error::EncryptError)?;
        self.advance()?;
        Ok(HEADER + length)
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.sequence = self.sequence.checked_add(1).ok_or(Error::EncryptError)?;
        Ok(())
    }

    /// The sequence number added to the IV (RFC 8446 section 5.3, RFC 7905 section 2). TLS 1.2 asks of AES-GCM only that
    /// the explicit part never repeats (RFC 5288 section 3); this does not.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (octet, number) in
            nonce.iter_mut().skip(NONCE_LEN - size_of::<u64>()).zip(self.sequence.to_be_bytes())
        {
            *octet ^= number;
        }
        nonce
    }

    fn explicit_nonce(&self, explicit: [u8; EXPLICIT]) -> Nonce {
        let mut nonce = self.iv;
        for (octet, given) in nonce.iter_mut().skip(NONCE_LEN - EXPLICIT).zip(explicit) {
            *octet = given;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 5246 section 6.2.3.3: sequence number, type, version, length of the plaintext.
    fn aad12(&self, kind: u8, length: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        let (sequence, header) = aad.split_at_mut(size_of::<u64>());
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        header.copy_from_slice(&header_of(kind, length));
        aad
    }
}

/// The header of a record of ours; also what a received one is authenticated with, whose version does not count
/// (RFC 8446 section 5.1). `length` is at most what [`RecordKey::admit`] lets in.
fn header_of(kind: u8, length: usize) -> [u8; HEADER] {
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [kind, 3, 3, high, low]
}
