//! What the kernel is told to steer, from one snapshot.

use std::sync::Arc;

use agent_common::limits::STEERED_PORTS;

use crate::reload::Snapshot;
use crate::steering::Orders;

/// Every pattern of the catalog, the apps that a policy selects, and their ports.
pub(super) fn of(snapshot: &Snapshot) -> Orders {
    let apps = snapshot.catalog.apps();
    let patterns = snapshot
        .catalog
        .domains()
        .filter_map(|(pattern, index)| Some((pattern.clone(), apps.get(usize::from(index))?.id.clone())))
        .collect();
    let chosen = apps.iter().filter(|app| snapshot.policies.selects(app));
    let mut selected: Vec<Arc<str>> = Vec::new();
    let mut ports = snapshot.config.steering.ports.clone();
    for app in chosen {
        selected.push(app.id.clone());
        for port in &app.ports {
            if !ports.contains(port) {
                ports.push(*port);
            }
        }
    }
    if ports.len() > STEERED_PORTS {
        tracing::warn!(
            not_steered = ?ports.get(STEERED_PORTS..),
            "the kernel looks at {STEERED_PORTS} ports: the further ones of the apps are left alone"
        );
    }
    Orders { patterns, selected, ports, existing: snapshot.config.steering.existing }
}
