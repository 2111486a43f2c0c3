//! The HTTP/2 relay between a client and a server of the `h2` crate.

mod shell;

use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream, client, server};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use portcullis::http::h2::{Limits, Outcome};
use portcullis::http::head::{ResponseHead, Version};
use shell::{Told, Verdicts, serve};
use tokio::task::JoinHandle;

const PASS: Verdicts = Verdicts { request: |_| None, response: |_, _| None };

fn block_page() -> (ResponseHead, Vec<u8>) {
    (ResponseHead::new(403, Version::Http11).with("Content-Type", "text/plain"), vec![b'B'; 3000])
}

/// Blocks attachments at the response, and `/elsewhere` at the request.
const BLOCK: Verdicts = Verdicts {
    request: |request| (request.path() == "/elsewhere").then(block_page),
    response: |_, response| response.fields().get("content-disposition").map(|_| block_page()),
};

struct Setup {
    client: client::SendRequest<Bytes>,
    relay: JoinHandle<Told>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// Windows of both peers.
#[derive(Debug, Clone, Copy)]
struct Windows {
    stream: u32,
    connection: u32,
}

const USUAL: Windows = Windows { stream: 65_535, connection: 65_535 };

async fn setup(windows: Windows, verdicts: Verdicts) -> Setup {
    let (client_end, relay_client) = tokio::io::duplex(1 << 18);
    let (relay_origin, origin_end) = tokio::io::duplex(1 << 18);
    let relay = tokio::spawn(serve(relay_client, relay_origin, Limits::default(), verdicts));
    tokio::spawn(async move {
        let mut connection = server::Builder::new()
            .initial_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .max_concurrent_streams(200)
            .handshake::<_, Bytes>(origin_end)
            .await
            .expect("the relay greets");
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(respond_to(request, respond));
        }
    });
    let (client, connection) = client::Builder::new()
        .initial_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .enable_push(false)
        .handshake(client_end)
        .await
        .expect("the relay greets");
    Setup { client, relay, driver: tokio::spawn(connection) }
}

/// A byte of a body that tells its place.
fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

/// `/N`: N octets; `/echo`: the request's body; `/file/N`: as an attachment; `/trailers`, `/hints`, `/reset`, `/hang`.
async fn respond_to(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let count = |text: &str| text.rsplit('/').next().and_then(|n| n.parse::<usize>().ok());
    let mut response = Response::new(());
    match path.as_str() {
        "/reset" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        "/hang" => {
            let _ = body.data().await;
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        "/echo" => {
            let mut send = respond.send_response(response, false).expect("sends");
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                if send_all(&mut send, piece, false).await.is_err() {
                    return;
                }
            }
            let trailers = body.trailers().await.ok().flatten();
            match trailers {
                Some(trailers) => send.send_trailers(trailers).expect("sends"),
                None => send.send_data(Bytes::new(), true).expect("sends"),
            }
        }
        "/trailers" => {
            let mut send = respond.send_response(response, false).expect("sends");
            send_all(&mut send, Bytes::from_static(b"grpc"), false).await.expect("sends");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().expect("value"));
            trailers.insert("content-type", "text/html".parse().expect("value"));
            send.send_trailers(trailers).expect("sends");
        }
        "/hints" => {
            let hints = Response::builder().status(103).header("link", "</a.css>").body(()).expect("head");
            respond.send_informational(hints).expect("sends");
            respond.send_response(response, true).expect("sends");
        }
        _ => {
            let count = count(&path).unwrap_or(0);
            let file = path.starts_with("/file");
            if file {
                response.headers_mut().insert("content-disposition", "attachment".parse().expect("value"));
            }
            response.headers_mut().insert("set-cookie", "secret=1".parse().expect("value"));
            let Ok(mut send) = respond.send_response(response, false) else { return };
            let bytes: Vec<u8> = (0..count).map(pattern).collect();
            let _ = send_all(&mut send, bytes.into(), true).await;
        }
    }
}

async fn send_all(send: &mut SendStream<Bytes>, mut bytes: Bytes, end: bool) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let room = match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Err(h2::Reason::CANCEL.into()),
        };
        let piece = bytes.split_to(room.min(bytes.len()));
        send.send_data(piece, false)?;
    }
    if end {
        send.send_data(Bytes::new(), true)?;
    }
    Ok(())
}

fn request(path: &str) -> Request<()> {
    Request::builder().uri(format!("https://a.test{path}")).body(()).expect("head")
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

async fn get(client: client::SendRequest<Bytes>, path: String) -> Result<(StatusCode, Vec<u8>), h2::Error> {
    let mut client = client.ready().await?;
    let (response, _) = client.send_request(request(&path), true)?;
    let (parts, mut body) = response.await?.into_parts();
    Ok((parts.status, read(&mut body).await?))
}

async fn end(setup: Setup) -> Told {
    drop(setup.client);
    setup.driver.await.expect("joined").expect("the connection ends in peace");
    let told = tokio::time::timeout(Duration::from_secs(10), setup.relay).await;
    told.expect("the relay ends").expect("joined")
}

#[tokio::test]
async fn heads_bodies_trailers_and_interim_responses_arrive() {
    let setup = setup(USUAL, PASS).await;
    let (status, body) = get(setup.client.clone(), "/1000".into()).await.expect("answered");
    assert_eq!((status.as_u16(), body), (200, (0..1000).map(pattern).collect()));

    let mut client = setup.client.clone().ready().await.expect("ready");
    let (response, _) = client.send_request(request("/trailers"), true).expect("sent");
    let mut body = response.await.expect("answered").into_body();
    assert_eq!(read(&mut body).await.expect("read"), b"grpc");
    let trailers = body.trailers().await.expect("read").expect("there are trailers");
    assert_eq!(trailers.get("grpc-status").map(|v| v.as_bytes()), Some(&b"0"[..]));
    assert_eq!(trailers.get("content-type"), None, "what was judged does not change late");
    drop(body);

    let (mut response, _) = client.send_request(request("/hints"), true).expect("sent");
    let hints =
        std::future::poll_fn(|cx| response.poll_informational(cx)).await.expect("hints").expect("read");
    assert_eq!(hints.status(), 103);
    assert_eq!(response.await.expect("answered").status(), 200);

    let mut head = request("/echo");
    *head.method_mut() = Method::POST;
    let (response, mut send) = client.send_request(head, false).expect("sent");
    drop(client);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().expect("value"));
    let reader = tokio::spawn(async move {
        let mut body = response.await.expect("answered").into_body();
        let bytes = read(&mut body).await.expect("read");
        (bytes, body.trailers().await.expect("read"))
    });
    send_all(&mut send, vec![b'u'; 300_000].into(), false).await.expect("sent");
    send.send_trailers(trailers).expect("sent");
    drop(send);
    let (bytes, trailers) = reader.await.expect("joined");
    assert_eq!(bytes, vec![b'u'; 300_000]);
    assert!(trailers.is_some_and(|trailers| trailers.contains_key("x-sum")));
    let told = end(setup).await;
    assert_eq!(told.error, None);
    assert_eq!(told.closed.len(), 4);
    assert!(told.closed.values().all(|(outcome, ..)| *outcome == Outcome::Complete), "{told:?}");
    assert_eq!(told.closed[&1].2, 1000);
    assert_eq!(told.closed[&7], (Outcome::Complete, 300_000, 300_000));
}

#[tokio::test]
async fn many_streams_of_all_sizes_and_kinds_share_small_windows() {
    for windows in [
        Windows { stream: 1, connection: 65_535 },
        Windows { stream: 1_000, connection: 65_535 },
        USUAL,
        Windows { stream: 1 << 20, connection: 1 << 21 },
    ] {
        let setup = setup(windows, BLOCK).await;
        let most = if windows.stream == 1 { 300 } else { 200_000 };
        let mut tasks = Vec::new();
        for n in 0..90_usize {
            let client = setup.client.clone();
            tasks.push(tokio::spawn(async move {
                let size = n * 7919 % most;
                match n % 6 {
                    0 => {
                        let (status, body) = get(client, format!("/file/{size}"))
                            .await
                            .unwrap_or_else(|e| panic!("{windows:?} {n}: {e:?}"));
                        assert_eq!((status.as_u16(), body), (403, vec![b'B'; 3000]));
                    }
                    1 => {
                        let (status, body) = get(client, "/elsewhere".into())
                            .await
                            .unwrap_or_else(|e| panic!("{windows:?} {n}: {e:?}"));
                        assert_eq!((status.as_u16(), body), (403, vec![b'B'; 3000]));
                    }
                    2 => assert!(get(client, "/reset".into()).await.is_err_and(|error| error.is_reset())),
                    3 => {
                        let mut client = client.ready().await.expect("ready");
                        let (response, mut send) =
                            client.send_request(request("/echo"), false).expect("sent");
                        let sent: Bytes = (0..size).map(pattern).collect::<Vec<_>>().into();
                        let bytes = sent.clone();
                        tokio::spawn(async move { send_all(&mut send, bytes, true).await });
                        let mut body = response.await.expect("answered").into_body();
                        assert_eq!(read(&mut body).await.expect("read"), sent);
                    }
                    4 => {
                        // Taken back in the middle of the body.
                        let mut client = client.ready().await.expect("ready");
                        let (response, _) =
                            client.send_request(request(&format!("/{most}")), true).expect("sent");
                        let mut body = response.await.expect("answered").into_body();
                        let _ = body.data().await;
                    }
                    _ => {
                        let (status, body) = get(client, format!("/{size}")).await.expect("answered");
                        assert_eq!(status, 200);
                        assert_eq!(body, (0..size).map(pattern).collect::<Vec<_>>());
                    }
                }
            }));
        }
        for task in tasks {
            tokio::time::timeout(Duration::from_secs(60), task).await.expect("in time").expect("joined");
        }
        // The windows are whole: a large body still comes through.
        let (_, body) = get(setup.client.clone(), format!("/{most}")).await.expect("answered");
        assert_eq!(body.len(), most);
        let told = end(setup).await;
        assert_eq!(told.error, None);
        assert_eq!(told.closed.len(), 91);
    }
}

#[tokio::test]
async fn an_upload_is_answered_before_its_end_and_its_credit_comes_back() {
    let setup = setup(USUAL, BLOCK).await;
    for _ in 0..20 {
        let mut client = setup.client.clone().ready().await.expect("ready");
        let mut head = request("/elsewhere");
        *head.method_mut() = Method::POST;
        let (response, mut send) = client.send_request(head, false).expect("sent");
        let upload = tokio::spawn(async move { send_all(&mut send, vec![b'u'; 60_000].into(), true).await });
        let (parts, mut body) = response.await.expect("answered").into_parts();
        assert_eq!(parts.status, 403);
        assert_eq!(read(&mut body).await.expect("read").len(), 3000);
        let _ = upload.await.expect("joined");
    }
    let told = end(setup).await;
    assert_eq!(told.closed.len(), 20);
    assert!(
        told.closed.values().all(|(outcome, to_origin, _)| *outcome == Outcome::Answered && *to_origin == 0)
    );
}

#[tokio::test]
async fn a_lost_origin_is_told_on_every_stream() {
    let (client_end, relay_client) = tokio::io::duplex(1 << 18);
    let (relay_origin, origin_end) = tokio::io::duplex(1 << 18);
    let relay = tokio::spawn(serve(relay_client, relay_origin, Limits::default(), PASS));
    let (mut client, connection) = client::handshake(client_end).await.expect("greets");
    let driver = tokio::spawn(connection);
    let mut origin = server::handshake(origin_end).await.expect("greets");
    let (waiting, _) = client.send_request(request("/a"), true).expect("sent");
    let (begun, _) = client.send_request(request("/b"), true).expect("sent");
    let (_, first): (_, SendResponse<Bytes>) = origin.accept().await.expect("asked").expect("asked");
    let (_, mut second) = origin.accept().await.expect("asked").expect("asked");
    let mut body = second.send_response(Response::new(()), false).expect("sent");
    body.send_data(Bytes::from_static(b"half"), false).expect("sent");
    // Writes what was sent, then the connection is gone.
    let _ = tokio::time::timeout(Duration::from_millis(50), origin.accept()).await;
    drop((origin, first, second, body));
    assert_eq!(waiting.await.expect("answered").status(), 502);
    if let Ok(response) = begun.await {
        assert!(read(&mut response.into_body()).await.is_err(), "half a body is no body");
    }
    drop(client);
    let _ = driver.await;
    let told = relay.await.expect("joined");
    assert_eq!(told.closed.len(), 2);
    assert_eq!(told.closed[&1].0, Outcome::Answered);
}
