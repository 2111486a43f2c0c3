//! The table of odd responses, made of the fixtures: each of them makes some client save a file.

use serde_json::{Value, json};

/// What stands in every file and nowhere else; after it comes the number of the row.
pub(super) const MARK: &str = "ODD-FILE-";
const DATA_OF_PROGRAMS: [&str; 7] = [
    "application/wasm",
    "application/x-ndjson",
    "application/yaml",
    "font/otf",
    "font/woff2",
    "model/gltf-binary",
    "multipart/related",
];
const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

pub(super) struct Odd {
    pub path: String,
    /// For the origin's table.
    pub row: Value,
    /// The file, codings undone.
    pub body: Vec<u8>,
    /// Whether both browsers save it when they navigate to it.
    pub browsers_save: bool,
}

/// What a row is made of; the rest is as everywhere.
struct Form<'a> {
    name: String,
    mime: Option<&'a str>,
    dispositions: &'a [String],
    status: u16,
    codings: &'a [&'a str],
    framing: &'a str,
    version: &'a str,
    browsers_save: bool,
}

impl Default for Form<'_> {
    fn default() -> Self {
        Self {
            name: String::new(),
            mime: None,
            dispositions: &[],
            status: 200,
            codings: &[],
            framing: "length",
            version: "1.1",
            browsers_save: true,
        }
    }
}

pub(super) fn rows() -> Vec<Odd> {
    let mut rows = Vec::new();
    by_disposition(&mut rows);
    by_type(&mut rows);
    by_transfer(&mut rows);
    rows
}

fn push(rows: &mut Vec<Odd>, form: &Form<'_>) {
    let number = rows.len();
    // Field names are written in every case; HTTP/2 has them in lower case.
    let spelled =
        ["Content-Disposition", "content-disposition", "CONTENT-DISPOSITION", "cOnTeNt-dIsPoSiTiOn"];
    let mut headers: Vec<Value> =
        form.dispositions.iter().map(|value| json!([spelled[number % spelled.len()], value])).collect();
    if let Some(mime) = form.mime {
        headers.push(json!(["Content-Type", mime]));
    }
    if !form.codings.is_empty() {
        headers.push(json!(["Content-Encoding", form.codings.join(", ")]));
    }
    let body = format!("{MARK}{number} ").repeat(90);
    if form.status == 206 {
        headers.push(json!(["Content-Range", format!("bytes 0-{}/{}", body.len() - 1, body.len())]));
    }
    rows.push(Odd {
        path: format!("/odd/{number}-{}", form.name),
        row: json!({
            "status": form.status, "headers": headers, "body": body, "codings": form.codings,
            "framing": form.framing, "version": form.version,
        }),
        body: body.into_bytes(),
        browsers_save: form.browsers_save,
    });
}

/// Every form of the header that is a download, on types that are none by themselves.
fn by_disposition(rows: &mut Vec<Odd>) {
    const TYPES: [Option<&str>; 7] = [
        Some("text/html"),
        Some("application/pdf"),
        Some("text/plain; charset=utf-8"),
        Some("image/png"),
        Some("application/json"),
        None,
        Some("video/mp4"),
    ];
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../../../fixtures/content_disposition.json")).unwrap();
    for vector in all.iter().filter(|vector| vector["download"] == true) {
        let values: Vec<String> = vector["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_str().unwrap().to_owned())
            .collect();
        // With control characters they are no messages, which is tested elsewhere.
        if values.iter().flat_map(|value| value.chars()).any(|c| c.is_ascii_control()) {
            continue;
        }
        let both = ["chromium", "gecko"].iter().all(|browser| vector[browser][0] == "download");
        let id = vector["id"].as_str().unwrap().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        for turn in 0..2 {
            let mime = TYPES[(rows.len() + turn) % TYPES.len()];
            let name = id.clone();
            push(rows, &Form { name, mime, dispositions: &values, browsers_save: both, ..Form::default() });
        }
    }
}

/// Every type that both browsers save, without a header that says so, or with one that says the contrary.
fn by_type(rows: &mut Vec<Odd>) {
    let table = include_str!("../../../fixtures/media_types.tsv");
    for line in table.lines().skip(1) {
        let mut fields = line.split('\t');
        let (Some(mime), Some("save"), Some("save")) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // What programs exchange as a matter of course counts for one that is no browser when its header says so.
        let exchanged = DATA_OF_PROGRAMS.contains(&mime);
        let unsaid = if exchanged { vec!["attachment".to_owned()] } else { vec![] };
        let other = |value: &str| if exchanged { unsaid.clone() } else { vec![value.to_owned()] };
        for (turn, dispositions) in
            [unsaid.clone(), other("inline; filename=\"a.txt\""), other("INLINE")].iter().enumerate()
        {
            let status = [200, 201, 203][turn];
            let name = mime.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            push(rows, &Form { name, mime: Some(mime), dispositions, status, ..Form::default() });
        }
    }
}

/// An attachment in every shape of a transfer.
fn by_transfer(rows: &mut Vec<Odd>) {
    let attachment = ["attachment; filename=\"report.docx\"".to_owned()];
    for codings in [&[][..], &["gzip"], &["deflate"], &["x-gzip"], &["gzip", "deflate"]] {
        for (framing, version) in
            [("length", "1.1"), ("chunked", "1.1"), ("close", "1.1"), ("length", "1.0"), ("close", "1.0")]
        {
            for status in [200, 201, 203, 206, 226, 300, 404, 503] {
                let name = format!("{framing}-{version}-{status}-{}", codings.join("-"));
                push(
                    rows,
                    &Form {
                        name,
                        mime: Some(WORD),
                        dispositions: &attachment,
                        status,
                        codings,
                        framing,
                        version,
                        browsers_save: matches!(status, 200 | 201 | 203) && codings.len() < 2,
                    },
                );
            }
        }
    }
}
