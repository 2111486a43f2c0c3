//! Closed sets of the record as the words the interface contract uses for them, in both directions.

macro_rules! by_name {
    ($module:ident, $type:ty, $from:expr) => {
        pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            pub(in crate::activity) fn serialize<S: Serializer>(
                value: &$type,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                to.serialize_str(value.name())
            }

            pub(in crate::activity) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<$type, D::Error> {
                let name = std::borrow::Cow::<'de, str>::deserialize(from)?;
                let known: Option<$type> = ($from)(&name);
                known
                    .ok_or_else(|| D::Error::custom(format_args!("unknown {} {name:?}", stringify!($module))))
            }
        }
    };
}

by_name!(activity_type, crate::classify::ActivityType, crate::classify::ActivityType::from_name);
by_name!(action, crate::policy::decision::Action, |name: &str| {
    use crate::policy::decision::Action;
    [Action::Allow, Action::Monitor, Action::Block].into_iter().find(|a| a.name() == name)
});
by_name!(client_kind, crate::session::ClientKind, |name: &str| {
    use crate::session::ClientKind;
    [ClientKind::Browser, ClientKind::Native].into_iter().find(|k| k.name() == name)
});
by_name!(kind, crate::classify::Kind, crate::classify::Kind::from_name);
