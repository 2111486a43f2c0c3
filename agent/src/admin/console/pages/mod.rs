//! The pages: values in, HTML out. Whatever text is shown is escaped by its type, and cleaned where it comes from somewhere else.

pub(super) mod activity;
pub(super) mod apps;
pub(super) mod details;
pub(super) mod health;
pub(super) mod layout;
pub(super) mod overview;
mod plot;
pub(super) mod policies;
#[cfg(test)]
mod tests;
