//! How many connections one user may hold at one worker, so that nobody can take them all from the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Connections held, by user.
#[derive(Debug)]
pub struct Shares {
    most: usize,
    held: Rc<RefCell<HashMap<u32, usize>>>,
}

/// One connection of a user; given back on drop.
#[derive(Debug)]
pub struct Share {
    uid: u32,
    held: Rc<RefCell<HashMap<u32, usize>>>,
}

impl Shares {
    /// `most` is the share of each user.
    pub fn new(most: usize) -> Self {
        Self { most, held: Rc::default() }
    }

    /// `None` when the user has them all.
    pub fn take(&self, uid: u32) -> Option<Share> {
        let mut held = self.held.borrow_mut();
        let count = held.entry(uid).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { uid, held: self.held.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.borrow_mut();
        if let Some(count) = held.get_mut(&self.uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_share_and_the_others_have_theirs() {
        let shares = Shares::new(2);
        let first = shares.take(1).unwrap();
        let _second = shares.take(1).unwrap();
        assert!(shares.take(1).is_none());
        let other = shares.take(2).unwrap();
        drop(first);
        let _third = shares.take(1).unwrap();
        assert!(shares.take(1).is_none());
        drop(other);
        assert_eq!(shares.held.borrow().len(), 1, "nothing is kept of users without connections");
    }
}
