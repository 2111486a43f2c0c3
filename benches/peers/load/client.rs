//! One connection of a client: TCP, a tunnel where asked for, TLS, and GET over HTTP/1.1 or HTTP/2.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Most octets of a response head.
const HEAD: usize = 64 * 1024;
/// Read at a time.
const STEP: usize = 128 * 1024;
/// What Chromium grants a stream and a connection.
const STREAM_WINDOW: u32 = 6 << 20;
const CONNECTION_WINDOW: u32 = 15 << 20;

/// What a program that is no browser sends with a request: some 600 octets.
const FIELDS: [(&str, &str); 7] = [
    ("user-agent", "SyncClient/25.221 (Linux 6.1; x86_64) BenchTransport/3.2 (build 20441; channel stable)"),
    ("accept", "application/json;odata.metadata=minimal, application/octet-stream, */*;q=0.5"),
    ("accept-language", "en-GB,en;q=0.8,de;q=0.6"),
    ("client-request-id", "6a1f0c8e-2b3d-4f58-9a77-0c1d2e3f4a5b"),
    ("x-transaction-id", "c5b1d9a0-7e42-4c36-8f11-9d0e8c7b6a54"),
    ("prefer", "respond-async, odata.maxpagesize=200, return=minimal"),
    (
        "cookie",
        "SessionAffinity=eu-west-03; Trace=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
         0123456789abcdef0123456789abcdef; Consent=1",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    H1,
    H2,
}

pub(crate) struct Target {
    pub address: SocketAddr,
    pub connect: Option<String>,
    pub name: String,
    pub tls: Arc<ClientConfig>,
    pub protocol: Protocol,
    pub path: String,
    /// Where each connection is for a name of its own: the number that the next one has.
    pub names_from: Option<Cell<u64>>,
}

impl Target {
    /// Host name of the next connection.
    fn next_name(&self) -> String {
        match &self.names_from {
            Some(next) => format!("n{}.{}", next.replace(next.get() + 1), self.name),
            None => self.name.clone(),
        }
    }
}

/// What clients trust and offer: one suite and one group.
pub(crate) fn configuration(trust: &[PathBuf], protocol: Protocol) -> Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![kx_group::X25519];
    let mut roots = RootCertStore::empty();
    for path in trust {
        for certificate in CertificateDer::pem_file_iter(path)? {
            roots.add(certificate.with_context(|| path.display().to_string())?)?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![match protocol {
        Protocol::H1 => b"http/1.1".to_vec(),
        Protocol::H2 => b"h2".to_vec(),
    }];
    Ok(Arc::new(config))
}

pub(crate) enum Client {
    H1 { stream: Box<TlsStream<TcpStream>>, request: Vec<u8>, buffer: Vec<u8> },
    H2 { sender: h2::client::SendRequest<Bytes>, request: http::Request<()> },
}

impl Client {
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let mut tcp = TcpStream::connect(target.address).await?;
        tcp.set_nodelay(true)?;
        if let Some(authority) = &target.connect {
            tunnel(&mut tcp, authority).await?;
        }
        let host = target.next_name();
        let name = ServerName::try_from(host.clone())?;
        let stream = TlsConnector::from(target.tls.clone()).connect(name, tcp).await?;
        match target.protocol {
            Protocol::H1 => {
                let mut request = format!("GET {} HTTP/1.1\r\nhost: {host}\r\n", target.path);
                for (name, value) in FIELDS {
                    request.push_str(&format!("{name}: {value}\r\n"));
                }
                request.push_str("\r\n");
                Ok(Self::H1 { stream: Box::new(stream), request: request.into_bytes(), buffer: Vec::new() })
            }
            Protocol::H2 => {
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    bail!("the target does not speak HTTP/2");
                }
                let (sender, connection) = h2::client::Builder::new()
                    .initial_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .enable_push(false)
                    .handshake(stream)
                    .await?;
                tokio::task::spawn_local(async move {
                    // Its failure is that of the exchanges on it.
                    let _ = connection.await;
                });
                let mut request = http::Request::builder().uri(format!("https://{host}{}", target.path));
                for (name, value) in FIELDS {
                    request = request.header(name, value);
                }
                Ok(Self::H2 { sender, request: request.body(())? })
            }
        }
    }

    /// One GET to its end; gives the payload's length. Anything but 200 is an error.
    pub(crate) async fn get(&mut self) -> Result<u64> {
        match self {
            Self::H1 { stream, request, buffer } => {
                stream.write_all(request).await?;
                buffer.resize(STEP, 0);
                get_h1(stream, buffer).await
            }
            Self::H2 { sender, request } => {
                let mut ready = sender.clone().ready().await?;
                let (response, _) = ready.send_request(request.clone(), true)?;
                let response = response.await?;
                if response.status() != 200 {
                    bail!("the answer is {}", response.status());
                }
                let mut body = response.into_body();
                let mut bytes = 0;
                while let Some(data) = body.data().await {
                    let data = data?;
                    bytes += data.len() as u64;
                    body.flow_control().release_capacity(data.len())?;
                }
                Ok(bytes)
            }
        }
    }

    /// Another user of the same connection.
    pub(crate) fn another(&self) -> Result<Self> {
        match self {
            Self::H1 { .. } => bail!("a connection of HTTP/1.1 serves one request at a time"),
            Self::H2 { sender, request } => Ok(Self::H2 { sender: sender.clone(), request: request.clone() }),
        }
    }

    /// Gives back what only requests need.
    pub(crate) fn settle(&mut self) {
        if let Self::H1 { buffer, .. } = self {
            *buffer = Vec::new();
        }
    }
}

async fn tunnel(tcp: &mut TcpStream, authority: &str) -> Result<()> {
    tcp.write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).await?;
    let (mut answer, mut octet) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > HEAD || tcp.read(&mut octet).await? == 0 {
            bail!("no answer to CONNECT");
        }
        answer.extend_from_slice(&octet);
    }
    let status = answer.get(9..12).unwrap_or_default();
    if status != b"200" {
        bail!("CONNECT was answered with {}", String::from_utf8_lossy(status));
    }
    Ok(())
}

/// The origin sends a length with everything; so must whoever stands in between.
async fn get_h1(stream: &mut TlsStream<TcpStream>, buffer: &mut [u8]) -> Result<u64> {
    let mut have = 0;
    let end = loop {
        let count = stream.read(buffer.get_mut(have..).unwrap_or_default()).await?;
        if count == 0 {
            bail!("the connection ended within a head");
        }
        have += count;
        let read = buffer.get(..have).unwrap_or_default();
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("the answer is {status}");
    }
    let length = lines.find_map(|line| line.strip_prefix("content-length:"));
    let length: u64 = length.context("a response without Content-Length")?.trim().parse()?;
    let mut got = (have - end) as u64;
    while got < length {
        match stream.read(buffer).await? {
            0 => bail!("the connection ended {} octets early", length - got),
            count => got += count as u64,
        }
    }
    if got > length {
        bail!("more came than was announced");
    }
    Ok(length)
}
