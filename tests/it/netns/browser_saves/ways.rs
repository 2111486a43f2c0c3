//! The ways: a page of the app, what a script or a click does there, and what the origin answers.

use lab::attachment::DOCX;
use lab::browser::Kind;
use serde_json::{Map, Value, json};

/// What becomes of a way on a device that may not download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Blocked,
    /// Nothing on the wire tells it from what has to pass. The README's limits name it.
    Saved,
}

pub(super) struct Way {
    pub name: &'static str,
    /// Path of the page on which it begins.
    pub page: String,
    /// Body of an async function that runs there.
    pub script: String,
    /// It runs in the browser's own window instead, as a command of its menus.
    pub pressed: bool,
    /// Path of the file.
    pub path: String,
    /// What stands in the file and nowhere else.
    pub marker: Vec<u8>,
    /// The browser that has this way, where not both have it.
    pub only: Option<Kind>,
    /// Browsers in which it goes on saving.
    limits: &'static [Kind],
    rows: Vec<(String, Value)>,
}

impl Way {
    pub fn after(&self, kind: Kind) -> After {
        if self.limits.contains(&kind) { After::Saved } else { After::Blocked }
    }

    /// A file of this type that no header says to save.
    fn typed(mut self, mime: &str) -> Self {
        self.row()["headers"] = json!([["content-type", mime]]);
        self
    }

    /// An attachment of this type.
    fn attached(mut self, mime: &str) -> Self {
        let disposition = format!("attachment; filename=\"{}.bin\"", self.name);
        self.row()["headers"] = json!([["content-type", mime], ["content-disposition", disposition]]);
        self
    }

    /// The same behind octets that no text has.
    fn binary(mut self) -> Self {
        let body = format!("PK\u{3}\u{4}{}", self.row()["body"].as_str().unwrap_or_default());
        self.row()["body"] = body.into();
        self
    }

    /// Nothing says what it is.
    fn untyped(mut self) -> Self {
        self.row()["headers"] = json!([]);
        self
    }

    fn beside(mut self, path: impl Into<String>, row: Value) -> Self {
        self.rows.push((path.into(), row));
        self
    }

    fn ranges(mut self) -> Self {
        self.row()["ranges"] = true.into();
        self
    }

    fn only_in(self, kind: Kind) -> Self {
        Self { only: Some(kind), ..self }
    }

    fn limit_of(self, limits: &'static [Kind]) -> Self {
        Self { limits, ..self }
    }

    fn row(&mut self) -> &mut Value {
        &mut self.rows[0].1
    }
}

fn way(name: &'static str, script: impl Into<String>) -> Way {
    let marker = format!("MARK-{name}-KRAM ");
    let body = marker.repeat(200);
    let path = format!("/file/{name}");
    let way = Way {
        name,
        page: "/page".to_owned(),
        script: script.into(),
        pressed: false,
        rows: vec![(path.clone(), json!({ "status": 200, "body": body }))],
        path,
        marker: marker.into_bytes(),
        only: None,
        limits: &[],
    };
    way.attached("application/octet-stream")
}

/// A way through a service worker of the page, whose handler of `fetch` this is (`url` is what was asked for).
fn worker(name: &'static str, handler: &str, then: &str) -> Way {
    let scope = format!("/worker/{name}/");
    let script = format!(
        "await navigator.serviceWorker.register('{scope}worker.js', {{scope: '{scope}'}});
         const registration = await navigator.serviceWorker.ready;
         if (!navigator.serviceWorker.controller)
             await new Promise(go => navigator.serviceWorker.addEventListener('controllerchange', go));
         {then}"
    );
    let worker = format!(
        "self.addEventListener('install', e => e.waitUntil(skipWaiting()));
         self.addEventListener('activate', e => e.waitUntil(clients.claim()));
         self.addEventListener('fetch', e => {{ const url = new URL(e.request.url); {handler} }});"
    );
    let mut way = way(name, script);
    way.page = format!("{scope}page");
    let page = way.page.clone();
    way.beside(page, page_row("")).beside(
        format!("{scope}worker.js"),
        json!({ "status": 200, "headers": [["content-type", "text/javascript"]], "body": worker }),
    )
}

fn page_row(body: &str) -> Value {
    let body = format!("<!doctype html><title>An app</title><link rel=icon href=data:,><body>{body}</body>");
    json!({ "status": 200, "headers": [["content-type", "text/html; charset=utf-8"]], "body": body })
}

/// Clicks a link.
fn click(address: &str, attributes: &str) -> String {
    format!(
        "const a = document.createElement('a'); a.href = {address:?}; {attributes} document.body.append(a); a.click();"
    )
}

/// Saves a blob that the page has.
fn keep(blob: &str, name: &str) -> String {
    format!(
        "const a = document.createElement('a'); a.href = URL.createObjectURL({blob}); a.download = '{name}.bin';
         document.body.append(a); a.click();"
    )
}

fn fetched(name: &'static str, options: &str) -> Way {
    way(name, format!("const r = await fetch('/file/{name}', {options}); {}", keep("await r.blob()", name)))
}

fn element(name: &'static str, tag: &str, attribute: &str) -> Way {
    way(
        name,
        format!(
            "const e = document.createElement('{tag}'); e.{attribute} = '/file/{name}'; document.body.append(e);"
        ),
    )
}

fn navigated(name: &'static str) -> Way {
    way(name, format!("location.href = '/file/{name}'"))
}

fn linked(name: &'static str, file: &str) -> Way {
    way(name, click(&format!("/file/{name}"), &format!("a.download = '{file}';")))
}

/// "Save link as", "save image as" and "save page as" of Firefox end here; the question for a name is left out.
fn saved_as(name: &'static str) -> Way {
    let script = format!(
        "const uri = Services.io.newURI('https://own.corp.test/file/{name}');
         const file = Components.classes['@mozilla.org/file/local;1'].createInstance(Components.interfaces.nsIFile);
         file.initWithPath(Services.prefs.getStringPref('browser.download.dir') + '/{name}');
         const principal = Services.scriptSecurityManager.createContentPrincipal(uri, {{}});
         internalSave(uri.spec, null, null, '{name}', null, null, false, 'SaveLinkTitle', {{file, uri}}, null, null,
             null, true, null, false, principal);"
    );
    Way { pressed: true, ..way(name, script) }.only_in(Kind::Firefox)
}

pub(super) fn all() -> Vec<Way> {
    use Kind::{Chromium, Firefox};
    const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    let mut ways = vec![
        // Links and navigations.
        navigated("navigate"),
        navigated("navigate-type").typed("application/zip"),
        navigated("navigate-pdf").attached("application/pdf"),
        navigated("navigate-archive").typed("multipart/related"),
        navigated("navigate-binary").typed("text/plain").binary(),
        navigated("navigate-untyped").untyped().binary(),
        linked("link", ""),
        linked("link-type", "").typed("text/csv"),
        // Firefox asks for the next three as if the user went there, and says nowhere what for.
        linked("link-text", "").typed("text/plain").limit_of(&[Firefox]),
        linked("link-page", "x.html").typed("text/html").limit_of(&[Firefox]),
        linked("link-image", "").typed("image/png").limit_of(&[Firefox]),
        way("new-window", "window.open('/file/new-window')"),
        way("new-tab", click("/file/new-tab", "a.target = '_blank';")),
        way("refresh", "location.href = '/refresh'")
            .beside("/refresh", page_row("<meta http-equiv=refresh content='0; url=/file/refresh'>")),
        way("redirect", "location.href = '/lead'")
            .beside("/lead", json!({ "status": 302, "headers": [["location", "/file/redirect"]] })),
        way(
            "prefetch",
            "const l = document.createElement('link'); l.rel = 'prefetch'; l.href = '/file/prefetch';
             document.head.append(l);
             await new Promise(go => { l.onload = go; l.onerror = go; setTimeout(go, 2000) });
             location.href = '/file/prefetch'",
        ),
        saved_as("save-page-as").typed("text/html"),
        saved_as("save-image-as").typed("image/png"),
        saved_as("save-document-as").typed("application/pdf"),
        // Forms and frames.
        way(
            "form-post",
            "document.body.innerHTML = '<form method=post action=/file/form-post><input name=a value=b></form>';
             document.forms[0].submit()",
        ),
        way(
            "form-get",
            "document.body.innerHTML = '<form target=_blank action=/file/form-get></form>'; document.forms[0].submit()",
        ),
        element("frame", "iframe", "src"),
        element("frame-binary", "iframe", "src").typed("text/plain").binary(),
        element("embed", "embed", "src").only_in(Chromium),
        element("object", "object", "data").only_in(Chromium),
        // Scripts.
        fetched("fetch", "{}"),
        fetched("fetch-type", "{}").typed(WORD),
        fetched("fetch-post", "{method: 'POST', body: 'x'}"),
        fetched("fetch-same-origin", "{mode: 'same-origin', headers: {Accept: 'text/html'}}").typed(WORD),
        fetched("fetch-range", "{headers: {Range: 'bytes=0-999'}}").ranges(),
        way(
            "request",
            format!(
                "const x = new XMLHttpRequest(); x.open('GET', '/file/request'); x.responseType = 'arraybuffer';
                 await new Promise((go, no) => {{ x.onload = go; x.onerror = no; x.send() }}); {}",
                keep("new Blob([x.response])", "request")
            ),
        )
        .typed("application/octet-stream"),
        way(
            "data-address",
            "const r = await fetch('/file/data-address'); const f = new FileReader();
             f.readAsDataURL(await r.blob()); await new Promise(go => f.onload = go);
             const a = document.createElement('a'); a.href = f.result; a.download = 'data-address.bin';
             document.body.append(a); a.click();",
        ),
        way(
            "thread",
            format!(
                "const code = `fetch('${{location.origin}}/file/thread').then(r => r.blob()).then(b => postMessage(b))`;
                 const w = new Worker(URL.createObjectURL(new Blob([code])));
                 const b = await new Promise((go, no) => {{ w.onmessage = e => go(e.data); w.onerror = no }}); {}",
                keep("b", "thread")
            ),
        ),
        way(
            "cache",
            format!(
                "const c = await caches.open('c'); await c.put('/kept', await fetch('/file/cache')); {}",
                keep("await (await c.match('/kept')).blob()", "cache")
            ),
        ),
        // Service workers: one that answers with another file, one that writes the head itself, two that hand on.
        worker(
            "worker-other",
            "if (url.pathname.endsWith('/asked')) e.respondWith(fetch('/file/worker-other'))",
            "location.href = registration.scope + 'asked'",
        ),
        worker(
            "worker-stream",
            "if (url.pathname.endsWith('/asked')) e.respondWith(fetch('/file/worker-stream').then(r => new Response(r.body, {
                 headers: {'content-type': 'application/octet-stream', 'content-disposition': 'attachment; filename=s.bin'}})))",
            "location.href = registration.scope + 'asked'",
        ),
        worker("worker-through", "e.respondWith(fetch(e.request))", "location.href = registration.scope + 'file'"),
        worker("worker-type", "e.respondWith(fetch(e.request))", "location.href = registration.scope + 'file'"),
        worker(
            "worker-link",
            "e.respondWith(fetch(e.request))",
            &click("file", "a.href = registration.scope + 'file'; a.download = '';"),
        ),
    ];
    for way in
        ways.iter_mut().filter(|way| ["worker-through", "worker-type", "worker-link"].contains(&way.name))
    {
        way.path = format!("/worker/{}/file", way.name);
        way.rows[0].0 = way.path.clone();
        if way.name == "worker-type" {
            way.row()["headers"] = json!([["content-type", "application/x-unlisted"]]);
        }
    }
    // On another host of the app the attribute counts for nothing.
    ways.push(Way {
        path: DOCX.path.to_owned(),
        marker: DOCX.body("")[..64].to_vec(),
        ..way("link-elsewhere", click(&format!("https://files.corp.test{}", DOCX.path), "a.download = '';"))
    });
    ways
}

/// Everything that the origin answers.
pub(super) fn rows(ways: &[Way]) -> Value {
    let mut rows = Map::new();
    rows.insert("/page".to_owned(), page_row(""));
    for (path, row) in ways.iter().flat_map(|way| &way.rows) {
        rows.insert(path.clone(), row.clone());
    }
    Value::Object(rows)
}
