//! The connection pipeline and what it pumps: the only place that sees every stage.

mod block_page;
mod buffer;
pub mod connection;
pub mod deadline;
pub mod dial;
mod ech;
pub mod ended;
pub mod enforce;
pub mod exchanges;
pub mod explicit;
pub mod h1;
pub mod h2;
mod inspect;
mod judge;
mod late;
pub mod led;
mod origin;
mod plain;
mod pump;
pub mod refused;
pub mod relay;
pub mod share;
pub mod side;
pub mod stopped;
mod untouched;
mod who;
pub mod worker;
