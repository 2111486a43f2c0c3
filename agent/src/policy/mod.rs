//! Policies: what they say, and what they decide for a session and a classified exchange.

pub mod decision;
