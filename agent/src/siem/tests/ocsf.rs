//! Events against the published schema. `tests/fixtures/ocsf_1.8.json` has its classes that we use and the objects they reach, with
//! the profiles `host` and `security_control`, as <https://github.com/ocsf/ocsf-schema> defines them at 1.8.0: types, what is
//! required, values of enumerations and constraints.

use std::sync::LazyLock;

use serde_json::Map;

use super::*;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../tests/fixtures/ocsf_1.8.json")).unwrap());

/// What in the event is not as the schema has it.
fn faults(event: &Value) -> Vec<String> {
    let classes = SCHEMA["classes"].as_object().unwrap();
    let Some(class) = classes.values().find(|class| class["class_uid"] == event["class_uid"]) else {
        return vec![format!("no class {}", event["class_uid"])];
    };
    let mut faults = Vec::new();
    for (name, expected) in [
        ("category_uid", &class["category_uid"]),
        ("class_name", &class["caption"]),
        (
            "type_uid",
            &json!(event["class_uid"].as_u64().unwrap() * 100 + event["activity_id"].as_u64().unwrap()),
        ),
    ] {
        if &event[name] != expected {
            faults.push(format!("{name} is {}, not {expected}", event[name]));
        }
    }
    if event["metadata"]["version"] != SCHEMA["version"] {
        faults.push(format!("metadata.version is {}", event["metadata"]["version"]));
    }
    object("", class, event, &mut faults);
    faults
}

fn object(path: &str, definition: &Value, value: &Value, faults: &mut Vec<String>) {
    let Some(value) = value.as_object() else { return faults.push(format!("{path} is no object")) };
    let attributes = definition["attributes"].as_object().unwrap();
    for (name, attribute) in attributes {
        if attribute["required"] == true && !value.contains_key(name) {
            faults.push(format!("{path}.{name} is required"));
        }
    }
    constraints(path, &definition["constraints"], value, faults);
    for (name, value) in value {
        let path = format!("{path}.{name}");
        match (attributes.get(name), value) {
            (None, _) => faults.push(format!("{path} is no attribute")),
            (Some(attribute), Value::Array(values)) if attribute["array"] == true => {
                values.iter().for_each(|value| one(&path, attribute, value, faults));
            }
            (Some(attribute), value) if attribute["array"] != true => one(&path, attribute, value, faults),
            (Some(_), _) => faults.push(format!("{path} is no array")),
        }
    }
}

fn constraints(path: &str, constraints: &Value, value: &Map<String, Value>, faults: &mut Vec<String>) {
    let present = |names: &Value| {
        names.as_array().unwrap().iter().filter(|name| value.contains_key(name.as_str().unwrap())).count()
    };
    if let Some(names) = constraints.get("at_least_one")
        && present(names) == 0
    {
        faults.push(format!("{path} has none of {names}"));
    }
    if let Some(names) = constraints.get("just_one")
        && present(names) != 1
    {
        faults.push(format!("{path} has not just one of {names}"));
    }
}

fn one(path: &str, attribute: &Value, value: &Value, faults: &mut Vec<String>) {
    if let Some(name) = attribute["object"].as_str() {
        // Anything at all.
        if name != "object" {
            object(path, &SCHEMA["objects"][name], value, faults);
        }
        return;
    }
    if let Some(allowed) = attribute["enum"].as_array()
        && !allowed.contains(value)
    {
        faults.push(format!("{path} is {value}, none of the enumeration"));
    }
    let named = attribute["type"].as_str().unwrap();
    let fits = match SCHEMA["types"][named].as_str().unwrap() {
        "boolean_t" => value.is_boolean(),
        "integer_t" | "long_t" => value.is_i64() || value.is_u64(),
        "float_t" => value.is_number(),
        "string_t" => value.is_string(),
        "json_t" => true,
        other => panic!("a type that nothing had when this was written: {other}"),
    };
    if !fits {
        faults.push(format!("{path} is {value}, no {named}"));
    }
}

#[track_caller]
fn check(activity: &Activity, class: u64, id: u64) -> Value {
    let event: Value = serde_json::from_str(&super::super::activity(Form::Ocsf, activity, "gw")).unwrap();
    assert_eq!(faults(&event), [""; 0], "{event}");
    assert_eq!((event["class_uid"].as_u64(), event["activity_id"].as_u64()), (Some(class), Some(id)));
    event
}

/// One who is not known at all.
fn of_nobody(activity: &mut Activity) {
    activity.user = crate::activity::UserFacts { name: None, uid: None, groups: vec![] };
    activity.process = crate::activity::ProcessFacts {
        pid: None,
        exe: None,
        name: None,
        cgroup: None,
        unit: None,
        container: None,
    };
    activity.client.user_agent = None;
}

#[test]
fn each_activity_is_an_event_of_its_class() {
    let event = check(&hostile(), 6006, 2);
    assert_eq!((&event["action_id"], &event["disposition_id"]), (&json!(2), &json!(2)));
    assert_eq!(event["actor"]["user"]["uid"], "1000");
    assert_eq!(event["file"]["ext"], "xlsx");
    assert_eq!(event["time"], 1_772_600_767_000_i64);
    let mut activity = sample();
    activity.kind = ActivityType::View;
    activity.decision.action = Action::Monitor;
    activity.file = None;
    let event = check(&activity, 4002, 3);
    assert_eq!(event["action_id"], 3);
    activity.kind = ActivityType::Upload;
    check(&activity, 6006, 1);
    activity.kind = ActivityType::SignIn;
    activity.request.method = "POST".into();
    check(&activity, 4002, 6);
    // A connection that was refused before it asked for anything, of a client that nobody knows.
    activity.kind = ActivityType::Access;
    activity.decision.action = Action::Block;
    activity.decision.enforced = true;
    (activity.request.method, activity.request.path, activity.response) = ("".into(), "".into(), None);
    of_nobody(&mut activity);
    let event = check(&activity, 4001, 5);
    assert_eq!(event.get("actor"), None);
    activity.kind = ActivityType::Upload;
    assert_eq!(check(&activity, 6006, 1)["actor"], json!({"app_name": activity.client.kind.name()}));
}

#[test]
fn whatever_is_known_or_not_the_event_is_as_the_schema_has_it() {
    for kind in ActivityType::ALL {
        for action in [Action::Allow, Action::Monitor, Action::Block] {
            for gaps in 0..8 {
                let mut activity = hostile();
                activity.kind = kind;
                activity.decision.action = action;
                if gaps & 1 != 0 {
                    activity.file = None;
                }
                if gaps & 2 != 0 {
                    of_nobody(&mut activity);
                    activity.decision.policy = None;
                    activity.request.host = None;
                }
                if gaps & 4 != 0 {
                    (activity.request.method, activity.response) = ("".into(), None);
                }
                let text = super::super::activity(Form::Ocsf, &activity, "gw");
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(faults(&event), [""; 0], "{kind:?} {action:?} {gaps}: {event}");
            }
        }
    }
    let at = "2026-03-04T05:06:07Z".parse().unwrap();
    for count in [0, 12] {
        let gap = Missing { since: at, until: at, count, reason: "disk = full" };
        let event: Value = serde_json::from_str(&missing(Form::Ocsf, &gap, "gw")).unwrap();
        assert_eq!(faults(&event), [""; 0], "{event}");
    }
}

#[test]
fn an_event_that_is_not_as_the_schema_has_it_is_noticed() {
    let event = check(&hostile(), 6006, 2);
    let changes: [(&str, Value); 8] = [
        ("/time", json!("2026-03-04")),
        ("/severity_id", json!(7)),
        ("/class_uid", json!(6007)),
        ("/type_uid", json!(600_603)),
        ("/actor", json!({})),
        ("/metadata/profiles", json!("host")),
        ("/file/name", json!(4)),
        ("/src_endpoint/port", json!("443")),
    ];
    for (place, value) in changes {
        let mut changed = event.clone();
        *changed.pointer_mut(place).unwrap() = value;
        assert_ne!(faults(&changed), [""; 0], "{place}");
    }
    let mut more = event.clone();
    more["file"]["colour"] = json!("red");
    assert_eq!(faults(&more), [".file.colour is no attribute"]);
    let mut less = event;
    less.as_object_mut().unwrap().remove("file");
    assert_eq!(faults(&less), [".file is required"]);
}
