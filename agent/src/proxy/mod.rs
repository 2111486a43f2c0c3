//! The connection pipeline and what it pumps: the only place that sees every stage.

mod block_page;
mod buffer;
pub mod connection;
pub mod deadline;
pub mod dial;
pub mod enforce;
pub mod h1;
mod inspect;
mod judge;
mod late;
mod pump;
pub mod relay;
pub mod share;
pub mod side;
mod who;

pub(crate) use judge::load_metrics;
