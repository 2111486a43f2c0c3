//! The codec against tables of messages, each shape with its own answer, and against properties over generated input.

mod bodies;
mod connections;
mod progress;
mod properties;
mod requests;
mod responses;
mod writing;

use super::*;
use crate::http::head::{RequestHead, ResponseHead};

#[track_caller]
fn request(bytes: impl AsRef<[u8]>) -> RequestHead {
    match parse_request_head(bytes.as_ref(), &Limits::default()) {
        Parsed::Complete(head, _) => head,
        other => panic!("{other:?} for {}", bytes.as_ref().escape_ascii()),
    }
}

#[track_caller]
fn response(bytes: impl AsRef<[u8]>) -> ResponseHead {
    match parse_response_head(bytes.as_ref(), &Limits::default()) {
        Parsed::Complete(head, _) => head,
        other => panic!("{other:?} for {}", bytes.as_ref().escape_ascii()),
    }
}

#[test]
fn refusals_have_distinct_names_and_a_status_for_either_side() {
    let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
    assert_eq!(names.len(), Refusal::ALL.len());
    for refusal in Refusal::ALL {
        assert!((400..=505).contains(&refusal.status(Peer::Client)), "{}", refusal.name());
        assert_eq!(refusal.status(Peer::Origin), 502);
        assert!(refusal.to_string().len() > refusal.name().len());
    }
    let status = |refusal: Refusal| refusal.status(Peer::Client);
    assert_eq!(status(Refusal::LengthWithCoding), 400);
    assert_eq!(status(Refusal::HeadTooLarge), 431);
    assert_eq!(status(Refusal::TooManyFields), 431);
    assert_eq!(status(Refusal::StartLineTooLong), 414);
    assert_eq!(status(Refusal::Expectation), 417);
    assert_eq!(status(Refusal::MethodRefused), 501);
    assert_eq!(status(Refusal::Version), 505);
}
