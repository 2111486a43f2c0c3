//! Content Security Policies that let our own script and style pass, and nothing else that they did not (CSP Level 3).

use crate::http::head::Fields;

/// Source expressions of what is put into a page, as `'sha256-…'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    pub script: String,
    /// `None`: there is no style.
    pub style: Option<String>,
}

const HEADERS: [&str; 2] = ["Content-Security-Policy", "Content-Security-Policy-Report-Only"];

/// An element whose text is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inline {
    Script,
    Style,
}

impl Inline {
    /// What decides about it, the first one that is there (CSP Level 3 section 6.8.3).
    const fn deciding(self) -> [&'static str; 3] {
        match self {
            Self::Script => ["script-src-elem", "script-src", DEFAULT],
            Self::Style => ["style-src-elem", "style-src", DEFAULT],
        }
    }
}

const DEFAULT: &str = "default-src";

/// Changes every policy in the head of a response. Each line may hold several, of which all hold.
pub fn allow(fields: &mut Fields, hashes: &Hashes) {
    for name in HEADERS {
        let policies: Vec<Vec<u8>> = fields.get_all(name).map(|line| allowing(line, hashes)).collect();
        if policies.is_empty() {
            continue;
        }
        fields.remove(name);
        for line in policies {
            fields.push(name.as_bytes(), &line);
        }
    }
}

fn allowing(line: &[u8], hashes: &Hashes) -> Vec<u8> {
    let policies: Vec<Vec<u8>> =
        line.split(|octet| *octet == b',').map(|policy| one(policy, hashes)).collect();
    policies.join(&b","[..])
}

fn one(policy: &[u8], hashes: &Hashes) -> Vec<u8> {
    let mut directives: Vec<Vec<u8>> = policy.split(|octet| *octet == b';').map(<[u8]>::to_vec).collect();
    add(&mut directives, Inline::Script, &hashes.script);
    if let Some(hash) = &hashes.style {
        add(&mut directives, Inline::Style, hash);
    }
    directives.join(&b";"[..])
}

/// Adds a hash to the directive that decides. Of several of one name the first counts.
fn add(directives: &mut Vec<Vec<u8>>, inline: Inline, hash: &str) {
    let named = |wanted: &str| {
        let is = |directive: &Vec<u8>| words(directive).next().is_some_and(|name| is(name, wanted));
        directives.iter().position(is)
    };
    let deciding = inline.deciding();
    let Some((name, at)) = deciding.into_iter().find_map(|name| Some((name, named(name)?))) else { return };
    let Some(directive) = directives.get_mut(at) else { return };
    let sources = || words(directive).skip(1);
    // Whatever stands in the page may run. A hash would end that (section 6.7.3.2).
    if sources().any(|source| is(source, "'unsafe-inline'"))
        && !sources().any(|source| narrows(source, inline))
    {
        return;
    }
    // 'none' counts only where it stands alone.
    let kept = sources().filter(|source| !is(source, "'none'"));
    // What decides about everything stays as it is: a hash in it would narrow what it says of the other kind.
    let own = if name == DEFAULT { deciding[0] } else { name };
    let changed: Vec<&[u8]> = [own.as_bytes()].into_iter().chain(kept).chain([hash.as_bytes()]).collect();
    let changed = [&b" "[..], &changed.join(&b' ')].concat();
    if name == DEFAULT { directives.push(changed) } else { *directive = changed }
}

/// Whether 'unsafe-inline' means nothing beside it.
fn narrows(source: &[u8], inline: Inline) -> bool {
    let begins = |word: &str| source.get(..word.len()).is_some_and(|start| is(start, word));
    ["'nonce-", "'sha256-", "'sha384-", "'sha512-"].iter().any(|word| begins(word))
        || inline == Inline::Script && is(source, "'strict-dynamic'")
}

fn is(source: &[u8], word: &str) -> bool {
    source.eq_ignore_ascii_case(word.as_bytes())
}

fn words(directive: &[u8]) -> impl Iterator<Item = &[u8]> {
    directive.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}
