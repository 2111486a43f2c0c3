//! The agent's own record layer beside OpenSSL's: every version and suite on either side, and keys that change meanwhile.

use lab::agent::{Agent, Settings};
use lab::attachment::{BIG, DOCX};
use lab::client::Curl;
use lab::{Lab, OWN_SITE};

use super::{MONITORED, check_blocked, check_passed, url};

/// How curl is told to speak one suite.
pub(super) const SUITES: [&[&str]; 6] = [
    &["--tlsv1.3", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    &["--tlsv1.3", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384"],
    &["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"],
    &["--tlsv1.2", "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    &["--tlsv1.2", "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    &["--tlsv1.2", "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"],
];

/// The same for nginx, and a file that it serves.
const NGINX: &str = r#"
cd "$HOME"
cat > own-nginx.conf <<END
daemon off; user root; worker_processes 1; pid $PWD/own-nginx.pid; error_log stderr warn;
events { worker_connections 64; }
http {
    access_log off; sendfile on; client_body_temp_path $PWD/own-body; proxy_temp_path $PWD/own-proxy;
    fastcgi_temp_path $PWD/own-fastcgi; uwsgi_temp_path $PWD/own-uwsgi; scgi_temp_path $PWD/own-scgi;
    server {
        listen $0:443 ssl; ssl_certificate $1; ssl_certificate_key $2; ssl_protocols $3; $4
        root $PWD/own-files; default_type application/octet-stream;
    }
}
END
mkdir -p own-files
head -c 3000000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 > own-files/file
exec nginx -e stderr -p "$PWD" -c "$PWD/own-nginx.conf"
"#;

const ORIGINS: [(&str, &str); 6] = [
    ("TLSv1.3", "ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;"),
    ("TLSv1.3", "ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;"),
    ("TLSv1.3", "ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;"),
    ("TLSv1.2", "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;"),
    ("TLSv1.2", "ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384;"),
    ("TLSv1.2", "ssl_ciphers ECDHE-ECDSA-CHACHA20-POLY1305;"),
];

/// A7, over each suite that the agent has.
#[test]
fn every_version_and_suite_of_a_client_is_relayed_and_blocked() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    for suite in SUITES {
        check_passed(&Curl::get(url(MONITORED, BIG)).arguments(suite).send(&lab).unwrap(), MONITORED, BIG);
    }
    agent.set_compliant(false).unwrap();
    for suite in SUITES {
        check_blocked(&Curl::get(url(MONITORED, DOCX)).arguments(suite).send(&lab).unwrap(), DOCX);
    }
}

/// Has curl download a file from an origin of every suite, by several of its own.
pub(super) fn check_origins(lab: &Lab) {
    for (version, suite) in ORIGINS {
        let program = ["sh", "-c", NGINX, "ADDRESS", "CERTIFICATE", "KEY", version, suite];
        let _origin = lab.serve_own_site(&program).unwrap();
        let mut seen = None;
        for client in [SUITES[0], SUITES[2], SUITES[3]] {
            let file = Curl::get(format!("https://{OWN_SITE}/file"));
            let reply = file.arguments(client).send(lab).unwrap();
            assert_eq!((reply.status, reply.body.len()), (200, 3_000_000), "{version} {suite} {client:?}");
            let first = seen.get_or_insert_with(|| reply.body.clone());
            assert!(*first == reply.body, "{version} {suite} {client:?}: the bytes differ");
        }
    }
}

/// What an origin speaks and what its client speaks need not be the same.
#[test]
fn every_version_and_suite_of_an_origin_is_relayed_to_any_client() {
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    check_origins(&lab);
}

/// RFC 8446 section 4.6.3, both ways: a client, and then an origin, updates its keys between exchanges and asks the agent
/// to do so, too.
#[test]
fn keys_change_on_either_side_in_the_middle_of_a_connection() {
    const CLIENT: &str = r#"
get() { printf 'GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n' "$1" "$0"; sleep 0.6; }
{ sleep 0.6; get 1; printf 'K\n'; sleep 0.3; get 2; printf 'k\n'; sleep 0.3; get 3; } |
    openssl s_client -connect "$0:443" -servername "$0" -CAfile "$1" -tls1_3 -msg -verify_return_error 2>&1
"#;
    const ANSWERED: &str = "<<< TLS 1.3, Handshake [length 0005], KeyUpdate";
    let lab = Lab::start().unwrap();
    let _agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    let program = include_str!("../../support/key_updates.py");
    let program = ["/usr/bin/python3", "-I", "-u", "-c", program, "ADDRESS", "CERTIFICATE", "KEY"];
    let origin = lab.serve_own_site(&program).unwrap();
    let trust = lab.trust();
    let said = lab.run(&["sh", "-c", CLIENT, OWN_SITE, trust.to_str().unwrap()], None).unwrap().text();
    for answer in ["answer 1\n", "answer 2\n", "answer 3\n"] {
        assert!(said.contains(answer), "{said}");
    }
    // The client asked once, the origin before each answer; who is not asked has no reason to.
    assert_eq!(said.matches(ANSWERED).count(), 1, "{said}");
    let log = origin.log();
    assert!(log.matches(ANSWERED).count() >= 2, "{log}");
}
