//! The origin side: one nginx with the lab's sites, one dnsmasq that names them.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::netns::inside;
use crate::pki::Pki;
use crate::process::{Daemon, Place};
use crate::{attachment, wait};

/// Address of the resolver, in both families.
pub const RESOLVER: [&str; 2] = ["198.18.0.1", "fd18::1"];

/// A host name with its addresses. Sites may share addresses, as behind a content network.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
    /// Whether its certificate is one that clients should trust.
    trusted: bool,
    /// nginx serves it; else a test does.
    nginx: bool,
}

const fn site(name: &'static str, v4: &'static str, v6: &'static str) -> Site {
    Site { name, v4, v6, trusted: true, nginx: true }
}

/// The app `corp-files` owns `*.corp.test`, `memo` owns `notes.memo.test`; nobody owns the rest.
pub(crate) const SITES: [Site; 9] = [
    site("files.corp.test", "198.18.0.10", "fd18::10"),
    site("shared.test", "198.18.0.10", "fd18::10"),
    site("api.corp.test", "198.18.0.11", "fd18::11"),
    site("docs.corp.test", "198.18.0.12", "fd18::12"),
    site("notes.memo.test", "198.18.0.13", "fd18::13"),
    site("bucket.storage.test", "198.18.0.16", "fd18::16"),
    site("other.example.test", "198.18.0.20", "fd18::20"),
    Site { trusted: false, ..site("broken.corp.test", "198.18.0.14", "fd18::14") },
    Site { nginx: false, ..site(OWN_SITE, "198.18.0.15", "fd18::15") },
];

/// A site of Corp Files that nothing serves until a test does.
pub const OWN_SITE: &str = "own.corp.test";
/// The one site of nginx that speaks no HTTP/2.
pub const OLD_SITE: &str = "api.corp.test";

/// `docs.corp.test` has no address of its own: the answer is a chain of two aliases.
const ALIASES: [(&str, &str); 2] =
    [("docs.corp.test", "docs.edge.test"), ("docs.edge.test", "node7.cdn.test")];

/// A site whose HTTPS record (RFC 9460) promises HTTP/3: priority 1, the name itself, `alpn` with `h3` beside the default.
const HTTP3_SITE: &str = "files.corp.test";
const HTTP3_RECORD: &str = "00010000010003026833";

/// What apps do besides serving files: a sign-in and one that fails, a message, a redirect to signed storage.
const ACTIVITIES: &str = "location = /session { return 302 /; }\nlocation = /session/wrong { return 401; }\n\
    location = /messages { default_type application/json; return 201 '{}'; }\n\
    location /lead/ { rewrite ^/lead(/.*)$ https://bucket.storage.test$1?sig=s3cr3t redirect; }\n";

pub(crate) struct Origin {
    // Fields drop in this order: servers end before the files they read go.
    nginx: Daemon,
    _dnsmasq: Daemon,
    access_log: PathBuf,
    pki: Pki,
}

impl Origin {
    pub(crate) fn start(place: &Place, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let pki = Pki::create(directory.join("pki"))?;
        let mut dnsmasq = dnsmasq(place, directory)?;
        let mut nginx = nginx(place, directory, &pki)?;
        for (daemon, port) in [(&mut dnsmasq, 53), (&mut nginx, 443)] {
            let addresses: Vec<&str> = if port == 53 {
                RESOLVER.to_vec()
            } else {
                SITES.iter().filter(|site| site.nginx).flat_map(|site| [site.v4, site.v6]).collect()
            };
            daemon
                .wait_until("port open", || addresses.iter().all(|to| port_open(&place.netns, to, port)))?;
        }
        Ok(Self { nginx, _dnsmasq: dnsmasq, access_log: directory.join("access.log"), pki })
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.pki.ca()
    }

    /// A line per request that nginx has finished: `host method path status bytes`.
    pub(crate) fn requests(&self) -> Vec<String> {
        fs::read_to_string(&self.access_log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Whose address each of these requests came from: `address host/path`.
    pub(crate) fn clients(&self) -> Vec<String> {
        let log = self.access_log.with_file_name("clients.log");
        fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Certificate and key of [`OWN_SITE`], PEM.
    pub(crate) fn own_certificate(&self) -> Result<(PathBuf, PathBuf)> {
        self.pki.issue(OWN_SITE)
    }

    /// For the developer who looks into a failure.
    pub(crate) fn log(&self) -> String {
        self.nginx.log()
    }
}

/// Whether something accepts connections there, asked from inside the namespace.
pub(crate) fn port_open(netns: &Path, address: &str, port: u16) -> bool {
    let Ok(ip) = address.parse::<IpAddr>() else { return false };
    let to = SocketAddr::new(ip, port);
    inside(netns, move || TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_ok())
        .unwrap_or(false)
}

/// An HTTPS record (RFC 9460) with an ECH configuration (RFC 9849 section 4) in hex, as providers publish it: whoever
/// believes it hides the site's name behind the provider's.
fn ech_record() -> String {
    let sized = |content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap_or_default();
        [&length.to_be_bytes()[..], content].concat()
    };
    let public_name = b"cloudflare-ech.com";
    // A key that nobody has the other half of: any 32 octets are an X25519 public key.
    let (config_id, kem, suites) = ([7], [0x00, 0x20], sized(&[0, 1, 0, 1]));
    let mut contents = [&config_id[..], &kem, &sized(&[9; 32]), &suites, &[0]].concat();
    contents.push(18);
    contents.extend_from_slice(public_name);
    contents.extend([0, 0]);
    let list = sized(&[&[0xfe, 0x0d][..], &sized(&contents)].concat());
    // Priority 1, this name itself, then the parameters alpn (1) and ech (5).
    let record = [&[0, 1, 0][..], &[0, 1], &sized(b"\x08http/1.1"), &[0, 5], &sized(&list)].concat();
    record.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn dnsmasq(place: &Place, directory: &Path) -> Result<Daemon> {
    let mut text = String::from(
        "no-resolv\nno-hosts\nno-poll\nbind-interfaces\nport=53\nuser=root\ngroup=root\nlocal=/test/\nlocal-ttl=30\n",
    );
    for address in RESOLVER {
        writeln!(text, "listen-address={address}")?;
    }
    for site in &SITES {
        let name = ALIASES
            .iter()
            .fold(site.name, |name, (alias, target)| if name == *alias { target } else { name });
        // What a test serves it serves at one address.
        let v6 = if site.nginx { format!(",{}", site.v6) } else { String::new() };
        writeln!(text, "host-record={name},{}{v6}", site.v4)?;
    }
    writeln!(text, "dns-rr={HTTP3_SITE},65,{HTTP3_RECORD}")?;
    for (alias, target) in ALIASES {
        writeln!(text, "cname={alias},{target}")?;
    }
    writeln!(text, "dns-rr=api.corp.test,65,{}", ech_record())?;
    let configuration = directory.join("dnsmasq.conf");
    fs::write(&configuration, text)?;
    let mut command = place.command("dnsmasq", None)?;
    command.args(["--keep-in-foreground", "--log-facility=-", "--pid-file="]);
    command.arg(format!("--conf-file={}", configuration.display()));
    Daemon::spawn("dnsmasq", command, directory.join("dnsmasq.log")).context("package dnsmasq-base")
}

fn nginx(place: &Place, directory: &Path, pki: &Pki) -> Result<Daemon> {
    let shown = directory.display();
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {shown}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 512; }}\nhttp {{\n\
         log_format lab '$host $request_method $request_uri $status $body_bytes_sent';\n\
         access_log {shown}/access.log lab;\n\
         log_format clients '$remote_addr $host$request_uri';\n\
         access_log {shown}/clients.log clients;\n\
         sendfile on; tcp_nodelay on; etag on; server_tokens off; keepalive_timeout 30s; charset off;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "{kind}_temp_path {shown}/nginx-{kind};")?;
    }
    let documents = directory.join("documents");
    attachment::write(&documents, &SITES.map(|site| site.name))?;
    for site in SITES.iter().filter(|site| site.nginx) {
        let (chain, key) = if site.trusted { pki.issue(site.name)? } else { pki.self_signed(site.name)? };
        writeln!(text, "server {{ server_name {};", site.name)?;
        for address in [site.v4.to_owned(), format!("[{}]", site.v6)] {
            let http2 = if site.name == OLD_SITE { "" } else { " http2" };
            writeln!(text, "listen {address}:443 ssl{http2}; listen {address}:80;")?;
        }
        writeln!(text, "ssl_certificate {}; ssl_certificate_key {};", chain.display(), key.display())?;
        // In answers that add no field of their own.
        writeln!(text, "add_header Alt-Svc 'h3=\":443\"; ma=60, h2=\":443\"';")?;
        writeln!(text, "root {}; index index.html;", documents.join(site.name).display())?;
        for resource in attachment::all() {
            text += &attachment::location(&resource, &documents, site.name);
        }
        // What is put there lies there, and is offered as a file.
        text += "location /drive/ { dav_methods PUT; create_full_put_path on; client_max_body_size 64m; types { } \
                 default_type text/plain; add_header Content-Disposition attachment; }\n";
        text += ACTIVITIES;
        text += "location / { default_type text/html; }\n}\n";
    }
    text += "}\n";
    let configuration = directory.join("nginx.conf");
    fs::write(&configuration, text)?;
    let mut command = place.command("nginx", None)?;
    command.arg("-e").arg("stderr").arg("-p").arg(directory).arg("-c").arg(&configuration);
    Daemon::spawn("nginx", command, directory.join("nginx.log")).context("package nginx-light")
}

/// Waits until the origin's log has a line for which `wanted` holds.
pub(crate) fn wait_for_request(origin: &Origin, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    wait::until(what, wait::PATIENCE, || Ok(origin.requests().into_iter().find(|line| wanted(line))))
}
