//! HTTP as values: heads, framing and the strict HTTP/1.1 codec. Sans-I/O: bytes in, heads and body extents out.

pub mod alt_svc;
pub mod content_coding;
pub mod content_disposition;
mod fields;
pub mod h1;
pub mod h2;
pub mod head;
pub(crate) mod multipart;
pub mod named_hosts;
pub mod proxy_request;

pub(crate) use h1::syntax::{is_token, lower_case};
