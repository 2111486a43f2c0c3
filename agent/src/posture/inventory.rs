//! The inventory file of clients on other hosts: read anew when it changes and when an entry in it expires.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::LOOK_EVERY;
use crate::inventory::{Inventory, MAX_BYTES};
use crate::regular_file;

/// Where everybody asks who is behind an address; nothing where no inventory is configured.
pub type Inventories = Arc<ArcSwapOption<Inventory>>;

/// What a file looked like when it was read: path, inode, size, modification.
type Seen = (PathBuf, Option<(u64, u64, i64, i64)>);

/// Keeps `current` up to date until the task is dropped. `settings` may name another file with each reload.
pub async fn watch(current: Inventories, settings: impl Fn() -> Arc<crate::config::Config>) {
    let mut seen: Option<Seen> = None;
    loop {
        match &settings().identity.inventory {
            None => {
                seen = None;
                current.store(None);
            }
            Some(path) => {
                let found = (path.clone(), looks(path));
                let now = Timestamp::now();
                let outdated = current.load().as_ref().is_none_or(|inventory| inventory.is_outdated(now));
                if outdated || seen.as_ref() != Some(&found) {
                    seen = Some(found);
                    current.store(Some(Arc::new(read(path, now))));
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// An inventory that cannot be read knows nobody: an earlier one may say of a device what is no longer so.
pub(super) fn read(path: &Path, now: Timestamp) -> Inventory {
    let name = path.display();
    let inventory = regular_file::read(path, MAX_BYTES)
        .map_err(|why| why.to_string())
        .and_then(|bytes| Inventory::parse(&bytes, now));
    match inventory {
        Ok(inventory) => {
            tracing::info!(networks = inventory.len(), "read the inventory {name}");
            inventory
        }
        Err(why) => {
            tracing::error!("clients of other hosts count as unknown devices, not compliant: {name}: {why}");
            Inventory::unreadable(format!("{name}: {why}"))
        }
    }
}

fn looks(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}
