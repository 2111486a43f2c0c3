//! The memory of the whole process: what it uses, how much that may be, and what is done without when it is short.

mod allocator;
pub mod bound;
pub mod pressure;

pub use allocator::{give_back, trim};
