//! Makes every part in order, up to the moment at which connections can be accepted.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;

use super::authority::Custody;
use super::gap::{self, Gap};
use super::last_good::LastGood;
use super::{ACTIVITY_LOG, LOCK, live, orders};
use crate::admin::health::{Condition, Health, Part};
use crate::catalog::HostPattern;
use crate::config::{Config, Dial, ExportTarget, Fail, Mode, Quic, UpstreamRoots};
use crate::forward::{Exports, Prepared};
use crate::identity::Identity;
use crate::inherited;
use crate::listener::Listeners;
use crate::lock::Lock;
use crate::posture;
use crate::posture::inventory::Inventories;
use crate::proxy::led::Led;
use crate::proxy::notices::Notices;
use crate::proxy::worker::Shared;
use crate::record::Recorder;
use crate::record::activity_log::{self, ActivityLog, Opened};
use crate::record::metrics::Metrics;
use crate::reload::{Snapshot, Sources};
use crate::steering::{self, GatewayOptions, Steering};
use crate::tls::{self, Authority, AuthorityEvent, ClientSide, OriginConnector, RootsSource};

/// Everything that exists before the first connection is accepted.
pub(super) struct Built {
    pub(super) shared: Arc<Shared>,
    pub(super) custody: Custody,
    /// Absent in explicit mode.
    pub(super) steering: Option<Steering>,
    pub(super) listeners: Listeners,
    pub(super) health: Arc<Health>,
    pub(super) host: posture::Host,
    pub(super) workers: usize,
    pub(super) mode: Mode,
    pub(super) gap: Option<Gap>,
    pub(super) exports: Exports,
    pub(super) last_good: LastGood,
    pub(super) _lock: Lock,
}

pub(super) fn build(
    mut snapshot: Snapshot,
    mode: Mode,
    signer: Option<PathBuf>,
    sources: &Sources,
) -> Result<Built> {
    let config = snapshot.config.clone();
    let health = Arc::new(Health::default());
    private_directory(&config.paths.run, 0o755)?;
    // Before anything is touched that another agent may be using.
    let lock = Lock::file(&config.paths.run.join(LOCK))?;
    let earlier = inherited::listening_sockets().context("taking over the service manager's descriptors")?;
    private_directory(&config.paths.state, 0o700)?;
    // After the lock: a second agent that is refused has not started with anything.
    let (last_good, instead) = LastGood::begin(&config.paths.state, &snapshot.policies);
    if let Some(policies) = instead {
        tracing::error!(
            refused = %snapshot.policies.id(),
            in_force = %policies.id(),
            "the agent died with these policies again and again: the last good ones take their place until the files \
             change, or `portcullis reload` asks for them"
        );
        snapshot.policies = policies.with_revision(snapshot.revision);
    }

    let patterns: Vec<HostPattern> = snapshot.catalog.domains().map(|(pattern, _)| pattern.clone()).collect();
    let ech_names: Vec<HostPattern> = config.tls.ech_patterns().collect();
    let all_names = [&patterns[..], &ech_names].concat();
    let (custody, authority, event) = Custody::begin(&config, signer, sources, &all_names)?;
    health.set(Part::CertificateAuthority, say_authority(&authority, event, &patterns, &ech_names, &config));
    tracing::info!("the issuing key is with {}", custody.holder());
    let authority = Arc::new(authority);
    let origins = origin_connector(&config.tls.upstream_roots, &authority)?;

    let log_path = config.paths.state.join(ACTIVITY_LOG);
    let options = activity_log::Options {
        retention: Some(config.activity.retention),
        max_size: config.activity.max_size,
        durability: config.activity.durability,
        ..activity_log::Options::default()
    };
    let (log, opened) = ActivityLog::open_with(&log_path, options)
        .with_context(|| format!("starting the activity log {}", log_path.display()))?;
    say_opened(&opened);
    log.keep_policy_set(snapshot.policies.id(), snapshot.policies.document().into());
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let host = posture::Host::read();
    let device = host.unknown(&config.device, "the device state has not been read yet");

    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let listeners = listeners(&config, mode, workers, earlier)?;
    health.set(Part::Listener, Condition::Ok);
    health.set(Part::Memory, Condition::Ok);

    let steering = start_steering(&snapshot, mode, &listeners)?;
    let gap = steering.as_ref().and_then(Steering::earlier).and_then(gap::since);
    health.set(Part::Steering, Condition::Ok);
    health.set(Part::Policies, last_good.condition());

    let shared = Arc::new(Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        device: Arc::new(ArcSwap::from_pointee(device)),
        checked: posture::Results::default(),
        inventory: Inventories::default(),
        identity: Identity::default(),
        clients: ClientSide::new(authority),
        origins: ArcSwap::from_pointee(origins),
        recorder: Recorder::new(log, metrics),
        peek: tls::PeekDeadlines::default(),
        notices: Notices::open(&config.paths.state),
        kernel_sealing: Arc::default(),
        led: Led::new(steering.as_ref().map(Steering::led_names).transpose()?),
    });
    live::load_metrics(&shared);
    shared.recorder.metrics.watch_kernel_tls_ended(shared.kernel_sealing.ended());
    let exports = exports(&config, &shared.clients.authority(), &log_path)?;
    shared.recorder.metrics.set_policies_rolled_back(last_good.rolled_back().is_some());
    gap::say_since_stop(&config.paths.state, &shared.recorder.log);
    if let Some(gap) = &gap {
        gap.say(config.steering.fail, &shared.recorder.log);
        shared.recorder.metrics.set_gap(gap.duration());
    }
    Ok(Built {
        shared,
        custody,
        steering,
        listeners,
        health,
        host,
        workers,
        mode,
        gap,
        exports,
        last_good,
        _lock: lock,
    })
}

/// Starts handing records on. A receiver's trust anchors are read now, its connection is made when it can be.
fn exports(config: &Config, authority: &Authority, log: &Path) -> Result<Exports> {
    let mut prepared = Vec::new();
    for export in &config.exports {
        let connector = match export.target {
            ExportTarget::Tls { .. } => {
                let own = authority.certificates().own();
                let (connector, _) = OriginConnector::new(&roots_source(&export.roots), &own)
                    .with_context(|| format!("[[export]] {}: roots", export.name))?;
                Some(connector)
            }
            ExportTarget::Tcp { .. } | ExportTarget::File(_) => None,
        };
        prepared.push(Prepared { export: export.clone(), connector });
    }
    Exports::start(prepared, log).context("starting the exports")
}

/// Reads the files of trust anchors that the settings name, as a start does. What the system trusts is this host's matter,
/// not the settings'.
pub(super) fn anchors(config: &Config) -> Result<()> {
    let exports = config.exports.iter().filter(|export| matches!(export.target, ExportTarget::Tls { .. }));
    let exports = exports.map(|export| (format!("[[export]] {}: roots", export.name), &export.roots));
    let origins = ("[tls] upstream_roots".to_owned(), &config.tls.upstream_roots);
    for (setting, roots) in std::iter::once(origins).chain(exports) {
        if matches!(roots, UpstreamRoots::File(_)) {
            OriginConnector::new(&roots_source(roots), &[]).context(setting)?;
        }
    }
    Ok(())
}

fn roots_source(roots: &UpstreamRoots) -> RootsSource {
    match roots {
        UpstreamRoots::System => RootsSource::System,
        UpstreamRoots::File(path) => RootsSource::File(path.clone()),
    }
}

/// Loads the programs of the mode and tells them what to steer. Explicit mode has none and needs no privileges.
fn start_steering(snapshot: &Snapshot, mode: Mode, listeners: &Listeners) -> Result<Option<Steering>> {
    let config = &snapshot.config;
    let refuse_quic = config.steering.quic == Quic::Refuse;
    let guard = config.steering.guard;
    let fail_closed = config.steering.fail == Fail::Closed;
    let started = match mode {
        Mode::Explicit => return Ok(None),
        Mode::Gateway => {
            for fault in steering::gateway::forwarding_faults() {
                tracing::warn!("{fault}");
            }
            let interfaces = config.steering.interfaces.clone();
            let pins = fail_closed.then(|| config.paths.pins.clone());
            let dial_as_client = config.steering.dial == Dial::Client;
            let options = GatewayOptions { interfaces, refuse_quic, guard, dial_as_client, pins };
            Steering::start_gateway(&options, listeners.pairs())
        }
        Mode::Host => Steering::start(&steering::Options {
            cgroup: config.steering.cgroup.clone(),
            listener_v4: listeners.v4,
            listener_v6: listeners.v6,
            refuse_quic,
            guard,
            fail_closed,
            pins: pin_directory(config),
        }),
    };
    let mut steering =
        started.context("starting steering (`portcullis doctor` says what this kernel lacks)")?;
    if mode == Mode::Host {
        let mut marks = steering.own_sockets()?;
        for socket in listeners.sockets() {
            marks.mark_listener(socket).context("marking the listening sockets")?;
        }
    }
    steering.apply(&orders::of(snapshot)).context("telling the kernel what to steer")?;
    Ok(Some(steering))
}

/// The listening sockets of the mode: those that the service manager kept, where they fit.
fn listeners(
    config: &Config,
    mode: Mode,
    workers: usize,
    earlier: Vec<std::net::TcpListener>,
) -> Result<Listeners> {
    let listen = config.steering.listen;
    let kept = earlier.len();
    let (listeners, taken_over) = match mode {
        Mode::Host => Listeners::take_over(earlier, listen, workers)
            .with_context(|| format!("binding the listener {listen}"))?,
        Mode::Gateway => Listeners::take_over_transparent(earlier, workers)
            .context("binding transparent listeners (needs CAP_NET_ADMIN)")?,
        // What was kept is of another mode: nothing comes there any more.
        Mode::Explicit => {
            drop(earlier);
            let proxy = Listeners::bind_proxy(listen, workers);
            (proxy.with_context(|| format!("binding the proxy {listen}"))?, false)
        }
    };
    if taken_over {
        tracing::info!(sockets = kept, "took over the listening sockets, with what waits in them");
    } else if kept > 0 {
        tracing::warn!(
            "the listening sockets of the earlier run do not fit the settings any more: new ones are bound"
        );
        let _ = inherited::give_up();
    }
    Ok(listeners)
}

fn private_directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::metadata(path))
        .and_then(|found| match found.permissions().mode() & 0o7777 {
            // A disk that became read-only must not keep the agent from enforcing.
            right if right == mode => Ok(()),
            _ => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        })
        .with_context(|| format!("making the directory {}", path.display()))
}

fn say_authority(
    authority: &Authority,
    event: AuthorityEvent,
    patterns: &[HostPattern],
    ech_names: &[HostPattern],
    config: &Config,
) -> Condition {
    match event {
        AuthorityEvent::Created => {
            tracing::info!(
                "made a certificate authority: clients must trust {}",
                config.paths.state.join("ca/ca.pem").display()
            );
            Condition::Ok
        }
        AuthorityEvent::Opened { expires_soon, .. } => {
            let uncovered = authority.outgrown(ech_names);
            if !uncovered.is_empty() {
                tracing::info!(
                    ?uncovered,
                    "encrypted ClientHellos are refused, not switched off: the certificate authority is older than \
                     these public names"
                );
            }
            live::authority_condition(expires_soon, &authority.outgrown(patterns))
        }
    }
}

pub(super) fn origin_connector(roots: &UpstreamRoots, authority: &Authority) -> Result<OriginConnector> {
    let source = roots_source(roots);
    let own = authority.certificates().own();
    let (connector, report) = OriginConnector::new(&source, &own).context("[tls] upstream_roots")?;
    for fault in &report.faults {
        tracing::warn!("trust anchors: {fault}");
    }
    if report.own_excluded > 0 {
        tracing::info!(excluded = report.own_excluded, "this host's own CA is no trust anchor for origins");
    }
    tracing::info!(anchors = report.anchors, "trust anchors for origins");
    Ok(connector)
}

fn say_opened(opened: &Opened) {
    match opened {
        Opened::Ready { lost: 0 } => {}
        Opened::Ready { lost } => {
            tracing::warn!(lost, "an earlier run ended with records that were not stored")
        }
        other => tracing::warn!("the activity log: {other:?}"),
    }
}

/// Where programs and maps are kept. Only `fail = "open"` does without, and loses what was learned with each process.
fn pin_directory(config: &Config) -> Option<PathBuf> {
    match steering::check_base(&config.paths.pins) {
        Ok(()) => Some(config.paths.pins.clone()),
        Err(fault) => {
            tracing::warn!("what the kernel learns goes with this process: {fault}");
            None
        }
    }
}
