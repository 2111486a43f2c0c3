//! The one crypto provider of the process: aws-lc-rs, AEAD suites with ephemeral key exchange, TLS 1.2 and 1.3.

use std::sync::{Arc, LazyLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};

/// Versions offered and accepted on both sides, newest first. Older ones are refused by rustls itself.
pub(crate) static VERSIONS: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Key exchange groups in order of preference. The hybrid stands first, so that what a client recorded today cannot be
/// read with a quantum computer tomorrow because of us.
static GROUPS: &[&dyn SupportedKxGroup] =
    &[kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    // The suites are rustls' own list: it holds nothing but AEAD with (EC)DHE, and keeps up with its releases.
    Arc::new(CryptoProvider { kx_groups: GROUPS.to_vec(), ..aws_lc_rs::default_provider() })
});

/// The provider every configuration of this process is built with.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// Makes the provider the default of the process, for libraries that ask for one. Call it before anything speaks TLS.
///
/// Returns false when another provider was installed before: that is a fault in the order of start.
pub fn install() -> bool {
    if CryptoProvider::get_default().is_none() {
        // Losing a race against another caller is seen by the comparison below.
        let _ = PROVIDER.as_ref().clone().install_default();
    }
    CryptoProvider::get_default().is_some_and(|installed| {
        installed.kx_groups.iter().map(|group| group.name()).eq(GROUPS.iter().map(|group| group.name()))
    })
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup};

    use super::*;

    #[test]
    fn the_hybrid_group_is_offered_first() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn every_suite_is_aead_with_ephemeral_keys() {
        for suite in &provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.contains("GCM") || name.contains("CHACHA20_POLY1305"), "{name}");
            assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
        }
        assert!(provider().cipher_suites.iter().any(|s| s.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256));
    }

    #[test]
    fn installing_twice_is_fine() {
        assert!(install());
        assert!(install());
    }
}
