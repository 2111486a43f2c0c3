//! Sample records, for the tests of the stages behind as well.

use std::net::SocketAddr;

use super::*;

/// A record with every part known; tests change the fields they are about.
pub(crate) fn sample() -> Activity {
    Activity::new(
        Uuid::from_u128(7),
        "2026-03-04T05:06:07.000008Z".parse().unwrap(),
        &Facts::new().observed(),
    )
}

/// Every member is there.
pub(crate) fn full() -> Activity {
    let mut full = sample();
    full.client.locations = vec!["office".into()];
    if let Some(file) = &mut full.file {
        file.file_type = Some("pdf".into());
    }
    full.content = Some(
        serde_json::from_value(serde_json::json!({
            "matches": [{"detector": "iban", "count": 3}], "unscanned": "too large"
        }))
        .unwrap(),
    );
    if let Some(evaluated) = &mut full.evaluated {
        evaluated.mime = Some("text/plain".into());
        evaluated.file_type = Some("zip".into());
        (evaluated.names, evaluated.cut) = (vec!["a".into(), "b".into()], true);
        (evaluated.groups, evaluated.tags) = (vec!["g".into()], vec!["t".into()]);
    }
    full
}

/// The session of [`sample`].
pub(crate) fn session() -> Session {
    Session {
        app: Arc::new(App {
            id: "corp-files".into(),
            name: "Corp Files".into(),
            suite: Some("corp".into()),
            category: Some("file-hosting".into()),
            domains: vec![],
            ports: vec![443],
            ..App::default()
        }),
        user: Arc::new(User {
            uid: Some(1000),
            name: Some("ada".into()),
            groups: vec!["staff".into(), "hr".into()],
        }),
        process: Arc::new(Process {
            pid: Some(4711),
            exe: Some("/usr/bin/curl".into()),
            name: Some("curl".into()),
            cgroup: Some("/system.slice/job.service".into()),
            unit: Some("job.service".into()),
            container: None,
        }),
        kind: ClientKind::Native,
        remote: false,
        client: ClientAddr("127.0.0.1:40000".parse().unwrap()),
        location: LocationAddr("10.1.2.3".parse().unwrap()),
        original_dst: OriginalDst("[::ffff:203.0.113.9]:443".parse::<SocketAddr>().unwrap()),
        server_name: "files.corp.test".into(),
    }
}

pub(in crate::activity) struct Facts {
    pub(super) session: Session,
    pub(in crate::activity) device: Device,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) classification: Classification,
    pub(in crate::activity) decision: Decision,
    pub(super) networks: Networks,
}

impl Facts {
    pub(in crate::activity) fn new() -> Self {
        let mut request =
            RequestHead::new("GET", "/sites/hr/q3%20plan.xlsx?tempauth=secret1&x=1", Version::Http11);
        request.fields_mut().push(b"Host", b"files.corp.test");
        request.fields_mut().push(b"Cookie", b"session=secret2");
        request.fields_mut().push(b"Authorization", b"Bearer secret3");
        request.fields_mut().push(b"Referer", b"https://files.corp.test/?code=secret4");
        request.fields_mut().push(b"User-Agent", b"Mozilla/5.0 (X11)");
        let mut response = ResponseHead::new(200, Version::Http11);
        response.fields_mut().push(b"Content-Type", b"Application/PDF; charset=x");
        response.fields_mut().push(b"Content-Disposition", b"Attachment; filename=\"q3 plan.xlsx\"");
        response.fields_mut().push(b"Content-Length", b"12345");
        response.fields_mut().push(b"Set-Cookie", b"session=secret5");
        Self {
            session: session(),
            device: Device {
                id: "d-1".into(),
                compliant: false,
                reason: "file missing".into(),
                tags: vec!["kiosk".into()],
                os: "Debian 12".into(),
            },
            request,
            response,
            classification: Classification {
                activity: ActivityType::Download,
                download: true,
                filename: Some("q3 plan.xlsx".into()),
                other_filenames: vec![],
                mime: Some("application/vnd.ms-excel".into()),
                file_type: None,
                kind: Kind::Attachment,
                reason: "says attachment".into(),
            },
            decision: Decision::for_test(Action::Block, Some("no downloads"), Reason::Policy, &["trial"]),
            networks: Networks::new(),
        }
    }

    pub(in crate::activity) fn observed(&self) -> Observed<'_> {
        Observed {
            session: &self.session,
            device: &self.device,
            request: &self.request,
            response: Some(&self.response),
            classification: &self.classification,
            size: Some(12_345),
            decision: &self.decision,
            outcome: Outcome { enforced: true, micros: 42, file_size: None, content: None },
            networks: &self.networks,
        }
    }

    pub(super) fn record(&self) -> Activity {
        Activity::new(Uuid::from_u128(1), Timestamp::UNIX_EPOCH, &self.observed())
    }
}
