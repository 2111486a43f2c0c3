//! Whether a destination concerns the agent, by what is known of its address and by the guard.

use agent_common::abi::{Address, GUARD_ALL, GUARD_OFF, GUARD_PEEK, IN_DOUBT, Settings};
use agent_common::counter::Counter;
use aya_ebpf::helpers::bpf_ktime_get_ns;

use crate::maps;
use crate::verdict::Reason;

/// Why a destination concerns the agent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It is an address of a selected app.
    App,
    /// Nothing is known about it, or everything is to be looked at.
    Unexplained,
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

/// Why the destination is of interest; else why it is left alone.
#[inline(always)]
pub fn of(settings: &Settings, address: &Address) -> Result<Interest, Reason> {
    let standing = standing(settings, address);
    let guard = settings.guard;
    match standing {
        Standing::Selected => Ok(Interest::App),
        _ if guard == GUARD_ALL => Ok(Interest::Unexplained),
        Standing::InDoubt if guard != GUARD_OFF => Ok(Interest::Unexplained),
        Standing::Expired | Standing::Unknown if guard == GUARD_PEEK => Ok(Interest::Unexplained),
        Standing::NotSelected => Err(Reason::LeftAlone(Counter::NotSelected)),
        Standing::Expired => Err(Reason::LeftAlone(Counter::Expired)),
        Standing::InDoubt | Standing::Explained | Standing::Unknown => Err(Reason::NotLearned),
    }
}

/// Whether an address is one of a selected app now.
#[inline(always)]
pub fn is_selected(settings: &Settings, address: &Address) -> bool {
    standing(settings, address) == Standing::Selected
}

#[inline(always)]
fn standing(settings: &Settings, address: &Address) -> Standing {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
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
