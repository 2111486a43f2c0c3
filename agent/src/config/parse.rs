//! From the text of portcullis.toml to its settings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{
    Check, Config, Device, Dial, Durability, Existing, Fail, Guard, Identity, MAX_INTERFACES, MAX_PORTS,
    Mode, Posture, Quic, SignerPlace, Steering, Tls, UpstreamRoots, export, limits,
};
use crate::catalog::HostPattern;
use crate::diagnostic::SourceFile;
use crate::document::{Fault, Read, Table, Value, blank_ends, parse_duration, parse_size, read, read_broken};
use crate::policy::Networks;

const FILE_KEYS: &[&str] = &[
    "steering", "tls", "device", "identity", "networks", "content", "notice", "limits", "activity",
    "metrics", "console", "paths", "export",
];
const STEERING_KEYS: &[&str] = &[
    "mode",
    "guard",
    "ports",
    "quic",
    "fail",
    "cgroup",
    "interfaces",
    "dial",
    "listen",
    "existing",
    "resolve",
    "clients",
];
const TLS_KEYS: &[&str] = &["upstream_roots", "bypass", "ech_public_names", "signer", "kernel"];
const DEVICE_KEYS: &[&str] = &["posture", "checks", "file", "command", "every", "deadline", "tags"];
const IDENTITY_KEYS: &[&str] = &["groups", "inventory"];
const CONTENT_KEYS: &[&str] = &["scan"];
const NOTICE_KEYS: &[&str] = &["show", "text"];
const ACTIVITY_KEYS: &[&str] = &["retention", "max_size", "durability"];
const LISTEN_KEYS: &[&str] = &["listen"];
const PATHS_KEYS: &[&str] = &["state", "run", "pins"];

const MODES: [(&str, Mode); 3] =
    [("host", Mode::Host), ("gateway", Mode::Gateway), ("explicit", Mode::Explicit)];
const GUARDS: [(&str, Guard); 4] =
    [("peek", Guard::Peek), ("sni", Guard::Sni), ("all", Guard::All), ("off", Guard::Off)];
const QUICS: [(&str, Quic); 2] = [("refuse", Quic::Refuse), ("pass", Quic::Pass)];
const FAILS: [(&str, Fail); 2] = [("closed", Fail::Closed), ("open", Fail::Open)];
const DIALS: [(&str, Dial); 2] = [("gateway", Dial::Gateway), ("client", Dial::Client)];
const EXISTING: [(&str, Existing); 3] =
    [("close", Existing::Close), ("report", Existing::Report), ("leave", Existing::Leave)];
const POSTURES: [(&str, Posture); 3] =
    [("checks", Posture::Checks), ("file", Posture::File), ("command", Posture::Command)];

const SIGNERS: [(&str, SignerPlace); 2] =
    [("process", SignerPlace::Process), ("in-process", SignerPlace::InProcess)];
const DURABILITIES: [(&str, Durability); 2] =
    [("normal", Durability::Normal), ("strict", Durability::Strict)];

/// Less would not hold the head of a form; more of one body would keep its connection waiting for it, and others from being
/// looked at.
const SCAN: (u64, u64) = (16 << 10, 16 << 20);
/// A page that nobody reads tells nothing.
const MAX_NOTICE: usize = 4096;
/// Smaller than this, an activity log would hold minutes.
const MIN_LOG_SIZE: u64 = 1 << 20;
/// Records are kept for at least a second, in tests, and at most a century.
const RETENTION: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(100 * 365 * 86_400));
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
const DEADLINE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(600));
/// Longest name of a network interface (IFNAMSIZ without its closing zero).
const MAX_INTERFACE: usize = 15;
/// Most items in a list of settings.
const MAX_ITEMS: usize = 4096;

/// The settings as far as they are right, and everything that is wrong.
pub(super) fn recover(source: &SourceFile) -> Read<Config> {
    read(source, FILE_KEYS, settings)
}

/// What can be read of a file that is not even TOML everywhere.
pub(super) fn recover_broken(source: &SourceFile) -> Config {
    read_broken(source, FILE_KEYS, settings)
}

fn settings(root: &Table<'_>) -> Config {
    let mut config = Config::default();
    steering(&root.table("steering", STEERING_KEYS), &mut config.steering);
    tls(&root.table("tls", TLS_KEYS), &mut config.tls);
    device(&root.table("device", DEVICE_KEYS), &mut config.device);
    identity(&root.table("identity", IDENTITY_KEYS), &mut config.identity);
    config.networks = networks(root);
    root.table("content", CONTENT_KEYS).set("scan", &mut config.content.scan, scan);
    let notice = root.table("notice", NOTICE_KEYS);
    notice.set("show", &mut config.notice.show, Value::boolean);
    notice.set("text", &mut config.notice.text, |v| notice_text(v).map(Some));
    config.limits = Arc::new(limits::limits(root));
    let activity = root.table("activity", ACTIVITY_KEYS);
    activity.set("retention", &mut config.activity.retention, |v| duration(v, RETENTION));
    activity.set("max_size", &mut config.activity.max_size, |v| log_size(v).map(Some));
    activity.set("durability", &mut config.activity.durability, |v| v.choice(&DURABILITIES));
    root.table("metrics", LISTEN_KEYS).set("listen", &mut config.metrics.listen, listen);
    root.table("console", LISTEN_KEYS).set("listen", &mut config.console.listen, loopback);
    config.exports = export::exports(root, roots);
    let paths = root.table("paths", PATHS_KEYS);
    paths.set("state", &mut config.paths.state, path);
    paths.set("run", &mut config.paths.run, path);
    paths.set("pins", &mut config.paths.pins, path);
    config
}

fn steering(table: &Table<'_>, steering: &mut Steering) {
    table.set("mode", &mut steering.mode, |v| v.choice(&MODES));
    table.set("guard", &mut steering.guard, |v| v.choice(&GUARDS));
    table.set("ports", &mut steering.ports, ports);
    table.set("quic", &mut steering.quic, |v| v.choice(&QUICS));
    table.set("fail", &mut steering.fail, |v| v.choice(&FAILS));
    table.set("cgroup", &mut steering.cgroup, |v| path(v).map(Some));
    table.set("interfaces", &mut steering.interfaces, interfaces);
    table.set("dial", &mut steering.dial, |v| v.choice(&DIALS));
    table.set("listen", &mut steering.listen, listen);
    table.set("existing", &mut steering.existing, |v| v.choice(&EXISTING));
    table.set("resolve", &mut steering.resolve, Value::boolean);
    table.set("clients", &mut steering.clients, |v| Some(distinct(v, network)));
    if let (Some(missing), Some(mode)) = (steering.missing_for(steering.mode), table.get("mode")) {
        // A list with a bad name in it has been complained about.
        if table.get("interfaces").is_none_or(|list| list.is_empty_list()) {
            mode.complain(
                Fault::new(missing).help("name the inside interfaces, as in `interfaces = [\"lan0\"]`"),
            );
        }
    }
}

fn tls(table: &Table<'_>, tls: &mut Tls) {
    table.set("upstream_roots", &mut tls.upstream_roots, roots);
    table.set("bypass", &mut tls.bypass, |v| Some(distinct(v, host_pattern)));
    table.set("ech_public_names", &mut tls.ech_public_names, |v| Some(distinct(v, host_name)));
    table.set("signer", &mut tls.signer, |v| v.choice(&SIGNERS));
    table.set("kernel", &mut tls.kernel, Value::boolean);
}

fn roots(value: &Value<'_>) -> Option<UpstreamRoots> {
    match value.text()? {
        "system" => Some(UpstreamRoots::System),
        text if text.starts_with('/') => path(value).map(UpstreamRoots::File),
        text => {
            let fault = Fault::unknown("roots", text, ["system"]);
            value.complain(fault.help("write `system`, or the absolute path of a PEM file"));
            None
        }
    }
}

fn device(table: &Table<'_>, device: &mut Device) {
    table.set("posture", &mut device.posture, |v| v.choice(&POSTURES));
    table.set("checks", &mut device.checks, checks);
    table.set("file", &mut device.file, path);
    table.set("command", &mut device.command, command);
    table.set("every", &mut device.every, |v| duration(v, EVERY));
    table.set("deadline", &mut device.deadline, |v| duration(v, DEADLINE));
    table.set("tags", &mut device.tags, |v| Some(distinct(v, word)));
    if device.posture == Posture::Command
        && table.get("command").is_none_or(|v| v.is_empty_list())
        && let Some(posture) = table.get("posture")
    {
        let fault = Fault::new("the posture \"command\" needs `command`");
        posture.complain(
            fault.help("give the program and its arguments, as in `command = [\"/usr/bin/posture\"]`"),
        );
    }
    // A command that may outlast its interval would never leave the state fresh.
    if device.deadline > device.every {
        match table.get("deadline") {
            Some(value) => value.complain(Fault::new("the deadline must not be longer than `every`")),
            None => device.deadline = device.every,
        }
    }
}

/// Without a check nothing would stand between any device and "compliant".
fn checks(value: &Value<'_>) -> Option<Vec<Check>> {
    let checks = distinct(value, |v| v.choice(&Check::ALL.map(|check| (check.name(), check))));
    if value.is_empty_list() {
        value.complain(
            Fault::new("without checks every device would be compliant").help("leave the key out for all"),
        );
    }
    (!checks.is_empty()).then_some(checks)
}

fn identity(table: &Table<'_>, identity: &mut Identity) {
    table.set("inventory", &mut identity.inventory, |v| path(v).map(Some));
    for (group, members) in table.free_entries("groups") {
        if group.trim().is_empty() {
            members.complain(Fault::new("a group needs a name"));
        } else if let Err(fault) = blank_ends(group) {
            members.complain(fault);
        }
        identity.groups.insert(group.into(), distinct(&members, word));
    }
}

fn networks(root: &Table<'_>) -> Networks {
    let mut networks = Networks::new();
    for (name, nets) in root.free_entries("networks") {
        if name == "all" || name.trim().is_empty() {
            let fault = Fault::new("a network cannot have this name");
            nets.complain(fault.help("`all` means every location; choose another name"));
        } else if let Err(fault) = blank_ends(name) {
            nets.complain(fault);
        } else if nets.is_empty_list() {
            let fault = Fault::new("no address is in this network, so it would match nobody");
            nets.complain(fault.help("name its addresses, as in `[\"10.0.0.0/8\"]`, or take it out"));
        }
        networks.insert(name.into(), distinct(&nets, network).into());
    }
    networks
}

fn ports(value: &Value<'_>) -> Option<Vec<u16>> {
    let ports = distinct(value, |v| v.integer(1..=65_535).and_then(|port| u16::try_from(port).ok()));
    if value.is_empty_list() {
        value.complain(
            Fault::new("without ports nothing is looked at").help("leave the key out for 443 and 80"),
        );
    }
    if ports.len() > MAX_PORTS {
        value.complain(Fault::new(format!("at most {MAX_PORTS} ports can be looked at")));
    }
    (1..=MAX_PORTS).contains(&ports.len()).then_some(ports)
}

/// The items of a list that `read` accepts; a repeated one is a slip and reported.
fn distinct<'a, T: PartialEq>(list: &Value<'a>, read: impl Fn(&Value<'a>) -> Option<T>) -> Vec<T> {
    let mut items = Vec::new();
    let values = list.list();
    if values.len() > MAX_ITEMS {
        list.complain(Fault::new(format!("the list has more than {MAX_ITEMS} items")));
        return items;
    }
    for value in values {
        match read(&value) {
            Some(item) if items.contains(&item) => value.complain(Fault::new("stands in the list twice")),
            Some(item) => items.push(item),
            None => {}
        }
    }
    items
}

fn word(value: &Value<'_>) -> Option<Arc<str>> {
    value.name().map(Arc::from)
}

fn interfaces(value: &Value<'_>) -> Option<Vec<Arc<str>>> {
    let interfaces = distinct(value, interface);
    if interfaces.len() > MAX_INTERFACES {
        value.complain(Fault::new(format!("at most {MAX_INTERFACES} interfaces can be looked at")));
        return None;
    }
    Some(interfaces)
}

fn interface(value: &Value<'_>) -> Option<Arc<str>> {
    value.parse(|text| {
        let fits = (1..=MAX_INTERFACE).contains(&text.len()) && !text.contains(['/', ' ', ':']);
        if fits { Ok(text.into()) } else { Err(Fault::new("not the name of a network interface")) }
    })
}

fn host_pattern(value: &Value<'_>) -> Option<HostPattern> {
    value.parse(|text| HostPattern::parse(text).map_err(|error| Fault::new(error.to_string())))
}

fn host_name(value: &Value<'_>) -> Option<String> {
    match host_pattern(value)? {
        HostPattern::Exact(name) => Some(name.to_string()),
        HostPattern::Below(_) => {
            value.complain(Fault::new("a public name is one name, without `*`"));
            None
        }
    }
}

fn command(value: &Value<'_>) -> Option<Vec<Arc<str>>> {
    let argv = value.each(|item| item.text().map(Arc::from));
    let program: &str = argv.first().map_or("/", |program: &Arc<str>| program);
    if !program.starts_with('/') {
        // The agent runs with privileges: a search path would decide which program gets them.
        value.complain(Fault::new("the program must be an absolute path"));
        return None;
    }
    Some(argv)
}

fn path(value: &Value<'_>) -> Option<PathBuf> {
    value.parse(|text| match text {
        _ if text.contains('\0') => Err(Fault::new("a path has no zero byte")),
        _ if text.starts_with('/') => Ok(PathBuf::from(text)),
        _ => Err(Fault::new("must be an absolute path").help("start it with `/`")),
    })
}

fn listen(value: &Value<'_>) -> Option<SocketAddr> {
    value.parse(address)
}

/// An address of loopback; `off`, or nothing, for none.
fn loopback(value: &Value<'_>) -> Option<Option<SocketAddr>> {
    value.parse(|text| match text {
        "" | "off" => Ok(None),
        text => match address(text)? {
            address if address.ip().is_loopback() => Ok(Some(address)),
            _ => Err(Fault::new("the console speaks no TLS and listens on loopback alone").help(
                "write `127.0.0.1:9465`, and reach it from elsewhere through `ssh -L 9465:127.0.0.1:9465`",
            )),
        },
    })
}

fn address(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        let fault = Fault::new("not an address with a port");
        match text.strip_prefix("localhost:") {
            Some(port) => fault.help(format!("did you mean `127.0.0.1:{port}`?")),
            None => fault.help("write an address and a port, as in `127.0.0.1:9464` or `[::1]:9464`"),
        }
    })
}

fn duration(value: &Value<'_>, (least, most): (Duration, Duration)) -> Option<Duration> {
    value.parse(|text| match parse_duration(text)? {
        time if time < least => Err(Fault::new(format!("must be at least {least:?}"))),
        time if time > most => Err(Fault::new(format!("must be at most {} days", most.as_secs() / 86_400))),
        time => Ok(time),
    })
}

fn scan(value: &Value<'_>) -> Option<usize> {
    value.parse(|text| match parse_size(text)? {
        size if size < SCAN.0 => Err(Fault::new("must be at least 16 KiB")),
        size if size > SCAN.1 => Err(Fault::new("must be at most 16 MiB")),
        size => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
    })
}

fn notice_text(value: &Value<'_>) -> Option<Arc<str>> {
    value.parse(|text| match text {
        _ if text.trim().is_empty() => {
            Err(Fault::new("the text is empty").help("leave the key out for the standard text"))
        }
        _ if text.len() > MAX_NOTICE => Err(Fault::new(format!("must be at most {MAX_NOTICE} octets long"))),
        _ => Ok(text.into()),
    })
}

fn log_size(value: &Value<'_>) -> Option<u64> {
    value.parse(|text| match parse_size(text)? {
        size if size < MIN_LOG_SIZE => Err(Fault::new("must be at least 1 MiB")),
        size => Ok(size),
    })
}

/// A network, or a single address.
fn network(value: &Value<'_>) -> Option<IpNet> {
    value.parse(|text| {
        let net = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
            (Ok(net), _) => net,
            (_, Ok(address)) => IpNet::from(address),
            _ => return Err(Fault::new("not a network").help("write it as in `10.0.0.0/8` or `fd00::/8`")),
        };
        if net != net.trunc() {
            let fault = Fault::new("the address has bits beyond the prefix");
            return Err(fault.help(format!("did you mean `{}`?", net.trunc())));
        }
        match net.network() {
            // Addresses are compared in their plain form, so such a network would never match.
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                Err(Fault::new("write IPv4 networks in their own form").help("as in `10.0.0.0/8`"))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Ok(net),
        }
    })
}
