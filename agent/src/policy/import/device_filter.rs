//! `conditions.devices`: the rule of a device filter as devices that are included and excluded.
//!
//! A rule is read whole: terms with `-eq` and `-ne`, `-and`, `-or`, `-not`, brackets. What can be said here is "one of these,
//! and none of those"; a rule of another shape is left out as a whole, and that is said.

use super::conditions::CoversNothing;
use super::fields::{Fields, is_said};
use super::{Draft, Effect, Host, Words, said};

/// Deepest nesting of brackets and negations that is read.
const MAX_DEPTH: usize = 64;
/// Terms of a rule in its plain form; a rule has 3072 characters at most, and a term some 15.
const MAX_TERMS: usize = 256;

pub(super) fn read(
    devices: &Fields<'_>,
    states: &Fields<'_>,
    host: &Host<'_>,
    draft: &mut Draft,
) -> Result<Option<Words>, CoversNothing> {
    let mut include = Vec::new();
    let mut exclude = Vec::new();
    // The older form: lists of Compliant and DomainJoined.
    let lists = [
        (devices, "includeDevices", true),
        (devices, "excludeDevices", false),
        (devices, "includeDeviceStates", true),
        (devices, "excludeDeviceStates", false),
        (states, "includeStates", true),
        (states, "excludeStates", false),
    ];
    let mut restricted = false;
    for (fields, name, included) in lists {
        for word in fields.texts(name).unwrap_or_default() {
            let meaning = match (host.names.get(&word), word.to_ascii_lowercase().as_str()) {
                (Some(word), _) if is_device(word) => Some(word.clone()),
                (_, "all") => Some("all".to_owned()),
                (_, "compliant") => Some("compliant".to_owned()),
                _ => None,
            };
            if meaning.as_deref() == Some("all") && included {
                continue;
            }
            restricted |= included;
            match meaning {
                Some(word) if included => include.push(word),
                Some(word) => exclude.push(word),
                None => {
                    let effect = if included { Effect::CoversLess } else { Effect::CoversMore };
                    draft.note(
                        &fields.path_of(name),
                        effect,
                        format!("{word:?} is unknown to this host; a tag can say it"),
                    );
                }
            }
        }
    }
    if restricted && include.is_empty() {
        return Err(CoversNothing);
    }
    let filter = devices.object("deviceFilter").unwrap_or_default();
    let filter = Fields::new(&filter, "conditions.devices.deviceFilter");
    let (mode, rule) = (filter.text("mode").unwrap_or_default(), filter.text("rule"));
    for fields in [&filter, devices, states] {
        fields.rest(|field, value| {
            draft.note(
                field,
                Effect::Unknown,
                format!("this import does not know the field: {}", said(value)),
            );
        });
    }
    if let Some(rule) = rule.filter(|rule| is_said(&rule.as_str().into())) {
        let covered = match mode.to_ascii_lowercase().as_str() {
            "include" => Some(true),
            "exclude" => Some(false),
            _ => None,
        };
        let plain = covered.and_then(|covered| Some(parse(&rule)?.plain(covered, 0)));
        match plain.flatten().filter(|plain| plain.len() <= MAX_TERMS) {
            Some(conjuncts) => apply(&conjuncts, host, draft, &mut include, &mut exclude)?,
            None => draft.note(
                "conditions.devices.deviceFilter",
                Effect::Unknown,
                format!("{mode} {rule}: devices here are told apart by compliance and tags alone, not by such a rule"),
            ),
        }
    }
    include.dedup();
    exclude.dedup();
    let everything = include.is_empty();
    if everything && exclude.is_empty() {
        return Ok(None);
    }
    Ok(Some(Words::new(if everything { vec!["all".to_owned()] } else { include }, exclude)))
}

fn is_device(word: &str) -> bool {
    matches!(word, "all" | "compliant")
        || word.strip_prefix("tag:").is_some_and(|tag| !tag.is_empty() && tag.trim() == tag)
}

/// `device.PROPERTY -eq VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    property: String,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Term(Term),
    Not(Box<Rule>),
    All(Vec<Rule>),
    Any(Vec<Rule>),
}

/// Of a rule in its plain form: one of these terms holds, or this one does not.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Conjunct {
    OneOf(Vec<Term>),
    Not(Term),
}

impl Rule {
    /// The rule (or, unless `holds`, its opposite) as conjuncts; `None` when it has another shape.
    fn plain(&self, holds: bool, depth: usize) -> Option<Vec<Conjunct>> {
        if depth > MAX_DEPTH {
            return None;
        }
        match (self, holds) {
            (Self::Term(term), true) => Some(vec![Conjunct::OneOf(vec![term.clone()])]),
            (Self::Term(term), false) => Some(vec![Conjunct::Not(term.clone())]),
            (Self::Not(rule), _) => rule.plain(!holds, depth + 1),
            (Self::All(rules), true) | (Self::Any(rules), false) => {
                let mut conjuncts = Vec::new();
                for rule in rules {
                    conjuncts.extend(rule.plain(holds, depth + 1)?);
                }
                Some(conjuncts)
            }
            (Self::Any(rules), true) | (Self::All(rules), false) => {
                let mut terms = Vec::new();
                for rule in rules {
                    match rule.plain(holds, depth + 1)?.as_slice() {
                        [Conjunct::OneOf(one)] => terms.extend(one.iter().cloned()),
                        _ => return None,
                    }
                }
                Some(vec![Conjunct::OneOf(terms)])
            }
        }
    }
}

/// Puts conjuncts into the lists. Terms that have no word here are named.
fn apply(
    conjuncts: &[Conjunct],
    host: &Host<'_>,
    draft: &mut Draft,
    include: &mut Vec<String>,
    exclude: &mut Vec<String>,
) -> Result<(), CoversNothing> {
    const FIELD: &str = "conditions.devices.deviceFilter";
    let unknown = |term: &Term| {
        format!(
            "device.{} -eq \"{}\" is unknown to this host; tell the import a tag for it",
            term.property, term.value
        )
    };
    let mut groups = usize::from(!include.is_empty());
    for conjunct in conjuncts {
        match conjunct {
            Conjunct::Not(term) => match term.word(host) {
                Some(Word::Says(word)) => exclude.push(word),
                // Not "not compliant".
                Some(Word::Denies) => {
                    groups += 1;
                    include.push("compliant".to_owned());
                    draft.note(
                        FIELD,
                        Effect::CoversLess,
                        "a device whose state is unknown is not compliant here",
                    );
                }
                None => draft.note(FIELD, Effect::CoversMore, unknown(term)),
            },
            Conjunct::OneOf(terms) => match terms.as_slice() {
                [term] if matches!(term.word(host), Some(Word::Denies)) => {
                    exclude.push("compliant".to_owned());
                    draft.note(
                        FIELD,
                        Effect::CoversMore,
                        "a device whose state is unknown is not compliant here",
                    );
                }
                terms => {
                    groups += 1;
                    let before = include.len();
                    for term in terms {
                        match term.word(host) {
                            Some(Word::Says(word)) => include.push(word),
                            Some(Word::Denies) => draft.note(
                                FIELD,
                                Effect::CoversLess,
                                "devices that are not compliant cannot stand beside others in a list",
                            ),
                            None => draft.note(FIELD, Effect::CoversLess, unknown(term)),
                        }
                    }
                    if include.len() == before {
                        return Err(CoversNothing);
                    }
                }
            },
        }
    }
    if groups > 1 {
        draft.note(
            FIELD,
            Effect::CoversMore,
            "more than one condition that must hold: here one of the listed suffices",
        );
    }
    Ok(())
}

enum Word {
    Says(String),
    /// The term says that the device is not compliant.
    Denies,
}

impl Term {
    fn word(&self, host: &Host<'_>) -> Option<Word> {
        let plain = format!("device.{} -eq {}", self.property, self.value);
        let quoted = format!("device.{} -eq \"{}\"", self.property, self.value);
        let given = |(term, _): &(&String, &String)| {
            [&plain, &quoted].iter().any(|written| written.eq_ignore_ascii_case(term))
        };
        if let Some((_, word)) = host.names.iter().find(given) {
            return is_device(word).then(|| Word::Says(word.clone()));
        }
        match (self.property.to_ascii_lowercase().as_str(), self.value.to_ascii_lowercase().as_str()) {
            ("iscompliant", "true") => Some(Word::Says("compliant".to_owned())),
            ("iscompliant", "false") => Some(Word::Denies),
            _ => None,
        }
    }
}

/// `None` when it is not such a rule, or has other operators.
fn parse(rule: &str) -> Option<Rule> {
    let tokens = tokens(rule)?;
    let mut rest = tokens.as_slice();
    let parsed = any(&mut rest, 0)?;
    rest.is_empty().then_some(parsed)
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Word(String),
    Text(String),
}

fn tokens(rule: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = rule.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' | '\'' => {
                let end = rest.get(1..)?.find(first)?;
                (Token::Text(rest.get(1..=end)?.to_owned()), end + 2)
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"'))
                    .unwrap_or(rest.len());
                (Token::Word(rest.get(..end)?.to_owned()), end)
            }
        };
        tokens.push(token);
        rest = rest.get(length..)?.trim_start();
    }
    Some(tokens)
}

fn take(rest: &mut &[Token], word: &str) -> bool {
    match rest.split_first() {
        Some((Token::Word(next), after)) if next.eq_ignore_ascii_case(word) => {
            *rest = after;
            true
        }
        _ => false,
    }
}

fn any(rest: &mut &[Token], depth: usize) -> Option<Rule> {
    let mut rules = vec![all(rest, depth)?];
    while take(rest, "-or") {
        rules.push(all(rest, depth)?);
    }
    if rules.len() == 1 { rules.pop() } else { Some(Rule::Any(rules)) }
}

fn all(rest: &mut &[Token], depth: usize) -> Option<Rule> {
    let mut rules = vec![one(rest, depth)?];
    while take(rest, "-and") {
        rules.push(one(rest, depth)?);
    }
    if rules.len() == 1 { rules.pop() } else { Some(Rule::All(rules)) }
}

fn one(rest: &mut &[Token], depth: usize) -> Option<Rule> {
    if depth > MAX_DEPTH {
        return None;
    }
    if take(rest, "-not") {
        return Some(Rule::Not(Box::new(one(rest, depth + 1)?)));
    }
    let (first, after) = rest.split_first()?;
    *rest = after;
    let property = match first {
        Token::Open => {
            let inner = any(rest, depth + 1)?;
            let (close, after) = rest.split_first()?;
            *rest = after;
            return (*close == Token::Close).then_some(inner);
        }
        Token::Word(word) => {
            let (object, property) = word.split_once('.')?;
            object.eq_ignore_ascii_case("device").then(|| property.to_owned())?
        }
        Token::Text(_) | Token::Close => return None,
    };
    let equal = if take(rest, "-eq") {
        true
    } else if take(rest, "-ne") {
        false
    } else {
        return None;
    };
    let (value, after) = rest.split_first()?;
    *rest = after;
    let value = match value {
        Token::Word(word) => word.clone(),
        Token::Text(text) => text.clone(),
        Token::Open | Token::Close => return None,
    };
    let term = Rule::Term(Term { property, value });
    Some(if equal { term } else { Rule::Not(Box::new(term)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(rule: &str, holds: bool) -> Option<String> {
        let term = |term: &Term| format!("{}={}", term.property, term.value);
        let conjunct = |conjunct: &Conjunct| match conjunct {
            Conjunct::OneOf(terms) => terms.iter().map(term).collect::<Vec<_>>().join("|"),
            Conjunct::Not(one) => format!("!{}", term(one)),
        };
        let conjuncts = parse(rule)?.plain(holds, 0)?;
        Some(conjuncts.iter().map(conjunct).collect::<Vec<_>>().join(" & "))
    }

    #[test]
    fn rules_of_the_shape_one_of_these_and_none_of_those() {
        let a = "device.isCompliant -eq True";
        let b = "device.trustType -eq \"AzureAD\"";
        for (rule, holds, expected) in [
            (a.to_owned(), true, Some("isCompliant=True")),
            (a.to_owned(), false, Some("!isCompliant=True")),
            (format!("{a} -or {b}"), true, Some("isCompliant=True|trustType=AzureAD")),
            (format!("{a} -or {b}"), false, Some("!isCompliant=True & !trustType=AzureAD")),
            (format!("{a} -and {b}"), true, Some("isCompliant=True & trustType=AzureAD")),
            (format!("-not ({a} -or {b})"), true, Some("!isCompliant=True & !trustType=AzureAD")),
            (format!("({a}) -and -not({b})"), true, Some("isCompliant=True & !trustType=AzureAD")),
            (format!("{a} -and {b}"), false, None),
            (format!("{a} -or ({b} -and {a})"), true, None),
            ("device.isCompliant -ne True".to_owned(), true, Some("!isCompliant=True")),
            ("device.displayName -startsWith \"x\"".to_owned(), true, None),
            ("device.isCompliant -eq".to_owned(), true, None),
            ("(device.isCompliant -eq True".to_owned(), true, None),
            ("device.a -eq \"open".to_owned(), true, None),
            ("user.a -eq 1".to_owned(), true, None),
            (String::new(), true, None),
            ("(".repeat(10_000), true, None),
            ("-not ".repeat(10_000), true, None),
        ] {
            assert_eq!(plain(&rule, holds).as_deref(), expected, "{}", rule.get(..80).unwrap_or(&rule));
        }
    }
}
