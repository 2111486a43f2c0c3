//! Common Event Format: a header of seven fields, then an extension of key=value pairs by the keys of its dictionary.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use super::Missing;
use crate::activity::Activity;
use crate::policy::decision::Action;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn activity(activity: &Activity, host: &str) -> String {
    let action = activity.decision.action;
    // CEF counts from 0 to 10; 7 begins what it calls high.
    let severity = match action {
        Action::Allow => 0,
        Action::Monitor => 3,
        Action::Block => 7,
    };
    let kind = activity.kind.name();
    let name = match action {
        Action::Allow => format!("{kind} allowed"),
        Action::Monitor => format!("{kind} monitored"),
        Action::Block if activity.decision.enforced => format!("{kind} blocked"),
        Action::Block => format!("{kind} to be blocked"),
    };
    let mut line = Extension::after_header(kind, &name, severity);
    let millis = activity.time.as_millisecond();
    line.add("externalId", activity.id);
    line.add("rt", millis);
    line.add("start", millis);
    line.add("cat", kind);
    line.add("act", action.name());
    line.add("outcome", if action == Action::Block { "failure" } else { "success" });
    line.add("reason", &activity.decision.reason);
    line.add("dvchost", host);
    line.add("deviceExternalId", &activity.device.id);
    line.add("destinationServiceName", &activity.app.name);
    line.some("suser", activity.user.name.as_ref());
    line.some("suid", activity.user.uid);
    line.some("spid", activity.process.pid);
    line.some("sproc", activity.process.exe.as_ref());
    line.address("src", "c6a2", "Source IPv6 Address", activity.client.address);
    line.add("spt", activity.client.port);
    line.address("dst", "c6a3", "Destination IPv6 Address", activity.server.address);
    line.add("dpt", activity.server.port);
    if !activity.server.name.is_empty() {
        line.add("dhost", &activity.server.name);
    }
    if !activity.request.method.is_empty() {
        line.add("requestMethod", &activity.request.method);
        line.add("request", url(activity));
    }
    line.some("requestClientApplication", activity.client.user_agent.as_ref());
    if let Some(file) = &activity.file {
        line.some("fname", file.name.as_ref());
        line.some("fsize", file.size);
        line.some("fileType", file.mime.as_ref());
    }
    line.some("out", activity.transfer.and_then(|transfer| transfer.bytes));
    line.custom("cs1", "policy", activity.decision.policy.as_ref());
    line.custom("cs2", "rule", activity.decision.rule.as_ref());
    line.custom("cs3", "app", Some(&activity.app.id));
    line.custom("cs4", "clientKind", Some(activity.client.kind.name()));
    line.custom("cs5", "transfer", activity.transfer.map(|transfer| transfer.state.name()));
    line.custom("cs6", "deviceCompliant", Some(activity.device.compliant));
    line.custom("cn1", "httpStatus", activity.response.as_ref().map(|response| response.status));
    line.custom("cn2", "decisionMicros", Some(activity.decision.micros));
    line.0
}

pub(super) fn missing(missing: &Missing<'_>, host: &str) -> String {
    let what =
        if missing.count == 0 { "activity records may be missing" } else { "activity records are missing" };
    let mut line = Extension::after_header("gap", what, 8);
    line.add("rt", missing.until.as_millisecond());
    line.add("start", missing.since.as_millisecond());
    line.add("end", missing.until.as_millisecond());
    line.add("cnt", missing.count);
    line.add("dvchost", host);
    line.add("reason", missing.reason);
    line.0
}

/// The dictionary wants the protocol as well. There is never a query: it is not kept.
fn url(activity: &Activity) -> String {
    let server = &activity.server;
    let (scheme, usual) = if server.port == 80 { ("http", 80) } else { ("https", 443) };
    let named = activity.request.host.as_deref().or((!server.name.is_empty()).then_some(&*server.name));
    let host = match (named, server.address) {
        (Some(name), _) => name.to_owned(),
        (None, IpAddr::V6(address)) => format!("[{address}]"),
        (None, address) => address.to_string(),
    };
    let has_port =
        host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = if has_port || server.port == usual { String::new() } else { format!(":{}", server.port) };
    // Of an OPTIONS for the whole server, and in a tunnel, the target is no path.
    let path = if activity.request.path.starts_with('/') { &*activity.request.path } else { "/" };
    format!("{scheme}://{host}{port}{path}")
}

struct Extension(String);

impl Extension {
    fn after_header(signature: &str, name: &str, severity: u8) -> Self {
        let (signature, name) = (in_header(signature), in_header(name));
        Self(format!("CEF:0|Portcullis|Portcullis|{VERSION}|{signature}|{name}|{severity}|"))
    }

    fn add(&mut self, key: &str, value: impl Display) {
        if !self.0.ends_with('|') {
            self.0.push(' ');
        }
        let value = value.to_string();
        // Writing into a String cannot fail.
        let _ = write!(self.0, "{key}={}", in_extension(&value));
    }

    fn some(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    /// One of the fields whose meaning a label says.
    fn custom(&mut self, key: &str, label: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(&format!("{key}Label"), label);
            self.add(key, value);
        }
    }

    /// `v4` takes IPv4 addresses only.
    fn address(&mut self, v4: &str, v6: &str, label: &str, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(v4, address),
            IpAddr::V6(address) => self.custom(v6, label, Some(address)),
        }
    }
}

fn in_header(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('|', "\\|")
}

fn in_extension(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('=', "\\=")
}

/// A record is a line, whatever was in a file's name.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}
