//! hudsucker as its users set it up: an explicit proxy that makes a certificate for each host, with a handler that refuses
//! attachments. Two threads, as the agent has on the machine of the published figures.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::hyper::header::CONTENT_DISPOSITION;
use hudsucker::hyper::{Response, StatusCode};
use hudsucker::rcgen::{Issuer, KeyPair};
use hudsucker::{Body, HttpContext, HttpHandler, Proxy};
use hyper_rustls::HttpsConnectorBuilder;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Certificates kept.
const CERTIFICATES: u64 = 4096;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    /// The authority that clients trust, and that origins are verified with
    #[arg(long)]
    authority: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

#[derive(Clone)]
struct NoAttachments;

impl HttpHandler for NoAttachments {
    async fn handle_response(&mut self, _: &HttpContext, response: Response<Body>) -> Response<Body> {
        let disposition = response.headers().get(CONTENT_DISPOSITION);
        let kind = disposition.and_then(|value| value.as_bytes().get(..10));
        if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case(b"attachment")) {
            return response;
        }
        let mut refused = Response::new(Body::from("Download blocked."));
        *refused.status_mut() = StatusCode::FORBIDDEN;
        refused
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let provider = aws_lc_rs::default_provider();
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let key = KeyPair::from_pem(&read(&arguments.key)?)?;
    let issuer = Issuer::from_ca_cert_pem(&read(&arguments.authority)?, key)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&arguments.authority)?)?;
    let client = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(client)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .build();
    Proxy::builder()
        .with_addr(arguments.listen)
        .with_ca(RcgenAuthority::new(issuer, CERTIFICATES, provider))
        .with_http_connector(connector)
        .with_http_handler(NoAttachments)
        .build()?
        .start()
        .await?;
    Ok(())
}
