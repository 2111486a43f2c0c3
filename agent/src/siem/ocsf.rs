//! Open Cybersecurity Schema Framework 1.8: what is about a file is File Hosting Activity (6006), other exchanges are HTTP
//! Activity (4002), connections that ended before one Network Activity (4001), a gap a Base Event (0). What is not known is left out; what has no attribute there stands in `unmapped`.

use serde_json::{Map, Value, json};

use super::Missing;
use crate::activity::{Activity, FileFacts};
use crate::classify::ActivityType;
use crate::policy::decision::Action;

const SCHEMA: &str = "1.8.0";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// `activity_id` for what the class has no number for.
const OTHER: u32 = 99;

pub(super) fn activity(activity: &Activity, host: &str) -> Value {
    let file_activity = match activity.kind {
        ActivityType::Upload => Some((1, "Upload")),
        ActivityType::Download => Some((2, "Download")),
        ActivityType::Share => Some((12, "Share")),
        _ => None,
    };
    let (category, class, (id, name)) = match (file_activity, &activity.file) {
        (Some(named), _) => (("Application Activity", 6), ("File Hosting Activity", 6006), named),
        (None, Some(_)) if activity.kind == ActivityType::Print => {
            (("Application Activity", 6), ("File Hosting Activity", 6006), (OTHER, "Print"))
        }
        // HTTP Activity wants a request or a response.
        _ if activity.request.method.is_empty() && activity.response.is_none() => {
            let refused = activity.decision.action == Action::Block && activity.decision.enforced;
            let what = if refused { (5, "Refuse") } else { (6, "Traffic") };
            (("Network Activity", 4), ("Network Activity", 4001), what)
        }
        _ => (("Network Activity", 4), ("HTTP Activity", 4002), by_method(&activity.request.method)),
    };
    let action = activity.decision.action;
    let blocked = action == Action::Block && activity.decision.enforced;
    // action_id and disposition_id of the profile `security_control`.
    let (action_id, action_name, disposition_id, disposition) = match action {
        Action::Block if blocked => (2, "Denied", 2, "Blocked"),
        Action::Block | Action::Monitor => (3, "Observed", 17, "Logged"),
        Action::Allow => (1, "Allowed", 1, "Allowed"),
    };
    let (severity_id, severity) = match action {
        Action::Block => (3, "Medium"),
        Action::Monitor => (2, "Low"),
        Action::Allow => (1, "Informational"),
    };
    let mut event = json!({
        "category_uid": category.1, "category_name": category.0,
        "class_uid": class.1, "class_name": class.0,
        "activity_id": id, "activity_name": name,
        "type_uid": class.1 * 100 + id, "type_name": format!("{}: {name}", class.0),
        "time": activity.time.as_millisecond(),
        "severity_id": severity_id, "severity": severity,
        "status_id": if blocked { 2 } else { 1 }, "status": if blocked { "Failure" } else { "Success" },
        "status_detail": activity.decision.reason,
        "action_id": action_id, "action": action_name,
        "disposition_id": disposition_id, "disposition": disposition,
        "message": format!("{} {}", activity.kind.name(), action.name()),
        "metadata": metadata(Some(activity.id.to_string()), &["security_control", "host"]),
        "device": {
            "uid": activity.device.id, "hostname": host, "type_id": 0,
            "os": {"name": activity.device.os, "type_id": 200},
            "is_compliant": activity.device.compliant,
        },
        "src_endpoint": {"ip": activity.client.address, "port": activity.client.port},
        "dst_endpoint": {
            "ip": activity.server.address, "port": activity.server.port, "hostname": activity.server.name,
            "svc_name": activity.app.name,
        },
        "unmapped": {
            "activity_type": activity.kind.name(),
            "app_id": activity.app.id, "suite": activity.app.suite, "client_kind": activity.client.kind.name(),
            "locations": activity.client.locations,
            "decision_micros": activity.decision.micros, "report_only": activity.report_only,
            "transfer": activity.transfer, "content": activity.content,
        },
    });
    let Some(fields) = event.as_object_mut() else { return event };
    let mut actor = actor(activity);
    // The object must say who in one way at least, and File Hosting Activity must have it.
    if actor.is_empty() && class.1 == 6006 {
        actor.insert("app_name".to_owned(), json!(activity.client.kind.name()));
    }
    if !actor.is_empty() {
        fields.insert("actor".to_owned(), Value::Object(actor));
    }
    if !activity.request.method.is_empty() {
        fields.insert("http_request".to_owned(), http_request(activity));
    }
    if let Some(response) = &activity.response {
        fields.insert("http_response".to_owned(), json!({"code": response.status}));
    }
    // The class asks for a file; of an unknown one the path is what there is. Network Activity has no place for one.
    if class.1 != 4001
        && let Some(file) = activity.file.as_ref().map(file).or((class.1 == 6006).then(|| unnamed(activity)))
    {
        fields.insert("file".to_owned(), file);
    }
    if let Some(policy) = &activity.decision.policy {
        let mut named = json!({"name": policy});
        if let Some(rule) = &activity.decision.rule {
            named["desc"] = json!(rule);
        }
        fields.insert("policy".to_owned(), named);
    }
    event
}

pub(super) fn missing(missing: &Missing<'_>, host: &str) -> Value {
    json!({
        "category_uid": 0, "category_name": "Uncategorized", "class_uid": 0, "class_name": "Base Event",
        "activity_id": OTHER, "activity_name": "Records missing", "type_uid": OTHER,
        "type_name": "Base Event: Other",
        "time": missing.until.as_millisecond(),
        "start_time": missing.since.as_millisecond(), "end_time": missing.until.as_millisecond(),
        "count": missing.count.max(1),
        "severity_id": 4, "severity": "High",
        "status_id": 2, "status": "Failure",
        "message": missing.reason,
        "metadata": metadata(None, &["host"]),
        "device": {"hostname": host, "type_id": 0},
        "unmapped": {"missing": missing.count},
    })
}

/// `activity_id` of HTTP Activity, and its caption.
fn by_method(method: &str) -> (u32, &'static str) {
    match method {
        "CONNECT" => (1, "Connect"),
        "DELETE" => (2, "Delete"),
        "GET" => (3, "Get"),
        "HEAD" => (4, "Head"),
        "OPTIONS" => (5, "Options"),
        "POST" => (6, "Post"),
        "PUT" => (7, "Put"),
        "TRACE" => (8, "Trace"),
        "PATCH" => (9, "Patch"),
        _ => (OTHER, "Other"),
    }
}

fn metadata(uid: Option<String>, profiles: &[&str]) -> Value {
    let mut metadata = json!({
        "version": SCHEMA, "profiles": profiles,
        "product": {"name": "Portcullis", "vendor_name": "Portcullis", "version": VERSION},
    });
    if let Some(uid) = uid {
        metadata["uid"] = json!(uid);
    }
    metadata
}

fn actor(activity: &Activity) -> Map<String, Value> {
    let mut user = Map::new();
    if let Some(name) = &activity.user.name {
        user.insert("name".to_owned(), json!(name));
    }
    if let Some(uid) = activity.user.uid {
        user.insert("uid".to_owned(), json!(uid.to_string()));
    }
    let groups: Vec<Value> = activity.user.groups.iter().map(|group| json!({"name": group})).collect();
    if !groups.is_empty() {
        user.insert("groups".to_owned(), json!(groups));
    }
    let mut process = Map::new();
    if let Some(pid) = activity.process.pid {
        process.insert("pid".to_owned(), json!(pid));
    }
    if let Some(name) = &activity.process.name {
        process.insert("name".to_owned(), json!(name));
    }
    if let Some(exe) = &activity.process.exe {
        let name = exe.rsplit('/').next().unwrap_or(exe);
        process.insert("file".to_owned(), json!({"path": exe, "name": name, "type_id": 1}));
    }
    let mut actor = Map::new();
    for (key, value) in [("user", user), ("process", process)] {
        if !value.is_empty() {
            actor.insert(key.to_owned(), Value::Object(value));
        }
    }
    if let Some(agent) = &activity.client.user_agent {
        actor.insert("app_name".to_owned(), json!(agent));
    }
    actor
}

fn http_request(activity: &Activity) -> Value {
    let request = &activity.request;
    let mut url = json!({"path": request.path, "port": activity.server.port});
    if let Some(host) = &request.host {
        url["hostname"] = json!(host);
    }
    let mut said = json!({"http_method": request.method, "url": url, "version": request.version});
    if let Some(agent) = &activity.client.user_agent {
        said["user_agent"] = json!(agent);
    }
    said
}

fn file(facts: &FileFacts) -> Value {
    let mut file = json!({"name": facts.name.as_deref().unwrap_or_default(), "type_id": 1});
    if let Some(extension) = &facts.extension {
        file["ext"] = json!(extension);
    }
    if let Some(size) = facts.size {
        file["size"] = json!(size);
    }
    if let Some(mime) = &facts.mime {
        file["mime_type"] = json!(mime);
    }
    file
}

fn unnamed(activity: &Activity) -> Value {
    json!({"name": activity.request.path.rsplit('/').next().unwrap_or_default(), "type_id": 0})
}
