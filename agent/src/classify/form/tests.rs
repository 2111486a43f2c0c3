//! Forms with files and without, and what is neither for everybody.

use proptest::prelude::*;

use super::*;
use crate::http::head::Version;

fn request(content_type: &str) -> RequestHead {
    RequestHead::new("POST", "/", Version::Http11).with("Content-Type", content_type)
}

fn form(body: &[u8]) -> Form {
    Form::of(&request("multipart/form-data; boundary=b"), FirstBytes::whole(body)).expect("a form")
}

/// Parts as browsers write them: `Content-Disposition` behind its type, further lines, content.
fn written(parts: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (parameters, lines, content) in parts {
        body += &format!("--b\r\nContent-Disposition: form-data; {parameters}\r\n{lines}\r\n{content}\r\n");
    }
    (body + "--b--\r\n").into_bytes()
}

const NO_FILE: (&str, &str, &str) =
    ("name=\"f\"; filename=\"\"", "Content-Type: application/octet-stream\r\n", "");

#[test]
fn fields_are_no_files_and_nor_is_what_browsers_send_where_none_was_chosen() {
    for parts in [
        &[][..],
        &[("name=\"text\"", "", "Grüße,\r\n--\r\nund --c")],
        &[(
            "name=\"text\"",
            "Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n",
            "x",
        )],
        &[("name=\"data\"", "Content-Type: application/json\r\n", "{}")],
        &[("name=\"filename\"", "Content-Length: 5\r\n", "a.pdf"), NO_FILE, ("name=a", "", "")],
        &[("name=\"a%22; file%0D%0A\"", "", "x")],
    ] {
        assert_eq!(form(&written(parts)), Form { without_files: true, names: vec![] }, "{parts:?}");
    }
    assert!(form(b"--b--").without_files, "without the line's end, as some libraries write it");
}

#[test]
fn files_are_known_by_their_names() {
    let named = |parts: &[(&str, &str, &str)], names: &[&str]| {
        let found = form(&written(parts));
        assert_eq!(
            (found.without_files, found.names),
            (false, names.iter().map(|n| (*n).to_owned()).collect())
        );
    };
    named(&[NO_FILE, ("name=\"f\"; filename=\"plan.docx\"", "", "PK")], &["plan.docx"]);
    named(&[("name=\"f\"; filename=\"empty.txt\"", "", "")], &["empty.txt"]);
    named(
        &[("filename=a.pdf; name=f", "", "%PDF"), ("name=g; filename=\"b;c.pdf\"", "", "")],
        &["a.pdf", "b;c.pdf"],
    );
    named(&[("name=f; FileName=\"a.exe\"", "", "MZ")], &["a.exe"]);
    named(&[("name=f; filename*=UTF-8''%e2%82%ac.pdf", "", "x")], &["€.pdf"]);
    named(&[("name=f; filename=\"a.txt\"; filename*=UTF-8''b.exe", "", "x")], &["b.exe", "a.txt"]);
    named(&[("name=f; filename=\"%22.pdf\"", "", "x")], &["\".pdf", "%22.pdf"]);
}

#[test]
fn what_may_be_a_file_for_some_reader_is_taken_for_one() {
    for parts in [
        // No name, but octets, or a type, or a disposition that say what it is.
        &[("name=\"f\"", "Content-Type: application/pdf\r\n", "x")][..],
        &[("name=\"f\"", "Content-Type: application/octet-stream\r\n", "x")],
        &[("name=\"f\"", "", "PK\x03\x04\x14\0\0\0\x08\0")],
        &[("name=\"f\"", "", "%PDF-1.7\n")],
        &[("name=\"f\"", "", "a\0b")],
        &[("name=\"f\"", "Content-Transfer-Encoding: base64\r\n", "JVBERi0x")],
        &[("name=\"f\"; filename=\"\"", "", "x")],
        &[("name=\"f\"; filename*=", "", "")],
        &[("name=\"f\"; filename*0=a; filename*1=\".pdf\"", "", "")],
        // Read in two ways.
        &[("name=\"a\\\"; filename=\\\"x\"", "", "x")],
        &[("name=\"a\r\n ; filename=x\"", "", "x")],
        &[("name=\"a\"; \"filename\"=x", "", "x")],
        &[("name=\"a\" filename=x", "", "x")],
        &[("name=a", "Content-Disposition: form-data; filename=x\r\n", "x")],
        &[("name=a", "X\r\n", "x")],
    ] {
        assert!(!form(&written(parts)).without_files, "{parts:?}");
    }
    for body in [
        &b""[..],
        b"--b",
        b"--b\r\n",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b",
        b"preamble\r\n--b--\r\n",
        b"--b--\r\nepilogue",
        b"--b \r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--",
        b"--b\nContent-Disposition: form-data; name=a\n\nx\n--b--\n",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx --b--\r\n",
        b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\n\r\nx\r\n--b--\r\n",
    ] {
        assert!(!form(body).without_files, "{}", body.escape_ascii());
    }
}

#[test]
fn a_boundary_that_readers_may_find_elsewhere_tells_nothing() {
    let body = written(&[("name=\"a\"", "", "x")]);
    let is_plain = |request: &RequestHead| {
        Form::of(request, FirstBytes::whole(&body)).is_some_and(|form| form.without_files)
    };
    for fine in ["multipart/form-data; boundary=b", "Multipart/Form-Data;charset=utf-8; Boundary=\"b\""] {
        assert!(is_plain(&request(fine)), "{fine}");
    }
    for odd in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=c",
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/form-data; boundary=b; boundary*=UTF-8''c",
        "multipart/form-data; boundary*0=b",
        "multipart/form-data; x=\"; boundary=c\\\"\"; boundary=b",
        "multipart/form-data; boundary=\"\\b\"",
        "multipart/form-data, multipart/form-data; boundary=b",
    ] {
        assert!(!is_plain(&request(odd)), "{odd}");
    }
    let plain = request("multipart/form-data; boundary=b");
    assert!(!is_plain(&plain.clone().with("Content-Type", "multipart/form-data; boundary=c")));
    assert!(!is_plain(&plain.with("Content-Encoding", "gzip")));
    assert_eq!(Form::of(&request("application/x-www-form-urlencoded"), FirstBytes::whole(&body)), None);
    assert_eq!(Form::of(&request("multipart/related; boundary=b"), FirstBytes::whole(&body)), None);
}

#[test]
fn what_was_not_seen_to_its_end_may_carry_a_file() {
    let large = "x".repeat(MAX_FORM);
    let body = written(&[("name=\"a\"", "", &large)]);
    assert!(!form(&body).without_files, "longer than a look");
    let body = written(&[("name=\"f\"; filename=\"a.pdf\"", "", &large)]);
    assert_eq!(form(&body).names, ["a.pdf"]);
}

proptest! {
    /// Nothing of a form with a file counts as a form without.
    #[test]
    fn no_part_of_a_form_tells_that_there_is_no_file(cut in 0usize..300, fields in 0usize..3) {
        let mut parts = vec![("name=\"a\"", "", "x"); fields];
        parts.push(("name=\"f\"; filename=\"a.pdf\"", "", "%PDF"));
        let whole = written(&parts);
        let start = whole.get(..cut).unwrap_or(&whole);
        let request = request("multipart/form-data; boundary=b");
        for start in [FirstBytes::prefix(start), FirstBytes::whole(start)] {
            prop_assert!(Form::of(&request, start).is_some_and(|form| !form.without_files));
        }
    }

    #[test]
    fn no_octets_break_the_look(octets in "(--b|\r\n|Content-Disposition: |form-data|; |name|filename|=|\"|a|:|--){0,40}") {
        fuzz_form(octets.as_bytes());
    }
}
