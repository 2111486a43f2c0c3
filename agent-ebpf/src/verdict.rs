//! One table from the reason a hook found to the kernel's verdict and the counter. Default: leave it alone.

use agent_common::counter::Counter;

use crate::maps;

/// The connection goes on (possibly to a rewritten address).
pub const PASS: i32 = 1;
/// The system call fails with EPERM.
const REFUSE: i32 = 0;

/// TC: the next program decides (TCX_NEXT, which is TC_ACT_UNSPEC below 6.6).
pub const NEXT: i32 = -1;
/// TC: the packet is dropped (TC_ACT_SHOT).
const DROP: i32 = 2;

/// What a connect or sendmsg hook found.
#[derive(Clone, Copy)]
pub enum Reason {
    /// No learned address: nothing is counted, this is every connection of the host.
    NotLearned,
    LeftAlone(Counter),
    Steered,
    QuicRefused,
    /// Nobody serves it, and it goes to a selected app.
    RefusedWithoutAgent,
    /// Nobody serves it, and it may go on.
    PassedWithoutAgent,
    /// What has to be remembered of the connection cannot be: letting it go would open a way past the agent.
    Refused(Counter),
}

#[inline(always)]
pub fn of_connect(reason: Reason) -> i32 {
    match reason {
        Reason::NotLearned => PASS,
        Reason::LeftAlone(counter) => {
            maps::count(counter);
            PASS
        }
        Reason::Steered => {
            maps::count(Counter::Steered);
            PASS
        }
        Reason::QuicRefused => {
            maps::count(Counter::QuicRefused);
            REFUSE
        }
        Reason::RefusedWithoutAgent => {
            maps::count(Counter::RefusedWithoutAgent);
            REFUSE
        }
        Reason::PassedWithoutAgent => {
            maps::count(Counter::PassedWithoutAgent);
            PASS
        }
        Reason::Refused(counter) => {
            maps::count(counter);
            REFUSE
        }
    }
}

/// What was found of a packet that comes from the inside.
#[derive(Clone, Copy)]
pub enum Forwarded {
    /// It goes its way; nothing is counted, this is every packet.
    LeftAlone,
    Counted(Counter),
    Dropped(Counter),
}

#[inline(always)]
pub fn of_forwarded(found: Forwarded) -> i32 {
    match found {
        Forwarded::LeftAlone => NEXT,
        Forwarded::Counted(counter) => {
            maps::count(counter);
            NEXT
        }
        Forwarded::Dropped(counter) => {
            maps::count(counter);
            DROP
        }
    }
}

/// A packet on its way out. The sender of one that is refused gets EPERM, TCP takes it for lost.
#[inline(always)]
pub fn of_packet(refused: bool) -> i32 {
    if refused { REFUSE } else { PASS }
}
