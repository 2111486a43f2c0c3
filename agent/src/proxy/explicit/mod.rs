//! The proxy that clients are told to use: CONNECT and requests in absolute form (RFC 9110 section 9.3.6, RFC 9112
//! section 3.2.2). What comes behind it goes through the same pipeline as a steered connection.
//!
//! Nothing here takes a privilege. A tunnel's name is what the client says it wants; the ClientHello in it decides, and
//! where the two disagree about a monitored app the connection is refused.

mod destination;
mod forward;
mod resolve;
mod socket_owner;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::destination::Asker;
pub use self::socket_owner::SocketOwner;
pub(super) use self::socket_owner::{process_with, recent_process_with};
use super::connection::{self, is_bypassed};
use super::dial::{self, Ready};
use super::enforce::Answer;
use super::refused;
use super::share::Holder;
use super::side::Side;
use super::untouched::{abort, log_failure};
use super::who::Early;
use super::worker::{Accepted, Worker};
use crate::addr::{ClientAddr, OriginalDst};
use crate::catalog::App;
use crate::http::h1::{Parsed, Peer, RequestReader, Target};
use crate::http::head::{RequestHead, Version};
use crate::http::proxy_request::{self, Authority, Wish};
use crate::policy::failure_mode::Failure;
use crate::record::guard::ConnectionGuard;
use crate::reload::Snapshot;
use crate::tls::PeekDeadlines;

/// For each address of a name while another is left.
const NEXT_AFTER: Duration = Duration::from_secs(3);

/// What a client told the proxy it wants.
#[derive(Debug, Clone)]
pub struct AskedFor {
    /// Lower case, no trailing dot; an address literal as text.
    pub name: String,
    /// The app of the name, when a policy selects it and no bypass exempts it.
    pub app: Option<Arc<App>>,
    /// The client's socket, when it is of this host.
    pub owner: Option<SocketOwner>,
    /// The client is on another host.
    pub remote: bool,
}

/// A refusal before anything is dialled or sent on, told as a response.
struct Refusal(u16, String);

impl Refusal {
    fn new(status: u16, words: impl Into<String>) -> Self {
        Self(status, words.into())
    }
}

/// Serves one connection of a client to the proxy.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    guard: &mut ConnectionGuard,
) {
    let Ok(local) = stream.local_addr() else { return abort(stream) };
    let on_this_host = client.ip().is_loopback() || client.ip() == local.ip();
    let snapshot = worker.shared.snapshot.load_full();
    if !is_allowed(&snapshot.config.steering.clients, client) {
        tracing::info!(%client, "refused: [steering] clients does not name this client's address");
        return abort(stream);
    }
    let owner = if on_this_host { socket_owner::owner_of(client, local) } else { None };
    let holder = owner.map_or_else(|| Holder::of_host(client.ip()), |owner| Holder::User(owner.uid));
    let Some(_share) = worker.shares.take(holder) else {
        tracing::debug!(%client, ?holder, "refused: the client holds a full share of the connections");
        return abort(stream);
    };
    let _ = stream.set_nodelay(true);
    let mut side = Side::new(stream);
    let Some((head, consumed)) = Box::pin(first_head(worker, &mut side)).await else { return };
    let asker = Asker { on_this_host, listener_port: local.port() };
    let asked = Asked { snapshot, client: ClientAddr(client), asker, owner };
    match Box::pin(begin(worker, &asked, &head)).await {
        Err(Refusal(status, words)) => {
            tracing::info!(%client, status, "refused: {words}");
            say(&mut side, &head, status, &words).await;
        }
        Ok((Wish::Forward(_), accepted)) => Box::pin(forward::serve(worker, side, accepted, guard)).await,
        Ok((Wish::Tunnel(_), accepted)) => {
            side.input.consume(consumed);
            if !side.input.unread().is_empty() {
                // It cannot know yet whether there is a tunnel; what it takes for one might be a request's body.
                return say(&mut side, &head, 400, "wait for the answer to CONNECT").await;
            }
            side.out().extend_from_slice(b"HTTP/1.1 200 Connection established\r\n\r\n");
            if side.flush().await.is_ok() {
                // The tunnel may last for hours; what was asked, its buffer, and the set that it was judged by need not.
                drop((head, asked));
                Box::pin(connection::route(worker, accepted.with(side.into_stream()), guard)).await;
            }
        }
    }
}

/// What is known of a client that asks.
struct Asked {
    snapshot: Arc<Snapshot>,
    client: ClientAddr,
    asker: Asker,
    owner: Option<SocketOwner>,
}

/// A connection that lacks only its stream.
struct Begun {
    client: ClientAddr,
    original_dst: OriginalDst,
    origin: TcpStream,
    peek: PeekDeadlines,
    asked: AskedFor,
}

impl Begun {
    fn with(self, stream: TcpStream) -> Accepted {
        let Self { client, original_dst, origin, peek, asked } = self;
        let (ready, unexplained) = (Ready::new(origin), asked.app.is_none());
        Accepted { stream, client, original_dst, unexplained, owner: None, ready, peek, asked: Some(asked) }
    }
}

/// Reads the wish, looks up where that is, and connects there.
async fn begin(worker: &Rc<Worker>, asked: &Asked, head: &RequestHead) -> Result<(Wish, Begun), Refusal> {
    let wish = proxy_request::wish(head).map_err(|fault| Refusal::new(400, fault.to_string()))?;
    let (Wish::Tunnel(authority) | Wish::Forward(authority)) = &wish;
    let name = authority.host.to_string();
    let snapshot = &asked.snapshot;
    let app = snapshot.catalog.lookup(&name).filter(|app| snapshot.policies.selects(app)).cloned();
    let app = app.filter(|_| !is_bypassed(snapshot, &name));
    let remote = !asked.asker.on_this_host;
    let mut begun = Begun {
        client: asked.client,
        original_dst: OriginalDst(SocketAddr::from(([0, 0, 0, 0], authority.port))),
        origin: match connect(worker, asked.asker, authority).await {
            Ok(origin) => origin,
            Err((refusal, tried)) => {
                failed(worker, asked, head, (app, name, remote), tried).await;
                return Err(refusal);
            }
        },
        peek: if remote { PeekDeadlines::REMOTE } else { worker.shared.peek },
        asked: AskedFor { name, app, owner: asked.owner, remote },
    };
    let to = begun.origin.peer_addr().map_err(|error| Refusal::new(502, error.to_string()))?;
    begun.original_dst = OriginalDst(SocketAddr::new(to.ip().to_canonical(), to.port()));
    Ok((wish, begun))
}

/// Records that a monitored app could not be connected to at the address that was tried.
async fn failed(
    worker: &Worker,
    asked: &Asked,
    head: &RequestHead,
    (app, name, remote): (Option<Arc<App>>, String, bool),
    tried: Option<SocketAddr>,
) {
    let Some(tried) = tried else { return };
    let original_dst = OriginalDst(tried);
    log_failure(Failure::UpstreamConnect, asked.client.0, Some(original_dst));
    let Some(app) = app else { return refused::count(&worker.shared, Failure::UpstreamConnect) };
    let owner = asked.owner;
    let early = Early::of_socket(&AskedFor { name: name.clone(), app: None, owner, remote }).await;
    let addresses = (asked.client, original_dst);
    let mut refused = early.refused(Failure::UpstreamConnect, app, addresses, &name);
    refused.request = Some(head);
    refused::record(&worker.shared, refused).await;
}

/// A connection to the first address of the host that answers and may be dialled; else what to tell the client, and
/// the address that was tried last.
async fn connect(
    worker: &Worker,
    asker: Asker,
    authority: &Authority,
) -> Result<TcpStream, (Refusal, Option<SocketAddr>)> {
    let addresses = resolve::resolve(authority).await.map_err(|refusal| (refusal, None))?;
    let mut last = (Refusal::new(502, "the name has no address"), None);
    let mut left = addresses.len();
    for address in addresses.iter().copied() {
        left -= 1;
        if let Err(barred) = destination::check(address, asker) {
            last = (Refusal::new(403, barred.words()), None);
            continue;
        }
        let dialled = worker.dialer.dial(OriginalDst(address));
        let dialled = match left {
            0 => dialled.await,
            _ => timeout(NEXT_AFTER, dialled).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
        };
        match dialled {
            Ok(origin) => return Ok(origin),
            Err(error) => {
                worker.shared.recorder.metrics.upstream_failure(dial::failure_name(&error));
                let status = if error.kind() == io::ErrorKind::TimedOut { 504 } else { 502 };
                last = (
                    Refusal::new(status, format!("the origin could not be reached: {error}")),
                    Some(address),
                );
            }
        }
    }
    Err(last)
}

/// The first head, whose bytes stay unread, and its length. `None` when it was refused or never came.
async fn first_head(worker: &Worker, side: &mut Side<TcpStream>) -> Option<(RequestHead, usize)> {
    let mut reader = RequestReader::new(Target::Proxy);
    let limits = worker.shared.limits();
    let read = async {
        loop {
            match reader.read(side.input.unread(), &limits.http1) {
                Parsed::Complete(head, consumed) => return Some(Ok((head, consumed))),
                Parsed::Refused(refusal) => return Some(Err(refusal)),
                Parsed::More => {}
            }
            if !matches!(side.fill().await, Ok(count) if count > 0) {
                return None;
            }
        }
    };
    let read = timeout(limits.timeouts.request_head, read).await;
    let nothing = RequestHead::new("GET", "/", Version::Http11);
    match read {
        Ok(Some(Ok(read))) => Some(read),
        Ok(Some(Err(refusal))) => {
            say(side, &nothing, refusal.status(Peer::Client), &refusal.to_string()).await;
            None
        }
        Ok(None) => None,
        Err(_) => {
            say(side, &nothing, 408, "the request head did not arrive in time").await;
            None
        }
    }
}

/// Answers the client ourselves and closes.
async fn say(side: &mut Side<TcpStream>, head: &RequestHead, status: u16, words: &str) {
    let form = if head.method() == "CONNECT" { "GET" } else { head.method() };
    let as_if = RequestHead::new(form, "/", head.version());
    if Answer::failure(status, words).write(&as_if, false, side.out()).is_ok() {
        let _ = side.shutdown().await;
    }
}

fn is_allowed(clients: &[IpNet], client: SocketAddr) -> bool {
    let address = client.ip().to_canonical();
    clients.iter().any(|net| net.contains(&address))
}

impl AskedFor {
    /// Whether a hello for `name` is not what the tunnel was asked for: the tunnel's name is a monitored app's, the
    /// hello's is not, or is exempt.
    pub(super) fn contradicts(&self, name: &str, snapshot: &Snapshot) -> bool {
        let inspected = || {
            snapshot.catalog.lookup(name).is_some_and(|app| snapshot.policies.selects(app))
                && !is_bypassed(snapshot, name)
        };
        self.app.is_some() && name != self.name && !inspected()
    }
}
