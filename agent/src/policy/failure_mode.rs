//! The one table of what happens when something cannot be parsed, looked up, verified or reached.

use super::decision::{Action, Decision, Reason};

/// Where on the way through the agent it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Accept,
    Peek,
    Identity,
    Posture,
    Upstream,
    Http,
    Record,
}

impl Stage {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Peek => "peek",
            Self::Identity => "identity",
            Self::Posture => "posture",
            Self::Upstream => "upstream",
            Self::Http => "http",
            Self::Record => "record",
        }
    }
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The kernel has no original destination for an accepted connection.
    OriginalDestinationMissing,
    /// The agent uses nearly all the memory it may.
    MemoryFull,
    /// A ClientHello without server name at an address that was steered.
    NoServerName,
    /// The server name of the hello is an address, or no host name at all (RFC 6066 section 3 allows neither).
    ServerNameUnusable,
    /// The outer name of an encrypted ClientHello is a provider's public name: the name that counts is hidden
    /// (RFC 9849). The client is shown that its encryption is off, and tries again in clear.
    ServerNameHidden,
    /// A tunnel that was asked for by the name of a monitored app carries a hello, or a request in clear text, for something
    /// else.
    TunnelNameDiffers,
    /// The host's authority may not vouch for the name: no certificate, no connection.
    LeafNotPermitted,
    /// The process that holds the issuing key gave no certificate: it does not answer, or too much is asked of it.
    LeafNotSigned,
    ClientHelloUnparsable,
    ClientHelloTooLarge,
    ClientHelloTimeout,
    /// The client waits for the server to speak first, as in SMTP or with a connection kept in store.
    ClientSilent,
    /// First bytes that are neither TLS nor HTTP, at an address of a monitored app.
    UnknownProtocol,
    /// The same at an address that was steered only because no DNS answer explains it.
    UnexplainedProtocol,
    /// A connection that was not steered names a selected app.
    UnsteeredName,
    /// A connection that was not steered begins like TLS or HTTP, in a shape that the kernel does not read.
    UnsteeredUnreadable,
    /// Encrypted ClientHello, real or GREASE. Without an answer to it the client goes by the outer name (RFC 9849).
    EncryptedClientHello,
    UserUnknown,
    PostureUnknown,
    UpstreamConnect,
    UpstreamVerification,
    UpstreamProtocol,
    /// A request in clear text at an address of a monitored app that does not say which site it is for.
    NoHost,
    /// A request for another host than its connection is for (RFC 9110 section 7.4).
    Misdirected,
    RequestFraming,
    ResponseFraming,
    /// What policies block in pages cannot be put into this one.
    PageUnrestrictable,
    ActivityLogFull,
    /// Where a download waits for its record.
    RecordNotStored,
}

/// What happens to the connection or exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Passed on untouched, undecrypted.
    Relay,
    /// Ended before anything of the origin reaches the client, and recorded.
    Refuse,
    /// Goes on, with the part that failed unknown.
    Continue,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relayed untouched",
            Self::Refuse => "refused",
            Self::Continue => "goes on",
        }
    }
}

impl Failure {
    pub const ALL: [Failure; 29] = [
        Self::OriginalDestinationMissing,
        Self::MemoryFull,
        Self::NoServerName,
        Self::ServerNameUnusable,
        Self::ServerNameHidden,
        Self::TunnelNameDiffers,
        Self::LeafNotPermitted,
        Self::LeafNotSigned,
        Self::ClientHelloUnparsable,
        Self::ClientHelloTooLarge,
        Self::ClientHelloTimeout,
        Self::ClientSilent,
        Self::UnknownProtocol,
        Self::UnexplainedProtocol,
        Self::UnsteeredName,
        Self::UnsteeredUnreadable,
        Self::EncryptedClientHello,
        Self::UserUnknown,
        Self::PostureUnknown,
        Self::UpstreamConnect,
        Self::UpstreamVerification,
        Self::UpstreamProtocol,
        Self::NoHost,
        Self::Misdirected,
        Self::RequestFraming,
        Self::ResponseFraming,
        Self::PageUnrestrictable,
        Self::ActivityLogFull,
        Self::RecordNotStored,
    ];

    /// Stable name for metric labels and log fields.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// For the record and the reader.
    pub const fn words(self) -> &'static str {
        self.row().3
    }

    pub const fn stage(self) -> Stage {
        self.row().0
    }

    /// The table: stage, name, outcome, words.
    const fn row(self) -> (Stage, &'static str, Outcome, &'static str) {
        use Outcome::{Continue, Refuse, Relay};
        match self {
            Self::OriginalDestinationMissing => {
                (Stage::Accept, "no_original_dst", Refuse, "the original destination is unknown")
            }
            Self::MemoryFull => (
                Stage::Accept,
                "memory_full",
                Refuse,
                "the agent has no memory left for another connection to a monitored app",
            ),
            Self::NoServerName => {
                (Stage::Peek, "no_sni", Refuse, "the ClientHello names no server at a steered address")
            }
            Self::ServerNameUnusable => {
                (Stage::Peek, "sni_unusable", Refuse, "the server name of the ClientHello is no host name")
            }
            Self::ServerNameHidden => (
                Stage::Peek,
                "sni_hidden",
                Refuse,
                "the ClientHello hides its server name in an encrypted one: the client is to try again without",
            ),
            Self::TunnelNameDiffers => (
                Stage::Peek,
                "tunnel_name_differs",
                Refuse,
                "the tunnel was asked for by another name than what is said in it has",
            ),
            Self::LeafNotPermitted => (
                Stage::Peek,
                "leaf_not_permitted",
                Refuse,
                "the certificate authority of this host may not vouch for the name",
            ),
            Self::LeafNotSigned => {
                (Stage::Peek, "leaf_not_signed", Refuse, "no certificate could be signed for the name")
            }
            Self::ClientHelloUnparsable => {
                (Stage::Peek, "client_hello_unparsable", Refuse, "the ClientHello cannot be parsed")
            }
            Self::ClientHelloTooLarge => {
                (Stage::Peek, "client_hello_too_large", Refuse, "the ClientHello is larger than allowed")
            }
            Self::ClientHelloTimeout => {
                (Stage::Peek, "client_hello_timeout", Refuse, "the ClientHello did not arrive in time")
            }
            Self::ClientSilent => (
                Stage::Peek,
                "client_silent",
                Refuse,
                "the client said nothing to a monitored app: in TLS and HTTP it speaks first",
            ),
            Self::UnknownProtocol => (
                Stage::Peek,
                "unknown_protocol",
                Refuse,
                "the client speaks neither TLS nor HTTP to a monitored app",
            ),
            Self::UnexplainedProtocol => (
                Stage::Peek,
                "unexplained_protocol",
                Relay,
                "the client speaks neither TLS nor HTTP to an address that belongs to no monitored app",
            ),
            Self::UnsteeredName => (
                Stage::Peek,
                "unsteered_name",
                Refuse,
                "the connection went past the agent and names a monitored app: the next attempt is inspected",
            ),
            Self::UnsteeredUnreadable => (
                Stage::Peek,
                "unsteered_unreadable",
                Refuse,
                "the connection went past the agent and the kernel cannot read whom it is for: the next attempt is \
                 peeked at",
            ),
            Self::EncryptedClientHello => {
                (Stage::Peek, "ech", Continue, "the ClientHello carries an encrypted one, real or not")
            }
            Self::UserUnknown => {
                (Stage::Identity, "user_unknown", Continue, "the owner of the connection is unknown")
            }
            Self::PostureUnknown => (
                Stage::Posture,
                "posture_unknown",
                Continue,
                "the device state is unknown and counts as not compliant",
            ),
            Self::UpstreamConnect => {
                (Stage::Upstream, "upstream_connect", Refuse, "the origin could not be connected to")
            }
            Self::UpstreamVerification => (
                Stage::Upstream,
                "upstream_verification",
                Refuse,
                "the origin's certificate could not be verified",
            ),
            Self::UpstreamProtocol => {
                (Stage::Upstream, "upstream_protocol", Refuse, "the origin broke the protocol")
            }
            Self::NoHost => {
                (Stage::Http, "no_host", Refuse, "the request names no host at an address of a monitored app")
            }
            Self::Misdirected => {
                (Stage::Http, "misdirected", Refuse, "the request is for another host than its connection")
            }
            Self::RequestFraming => {
                (Stage::Http, "request_framing", Refuse, "the request can be read in more than one way")
            }
            Self::ResponseFraming => {
                (Stage::Http, "response_framing", Refuse, "the response can be read in more than one way")
            }
            Self::PageUnrestrictable => (
                Stage::Http,
                "page_unrestrictable",
                Refuse,
                "what policies block in pages cannot be blocked in this one: it is compressed although plain text was \
                 asked for, or UTF-16",
            ),
            Self::ActivityLogFull => (
                Stage::Record,
                "activity_log_full",
                Continue,
                "the activity log is full; the record is counted as lost",
            ),
            Self::RecordNotStored => (
                Stage::Record,
                "record_not_stored",
                Refuse,
                "the record of the download could not be stored in time, which `durability = \"strict\"` asks for",
            ),
        }
    }
}

/// What the table says.
pub const fn outcome(failure: Failure) -> Outcome {
    failure.row().2
}

impl Decision {
    /// The decision that a failure takes in place of the policies: refusals block, everything else passes.
    /// `revision` is that of the policy set in force.
    pub fn for_failure(failure: Failure, revision: u64) -> Self {
        let action = match outcome(failure) {
            Outcome::Refuse => Action::Block,
            Outcome::Relay | Outcome::Continue => Action::Allow,
        };
        Self {
            action,
            policy: None,
            rule: None,
            reason: Reason::Failure(failure.words()),
            message: None,
            report_only: Vec::new(),
            revision,
            set: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table() {
        use Failure as F;
        use Outcome::{Continue, Refuse, Relay};
        let expected = [
            (F::OriginalDestinationMissing, Refuse),
            (F::MemoryFull, Refuse),
            (F::NoServerName, Refuse),
            (F::ServerNameUnusable, Refuse),
            (F::ServerNameHidden, Refuse),
            (F::TunnelNameDiffers, Refuse),
            (F::LeafNotPermitted, Refuse),
            (F::LeafNotSigned, Refuse),
            (F::ClientHelloUnparsable, Refuse),
            (F::ClientHelloTooLarge, Refuse),
            (F::ClientHelloTimeout, Refuse),
            (F::ClientSilent, Refuse),
            (F::UnknownProtocol, Refuse),
            (F::UnexplainedProtocol, Relay),
            (F::UnsteeredName, Refuse),
            (F::UnsteeredUnreadable, Refuse),
            (F::EncryptedClientHello, Continue),
            (F::UserUnknown, Continue),
            (F::PostureUnknown, Continue),
            (F::UpstreamConnect, Refuse),
            (F::UpstreamVerification, Refuse),
            (F::UpstreamProtocol, Refuse),
            (F::NoHost, Refuse),
            (F::Misdirected, Refuse),
            (F::RequestFraming, Refuse),
            (F::ResponseFraming, Refuse),
            (F::PageUnrestrictable, Refuse),
            (F::ActivityLogFull, Continue),
            (F::RecordNotStored, Refuse),
        ];
        assert_eq!(expected.map(|(failure, _)| failure), F::ALL);
        for (failure, outcome) in expected {
            assert_eq!(super::outcome(failure), outcome, "{failure:?}");
        }
    }

    /// The README shows the table; a row that is changed here is changed there.
    #[test]
    fn the_readme_has_every_row() {
        let readme = include_str!("../../../README.md");
        for failure in Failure::ALL {
            let row = format!("| `{}` | {} | {} |", failure.name(), outcome(failure).name(), failure.words());
            assert!(readme.lines().any(|line| line == row), "{row}");
        }
    }

    #[test]
    fn names_are_distinct_and_fit_for_labels() {
        let names: HashSet<_> = Failure::ALL.iter().map(|failure| failure.name()).collect();
        assert_eq!(names.len(), Failure::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn a_refusal_is_a_block_with_its_reason() {
        for failure in Failure::ALL {
            let decision = Decision::for_failure(failure, 7);
            assert_eq!(decision.action() == Action::Block, outcome(failure) == Outcome::Refuse);
            assert_eq!(decision.reason(), &Reason::Failure(failure.words()));
            assert_eq!((decision.policy(), decision.revision()), (None, 7));
        }
    }
}
