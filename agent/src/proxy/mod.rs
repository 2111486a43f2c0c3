//! The connection pipeline and what it pumps: the only place that sees every stage.

mod block_page;
mod buffer;
pub mod deadline;
pub mod enforce;
pub mod h1;
mod pump;
pub mod relay;
pub mod side;
