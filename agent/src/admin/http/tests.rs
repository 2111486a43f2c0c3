//! The listener over real sockets, asked as scrapers, probes and hostile pages ask.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::admin::health::Part;

async fn start(
    health: Arc<Health>,
) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let scrapes = AtomicU64::new(0);
    let shown = Shown {
        metrics: Arc::new(Metrics::new("1")),
        health,
        before_scrape: Arc::new(move |metrics| {
            metrics.set_kernel_event("scraped", scrapes.fetch_add(1, Ordering::Relaxed) + 1);
        }),
    };
    let task = tokio::spawn(serve(listener, shown, async {
        let _ = stopped.await;
    }));
    (address, stop, task)
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str, host: &str, more: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")).await
}

#[tokio::test]
async fn metrics_come_in_the_form_asked_for_with_fresh_kernel_counters() {
    let (address, _stop, _task) = start(Arc::default()).await;
    let answer = get(address, "/metrics", "localhost", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("cache-control: no-store"), "{answer}");
    assert!(!answer.contains("access-control"), "{answer}");
    assert!(answer.contains("portcullis_kernel_events_total{event=\"scraped\"} 1"), "{answer}");
    let answer = get(address, "/metrics", "127.0.0.1:9464", "Accept: application/openmetrics-text\r\n").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("{event=\"scraped\"} 2") && answer.contains("# EOF"), "{answer}");
}

#[tokio::test]
async fn readiness_names_what_is_not_ready() {
    let health = Arc::new(Health::default());
    let (address, _stop, _task) = start(Arc::clone(&health)).await;
    assert!(get(address, "/healthz", "localhost", "").await.starts_with("HTTP/1.1 200"));
    let answer = get(address, "/readyz", "localhost", "").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("has not started yet"), "{answer}");
    for part in Part::ALL {
        health.set(part, Condition::Ok);
    }
    health.set(Part::Policies, Condition::Degraded("last good policies kept".into()));
    let answer = get(address, "/readyz", "localhost", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"ready": true, "not_ready": [], "degraded": [
            {"part": "policies", "state": "degraded", "reason": "last good policies kept"}
        ]})
    );
    health.set(Part::Steering, Condition::Failed("detached".into()));
    let answer = get(address, "/readyz", "localhost", "").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"part\":\"steering\""), "{answer}");
    assert!(!answer.contains("listener"), "only what is not ready is named: {answer}");
}

#[tokio::test]
async fn a_rebound_name_and_other_methods_are_refused() {
    let (address, _stop, _task) = start(Arc::default()).await;
    for host in ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test:9464", "10.0.0.1", "[::2]", ""] {
        let answer = get(address, "/metrics", host, "").await;
        assert!(!answer.starts_with("HTTP/1.1 200") && !answer.contains("portcullis_"), "{host}: {answer}");
    }
    for host in ["LOCALHOST", "127.0.0.1", "127.8.9.1:80", "[::1]:9464", "[::1]"] {
        assert!(get(address, "/healthz", host, "").await.starts_with("HTTP/1.1 200"), "{host}");
    }
    let no_host = ask(address, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(no_host.starts_with("HTTP/1.0 421"), "{no_host}");
    let post = ask(address, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    assert!(get(address, "/", "localhost", "").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn it_ends_when_asked_to() {
    let (address, stop, task) = start(Arc::default()).await;
    stop.send(()).unwrap();
    task.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shown = Shown {
        metrics: Arc::new(Metrics::new("1")),
        health: Arc::default(),
        before_scrape: Arc::new(|_| {}),
    };
    let limited = LimitedListener::new(listener, 2, Duration::from_millis(200), SILENCE_MAX);
    let task = tokio::spawn(async move { axum::serve(limited, router(shown, address)).await });
    let _silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let answer =
        tokio::time::timeout(Duration::from_secs(10), get(address, "/healthz", "localhost", "")).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    task.abort();
}
