//! Whether a destination concerns the agent, by what is known of its address and by the guard.

use agent_common::abi::{Address, GUARD_ALL, GUARD_OFF, GUARD_PEEK, IN_DOUBT, Settings};
use agent_common::counter::Counter;

use crate::maps;
use crate::verdict::Reason;

/// Whether a destination concerns the agent, and why. Without payloads: LLVM would read those that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It is an address of a selected app.
    App,
    /// Nothing is known about it, or everything is to be looked at.
    Unexplained,
    /// Left alone: nobody's address.
    None,
    /// Left alone: no policy selects its apps.
    NotSelected,
    /// Left alone: what was learned is too old.
    Expired,
}

impl Interest {
    #[inline(always)]
    pub fn is_steered(self) -> bool {
        matches!(self, Interest::App | Interest::Unexplained)
    }

    /// Why a connection there is left alone.
    #[inline(always)]
    pub fn reason(self) -> Reason {
        match self {
            Interest::NotSelected => Reason::LeftAlone(Counter::NotSelected),
            Interest::Expired => Reason::LeftAlone(Counter::Expired),
            Interest::App | Interest::Unexplained | Interest::None => Reason::NotLearned,
        }
    }
}

/// What is known of an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is an address of a selected app.
    Selected,
    /// It is an address of apps that no policy selects.
    NotSelected,
    /// Somebody's first words there could not be read.
    InDoubt,
    /// An answer gave it to names of no app, or the agent looked and found nobody.
    Explained,
    /// What was learned of it is too old to count.
    Expired,
    Unknown,
}

/// `now` is of [`crate::liveness::now`], here and below.
#[inline(always)]
pub fn of(settings: &Settings, address: &Address, now: u64) -> Interest {
    let standing = standing(settings, address, now);
    let guard = settings.guard;
    match standing {
        Standing::Selected => Interest::App,
        _ if guard == GUARD_ALL => Interest::Unexplained,
        Standing::InDoubt if guard != GUARD_OFF => Interest::Unexplained,
        Standing::Expired | Standing::Unknown if guard == GUARD_PEEK => Interest::Unexplained,
        Standing::NotSelected => Interest::NotSelected,
        Standing::Expired => Interest::Expired,
        Standing::InDoubt | Standing::Explained | Standing::Unknown => Interest::None,
    }
}

/// Whether an address is one of a selected app now.
#[inline(always)]
pub fn is_selected(settings: &Settings, address: &Address, now: u64) -> bool {
    standing(settings, address, now) == Standing::Selected
}

#[inline(always)]
fn standing(settings: &Settings, address: &Address, now: u64) -> Standing {
    let forgotten = match maps::target(address) {
        Some(target) if target.expires_ns >= now => return of_target(settings, target.apps),
        Some(_) => Standing::Expired,
        None => Standing::Unknown,
    };
    if settings.guard == GUARD_PEEK && maps::peeked_until(address) >= now {
        return Standing::Explained;
    }
    forgotten
}

#[inline(always)]
fn of_target(settings: &Settings, apps: u64) -> Standing {
    if apps & settings.steer_apps != 0 {
        Standing::Selected
    } else if apps & IN_DOUBT != 0 {
        Standing::InDoubt
    } else if apps == 0 {
        Standing::Explained
    } else {
        Standing::NotSelected
    }
}
