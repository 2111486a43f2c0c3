//! Bounds that the kernel's verifier and every parser rely on. Each loop in this crate ends at one of them.

/// Bytes of a DNS message the kernel looks at (EDNS answers over UDP are at most 4096 in practice, RFC 6891 6.2.5).
pub const DNS_MESSAGE: usize = 4096;
/// Resource records of one answer section that are read.
pub const DNS_RECORDS: usize = 24;
/// Labels of a record's owner name that are skipped before the record is given up.
pub const DNS_OWNER_LABELS: usize = 20;
/// Service parameters of one HTTPS record, and addresses of one hint, that are read (RFC 9460).
pub const HTTPS_PARAMS: usize = 10;
pub const HTTPS_HINT_ADDRESSES: usize = 4;
/// Seconds an address stays learned beyond its TTL: resolvers and clients keep addresses longer than they should.
pub const LEARNED_GRACE_S: u64 = 300;
/// Longest TTL believed, in seconds.
pub const LEARNED_TTL_MAX_S: u32 = 86_400;
/// Extensions of a ClientHello that are walked. Browsers send about 20.
pub const HELLO_EXTENSIONS: usize = 64;
/// Largest ClientHello accepted in userspace, in bytes of handshake message.
pub const HELLO_BYTES: usize = 65_536;
/// TCP ports that steering can look at.
pub const STEERED_PORTS: usize = 8;
/// Learned addresses kept; the least recently used goes first.
pub const TARGETS: u32 = 65_536;
/// Domain patterns of the catalog in the kernel.
pub const PATTERNS: u32 = 65_536;
/// Ids of apps with a bit of their own in the kernel, those of earlier catalogs included. A catalog has at most 4096 apps.
pub const APPS: u32 = 8192;
/// Nanoseconds after the agent's last heartbeat at which the kernel takes it for dead. Ten beats may be missed before:
/// a machine that does not let a thread run for a whole second serves nobody. (With eight busy processes on two cores the
/// oldest heartbeat was 0.4 s, at nice 10 0.6 s, at nice 19 4 s.)
pub const HEARTBEAT_LIMIT_NS: u64 = 1_000_000_000;
/// Nanoseconds that an agent which ends for a restart counts as alive beyond its end: new connections wait in the listening
/// sockets, which the service manager keeps, until the next agent serves. Without such sockets nobody waits. A start takes
/// half a second; a client that gets no answer asks again after one, three and seven.
pub const HAND_OVER_NS: u64 = 6_000_000_000;
/// Steered connections between connect() and accept().
pub const FLOWS: u32 = 65_536;
/// Gateway that dials with its clients' addresses: further interfaces, on which answers are told apart.
pub const OUTSIDE_INTERFACES: usize = 256;
/// Gateway: inside interfaces. Each has two programs and four routing rules.
pub const INSIDE_INTERFACES: u32 = 256;
/// Gateway: listeners of both families. One a worker thread and family.
pub const GATEWAY_LISTENERS: u32 = 1024;
/// Gateway: questions to DNS servers that wait for their answer.
pub const QUESTIONS: u32 = 16_384;
/// Gateway: seconds within which an answer is believed. Resolvers give up after 5 to 30.
pub const ANSWER_WITHIN_S: u64 = 30;
/// Gateway: connections that are remembered; those of which part of the first words is held.
pub const PASSAGES: u32 = 65_536;
pub const PASSAGE_WORDS: u32 = 1024;
/// Gateway: IPv6 extension headers that are followed to the transport header.
pub const EXTENSION_HEADERS: usize = 6;

/// Bytes of a client's first words that the kernel holds while it reads the name in them. A post-quantum hello with a
/// session ticket has about 2300.
pub const NET_BYTES: usize = 4096;
/// Segments with data in which a client's first words may come.
pub const NET_SEGMENTS: u8 = 16;
/// Seconds that an address stays an app's, or in doubt, after the kernel saw its name or could not read one there.
pub const LEARNED_BY_NET_S: u64 = 3600;
/// Seconds that an address goes direct after the agent found nobody monitored there, and addresses remembered so.
pub const PEEKED_S: u64 = 600;
pub const PEEKED: u32 = 65_536;
/// Bytes of the ring of events for the agent: about 600 of them.
pub const EVENT_BYTES: u32 = 1 << 18;
/// DNS servers of one socket whose answers are believed, the latest ones, and questions of it without an answer yet.
pub const ASKED_SERVERS: usize = 4;
pub const ASKED_QUESTIONS: usize = 128;
