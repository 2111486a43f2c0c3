//! One counter per reason why the kernel did what it did. The index is the ABI; the name is the metric's label.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Index into the per-CPU counter array.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The value of the label `event`.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// connect() to a monitored address was rewritten to the agent's listener.
    Steered = "steered",
    /// connect() to an address that no DNS answer explains was rewritten, to be peeked.
    Peeked = "peeked",
    /// The agent's own connection to a monitored address.
    OwnConnection = "own-connection",
    /// The address is known, but no policy selects its apps now.
    NotSelected = "not-selected",
    /// The address was learned from an answer that has expired.
    Expired = "expired",
    /// The port is not among the steered ones.
    OtherPort = "other-port",
    /// Neither TCP nor QUIC.
    OtherProtocol = "other-protocol",
    /// The socket belongs to another network namespace, where the agent's listener cannot be reached.
    OtherNetworkNamespace = "other-network-namespace",
    /// An IPv6 connection while the agent has no IPv6 listener.
    NoListener = "no-listener",
    /// UDP 443 to a monitored address was refused.
    QuicRefused = "quic-refused",
    /// The steered connection's record was stored for the agent.
    FlowStored = "flow-stored",
    /// Socket storage or a map refused an entry.
    StoreFailed = "store-failed",
    /// A DNS answer was read.
    DnsAnswer = "dns-answer",
    /// A DNS answer for a name of the catalog.
    DnsMatched = "dns-matched",
    /// An address was learned or refreshed.
    DnsAddress = "dns-address",
    /// A DNS message that could not be parsed.
    DnsMalformed = "dns-malformed",
    /// A DNS answer longer than what the kernel reads.
    DnsTooLong = "dns-too-long",
    /// A DNS answer to a socket that did not ask, or asked in another network namespace.
    DnsUnasked = "dns-unasked",
    /// An answer gave a monitored name an address that no cloud app has: loopback, link-local, multicast.
    DnsAddressRefused = "dns-address-refused",
    /// connect() to a selected app was refused, because no agent was there and `fail` is closed.
    RefusedWithoutAgent = "refused-without-agent",
    /// A connection that would have been steered went direct, because no agent was there.
    PassedWithoutAgent = "passed-without-agent",
    /// Gateway: a DNS answer that came from an inside interface; nothing is learned from it.
    DnsFromInside = "dns-from-inside",
    /// Gateway: a fragmented TCP segment, or one behind too many headers, to a steered address was dropped.
    FragmentDropped = "fragment-dropped",
    /// Gateway: a connection to the gateway itself, or to where it has no route.
    NotForwarded = "not-forwarded",
    /// Gateway: a packet of a VLAN whose own interface is not named.
    VlanTagged = "vlan-tagged",
    /// Gateway: the kernel did not give the packet to the agent's socket.
    AssignFailed = "assign-failed",
    /// The first words of a connection that was left alone were looked at.
    Watched = "watched",
    /// The first words of a connection that was left alone named a selected app: it was stopped.
    NetStopped = "net-stopped",
    /// They could not be read: it was stopped.
    NetUnreadable = "net-unreadable",
    /// The ring of events was full; the stopped connection is read again, and told, when TCP sends its first words again.
    EventLost = "event-lost",
    /// A question for an HTTPS record of a selected app was refused.
    HttpsQuestionRefused = "https-question-refused",
    /// A DNS answer from a server that the socket had not asked, or to a question that it had not.
    DnsForged = "dns-forged",
    /// Gateway: a segment of somebody's first words came before those that it follows; it was dropped, and will come again.
    NetOutOfOrder = "net-out-of-order",
    /// Gateway: a connection to a selected app from before it could be steered was closed, or only told.
    ExistingClosed = "existing-closed",
    ExistingReported = "existing-reported",
}

/// Size of the counter array.
pub const COUNT: u32 = 40;
const _: () = assert!(Counter::ALL.len() <= COUNT as usize);
