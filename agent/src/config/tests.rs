//! Settings from text: defaults, every key, every complaint; the files that are shipped.
mod hostile;

use std::time::Duration;

use super::*;
use crate::catalog::HostPattern;
use crate::policy::State;
use crate::siem::Form;

const SHIPPED: &str = include_str!("../../../packaging/portcullis.toml");
const SAMPLE: &str = include_str!("../../../packaging/policies.d/10-block-downloads-unmanaged.toml.sample");

fn file(text: &str) -> SourceFile {
    SourceFile::new("p.toml", text)
}

#[track_caller]
fn good(text: &str) -> Config {
    parse(&file(text)).unwrap_or_else(|found| panic!("{text}\n{found:#?}"))
}

/// Exactly these complaints, each as `line:column: field: message (help)`.
#[track_caller]
fn bad(text: &str, expected: &[&str]) {
    let found: Vec<String> =
        parse(&file(text)).err().unwrap_or_default().iter().map(|d| d.to_string()[7..].to_owned()).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn an_empty_file_is_the_defaults_of_the_contract() {
    let config = good("");
    assert_eq!(config, Config::default());
    let steering = &config.steering;
    assert_eq!(
        (steering.mode, steering.guard, steering.quic, steering.fail),
        (Mode::Host, Guard::Peek, Quic::Refuse, Fail::Closed)
    );
    assert_eq!((&steering.ports[..], steering.cgroup.as_ref()), (&[443, 80][..], None));
    assert_eq!(steering.listen.to_string(), "127.0.0.1:0");
    assert_eq!((steering.existing, steering.resolve), (Existing::Close, true));
    assert_eq!(
        config.tls,
        Tls {
            upstream_roots: UpstreamRoots::System,
            bypass: vec![],
            ech_public_names: vec!["cloudflare-ech.com".into()],
            signer: SignerPlace::Process,
            kernel: false,
        }
    );
    assert_eq!((config.device.posture, config.device.every), (Posture::Checks, Duration::from_secs(60)));
    assert_eq!(config.activity.retention, Duration::from_secs(90 * 24 * 3600));
    assert_eq!(config.metrics.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.console.listen.unwrap().to_string(), "127.0.0.1:9465");
    assert_eq!(config.paths.state.to_str(), Some("/var/lib/portcullis"));
    assert_eq!(config.paths.run.to_str(), Some("/run/portcullis"));
    assert_eq!(config.paths.pins.to_str(), Some("/sys/fs/bpf/portcullis"));
    assert!(config.networks.is_empty() && config.identity.groups.is_empty());
}

#[test]
fn every_key_is_read() {
    let config = good(
        r#"
[steering]
mode = "gateway"
guard = "sni"
ports = [8443]
quic = "pass"
fail = "open"
cgroup = "/sys/fs/cgroup/unified"
interfaces = ["lan0", "lan1"]
dial = "client"
listen = "[::1]:3128"
existing = "report"
resolve = false
[tls]
upstream_roots = "/etc/roots.pem"
bypass = ["pinned.test", "*.Bank.test"]
ech_public_names = ["Edge.Provider.test"]
signer = "in-process"
kernel = true
[device]
posture = "command"
checks = ["firewall", "secure-boot"]
file = "/run/x.json"
command = ["/usr/bin/posture", "--json"]
every = "5m"
deadline = "3s"
tags = ["kiosk"]
[identity]
groups = { breakglass = ["alice", "bob"], empty = [] }
[networks]
corp = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"]
[content]
scan = "4MiB"
[notice]
show = true
text = "{app} is logged."
[activity]
retention = "2w"
max_size = "2GiB"
durability = "strict"
[[export]]
name = "siem"
format = "cef"
to = "tls://siem.example:6514"
roots = "/etc/siem.pem"
[[export]]
name = "lines"
to = "file:///var/log/a.jsonl"
[metrics]
listen = "0.0.0.0:1"
[console]
listen = "127.0.0.1:2"
[paths]
state = "/tmp/s"
run = "/tmp/r"
"#,
    );
    let steering = &config.steering;
    assert_eq!(
        (steering.mode, steering.guard, steering.quic, steering.fail),
        (Mode::Gateway, Guard::Sni, Quic::Pass, Fail::Open)
    );
    assert_eq!(steering.ports, [8443]);
    assert_eq!(steering.cgroup.as_deref().and_then(|p| p.to_str()), Some("/sys/fs/cgroup/unified"));
    assert_eq!(steering.interfaces, ["lan0".into(), "lan1".into()]);
    assert_eq!(steering.dial, Dial::Client);
    assert_eq!(steering.listen.to_string(), "[::1]:3128");
    assert_eq!((steering.existing, steering.resolve), (Existing::Report, false));
    assert_eq!(config.tls.upstream_roots, UpstreamRoots::File("/etc/roots.pem".into()));
    assert_eq!(config.tls.ech_public_names, ["edge.provider.test"]);
    assert_eq!(
        config.tls.bypass,
        [HostPattern::Exact("pinned.test".into()), HostPattern::Below("bank.test".into())]
    );
    assert_eq!(
        config.device,
        Device {
            posture: Posture::Command,
            checks: vec![Check::Firewall, Check::SecureBoot],
            file: "/run/x.json".into(),
            command: vec!["/usr/bin/posture".into(), "--json".into()],
            every: Duration::from_secs(300),
            deadline: Duration::from_secs(3),
            tags: vec!["kiosk".into()],
        }
    );
    assert_eq!(config.identity.groups["breakglass"], ["alice".into(), "bob".into()]);
    let nets: Vec<String> = config.networks["corp"].iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]);
    assert_eq!(config.content.scan, 4 << 20);
    assert_eq!((config.notice.show, config.notice.text.as_deref()), (true, Some("{app} is logged.")));
    assert_eq!(config.activity.retention, Duration::from_secs(14 * 86_400));
    assert_eq!((config.tls.signer, config.tls.kernel), (SignerPlace::InProcess, true));
    assert_eq!((config.activity.max_size, config.activity.durability), (Some(2 << 30), Durability::Strict));
    let [siem, lines] = config.exports.as_slice() else { panic!("{:?}", config.exports) };
    assert_eq!(
        (&*siem.name, siem.form, siem.target.to_string()),
        ("siem", Form::Cef, "tls://siem.example:6514".into())
    );
    assert_eq!(siem.roots, UpstreamRoots::File("/etc/siem.pem".into()));
    assert_eq!((lines.form, lines.target.to_string()), (Form::Activity, "file:///var/log/a.jsonl".into()));
    assert_eq!((config.metrics.listen.port(), config.console.listen.unwrap().port()), (1, 2));
    assert_eq!((config.paths.state.to_str(), config.paths.run.to_str()), (Some("/tmp/s"), Some("/tmp/r")));
}

#[test]
fn there_need_not_be_a_console() {
    for off in ["", "off"] {
        assert_eq!(good(&format!("[console]\nlisten = \"{off}\"\n")).console.listen, None, "{off:?}");
    }
}

#[test]
fn every_complaint_has_its_place_and_remedy() {
    bad(
        "[steering]\nmode = \"hots\"",
        &["2:8: `steering.mode`: unknown value \"hots\" (did you mean `host`?)"],
    );
    bad(
        "[steering]\nexisting = \"clsoe\"\nresolve = \"no\"",
        &[
            "2:12: `steering.existing`: unknown value \"clsoe\" (did you mean `close`?)",
            "3:11: `steering.resolve`: expected a boolean, found a string",
        ],
    );
    bad("[steerin]\nmode = \"host\"", &["1:2: `steerin`: unknown key (did you mean `steering`?)"]);
    bad("[steering]\nprots = [1]", &["2:1: `steering.prots`: unknown key (did you mean `ports`?)"]);
    bad(
        "[steering]\nports = [0, 65536, 443, 443]",
        &[
            "2:10: `steering.ports[0]`: must lie between 1 and 65535",
            "2:13: `steering.ports[1]`: must lie between 1 and 65535",
            "2:25: `steering.ports[3]`: stands in the list twice",
        ],
    );
    bad(
        "[steering]\nports = []",
        &["2:9: `steering.ports`: without ports nothing is looked at (leave the key out for 443 and 80)"],
    );
    bad(
        "[steering]\nports = [1,2,3,4,5,6,7,8,9]",
        &["2:9: `steering.ports`: at most 8 ports can be looked at"],
    );
    bad(
        "[steering]\nmode = \"gateway\"",
        &[
            "2:8: `steering.mode`: gateway mode needs `steering.interfaces` (name the inside interfaces, as in \
         `interfaces = [\"lan0\"]`)",
        ],
    );
    bad(
        "[steering]\nmode = \"gateway\"\ninterfaces = [\"no/such\"]",
        &["3:15: `steering.interfaces[0]`: not the name of a network interface"],
    );
    bad(
        "[steering]\nlisten = \"localhost:80\"",
        &["2:10: `steering.listen`: not an address with a port (did you mean `127.0.0.1:80`?)"],
    );
    bad(
        "[console]\nlisten = \"0.0.0.0:9465\"",
        &[
            "2:10: `console.listen`: the console speaks no TLS and listens on loopback alone (write `127.0.0.1:9465`, and \
         reach it from elsewhere through `ssh -L 9465:127.0.0.1:9465`)",
        ],
    );
    bad(
        "[console]\nlisten = \"of\"",
        &[
            "2:10: `console.listen`: not an address with a port (write an address and a port, as in `127.0.0.1:9464` or \
         `[::1]:9464`)",
        ],
    );
    bad(
        "[steering]\ncgroup = \"cgroup\"",
        &["2:10: `steering.cgroup`: must be an absolute path (start it with `/`)"],
    );
    bad(
        "[tls]\nupstream_roots = \"sytem\"\nbypass = [\"https://x.test\"]",
        &[
            "2:18: `tls.upstream_roots`: unknown roots \"sytem\" (write `system`, or the absolute path of a PEM file)",
            "3:11: `tls.bypass[0]`: a URL is no host pattern: write the host name alone",
        ],
    );
    bad(
        "[device]\nchecks = []",
        &[
            "2:10: `device.checks`: without checks every device would be compliant (leave the key out for all)",
        ],
    );
    bad(
        "[device]\nchecks = [\"firewal\", \"secure-boot\"]",
        &["2:11: `device.checks[0]`: unknown value \"firewal\" (did you mean `firewall`?)"],
    );
    bad(
        "[device]\nposture = \"command\"",
        &[
            "2:11: `device.posture`: the posture \"command\" needs `command` (give the program and its arguments, as in \
         `command = [\"/usr/bin/posture\"]`)",
        ],
    );
    bad(
        "[device]\ncommand = [\"posture\"]",
        &["2:11: `device.command`: the program must be an absolute path"],
    );
    bad(
        "[device]\nevery = \"5s\"\ndeadline = \"6s\"",
        &["3:12: `device.deadline`: the deadline must not be longer than `every`"],
    );
    bad("[device]\nevery = 60", &["2:9: `device.every`: expected a string, found an integer"]);
    bad(
        "[networks]\na = [\"10.0.0.1/8\"]\nall = []\nc = []\n\" d\" = [\"10.0.0.0/8\"]\nb = [\"10.0.0.0/33\", \"::ffff:10.0.0.0/104\"]",
        &[
            "2:6: `networks.a[0]`: the address has bits beyond the prefix (did you mean `10.0.0.0/8`?)",
            "3:7: `networks.all`: a network cannot have this name (`all` means every location; choose another name)",
            "4:5: `networks.c`: no address is in this network, so it would match nobody (name its addresses, as in \
             `[\"10.0.0.0/8\"]`, or take it out)",
            "5:8: `networks. d`: must not begin or end with a blank (did you mean `d`?)",
            "6:6: `networks.b[0]`: not a network (write it as in `10.0.0.0/8` or `fd00::/8`)",
            "6:21: `networks.b[1]`: write IPv4 networks in their own form (as in `10.0.0.0/8`)",
        ],
    );
    bad(
        "[activity]\nretention = \"90\"",
        &["2:13: `activity.retention`: unknown unit of time \"\" (write a whole \
         number and a unit, for example `60s`, `15m`, `12h`, `90d`)"],
    );
    bad("[activity]\nretention = \"0s\"", &["2:13: `activity.retention`: must be at least 1s"]);
    bad("[content]\nscan = \"1kB\"", &["2:8: `content.scan`: must be at least 16 KiB"]);
    bad(
        "[notice]\ntext = \" \"",
        &["2:8: `notice.text`: the text is empty (leave the key out for the standard text)"],
    );
    bad(
        &format!("[notice]\ntext = \"{}\"", "a".repeat(4097)),
        &["2:8: `notice.text`: must be at most 4096 octets long"],
    );
    bad("[content]\nscan = \"17MiB\"", &["2:8: `content.scan`: must be at most 16 MiB"]);
    bad("[activity]\nmax_size = \"1kB\"", &["2:12: `activity.max_size`: must be at least 1 MiB"]);
    bad("[identity]\ngroups = [\"a\"]", &["2:10: `identity.groups`: expected a table, found an array"]);
    bad(
        "[paths]\nstate = \"x\"\nrun = 5",
        &[
            "2:9: `paths.state`: must be an absolute path (start it with `/`)",
            "3:7: `paths.run`: expected a string, found an integer",
        ],
    );
}

#[test]
fn a_short_interval_shortens_the_deadline_that_was_left_out() {
    assert_eq!(good("[device]\nevery = \"5s\"").device.deadline, Duration::from_secs(5));
}

#[test]
fn syntax_errors_point_too() {
    let found = parse(&file("[steering]\nmode = \"host\nfail = \"open\"")).unwrap_err();
    assert_eq!(found[0].line(), 2, "{found:?}");
    assert!(found[0].message.contains("not valid TOML"), "{found:?}");
}

#[test]
fn errors_of_all_files_come_together_and_bring_up_no_false_ones() {
    let settings = file("[networks]\ncorp = [\"10.0.0.0/8\"]\n[steering]\nmode = 1");
    let apps = SourceFile::new("a.toml", "[[app]]\nid = \"x\"\ndomains = [\"x.test\"]\nprots = []");
    let policy = |text: &str| SourceFile::new("b.toml", text);
    let refers = policy(
        "[[policy]]\nname='p'\napps.include=['x']\nconditions.locations.include=['corp']\nsession.control='of'",
    );
    let lines = |settings: &SourceFile, apps: &SourceFile, policy: &SourceFile| {
        let found =
            load_set(Some(settings), std::slice::from_ref(apps), std::slice::from_ref(policy)).unwrap_err();
        found.iter().map(|d| format!("{} {}", d.path(), d.field)).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&settings, &apps, &refers),
        ["p.toml steering.mode", "a.toml app[0].prots", "b.toml policy[0].session.control"]
    );
    let broken = file("[networks\n");
    let broken_apps = SourceFile::new("a.toml", "[[app]\n");
    let found = lines(&broken, &broken_apps, &refers);
    assert!(found.iter().all(|line| !line.contains("apps") && !line.contains("locations")), "{found:?}");
    assert!(found.iter().any(|line| line.contains("session.control")), "{found:?}");
}

#[test]
fn where_the_daemon_is_can_be_read_beside_a_slip() {
    let paths = "[paths]\nstate = \"/s\"\nrun = \"/r\"\n";
    for (text, faults) in [
        (format!("{paths}[metrics]\nbogus = 1\n"), 1),
        (format!("bogus = 1\n[steering]\nmode = 'hots'\n{paths}"), 2),
        (format!("{paths}[metrics\nlisten = 1\n"), 1),
        (paths.to_owned(), 0),
    ] {
        let (config, found) = parse_leniently(&file(&text)).unwrap();
        assert_eq!(config.paths.state.to_str().zip(config.paths.run.to_str()), Some(("/s", "/r")), "{text}");
        assert!((faults == 0) == found.is_empty() && found.len() >= faults, "{text}\n{found:#?}");
    }
    let wrong = "bogus = 1\n[paths]\nstate = \"s\"\n";
    assert_eq!(parse_leniently(&file(wrong)).unwrap_err().len(), 2, "another daemon would be asked");
}

#[test]
fn a_good_set_loads() {
    let apps = [SourceFile::new("a.toml", "[[app]]\nid = \"x\"\nsuite = \"s\"\ndomains = [\"x.test\"]")];
    let policies = [SourceFile::new(
        "p.toml",
        "[[policy]]\nname='p'\napps.include=['s']\nsession.control='monitor-only'",
    )];
    let loaded = load_set(None, &apps, &policies).unwrap();
    let app = loaded.catalog.lookup("x.test").unwrap();
    assert!(loaded.policies.selects(app));
    assert_eq!(loaded.config, Config::default());
    let bare = load_set(None, &[], &[]).unwrap();
    assert!(
        bare.catalog.apps().iter().all(|app| !bare.policies.selects(app)),
        "nothing is selected by default"
    );
}

#[test]
fn the_shipped_settings_are_the_defaults() {
    assert_eq!(good(SHIPPED), Config::default());
    let spelled_out: String = SHIPPED
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.starts_with("#:") && *line != "#")
        .map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line)))
        .collect();
    let mut config = good(&spelled_out);
    assert_eq!(config.steering.cgroup.take().as_deref().and_then(|p| p.to_str()), Some("/sys/fs/cgroup"));
    assert!(config.identity.inventory.take().is_some(), "an example: without one there is none");
    assert_eq!(config, Config::default(), "what the comments show is what holds");
}

#[test]
fn the_sample_policy_loads_and_blocks_where_it_says() {
    let sample = SourceFile::new("10.toml", SAMPLE);
    let loaded = load_set(None, &[], &[sample]).unwrap_or_else(|found| panic!("{found:#?}"));
    let [policy] = loaded.policies.policies() else { panic!("one policy") };
    assert_eq!(policy.state, State::Enabled);
    let selected = |id: &str| loaded.policies.selects(loaded.catalog.app(id).unwrap());
    assert!(selected("m365-sharepoint") && selected("m365-graph") && !selected("slack"));
}

/// A configuration with every kind of table, as it is shipped and as the README has it.
pub(super) fn whole_set() -> [String; 3] {
    let uncommented = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("# ") && !line.starts_with("#:"));
        lines.map(|line| line.strip_prefix('#').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    };
    let settings = uncommented(SHIPPED).replace("[networks]", "[networks]\ncorp = [\"10.0.0.0/8\"]");
    let apps = "[[app]]\nid = 'corp-files'\nsuite = 'corp'\ndomains = ['files.corp.test', '*.corp.test']\nports = [443]\n\
                [[app.activity]]\ntype = 'download'\nmethod = ['GET']\npath = '/content/*'\n\
                [[app]]\nid = 'slack'\ndomains = ['slack.corp.example']\n";
    let policies = uncommented(SAMPLE)
        + "\n[[policy]]\nname = 'Second'\nstate = 'report-only'\napps.include = ['corp', 'corp-files']\n\
           conditions = { client_apps = ['native'], locations = { include = ['all'], exclude = ['corp'] } }\n\
           session.control = 'custom'\n[[policy.session.rule]]\nactivity = ['download']\n\
           files = { extensions = ['docx'], names = ['*x*'], mime = ['image/*'], larger_than = '1MiB' }\naction = 'block'\n";
    [settings, apps.to_owned(), policies]
}
