//! A key of ours as the kernel takes it (`struct tls_crypto_info` and those around it, linux/tls.h).

use std::fmt;

use nix::sys::socket::sockopt::TlsCryptoInfo;
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};
use zeroize::Zeroize;

/// Octets of the IV that AES-GCM calls salt, in front of the rest.
const SALT: usize = libc::TLS_CIPHER_AES_GCM_128_SALT_SIZE;

/// Cipher and version: what a kernel has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub version: u16,
    pub cipher: u16,
}

/// Key, IV and the number of the next record of one direction. Cleared when it goes.
pub struct KernelKey(Box<TlsCryptoInfo>);

impl KernelKey {
    /// `None` where the kernel has no such cipher.
    pub(in crate::tls) fn new(
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
        version: ProtocolVersion,
    ) -> Option<Self> {
        let version = match version {
            ProtocolVersion::TLSv1_3 => libc::TLS_1_3_VERSION,
            ProtocolVersion::TLSv1_2 => libc::TLS_1_2_VERSION,
            _ => return None,
        };
        let mut new = Self(Box::new(match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { .. } => blank(version, libc::TLS_CIPHER_AES_GCM_128),
            ConnectionTrafficSecrets::Aes256Gcm { .. } => blank(version, libc::TLS_CIPHER_AES_GCM_256),
            ConnectionTrafficSecrets::Chacha20Poly1305 { .. } => {
                blank(version, libc::TLS_CIPHER_CHACHA20_POLY1305)
            }
            _ => return None,
        }?));
        // Written where it stays, so that no copy of it is left behind.
        let (key, iv, sequence) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (key.as_ref(), iv.as_ref(), sequence.to_be_bytes())
            }
            _ => return None,
        };
        match &mut *new.0 {
            TlsCryptoInfo::Aes128Gcm(info) => {
                fill(&mut info.key, key)?;
                gcm(version, iv, &mut info.salt, &mut info.iv)?;
                info.rec_seq = sequence;
            }
            TlsCryptoInfo::Aes256Gcm(info) => {
                fill(&mut info.key, key)?;
                gcm(version, iv, &mut info.salt, &mut info.iv)?;
                info.rec_seq = sequence;
            }
            TlsCryptoInfo::Chacha20Poly1305(info) => {
                fill(&mut info.key, key)?;
                fill(&mut info.iv, iv)?;
                info.rec_seq = sequence;
            }
        }
        Some(new)
    }

    pub(in crate::tls) fn info(&self) -> &TlsCryptoInfo {
        &self.0
    }

    pub(in crate::tls) fn kind(&self) -> Kind {
        let info = match &*self.0 {
            TlsCryptoInfo::Aes128Gcm(info) => &info.info,
            TlsCryptoInfo::Aes256Gcm(info) => &info.info,
            TlsCryptoInfo::Chacha20Poly1305(info) => &info.info,
        };
        Kind { version: info.version, cipher: info.cipher_type }
    }

    /// No key at all, for the same cipher in the other version.
    pub(in crate::tls) fn of_another_version(kind: Kind) -> Option<Self> {
        let version = match kind.version {
            libc::TLS_1_3_VERSION => libc::TLS_1_2_VERSION,
            _ => libc::TLS_1_3_VERSION,
        };
        Some(Self(Box::new(blank(version, kind.cipher)?)))
    }
}

/// The nonce of a record is salt and IV, and how they change from one to the next depends on the version. In TLS 1.3 the
/// sequence number is added to the last eight octets (RFC 8446 section 5.3), by the kernel as by [`RecordKey`]. In TLS 1.2
/// the kernel counts them up from where it is told, while records before it had the sequence number added to them: it
/// begins half the range away from those, so that no nonce comes again within the life of a key.
///
/// [`RecordKey`]: crate::tls::stream
fn gcm(version: u16, from: &[u8], salt: &mut [u8; SALT], iv: &mut [u8]) -> Option<()> {
    let (front, rest) = from.split_at_checked(SALT)?;
    fill(salt, front)?;
    fill(iv, rest)?;
    if version == libc::TLS_1_2_VERSION {
        *iv.first_mut()? ^= 0x80;
    }
    Some(())
}

fn fill(to: &mut [u8], from: &[u8]) -> Option<()> {
    if to.len() != from.len() {
        return None;
    }
    to.copy_from_slice(from);
    Some(())
}

fn blank(version: u16, cipher: u16) -> Option<TlsCryptoInfo> {
    let info = libc::tls_crypto_info { version, cipher_type: cipher };
    Some(match cipher {
        libc::TLS_CIPHER_AES_GCM_128 => TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
            info,
            iv: Default::default(),
            key: Default::default(),
            salt: Default::default(),
            rec_seq: Default::default(),
        }),
        libc::TLS_CIPHER_AES_GCM_256 => TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 {
            info,
            iv: Default::default(),
            key: Default::default(),
            salt: Default::default(),
            rec_seq: Default::default(),
        }),
        libc::TLS_CIPHER_CHACHA20_POLY1305 => {
            TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
                info,
                iv: Default::default(),
                key: Default::default(),
                salt: Default::default(),
                rec_seq: Default::default(),
            })
        }
        _ => return None,
    })
}

impl Drop for KernelKey {
    fn drop(&mut self) {
        match &mut *self.0 {
            TlsCryptoInfo::Aes128Gcm(info) => {
                info.key.zeroize();
                info.iv.zeroize();
                info.salt.zeroize();
            }
            TlsCryptoInfo::Aes256Gcm(info) => {
                info.key.zeroize();
                info.iv.zeroize();
                info.salt.zeroize();
            }
            TlsCryptoInfo::Chacha20Poly1305(info) => {
                info.key.zeroize();
                info.iv.zeroize();
            }
        }
    }
}

impl fmt::Debug for KernelKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KernelKey").field(&self.kind()).finish()
    }
}
