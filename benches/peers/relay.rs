//! A byte relay, the cost of TLS in and out on this stack: terminates TLS with a fixed certificate, opens TLS to the
//! origin with the same protocol, and copies octets. It reads no HTTP and decides nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    origin: SocketAddr,
    #[arg(long)]
    name: String,
    #[arg(long)]
    trust: PathBuf,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
    /// No TLS at all: octets as they come
    #[arg(long)]
    plain: bool,
    /// Octets copied at a time, from the origin
    #[arg(long, default_value_t = 65536)]
    buffer: usize,
}

struct Relay {
    origin: SocketAddr,
    name: ServerName<'static>,
    server: Arc<ServerConfig>,
    /// Without protocols: they are those the client's side agreed on.
    client: ClientConfig,
    plain: bool,
    buffer: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(&arguments.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&arguments.key)?)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server.send_tls13_tickets = 0;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&arguments.trust)? {
        roots.add(certificate?)?;
    }
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    let relay = Arc::new(Relay {
        origin: arguments.origin,
        name: ServerName::try_from(arguments.name)?,
        server: Arc::new(server),
        client,
        plain: arguments.plain,
        buffer: arguments.buffer,
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let listener = TcpListener::bind(arguments.listen).await.context("listening")?;
        loop {
            let (stream, _) = listener.accept().await?;
            let relay = relay.clone();
            tokio::spawn(async move {
                // Clients that close without a word are part of the work.
                let _ = relay.serve(stream).await;
            });
        }
    })
}

impl Relay {
    async fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        // From the client come requests.
        let upward = self.buffer.min(16 * 1024);
        if self.plain {
            let mut origin = TcpStream::connect(self.origin).await?;
            origin.set_nodelay(true)?;
            tokio::io::copy_bidirectional_with_sizes(&mut stream, &mut origin, upward, self.buffer).await?;
            return Ok(());
        }
        let mut client = TlsAcceptor::from(self.server.clone()).accept(stream).await?;
        let mut config = self.client.clone();
        config.alpn_protocols = client.get_ref().1.alpn_protocol().map(<[u8]>::to_vec).into_iter().collect();
        let origin = TcpStream::connect(self.origin).await?;
        origin.set_nodelay(true)?;
        let mut origin = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), origin).await?;
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut origin, upward, self.buffer).await?;
        Ok(())
    }
}
