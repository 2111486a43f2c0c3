//! Content detection: payment cards, identity and account numbers, passwords and secrets in text. Pure.
//!
//! [`Detectors`] reads a text as it comes, in one pass, however it is cut into pieces. What it keeps of the text is a
//! window of fixed size; what it answers is a number per detector, never a place and never the text.

mod assigned;
mod card;
mod iban;
mod identity;
mod placeholder;
mod prose;
pub mod scan;
mod slack;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod token;

pub use stream::Detectors;

/// What is looked for, by the names policies and records use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detector {
    CreditCard,
    UsSsn,
    Iban,
    UkNino,
    UsAbaRouting,
    Password,
    AwsAccessKey,
    GithubToken,
    GitlabToken,
    SlackToken,
    SlackWebhook,
    AzureStorageKey,
    AzureSas,
    AzureAdClientSecret,
    GcpApiKey,
    NpmToken,
    StripeKey,
    PrivateKey,
    Jwt,
    GenericSecret,
}

impl Detector {
    pub const ALL: [Detector; 20] = [
        Self::CreditCard,
        Self::UsSsn,
        Self::Iban,
        Self::UkNino,
        Self::UsAbaRouting,
        Self::Password,
        Self::AwsAccessKey,
        Self::GithubToken,
        Self::GitlabToken,
        Self::SlackToken,
        Self::SlackWebhook,
        Self::AzureStorageKey,
        Self::AzureSas,
        Self::AzureAdClientSecret,
        Self::GcpApiKey,
        Self::NpmToken,
        Self::StripeKey,
        Self::PrivateKey,
        Self::Jwt,
        Self::GenericSecret,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::CreditCard => "credit-card",
            Self::UsSsn => "us-ssn",
            Self::Iban => "iban",
            Self::UkNino => "uk-nino",
            Self::UsAbaRouting => "us-aba-routing",
            Self::Password => "password",
            Self::AwsAccessKey => "aws-access-key",
            Self::GithubToken => "github-token",
            Self::GitlabToken => "gitlab-token",
            Self::SlackToken => "slack-token",
            Self::SlackWebhook => "slack-webhook",
            Self::AzureStorageKey => "azure-storage-key",
            Self::AzureSas => "azure-sas",
            Self::AzureAdClientSecret => "azure-ad-client-secret",
            Self::GcpApiKey => "gcp-api-key",
            Self::NpmToken => "npm-token",
            Self::StripeKey => "stripe-key",
            Self::PrivateKey => "private-key",
            Self::Jwt => "jwt",
            Self::GenericSecret => "generic-secret",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detector| detector.name() == name)
    }
}

/// Some of the detectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DetectorSet(u32);

impl DetectorSet {
    pub const fn contains(self, detector: Detector) -> bool {
        self.0 & (1 << detector as u32) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Detector> {
        Detector::ALL.into_iter().filter(move |detector| self.contains(*detector))
    }
}

impl FromIterator<Detector> for DetectorSet {
    fn from_iter<I: IntoIterator<Item = Detector>>(detectors: I) -> Self {
        Self(detectors.into_iter().fold(0, |set, detector| set | 1 << detector as u32))
    }
}

/// How often each detector matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u32; Detector::ALL.len()]);

impl Counts {
    pub fn of(&self, detector: Detector) -> u32 {
        self.0.get(detector as usize).copied().unwrap_or_default()
    }

    /// Matches of all detectors of the set together.
    pub fn of_set(&self, set: DetectorSet) -> u64 {
        self.found().filter(|(detector, _)| set.contains(*detector)).map(|(_, count)| u64::from(count)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.found().next().is_none()
    }

    /// Detectors that matched, in their order, with how often.
    pub fn found(&self) -> impl Iterator<Item = (Detector, u32)> + '_ {
        Detector::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Of two looks at the same the one that saw more, for each detector.
    #[must_use]
    pub fn most(mut self, other: &Self) -> Self {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = more.max(*count);
        }
        self
    }

    fn count(&mut self, detector: Detector) {
        if let Some(count) = self.0.get_mut(detector as usize) {
            *count = count.saturating_add(1);
        }
    }
}

impl FromIterator<(Detector, u32)> for Counts {
    fn from_iter<I: IntoIterator<Item = (Detector, u32)>>(found: I) -> Self {
        let mut counts = Self::default();
        for (detector, more) in found {
            if let Some(count) = counts.0.get_mut(detector as usize) {
                *count = count.saturating_add(more);
            }
        }
        counts
    }
}

/// What stands in a whole text.
pub fn detect(text: &[u8]) -> Counts {
    let mut detectors = Detectors::new();
    detectors.push(text);
    detectors.finish()
}

/// Fuzz entry: the first octet says how the rest is cut, which changes nothing. No finding is shorter than five octets.
pub fn fuzz_detect(data: &[u8]) {
    let Some((step, text)) = data.split_first() else { return };
    let whole = detect(text);
    let mut detectors = Detectors::new();
    for piece in text.chunks(usize::from(*step).max(1)) {
        detectors.push(piece);
    }
    assert_eq!(detectors.finish(), whole);
    let found: u64 = whole.found().map(|(_, count)| u64::from(count)).sum();
    assert!(found * 5 <= text.len() as u64, "{found} findings in {} octets", text.len());
}
