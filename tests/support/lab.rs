//! One lab: both namespaces, both cgroups, the origin's servers, and the files of all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cgroup::Cgroup;
use crate::netns::NetNs;
use crate::origin::{self, Origin, RESOLVER, SITES};
use crate::pins::Pins;
use crate::process::{Daemon, Finished, Place, new_files_are_readable, run};
use crate::{is_root, sweep, wait};

/// uid of the user that owns nothing.
pub const NOBODY: u32 = 65534;

/// A whole lab; drop removes every part of it.
pub struct Lab {
    // Fields drop in this order: processes, then what they stood on, then their files.
    origin: Origin,
    side: Mutex<Option<NetNs>>,
    host_cgroup: Cgroup,
    origin_cgroup: Cgroup,
    host: NetNs,
    origin_side: NetNs,
    clients: PathBuf,
    agents: PathBuf,
    pins: Pins,
    files: Files,
    id: String,
}

impl Lab {
    /// Builds everything and waits until every server answers. Takes root.
    pub fn start() -> Result<Self> {
        ensure!(
            is_root(),
            "the lab takes root (network namespaces, cgroups): run as root, or `cargo xtask test netns`"
        );
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep::sweep);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        new_files_are_readable();
        let id = match NEXT.fetch_add(1, Ordering::Relaxed) {
            0 => std::process::id().to_string(),
            number => format!("{}-{number}", std::process::id()),
        };

        let files = Files::create(Path::new(sweep::FILES).join(format!("pcHOST{id}")))?;
        let pins = Pins::mount(&files.path)?;
        let origin_side = NetNs::create(format!("pcORIG{id}"))?;
        let host = NetNs::create(format!("pcHOST{id}"))?;
        host.connect("pc0", &origin_side, "pc0")?;
        host.address("pc0", &["198.18.0.2/24", "fd18::2/64"])?;
        origin_side.address("pc0", &["198.18.0.1/24", "fd18::1/64"])?;
        for site in &SITES {
            // Sites that share an address name it twice; the second time it is already there.
            let _ = origin_side.address("pc0", &[&format!("{}/24", site.v4)]);
            let _ = origin_side.address("pc0", &[&format!("{}/64", site.v6)]);
        }

        let origin_cgroup = Cgroup::create(&format!("pcORIG{id}"))?;
        let host_cgroup = Cgroup::create(&format!("pcHOST{id}"))?;
        let (clients, agents) = (host_cgroup.child("clients")?, host_cgroup.child("agent")?);
        let place = Place {
            netns: origin_side.path(),
            cgroup: origin_cgroup.path().to_owned(),
            files: Vec::new(),
            home: files.path.clone(),
        };
        let origin = Origin::start(&place, &files.path.join("origin"))?;

        let lab = Self {
            origin,
            side: Mutex::new(None),
            host_cgroup,
            origin_cgroup,
            host,
            origin_side,
            clients,
            agents,
            pins,
            files,
            id,
        };
        lab.write_names()?;
        lab.trust_only_the_origin()?;
        Ok(lab)
    }

    /// Directory for files; other users can read what is in it.
    pub fn directory(&self) -> &Path {
        &self.files.path
    }

    /// Name of the clients' network namespace, as `ip netns` shows it.
    pub fn namespace(&self) -> &str {
        self.host.name()
    }

    /// The namespace of the origin's servers.
    pub fn origin_namespace(&self) -> &str {
        self.origin_side.name()
    }

    /// The cgroup whose processes are steered.
    pub fn cgroup(&self) -> &Path {
        self.host_cgroup.path()
    }

    /// Directory on the lab's BPF file system where its agent pins.
    pub fn pins(&self) -> PathBuf {
        self.pins.path().join("portcullis")
    }

    /// The cgroup of its agent; its clients are in another.
    pub fn agent_cgroup(&self) -> &Path {
        &self.agents
    }

    /// Where clients run.
    pub fn client(&self) -> Place {
        self.place(self.host.path(), self.clients.clone())
    }

    pub(crate) fn agent(&self) -> Place {
        self.place(self.host.path(), self.agents.clone())
    }

    /// Where a client runs beside the others that no program is attached to: in another cgroup.
    pub fn bystander(&self) -> Place {
        self.place(self.host.path(), self.origin_cgroup.path().to_owned())
    }

    /// Where a server of a test's own runs, beside the origin's.
    pub fn origin_place(&self) -> Place {
        self.place(self.origin_side.path(), self.origin_cgroup.path().to_owned())
    }

    /// Where a client runs that is in the same cgroup but in another network namespace, as in a container.
    pub fn side_client(&self) -> Result<Place> {
        let mut slot = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        let side = match &mut *slot {
            Some(side) => side,
            empty => empty.insert(self.make_side()?),
        };
        Ok(self.place(side.path(), self.clients.clone()))
    }

    fn make_side(&self) -> Result<NetNs> {
        let side = NetNs::create(format!("pcSIDE{}", self.id))?;
        side.connect("pc0", &self.origin_side, "pc1")?;
        self.origin_side.address("pc1", &["198.18.1.1/24", "fd18:1::1/64"])?;
        side.address("pc0", &["198.18.1.2/24", "fd18:1::2/64"])?;
        side.ip(&["route", "add", "198.18.0.0/24", "via", "198.18.1.1"])?;
        side.ip(&["route", "add", "fd18::/64", "via", "fd18:1::1"])?;
        Ok(side)
    }

    /// What names of this lab's objects end in.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The namespace of clients and agent, and that of the origin's servers.
    pub(crate) fn namespaces(&self) -> (&NetNs, &NetNs) {
        (&self.host, &self.origin_side)
    }

    /// Where a client runs that lives in a namespace of its own.
    pub(crate) fn client_in(&self, netns: PathBuf) -> Place {
        self.place(netns, self.clients.clone())
    }

    fn place(&self, netns: PathBuf, cgroup: PathBuf) -> Place {
        let mut files = vec![
            (self.files.path.join("resolv.conf"), resolved(Path::new("/etc/resolv.conf"))),
            (self.hosts(), resolved(Path::new("/etc/hosts"))),
        ];
        // Names come from the lab's resolver alone, whatever this machine asks first (systemd-resolved, mDNS).
        let switch = Path::new("/etc/nsswitch.conf");
        if switch.exists() {
            files.push((self.files.path.join("nsswitch.conf"), resolved(switch)));
        }
        Place { netns, cgroup, files, home: self.files.path.clone() }
    }

    /// The hosts file that agent and clients see; only `localhost` is in it.
    pub fn hosts(&self) -> PathBuf {
        self.files.path.join("hosts")
    }

    /// PEM bundle that the clients trust: the origin's CA, and the agent's once an agent has started.
    pub fn trust(&self) -> PathBuf {
        self.files.path.join("trust.pem")
    }

    /// PEM of the origin's CA alone.
    pub fn origin_ca(&self) -> PathBuf {
        self.origin.ca()
    }

    /// Clients believe this authority from here on, and the origins'.
    pub fn trust_also(&self, ca: &Path) -> Result<()> {
        let mut bundle = fs::read(self.origin.ca())?;
        bundle.extend(fs::read(ca).with_context(|| format!("cannot read the agent's CA {}", ca.display()))?);
        // In one step: clients of a running test read the bundle at any time.
        let draft = self.trust().with_extension("new");
        fs::write(&draft, bundle)?;
        Ok(fs::rename(draft, self.trust())?)
    }

    fn trust_only_the_origin(&self) -> Result<()> {
        fs::copy(self.origin.ca(), self.trust())?;
        Ok(())
    }

    fn write_names(&self) -> Result<()> {
        let resolver = RESOLVER[0];
        fs::write(
            self.files.path.join("resolv.conf"),
            format!("nameserver {resolver}\noptions timeout:2 attempts:2\n"),
        )?;
        fs::write(self.hosts(), "127.0.0.1 localhost\n::1 localhost\n")?;
        fs::write(
            self.files.path.join("nsswitch.conf"),
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
        )?;
        Ok(())
    }

    /// By whose address the origin was asked, a line per finished request: `address host/path`.
    pub fn origin_clients(&self) -> Vec<String> {
        self.origin.clients()
    }

    /// The origin's record of finished requests: `host method path status bytes`.
    pub fn origin_requests(&self) -> Vec<String> {
        self.origin.requests()
    }

    /// Waits for such a record.
    pub fn wait_for_origin_request(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        origin::wait_for_request(&self.origin, what, wanted)
    }

    /// Starts a server of [`crate::OWN_SITE`] on the origin's side and waits until it accepts connections: a program
    /// and its arguments, among which `CERTIFICATE`, `KEY` and `ADDRESS` stand for what they say.
    pub fn serve_own_site(&self, program: &[&str]) -> Result<Daemon> {
        let (certificate, key) = self.origin.own_certificate()?;
        let address = address_of(crate::OWN_SITE, false).context("the site has an address")?;
        let (name, arguments) = program.split_first().context("no program named")?;
        let place = Place {
            netns: self.origin_side.path(),
            cgroup: self.origin_cgroup.path().to_owned(),
            files: Vec::new(),
            home: self.files.path.clone(),
        };
        let mut command = place.command(name, None)?;
        for argument in arguments {
            match *argument {
                "CERTIFICATE" => command.arg(&certificate),
                "KEY" => command.arg(&key),
                "ADDRESS" => command.arg(address),
                other => command.arg(other),
            };
        }
        let mut daemon = Daemon::spawn(name, command, self.files.path.join("own-site.log"))?;
        daemon.wait_until("port open", || origin::port_open(&place.netns, address, 443))?;
        Ok(daemon)
    }

    /// The same with an origin that answers from a table: a row for each path, over these protocols (as in ALPN). How rows
    /// look like stands in `table_origin.py`.
    pub fn serve_table(&self, rows: &serde_json::Value, protocols: &str) -> Result<Daemon> {
        let table = self.files.path.join("table.json");
        fs::write(&table, rows.to_string())?;
        let table = table.to_str().context("a path in UTF-8")?;
        let program = include_str!("table_origin.py");
        self.serve_own_site(&[
            "/usr/bin/python3",
            "-I",
            "-u",
            "-c",
            program,
            "ADDRESS",
            "CERTIFICATE",
            "KEY",
            table,
            protocols,
        ])
    }

    /// What nginx complained about.
    pub fn origin_log(&self) -> String {
        self.origin.log()
    }

    /// Runs a program among the clients, as root or as `uid`.
    pub fn run(&self, program: &[&str], uid: Option<u32>) -> Result<Finished> {
        let (name, arguments) = program.split_first().context("no program named")?;
        let mut command = self.client().command(name, uid)?;
        command.args(arguments);
        run(command, wait::PATIENCE + Duration::from_secs(10))
    }
}

/// Address of a site of the lab, in the family asked for.
pub fn address_of(name: &str, v6: bool) -> Option<&'static str> {
    SITES.iter().find(|site| site.name == name).map(|site| if v6 { site.v6 } else { site.v4 })
}

/// Where a path really is: a mount goes over the file, not over the link to it.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Owner of the lab's directory.
struct Files {
    path: PathBuf,
}

impl Files {
    fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let files = Self { path };
        std::os::unix::fs::chown(&files.path, Some(0), Some(0))?;
        fs::set_permissions(&files.path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if std::env::var_os("PORTCULLIS_KEEP_LAB").is_some() {
            eprintln!("lab: kept {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("lab: cannot remove {}: {error}", self.path.display());
        }
    }
}
