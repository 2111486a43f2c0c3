//! The console over real sockets, asked as browsers, strangers and hostile pages ask.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::activity::Activity;
use crate::activity::tests::sample;
use crate::record::activity_log::ActivityLog;
use crate::reload::{Texts, compile};

/// A console over a log with one record.
struct Lab {
    address: SocketAddr,
    sessions: Arc<Sessions>,
    record: Activity,
    _log: ActivityLog,
    _directory: tempfile::TempDir,
}

impl Lab {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("activity.db");
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        let mut record = sample();
        record.time = Timestamp::now();
        if let Some(file) = &mut record.file {
            file.name = Some("<b onclick=alert(1)>\u{202E}fdp.exe".into());
        }
        log.record(&record).unwrap();
        log.flush(Duration::from_secs(20)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sessions = Arc::new(Sessions::default());
        let shown = Shown {
            log: path,
            snapshot: Arc::new(ArcSwap::from_pointee(compile(&Texts::default(), 1).unwrap())),
            metrics: Arc::new(Metrics::new("1")),
            status: Arc::new(|| Box::pin(async { Answer::Error("the agent is stopping".into()) })),
            sessions: sessions.clone(),
        };
        tokio::spawn(serve(listener, shown, std::future::pending()));
        Self { address, sessions, record, _log: log, _directory: directory }
    }

    async fn ask(&self, path: &str, host: &str, more: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The field that a browser sends with a session.
    async fn session(&self) -> String {
        let ticket = self.sessions.ticket(Instant::now()).unwrap();
        let answer = self.ask(&format!("/open?ticket={ticket}"), "localhost", "").await;
        assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(set.contains("; HttpOnly; SameSite=Strict") && set.contains("; Path=/;"), "{set}");
        format!("Cookie: theme=dark; {}\r\n", set.split(';').next().unwrap())
    }
}

#[tokio::test]
async fn without_a_session_nothing_is_shown() {
    let lab = Lab::start().await;
    for path in ["/", "/activity", "/apps", "/policies", "/health", "/nothing"] {
        for more in
            ["", "Cookie: portcullis_session=\r\n", "Cookie: portcullis_session=abc; portcullis_session=\r\n"]
        {
            let answer = lab.ask(path, "localhost", more).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
            assert!(answer.contains("portcullis console") && !answer.contains("<nav"), "{path}: {answer}");
        }
    }
    for ticket in ["", "?ticket=", "?ticket=abc"] {
        let answer = lab.ask(&format!("/open{ticket}"), "localhost", "").await;
        assert!(answer.starts_with("HTTP/1.1 403") && !answer.contains("set-cookie"), "{answer}");
    }
    let ticket = lab.sessions.ticket(Instant::now()).unwrap();
    let open = format!("/open?ticket={ticket}");
    assert!(lab.ask(&open, "evil.test", "").await.starts_with("HTTP/1.1 421"));
    assert!(lab.ask(&open, "localhost", "").await.starts_with("HTTP/1.1 303"));
    assert!(lab.ask(&open, "localhost", "").await.starts_with("HTTP/1.1 403"), "once");
}

#[tokio::test]
async fn a_rebound_name_gets_nothing_even_with_a_session() {
    let lab = Lab::start().await;
    let session = lab.session().await;
    for host in ["evil.test", "127.0.0.1.evil.test", "10.0.0.1", ""] {
        let answer = lab.ask("/activity", host, &session).await;
        assert!(!answer.starts_with("HTTP/1.1 200") && !answer.contains("<html"), "{host}: {answer}");
    }
    for host in ["localhost:9465", "127.0.0.1:9465", "[::1]:9465"] {
        assert!(lab.ask("/activity", host, &session).await.starts_with("HTTP/1.1 200"), "{host}");
    }
}

#[tokio::test]
async fn every_answer_forbids_what_is_not_its_own() {
    let lab = Lab::start().await;
    let session = lab.session().await;
    for path in
        ["/", "/activity", "/apps", "/policies", "/health", "/nothing", "/static/console.css", "/open"]
    {
        let answer = lab.ask(path, "localhost", &session).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("content-security-policy: default-src 'none'; style-src 'self';"),
            "{path}: {head}"
        );
        assert!(!head.contains("unsafe"), "{path}: {head}");
        for field in
            ["cache-control: no-store", "x-content-type-options: nosniff", "referrer-policy: no-referrer"]
        {
            assert!(head.contains(field), "{path}: no {field} in {head}");
        }
        // What the policy would stop is not there to begin with; the name of a file only says it.
        let body = body.replace("&lt;b onclick=alert(1)&gt;", "");
        for word in [" style=", " onclick=", "javascript:", "<style"] {
            assert!(!body.contains(word), "{path}: {word}");
        }
        assert_eq!(
            body.matches("<script").count(),
            body.matches("<script src=\"/static/console.js\"").count()
        );
    }
}

#[tokio::test]
async fn pages_show_the_log_and_change_nothing() {
    let lab = Lab::start().await;
    let session = lab.session().await;
    let overview = lab.ask("/?range=24h", "localhost", &session).await;
    assert!(
        overview.contains("<title>") && overview.contains("1 blocked, 0 monitored, 0 allowed"),
        "{overview}"
    );
    let escaped = "&lt;b onclick=alert(1)&gt;\u{FFFD}fdp.exe";
    assert!(overview.contains(escaped), "{overview}");
    let listed = lab.ask("/activity?action=block&user=ada", "localhost", &session).await;
    assert!(listed.contains(escaped) && listed.contains(&format!("id={}", lab.record.id)), "{listed}");
    let none = lab.ask("/activity?action=allow", "localhost", &session).await;
    assert!(none.contains("Nothing matches.") && !none.contains(escaped), "{none}");
    let wrong = lab.ask("/activity?since=soon", "localhost", &session).await;
    assert!(wrong.contains("expected a time such as") && !wrong.contains(escaped), "{wrong}");
    let details = lab.ask(&format!("/activity?id={}", lab.record.id), "localhost", &session).await;
    assert!(
        details.contains("<aside class=\"drawer\"") && details.contains("portcullis explain"),
        "{details}"
    );
    assert!(details.contains("/usr/bin/curl") && details.contains("not compliant"), "{details}");
    let unknown = lab.ask(&format!("/activity?id={}", uuid::Uuid::nil()), "localhost", &session).await;
    assert!(unknown.contains("No record of this id is in the log."), "{unknown}");
    assert!(lab.ask("/apps", "localhost", &session).await.contains("No policy selects an app."));
    assert!(lab.ask("/policies", "localhost", &session).await.contains("There are no policies"));
    let health = lab.ask("/health", "localhost", &session).await;
    assert!(health.contains("the agent is stopping") && health.contains("no answer"), "{health}");
    assert!(lab.ask("/nothing", "localhost", &session).await.starts_with("HTTP/1.1 404"));

    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    let post = format!(
        "POST /activity HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{session}Content-Length: 0\r\n\r\n"
    );
    stream.write_all(post.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}
