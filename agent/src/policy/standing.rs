//! What of a policy set concerns one session: found once for a connection, so that each of its exchanges asks few policies.

use uuid::Uuid;

use super::condition::Match;
use super::decision::Decision;
use super::evaluate::{Facts, Tally, Unobserved, Verdict, judge};
use super::rule::Subject;
use super::{PolicySet, State};
use crate::session::{ClientKind, Device, Session};

/// So many policies at most are kept; of a session that more include the index is asked each time.
pub const MAX_STANDING: usize = 64;

/// The policies that include a session, whatever its device and what it does.
#[derive(Debug, Clone)]
pub struct Standing {
    set: (Uuid, u64),
    kind: ClientKind,
    /// In the order of the files. `None`: too many.
    policies: Option<Box<[Stands]>>,
}

#[derive(Debug, Clone, Copy)]
struct Stands {
    /// In the whole set.
    position: u32,
    /// An exclusion takes the session out, whatever its device.
    excluded: bool,
}

impl PolicySet {
    /// What concerns a session.
    pub fn standing(&self, session: &Session) -> Standing {
        let mut policies = Vec::new();
        for position in self.index.standing(session).filter_map(|place| self.index.position(place)) {
            let Some(policy) = self.policies.get(position) else { continue };
            if policies.len() == MAX_STANDING {
                return Standing { policies: None, ..self.nothing_stands(session) };
            }
            let excluded = |outcome: Match<'_>| matches!(outcome, Match::Excluded { .. });
            policies.push(Stands {
                position: u32::try_from(position).unwrap_or(u32::MAX),
                excluded: excluded(policy.users.judge(|rule| rule.matches(&session.user)))
                    || excluded(policy.apps.judge(|rule| rule.matches(&session.app.id)))
                    || excluded(policy.client_apps.judge(|rule| rule.matches(session.kind)))
                    || excluded(policy.locations.judge(|rule| rule.matches(session))),
            });
        }
        Standing { policies: Some(policies.into()), ..self.nothing_stands(session) }
    }

    fn nothing_stands(&self, session: &Session) -> Standing {
        Standing { set: (self.id, self.revision), kind: session.kind, policies: None }
    }

    /// Decides as [`decide`](Self::decide) does. `standing` is of the same session; when it is of another policy set, or
    /// says nothing, the index is asked.
    pub fn decide_standing(
        &self,
        standing: &Standing,
        session: &Session,
        device: &Device,
        subject: Subject<'_>,
    ) -> Decision {
        let Some(policies) = standing.policies.as_deref().filter(|_| standing.is_of(self, session)) else {
            return self.decide(session, device, subject);
        };
        let facts = Facts { session, device, subject };
        let mut tally = Tally::default();
        let known = || {
            policies.iter().filter_map(|stands| Some((stands, self.policies.get(stands.position as usize)?)))
        };
        for (_, policy) in known().filter(|(stands, _)| !stands.excluded) {
            let applies = match policy.devices.judge(|rule| rule.matches(device)) {
                Match::NotGiven | Match::Included(_) => true,
                Match::Excluded { .. } | Match::NotIncluded => false,
            };
            if let Some(control) = policy.control.as_ref().filter(|_| applies) {
                tally.add(policy, Verdict::Applies(control.judge(&facts.subject, |_, _| {})));
            }
        }
        if !tally.applies() {
            // Only then does it matter who was excluded, and by what.
            for (_, policy) in known().filter(|(_, policy)| policy.state == State::Enabled) {
                let verdict = judge(policy, &facts, &mut Unobserved);
                if matches!(verdict, Verdict::Excluded(_)) {
                    tally.add(policy, verdict);
                    break;
                }
            }
        }
        tally.decide(self)
    }
}

impl Standing {
    /// Whether it says what concerns the session now.
    pub fn is_of(&self, policies: &PolicySet, session: &Session) -> bool {
        self.set == (policies.id, policies.revision) && self.kind == session.kind
    }
}
