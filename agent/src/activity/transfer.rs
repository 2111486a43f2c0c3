//! What became of the body of a download that was let pass: recorded when it begins, and again when it ends.

use serde::{Deserialize, Serialize};

/// A record that was stored before its first byte went, so that an agent that is killed leaves `incomplete`, never
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferFacts {
    pub state: TransferState,
    /// Payload bytes that were sent to the client; absent until it ended.
    pub bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferState {
    /// Under way.
    Open,
    /// All of it was sent.
    Complete,
    /// One side broke it off.
    Aborted,
    /// The agent ended before the transfer did.
    Incomplete,
    /// Nothing of it was sent, because its record could not be stored in time.
    Withheld,
}

impl TransferState {
    const ALL: [Self; 5] = [Self::Open, Self::Complete, Self::Aborted, Self::Incomplete, Self::Withheld];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Incomplete => "incomplete",
            Self::Withheld => "withheld",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl TransferFacts {
    pub const OPEN: Self = Self { state: TransferState::Open, bytes: None };
}
