//! A record as it is handed to the log, and as it waits for the database: taken apart on the thread of its connection, so that
//! the writer has nothing to do but write.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::common::{SharedContext, SharedShape};
use crate::activity::{Activity, Own, Row, TransferFacts};
use crate::classify::ActivityType;

thread_local! {
    /// Where one record after the other becomes text.
    static JSON: RefCell<Vec<u8>> = RefCell::default();
}

/// An [`Activity`] in its parts, of which many records share the context.
#[derive(Debug, Clone)]
pub struct Record {
    pub row: Row,
    pub shared: Arc<SharedContext>,
    pub own: Own,
}

impl From<Activity> for Record {
    fn from(activity: Activity) -> Self {
        let (row, context, own) = activity.into_parts();
        Self { row, shared: SharedContext::of(context), own }
    }
}

#[cfg(test)]
impl From<&Activity> for Record {
    fn from(activity: &Activity) -> Self {
        activity.clone().into()
    }
}

/// A record in the parts in which it is stored.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: Uuid,
    /// Microseconds since 1970.
    pub(super) time: i64,
    pub(super) kind: ActivityType,
    pub(super) client: IpAddr,
    pub(super) file: Option<Arc<str>>,
    /// How long the decision took, in microseconds.
    pub(super) micros: u64,
    pub(super) transfer: Option<TransferFacts>,
    pub(super) shared: Arc<SharedContext>,
    /// `None`: what is its own says all of it.
    pub(super) shape: Option<Arc<SharedShape>>,
    /// JSON of what is its own: of an [`Own`], or of a [`Rest`](crate::activity::Rest) where it has a shape.
    pub(super) own: Box<[u8]>,
}

impl Pending {
    /// # Errors
    /// There is no JSON for something in it.
    pub(super) fn of(record: Record) -> serde_json::Result<Self> {
        let Record { row, shared, own } = record;
        let (client, file) = (own.client.address, own.file.as_ref().and_then(|file| file.name.clone()));
        let (shape, rest) = own.split();
        let (shape, own) = match SharedShape::seen(shape) {
            Ok(shape) => (Some(shape), text(&rest)?),
            Err(new) => (None, text(&Own::joined(client, new.value.clone(), rest))?),
        };
        Ok(Self {
            id: row.id,
            time: row.time.as_microsecond(),
            kind: row.kind,
            client,
            file,
            micros: row.micros,
            transfer: row.transfer,
            shared,
            shape,
            own,
        })
    }
}

fn text(value: &impl Serialize) -> serde_json::Result<Box<[u8]>> {
    JSON.with_borrow_mut(|json| {
        json.clear();
        serde_json::to_writer(&mut *json, value).map(|()| json.as_slice().into())
    })
}
