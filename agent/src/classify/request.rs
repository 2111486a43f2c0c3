//! What a request is before there is a response: enough for what policies say of uploads and messages.

use std::borrow::Cow;

use super::content_type::essence;
use super::form::Form;
use super::{ActivityType, Classification, Exchange, classify, file_name};
use crate::http::content_disposition::display_name;
use crate::http::head::{ResponseHead, Version};

/// Classifies a request alone. `exchange` has the response that says least, which [`no_answer`] makes.
///
/// Its file is named in the form that carries it, or by the path of a PUT; its type is the one the request declares.
pub fn classify_request(exchange: &Exchange<'_>) -> Classification {
    let mut class = classify(exchange);
    class.download = false;
    if matches!(class.activity, ActivityType::Download | ActivityType::View) {
        // What comes back is not known yet.
        class.activity = ActivityType::None;
    }
    let request = exchange.request;
    class.mime = request.fields().get("content-type").and_then(essence).map(Cow::into_owned);
    let mut names = Vec::new();
    for name in exchange.form.into_iter().flat_map(Form::names).filter_map(|name| display_name(name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() && request.method() == "PUT" {
        names = file_name::of_path(request.path());
    }
    let mut names = names.into_iter();
    class.filename = names.next();
    class.other_filenames = names.collect();
    class
}

/// The response that a request is classified with before there is one.
pub fn no_answer(version: Version) -> ResponseHead {
    ResponseHead::new(204, version)
}
