//! Adds up how apps are used: one row an app, one an app and user, one a host that no app owns.

use rusqlite::{Connection, Transaction, params};

use crate::record::usage::Sums;

/// Rows kept at most: apps that were used last longest ago go first, then users, and hosts that were seen least.
const APPS_MAX: u64 = 8192;
const USERS_MAX: u64 = 65_536;
const DOMAINS_MAX: u64 = 4096;

pub(super) fn add(to: &Transaction<'_>, sums: &Sums) -> rusqlite::Result<()> {
    for (id, app) in &sums.apps {
        let Some(first) = app.first else {
            // What was only refused does not connect an app.
            to.prepare_cached("UPDATE apps SET last_seen = max(last_seen, ?2) WHERE id = ?1")?
                .execute(params![id, app.last])?;
            continue;
        };
        to.prepare_cached(
            "INSERT INTO apps (id, name, suite, category, first_seen, last_seen, sessions, allowed, blocked)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, suite = excluded.suite,
                 category = excluded.category, last_seen = max(last_seen, excluded.last_seen),
                 sessions = sessions + excluded.sessions, allowed = allowed + excluded.allowed,
                 blocked = blocked + excluded.blocked",
        )?
        .execute(params![
            id,
            app.name,
            app.suite,
            app.category,
            first,
            app.last,
            app.sessions,
            app.allowed,
            app.blocked
        ])?;
    }
    for ((app, user), last) in &sums.users {
        to.prepare_cached(
            "INSERT INTO app_users (app, user, last_seen) VALUES (?1, ?2, ?3)
             ON CONFLICT (app, user) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen)",
        )?
        .execute(params![app, user, last])?;
    }
    for ((app, domain, via), seen) in &sums.domains {
        to.prepare_cached(
            "INSERT INTO discovered (domain, app, via, first_seen, last_seen, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (domain, app, via) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen),
                 count = count + excluded.count",
        )?
        .execute(params![domain, app, via.name(), seen.first, seen.last, seen.count])?;
    }
    if !sums.domains.is_empty() {
        // Here and not with retention: the names come from the network, and a minute of them is too many.
        to.prepare_cached(
            "DELETE FROM discovered WHERE (domain, app, via) IN (
                 SELECT domain, app, via FROM discovered ORDER BY count DESC, last_seen DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([DOMAINS_MAX])?;
    }
    Ok(())
}

/// Deletes users and hosts that were not seen since `before`, and what is beyond the bounds.
pub(super) fn delete_before(connection: &Connection, before: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM app_users WHERE last_seen < ?1", [before])?;
    connection.execute("DELETE FROM discovered WHERE last_seen < ?1", [before])?;
    connection.execute(
        "DELETE FROM apps WHERE id IN (SELECT id FROM apps ORDER BY last_seen DESC LIMIT -1 OFFSET ?1)",
        [APPS_MAX],
    )?;
    connection.execute(
        "DELETE FROM app_users WHERE (app, user) IN (
             SELECT app, user FROM app_users ORDER BY last_seen DESC LIMIT -1 OFFSET ?1)",
        [USERS_MAX],
    )?;
    Ok(())
}
