//! What a user of Chromium and Firefox meets on a device that may not download: pages of every kind load, and a block is
//! a page under the address asked for, by a certificate of this host, on a connection that goes on (A14, A23 to A26).

use lab::agent::{Agent, Settings};
use lab::browser::Kind;
use lab::{Lab, OWN_SITE};
use serde_json::{Value, json};

use super::browser;

/// A picture of one pixel (PNG), base64.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// The smallest module of WebAssembly: magic and version, base64.
const MODULE: &str = "AGFzbQEAAAA=";

const PDF: &str = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
    3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";

/// Loads every kind of part, each as its page would, and says what came of it.
const LOAD: &str = r#"
    const part = (tag, attributes) => new Promise(go => {
        const e = Object.assign(document.createElement(tag), attributes);
        e.onload = () => go(true); e.onerror = () => go(false);
        document.body.append(e);
    });
    const seen = {};
    seen.script = await part('script', {src: '/part/script'}) && window.scriptRan === true;
    seen.module = await part('script', {src: '/part/module', type: 'module'}) && window.moduleRan === true;
    seen.style = await part('link', {rel: 'stylesheet', href: '/part/style'})
        && getComputedStyle(document.body).color === 'rgb(1, 2, 3)';
    const picture = source => new Promise(go => {
        const picture = new Image();
        picture.onload = () => go(picture.naturalWidth === 1); picture.onerror = () => go(false);
        picture.src = source;
    });
    seen.picture = await picture('/part/picture');
    seen.stored = await picture('/part/stored');
    seen.drawing = await part('img', {src: '/part/drawing'});
    seen.frame = await part('iframe', {src: '/part/frame'})
        && document.querySelector('iframe').contentDocument.body.innerText === 'framed';
    seen.viewer = await part('iframe', {src: '/part/viewer'});
    seen.data = (await (await fetch('/part/data')).json()).answer === 42;
    seen.guarded = (await (await fetch('/part/guarded')).json()).answer === 42;
    seen.preview = (await (await fetch('/part/preview')).blob()).size > 0;
    const rendered = await fetch('/part/rendered');
    seen.rendered = rendered.ok && (await rendered.arrayBuffer()).byteLength > 0;
    seen.code = (await WebAssembly.instantiateStreaming(fetch('/part/code'))).module instanceof WebAssembly.Module;
    await new FontFace('f', 'url(/part/font)').load().catch(() => null);
    seen.thread = await new Promise(go => {
        const w = new Worker('/part/thread'); w.onmessage = e => go(e.data === 'threaded'); w.onerror = () => go(false);
    });
    const video = document.createElement('video');
    video.muted = true; video.preload = 'auto'; video.src = '/part/sound';
    document.body.append(video);
    seen.video = await new Promise(go => { video.oncanplay = () => go(video.duration > 19); video.onerror = () => go(false) });
    seen.sought = await new Promise(go => { video.onseeked = () => go(video.currentTime > 14); video.currentTime = 15 });
    seen.parts = performance.getEntriesByType('resource')
        .filter(e => e.name.includes('/part/')).map(e => [new URL(e.name).pathname, e.responseStatus]);
    return seen;
"#;

/// Twenty seconds of silence (RIFF WAVE, 8 bits, 44.1 kHz), base64.
fn sound() -> String {
    const RATE: u32 = 44_100;
    let length = RATE * 20;
    let mut wave = Vec::new();
    wave.extend(b"RIFF");
    wave.extend((length + 36).to_le_bytes());
    wave.extend(b"WAVEfmt ");
    wave.extend(16_u32.to_le_bytes());
    wave.extend([1_u16, 1].iter().flat_map(|word| word.to_le_bytes()));
    wave.extend([RATE, RATE].iter().flat_map(|word| word.to_le_bytes()));
    wave.extend([1_u16, 8].iter().flat_map(|word| word.to_le_bytes()));
    wave.extend(b"data");
    wave.extend(length.to_le_bytes());
    wave.resize(wave.len() + length as usize, 0x80);
    base64(&wave)
}

/// RFC 4648 section 4, for whole groups of three octets and a rest.
fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    octets
        .chunks(3)
        .flat_map(|group| {
            let word = group.iter().fold(0_u32, |word, octet| word << 8 | u32::from(*octet))
                << (8 * (3 - group.len()));
            (0..4).map(move |place| match place <= group.len() {
                true => char::from(ALPHABET[(word >> (18 - 6 * place) & 63) as usize]),
                false => '=',
            })
        })
        .collect()
}

fn rows() -> Value {
    let text =
        |mime: &str, body: &str| json!({ "status": 200, "headers": [["content-type", mime]], "body": body });
    let octets = |mime: &str, body: &str| json!({ "status": 200, "headers": [["content-type", mime]], "base64": body });
    // Parts that their origin labels as attachments: browsers use them in place all the same.
    let attached = |mut row: Value| {
        row["headers"]
            .as_array_mut()
            .unwrap()
            .push(json!(["content-disposition", "attachment; filename=part"]));
        row
    };
    let page = "<!doctype html><title>An app</title><link rel=icon href=data:,><body><h1>Welcome</h1></body>";
    let mut sound = octets("audio/wav", &sound());
    sound["ranges"] = true.into();
    json!({
        "/page": text("text/html; charset=utf-8", page),
        "/part/script": attached(text("text/javascript", "window.scriptRan = true")),
        "/part/module": attached(text("text/javascript", "window.moduleRan = true")),
        "/part/style": attached(text("text/css", "body { color: rgb(1, 2, 3) }")),
        "/part/picture": attached(octets("image/png", PIXEL)),
        "/part/stored": attached(octets("application/octet-stream", PIXEL)),
        "/part/drawing": attached(text("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")),
        "/part/frame": text("text/html", "<!doctype html><body>framed</body>"),
        "/part/viewer": text("application/pdf", PDF),
        "/part/data": text("application/json", "{\"answer\": 42}"),
        "/part/guarded": {
            "status": 200, "body": "{\"answer\": 42}",
            "headers": [["content-type", "application/json"], ["content-disposition", "attachment; filename=\"f.txt\""]],
        },
        "/part/preview": octets("image/png", PIXEL),
        "/part/rendered": text("application/pdf", PDF),
        "/part/code": octets("application/wasm", MODULE),
        "/part/font": octets("font/woff2", PIXEL),
        "/part/thread": attached(text("text/javascript", "postMessage('threaded')")),
        "/part/sound": sound,
        "/file/report": {
            "status": 200, "body": "SECRET ".repeat(100),
            "headers": [["content-type", "application/zip"], ["content-disposition", "attachment; filename=\"Q3 <b>.zip\""]],
        },
    })
}

fn at(path: &str) -> String {
    format!("https://{OWN_SITE}{path}")
}

#[test]
fn pages_of_every_kind_load_in_browsers_that_may_not_download() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let _origin = lab.serve_table(&rows(), "h2,http/1.1").unwrap();
    for kind in Kind::ALL {
        let Some(browser) = browser::open(&lab, &agent, kind) else { continue };
        let mut session = browser.start(&[]).unwrap();
        assert_eq!(session.open(&at("/page")).unwrap(), None);
        let seen = session.run(LOAD).unwrap();
        for (part, worked) in seen.as_object().unwrap().iter().filter(|(part, _)| *part != "parts") {
            assert_eq!(worked, true, "{part} in {kind:?}: {seen:#}\n{}", agent.log());
        }
        for part in seen["parts"].as_array().unwrap() {
            assert!([200, 206].contains(&part[1].as_u64().unwrap()), "{kind:?}: {part}\n{}", agent.log());
        }
        assert!(
            seen["parts"].as_array().unwrap().iter().any(|part| part[0] == "/part/font"),
            "{kind:?}: {seen}"
        );
        // A document of the browser's own viewer, as the page.
        assert_eq!(session.open(&at("/part/viewer")).unwrap(), None, "{kind:?}");
        session.close().unwrap();
        let blocked = agent.activities(&["--action", "block"]).unwrap();
        assert_eq!(blocked, Vec::<Value>::new(), "{kind:?}");
        agent
            .wait_for_activity("the document in the viewer", |record| {
                record["type"] == "view" && record["response"]["mime"] == "application/pdf"
            })
            .unwrap();
    }
}

#[test]
fn a_block_is_a_page_under_the_address_by_this_hosts_authority_and_the_connection_goes_on() {
    const TEXT: &str =
        "Download blocked. Downloading Q3 <b>.zip is blocked by your organization's security policy.";
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    for protocols in ["h2,http/1.1", "http/1.1"] {
        let _origin = lab.serve_table(&rows(), protocols).unwrap();
        for kind in Kind::ALL {
            let Some(browser) = browser::open(&lab, &agent, kind) else { continue };
            let mut session = browser.start(&[]).unwrap();
            assert_eq!(session.open(&at("/page")).unwrap(), None, "{kind:?}");
            assert_eq!(session.run("return (await fetch('/part/data')).status").unwrap(), 200);
            let connections = || {
                agent
                    .metric("portcullis_connections_total", &[("app", "corp-files"), ("path", "inspected")])
                    .unwrap()
            };
            let before = connections();
            // A script's, in words; and the next request.
            let told = session
                .run("const r = await fetch('/file/report'); return [r.status, await r.text()]")
                .unwrap();
            assert_eq!(told[0], 403, "{kind:?}: {told}");
            assert_eq!(told[1].as_str().unwrap().trim(), TEXT, "{kind:?}");
            assert_eq!(session.run("return (await fetch('/part/data')).status").unwrap(), 200);
            // A navigation, as a page under its own address.
            session.open(&at("/file/report")).unwrap();
            let page = session.look().unwrap();
            assert_eq!(page.address, at("/file/report"), "{kind:?}");
            assert!(page.text.contains(TEXT), "{kind:?}: {page:?}");
            let issuer = session.issuer().unwrap();
            assert!(issuer.starts_with("Portcullis "), "{kind:?}: {issuer}");
            assert_eq!(session.open(&at("/page")).unwrap(), None, "{kind:?}");
            assert_eq!(session.look().unwrap().text, "Welcome", "{kind:?}");
            if protocols.starts_with("h2") {
                assert_eq!(connections(), before, "{kind:?} connected anew after a block");
            }
            session.close().unwrap();
            assert_eq!(browser.files_with(b"SECRET SECRET").unwrap(), Vec::<std::path::PathBuf>::new());
        }
    }
}
