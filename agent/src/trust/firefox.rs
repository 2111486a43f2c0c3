//! Firefox's `policies.json`: our certificate put into it and taken out, everything else kept as it is written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

const POLICIES: &str = "policies";
const CERTIFICATES: &str = "Certificates";
const INSTALL: &str = "Install";

/// The file is not what Firefox reads.
#[derive(Debug, thiserror::Error)]
#[error("`{at}` is not what Firefox reads there ({error}); put it right, or move the file away")]
pub(super) struct Fault {
    at: &'static str,
    error: String,
}

/// An object with its members in their order, each value in its own text.
#[derive(Debug, Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Members {
    fn of(value: Option<&RawValue>, at: &'static str) -> Result<Self, Fault> {
        value.map_or_else(|| Ok(Self::default()), |value| parsed(value.get(), at))
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// Where the member stands already, else at the end.
    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, place)) => *place = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    /// Its text, `depth` levels in.
    fn text(&self, depth: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let (outer, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| {
                format!("{inner}{}: {}", serde_json::Value::from(name.as_str()), value.get())
            })
            .collect();
        format!("{{\n{}\n{outer}}}", members.join(",\n"))
    }
}

/// The file with `certificate` (a path) among those that Firefox installs.
pub(super) fn with(file: &[u8], certificate: &str) -> Result<Vec<u8>, Fault> {
    let (mut file, mut policies, mut certificates, mut install) = read(file)?;
    if !install.iter().any(|path| names(path, certificate)) {
        install.push(raw(serde_json::Value::from(certificate).to_string())?);
    }
    certificates.set(INSTALL, list(&install, 3)?);
    policies.set(CERTIFICATES, raw(certificates.text(2))?);
    file.set(POLICIES, raw(policies.text(1))?);
    Ok(format!("{}\n", file.text(0)).into_bytes())
}

/// The file without `certificate`, and without what would be empty then. `None` when it is not in it.
pub(super) fn without(file: &[u8], certificate: &str) -> Result<Option<Vec<u8>>, Fault> {
    let (mut file, mut policies, mut certificates, mut install) = read(file)?;
    let before = install.len();
    install.retain(|path| !names(path, certificate));
    if install.len() == before {
        return Ok(None);
    }
    if install.is_empty() {
        certificates.remove(INSTALL);
    } else {
        certificates.set(INSTALL, list(&install, 3)?);
    }
    if certificates.0.is_empty() {
        policies.remove(CERTIFICATES);
    } else {
        policies.set(CERTIFICATES, raw(certificates.text(2))?);
    }
    file.set(POLICIES, raw(policies.text(1))?);
    Ok(Some(format!("{}\n", file.text(0)).into_bytes()))
}

type Parts = (Members, Members, Members, Vec<Box<RawValue>>);

fn read(file: &[u8]) -> Result<Parts, Fault> {
    let text =
        std::str::from_utf8(file).map_err(|error| Fault { at: "policies.json", error: error.to_string() })?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let file: Members = parsed(text, "policies.json")?;
    let policies = Members::of(file.get(POLICIES), POLICIES)?;
    let certificates = Members::of(policies.get(CERTIFICATES), CERTIFICATES)?;
    let install =
        certificates.get(INSTALL).map_or_else(|| Ok(Vec::new()), |value| parsed(value.get(), INSTALL))?;
    Ok((file, policies, certificates, install))
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str, at: &'static str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault { at, error: error.to_string() })
}

fn raw(text: String) -> Result<Box<RawValue>, Fault> {
    RawValue::from_string(text).map_err(|error| Fault { at: POLICIES, error: error.to_string() })
}

fn list(items: &[Box<RawValue>], depth: usize) -> Result<Box<RawValue>, Fault> {
    let (outer, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    let items: Vec<String> = items.iter().map(|item| format!("{inner}{}", item.get())).collect();
    raw(format!("[\n{}\n{outer}]", items.join(",\n")))
}

fn names(item: &RawValue, certificate: &str) -> bool {
    serde_json::from_str::<String>(item.get()).is_ok_and(|path| path == certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "/etc/firefox/policies/portcullis.pem";

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_others_wrote_keeps_its_order_and_its_text() {
        let theirs = r#"{"x-note": 1e3, "policies": {"Zeta":[ 1,2 ], "Certificates": {"Install": ["a.pem"], "ImportEnterpriseRoots": true}, "Alpha": {"b" : "\u00e9"}}}"#;
        let merged = with(theirs.as_bytes(), OURS).unwrap();
        for part in ["1e3", "[ 1,2 ]", r#"{"b" : "\u00e9"}"#, "\"ImportEnterpriseRoots\": true"] {
            assert!(text(&merged).contains(part), "{part} in {}", text(&merged));
        }
        assert!(text(&merged).find("Zeta") < text(&merged).find("Alpha"));
        let value: serde_json::Value = serde_json::from_slice(&merged).unwrap();
        assert_eq!(value["policies"]["Certificates"]["Install"], serde_json::json!(["a.pem", OURS]));
        // A second time changes nothing; taking out leaves what was there.
        assert_eq!(text(&with(&merged, OURS).unwrap()), text(&merged));
        let value: serde_json::Value =
            serde_json::from_slice(&without(&merged, OURS).unwrap().unwrap()).unwrap();
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(theirs).unwrap());
    }

    #[test]
    fn what_would_be_empty_goes_as_well() {
        for empty in ["", "{}", "{\"policies\":{}}", " \n"] {
            let merged = with(empty.as_bytes(), OURS).unwrap();
            assert_eq!(
                text(&merged),
                format!(
                    "{{\n  \"policies\": {{\n    \"Certificates\": {{\n      \"Install\": [\n        \"{OURS}\"\n      ]\n    }}\n  }}\n}}\n"
                )
            );
            assert_eq!(text(&without(&merged, OURS).unwrap().unwrap()), "{\n  \"policies\": {}\n}\n");
        }
        assert!(without(b"{\"policies\":{}}", OURS).unwrap().is_none());
    }

    #[test]
    fn a_file_that_firefox_would_not_read_is_left_alone() {
        for (broken, at) in [
            ("{", "policies.json"),
            ("[]", "policies.json"),
            ("{\"policies\": 3}", "policies"),
            ("{\"policies\": {\"Certificates\": []}}", "Certificates"),
            ("{\"policies\": {\"Certificates\": {\"Install\": \"a\"}}}", "Install"),
        ] {
            let fault = with(broken.as_bytes(), OURS).unwrap_err();
            assert_eq!(fault.at, at, "{broken}: {fault}");
        }
    }
}
