//! Users and their groups from NSS, cached: a slow directory service delays the first connection of a user at most.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Group, Uid, User as Account, getgrouplist};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Config;
use crate::session::User;

/// How long an answer of NSS is believed.
const FRESH: Duration = Duration::from_secs(60);
/// How long a connection waits for the first answer about its user; then it goes on with the uid alone, and policies for
/// names and groups do not know it. Long, because that lasts as long as the connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Users remembered. Beyond it the cache starts anew: a host has far fewer.
const REMEMBERED: usize = 65_536;
/// Look-ups under way, one of a user at most. Beyond it a new user is not waited for.
const UNDER_WAY: usize = 64;

/// What is known and what is being asked. Look-ups run on threads of their own: they cannot be cancelled, and nothing
/// that ends waits for them.
#[derive(Default)]
struct Known {
    /// By uid, with the time of the answer.
    users: HashMap<u32, (Arc<User>, Instant)>,
    asked: HashMap<u32, watch::Receiver<Option<Arc<User>>>>,
}

#[derive(Default)]
pub struct Identity {
    known: Arc<Mutex<Known>>,
}

impl Identity {
    /// The user behind a uid, from the cache or NSS. Never fails: what is not known is absent.
    pub async fn user(&self, uid: u32) -> Arc<User> {
        let cached = lock(&self.known).users.get(&uid).cloned();
        match cached {
            Some((user, at)) if at.elapsed() < FRESH => user,
            // Stale: use it now, refresh behind.
            Some((user, _)) => {
                self.look_up(uid);
                user
            }
            None => {
                let answer = async {
                    let mut answer = self.look_up(uid)?;
                    answer.wait_for(Option::is_some).await.ok()?.clone()
                };
                match timeout(PATIENCE, answer).await {
                    Ok(Some(user)) => user,
                    _ => {
                        tracing::warn!(
                            uid,
                            "the user database does not answer: the connection goes on without a name"
                        );
                        Arc::new(User { uid: Some(uid), ..User::default() })
                    }
                }
            }
        }
    }

    /// Asks, unless that is under way already. `None` when too much is.
    fn look_up(&self, uid: u32) -> Option<watch::Receiver<Option<Arc<User>>>> {
        let mut known = lock(&self.known);
        if let Some(asked) = known.asked.get(&uid) {
            return Some(asked.clone());
        }
        if known.asked.len() >= UNDER_WAY {
            return None;
        }
        let (answer, receiver) = watch::channel(None);
        known.asked.insert(uid, receiver.clone());
        drop(known);
        let known = self.known.clone();
        let work = move || {
            let user = remember(&known, uid, from_nss(uid));
            let _ = answer.send(Some(user));
        };
        if let Err(error) = std::thread::Builder::new().name("identity".into()).spawn(work) {
            tracing::warn!(uid, "starting a thread for the user database: {error}");
            lock(&self.known).asked.remove(&uid);
        }
        Some(receiver)
    }
}

fn remember(known: &Mutex<Known>, uid: u32, found: User) -> Arc<User> {
    let mut known = lock(known);
    known.asked.remove(&uid);
    let mut user = Arc::new(found);
    // NSS cannot tell "no such user" from a directory that is down. A name once known stays, or policies for the user's
    // groups would lapse with the directory.
    if user.name.is_none()
        && let Some((before, _)) = known.users.get(&uid)
    {
        user = before.clone();
    }
    if known.users.len() >= REMEMBERED {
        known.users.clear();
    }
    known.users.insert(uid, (user.clone(), Instant::now()));
    user
}

/// Adds the groups of `[identity] groups` that name the user.
pub fn with_extra_groups(user: Arc<User>, config: &Config) -> Arc<User> {
    let Some(name) = user.name.clone() else { return user };
    let extra = config
        .identity
        .groups
        .iter()
        .filter(|(group, members)| members.contains(&name) && !user.groups.contains(group));
    let extra: Vec<Arc<str>> = extra.map(|(group, _)| group.clone()).collect();
    if extra.is_empty() {
        return user;
    }
    let mut user = User::clone(&user);
    user.groups.extend(extra);
    Arc::new(user)
}

/// Fills in what this host knows of a user that is given by name or uid: blocks, for the commands alone.
pub fn known_user(given: User, config: &Config) -> Arc<User> {
    let by_name = given.name.as_deref().and_then(|name| Account::from_name(name).ok().flatten());
    let uid = given.uid.or(by_name.map(|account| account.uid.as_raw()));
    let known = uid.map(from_nss).filter(|user| user.name.is_some());
    with_extra_groups(Arc::new(known.unwrap_or(given)), config)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while the lock is held, and the map stays valid if it did.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn from_nss(uid: u32) -> User {
    let mut user = User { uid: Some(uid), ..User::default() };
    let Ok(Some(account)) = Account::from_uid(Uid::from_raw(uid)) else { return user };
    user.name = Some(account.name.as_str().into());
    let Ok(name) = CString::new(account.name) else { return user };
    let groups = getgrouplist(&name, account.gid).unwrap_or_else(|_| vec![account.gid]);
    user.groups = groups
        .into_iter()
        .filter_map(|gid| Group::from_gid(gid).ok().flatten())
        .map(|group| Arc::from(group.name))
        .collect();
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn root_has_its_name_and_group_and_an_unknown_uid_only_itself() {
        let identity = Identity::default();
        let root = identity.user(0).await;
        assert_eq!(root.name.as_deref(), Some("root"));
        assert!(root.groups.iter().any(|group| &**group == "root"));
        let nobody = identity.user(3_999_999_999).await;
        assert_eq!(*nobody, User { uid: Some(3_999_999_999), ..User::default() });
        assert!(Arc::ptr_eq(&root, &identity.user(0).await));
    }

    #[test]
    fn a_user_is_known_by_name_and_by_uid_or_stays_as_given() {
        let config = Config::default();
        let named = |name: &str| User { name: Some(name.into()), ..User::default() };
        let root = known_user(named("root"), &config);
        assert_eq!((root.uid, root.name.as_deref()), (Some(0), Some("root")));
        let by_uid = User { uid: Some(0), ..User::default() };
        assert_eq!(known_user(by_uid, &config), root);
        assert_eq!(*known_user(named("nobody-of-that-name"), &config), named("nobody-of-that-name"));
    }

    #[tokio::test]
    async fn a_directory_that_is_down_takes_nobodys_groups_away() {
        let uid = 3_999_999_998;
        let contractor = Arc::new(User {
            uid: Some(uid),
            name: Some("mallory".into()),
            groups: vec!["contractors".into()],
        });
        let identity = Identity::default();
        remember(&identity.known, uid, User::clone(&contractor));
        let unknown = User { uid: Some(uid), ..User::default() };
        assert_eq!(remember(&identity.known, uid, unknown), contractor);
        assert_eq!(identity.user(uid).await, contractor);
    }

    #[tokio::test]
    async fn a_user_is_asked_for_once_however_many_wait() {
        let identity = Identity::default();
        let uid = 3_999_999_997;
        let (answer, receiver) = watch::channel(None);
        lock(&identity.known).asked.insert(uid, receiver);
        let waiting = async { tokio::join!(identity.user(uid), identity.user(uid)) };
        let answered = async {
            tokio::task::yield_now().await;
            assert_eq!(lock(&identity.known).asked.len(), 1);
            let user = User { uid: Some(uid), name: Some("late".into()), ..User::default() };
            answer.send(Some(Arc::new(user))).unwrap();
        };
        let ((first, second), ()) = tokio::join!(waiting, answered);
        assert_eq!(first.name.as_deref(), Some("late"));
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[tokio::test]
    async fn nobody_waits_when_too_many_are_asked_for() {
        let identity = Identity::default();
        let (_answer, receiver) = watch::channel(None);
        let under_way = (0..UNDER_WAY as u32).map(|uid| (uid, receiver.clone()));
        lock(&identity.known).asked.extend(under_way);
        let uid = 3_999_999_996;
        assert_eq!(*identity.user(uid).await, User { uid: Some(uid), ..User::default() });
    }
}
