//! Users and their groups from NSS, cached: a slow directory service delays the first connection of a user at most.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Group, Uid, User as Account, getgrouplist};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::Config;
use crate::session::User;

/// How long an answer of NSS is believed.
const FRESH: Duration = Duration::from_secs(60);
/// How long a connection waits for the first answer about its user; then it goes on with the uid alone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Users remembered. Beyond it the cache starts anew: a host has far fewer.
const REMEMBERED: usize = 65_536;

/// Users by uid, with the time of the answer.
type Known = HashMap<u32, (Arc<User>, Instant)>;

#[derive(Default)]
pub struct Identity {
    known: Arc<Mutex<Known>>,
}

impl Identity {
    /// The user behind a uid, from the cache or NSS. Never fails: what is not known is absent.
    pub async fn user(&self, uid: u32) -> Arc<User> {
        let cached = lock(&self.known).get(&uid).cloned();
        match cached {
            Some((user, at)) if at.elapsed() < FRESH => user,
            // Stale: use it now, refresh behind. Others that come meanwhile need not ask as well.
            Some((user, _)) => {
                lock(&self.known).insert(uid, (user.clone(), Instant::now()));
                drop(self.look_up(uid));
                user
            }
            None => match timeout(PATIENCE, self.look_up(uid)).await {
                Ok(Ok(user)) => user,
                _ => Arc::new(User { uid: Some(uid), ..User::default() }),
            },
        }
    }

    fn look_up(&self, uid: u32) -> tokio::task::JoinHandle<Arc<User>> {
        let known = self.known.clone();
        spawn_blocking(move || {
            let mut user = Arc::new(from_nss(uid));
            let mut known = lock(&known);
            // NSS cannot tell "no such user" from a directory that is down. A name once known stays, or policies for
            // the user's groups would lapse with the directory.
            if user.name.is_none()
                && let Some((before, _)) = known.get(&uid)
            {
                user = before.clone();
            }
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(uid, (user.clone(), Instant::now()));
            user
        })
    }
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

    #[tokio::test]
    async fn a_directory_that_is_down_takes_nobodys_groups_away() {
        let uid = 3_999_999_998;
        let contractor = Arc::new(User {
            uid: Some(uid),
            name: Some("mallory".into()),
            groups: vec!["contractors".into()],
        });
        let identity = Identity::default();
        lock(&identity.known).insert(uid, (contractor.clone(), Instant::now()));
        assert_eq!(identity.look_up(uid).await.unwrap(), contractor);
        assert_eq!(identity.user(uid).await, contractor);
    }
}
