//! JSON in which no member of an object stands twice. Of two, a reader would take one in silence, and the other may be
//! what somebody was excluded by. Names that differ in case alone are the same: PowerShell writes them either way.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A value, read strictly.
struct Strict(Value);

/// # Errors
/// No JSON, or a member stands twice; the words say where.
pub(super) fn read(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map(|Strict(value)| value).map_err(|error| error.to_string())
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Strict)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let (mut object, mut names) = (Map::new(), HashSet::new());
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(A::Error::custom(format!("{name:?} stands twice in the same object")));
            }
            let Strict(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_once_is_read_as_ever() {
        for text in ["null", "[1, -2, 3.5, true, \"ä\\u0041\", {\"a\": {\"b\": []}, \"a@odata.type\": null}]"]
        {
            assert_eq!(read(text), Ok(serde_json::from_str::<Value>(text).unwrap()));
        }
    }

    #[test]
    fn what_stands_twice_is_refused_with_its_place() {
        for (text, at) in
            [("{\"a\": 1,\n\"a\": 2}", "line 2"), ("[{\"b\": {\"state\": 1, \"State\": 1}}]", "line 1")]
        {
            let error = read(text).unwrap_err();
            assert!(error.contains("stands twice in the same object") && error.contains(at), "{error}");
        }
        assert!(read("{").is_err() && read(&"[".repeat(100_000)).is_err());
    }
}
