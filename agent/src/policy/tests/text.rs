//! What is refused in the text of policies, and what comes back as it was written.

use super::*;

#[track_caller]
fn bad(text: &str, expected: &[&str]) {
    let found = PolicySet::build(&[SourceFile::new("p.toml", text)], &catalog(), &networks()).err();
    let found: Vec<String> =
        found.unwrap_or_default().iter().map(|d| d.to_string().replace("p.toml:", "")).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn unknown_words_are_refused_with_the_nearest_known_one() {
    let apps = |word: &str| format!("[[policy]]\nname = 'P'\napps.include = ['{word}']");
    bad(
        &apps("office356"),
        &[
            "3:17: `policy[0].apps.include[0]`: unknown app or suite \"office356\" (did you mean `office365`?)",
        ],
    );
    bad(
        &apps("corp-fiels"),
        &[
            "3:17: `policy[0].apps.include[0]`: unknown app or suite \"corp-fiels\" (did you mean `corp-files`?)",
        ],
    );
    bad(
        &apps("something-else-entirely"),
        &[
            "3:17: `policy[0].apps.include[0]`: unknown app or suite \"something-else-entirely\" (files in apps.d add \
         apps to the built-in ones)",
        ],
    );
    let with = |line: &str| format!("[[policy]]\nname = 'P'\napps.include = ['all']\n{line}");
    bad(
        &with("users.include = ['alice', 'gruop:x', 'uid:x', 'user:', 'role:x']"),
        &[
            "4:18: `policy[0].users.include[0]`: unknown user selector \"alice\" (did you mean `user:alice` or \
         `group:alice`?)",
            "4:27: `policy[0].users.include[1]`: unknown user selector \"gruop:x\" (did you mean `group:x`?)",
            "4:38: `policy[0].users.include[2]`: a uid is a whole number (did you mean `user:x`?)",
            "4:47: `policy[0].users.include[3]`: unknown user selector \"user:\" (write `all`, `user:NAME`, `uid:N` or \
         `group:NAME`)",
            "4:56: `policy[0].users.include[4]`: unknown user selector \"role:x\" (write `all`, `user:NAME`, `uid:N` or \
             `group:NAME`)",
        ],
    );
    bad(
        &with("conditions.devices.include = ['complaint', 'unmanaged']"),
        &[
            "4:31: `policy[0].conditions.devices.include[0]`: unknown device selector \"complaint\" (did you mean \
         `compliant`?)",
            "4:44: `policy[0].conditions.devices.include[1]`: unknown device selector \"unmanaged\" (devices that are not \
         compliant: `include = [\"all\"], exclude = [\"compliant\"]`)",
        ],
    );
    bad(
        &with("conditions.locations.exclude = ['crop']"),
        &[
            "4:33: `policy[0].conditions.locations.exclude[0]`: unknown network \"crop\" (did you mean `corp`?)",
        ],
    );
    bad(
        &with("conditions.client_apps = ['browsr']"),
        &["4:27: `policy[0].conditions.client_apps[0]`: unknown value \"browsr\" (did you mean `browser`?)"],
    );
    bad(
        &with("state = 'reportonly'\nsession.control = 'block-download'"),
        &[
            "4:9: `policy[0].state`: unknown value \"reportonly\" (did you mean `report-only`?)",
            "5:19: `policy[0].session.control`: unknown value \"block-download\" (did you mean `block-downloads`?)",
        ],
    );
    bad(
        &with("[policy.user]\ninclude = []"),
        &["4:9: `policy[0].user`: unknown key (did you mean `users`?)"],
    );
}

#[test]
fn what_is_missing_or_means_nothing_is_refused() {
    bad(
        "[[policy]]",
        &[
            "1:1: `policy[0]`: `name` is missing (give the policy a name: records and commands refer to it)",
            "1:1: `policy[0].apps`: `include` is missing (name the apps, or write `include = [\"all\"]`)",
        ],
    );
    let with = |line: &str| format!("[[policy]]\nname = 'P'\napps.include = ['all']\n{line}");
    bad(
        &with("users.include = []\nconditions.client_apps = []"),
        &[
            "4:17: `policy[0].users.include`: nothing is included, so the policy would never apply (leave the key out to \
         cover everything)",
            "5:26: `policy[0].conditions.client_apps`: no client app is named, so the policy would never apply (leave the \
         key out to cover everything)",
        ],
    );
    bad(
        &with("session.control = 'custom'"),
        &["4:1: `policy[0].session`: a custom control needs rules (add `[[policy.session.rule]]`)"],
    );
    bad(
        &with("session = { control = 'custom', rule = [] }"),
        &["4:40: `policy[0].session.rule`: a custom control needs rules (add `[[policy.session.rule]]`)"],
    );
    bad(
        "[[policy]]\nname = 'P'\napps.include = []",
        &[
            "3:16: `policy[0].apps.include`: nothing is included, so the policy would never apply (write `include = \
         [\"all\"]` to cover every app)",
        ],
    );
    bad(
        &custom(&rule("files = {}\naction = 'block'")),
        &[
            "6:9: `policy[0].session.rule[0].files`: nothing is said of the files, so the rule would match every one \
         (leave the key out to cover everything)",
        ],
    );
    bad(
        &custom(&rule("content.detect = []\naction = 'block'")),
        &[
            "6:18: `policy[0].session.rule[0].content.detect`: no detector is named, so the rule would never match (name \
         a detector, or leave `content` out to cover everything)",
        ],
    );
    bad(
        &with("[[policy.session.rule]]\naction = 'block'"),
        &["4:1: `policy[0].session.rule`: rules need a control (add `control = \"custom\"`)"],
    );
    bad(
        &with("session.control = 'monitor-only'\n[[policy.session.rule]]\nactivity = ['download']"),
        &[
            "5:1: `policy[0].session.rule[0]`: `action` is missing (say `action = \"allow\"`, `\"monitor\"` or `\"block\"`)",
            "5:1: `policy[0].session.rule`: only the control \"custom\" reads rules (write `control = \"custom\"`, or drop \
         the rules)",
        ],
    );
}

#[test]
fn what_never_matches_for_a_blank_or_stands_twice_is_refused() {
    bad(
        "[[policy]]\nname = 'P '\napps.include = ['all', 'all']\nusers.include = ['user: bob', 'group:b ', 'uid:+5', \
         'uid:4294967296', 'user: ']\nconditions.devices.exclude = ['tag: x', 'tag:x']",
        &[
            "2:8: `policy[0].name`: must not begin or end with a blank (did you mean `P`?)",
            "3:24: `policy[0].apps.include[1]`: stands in the list twice",
            "4:18: `policy[0].users.include[0]`: the name must not begin or end with a blank (did you mean `user:bob`?)",
            "4:31: `policy[0].users.include[1]`: the name must not begin or end with a blank (did you mean `group:b`?)",
            "4:43: `policy[0].users.include[2]`: a uid is a whole number (did you mean `user:+5`?)",
            "4:53: `policy[0].users.include[3]`: a uid is at most 4294967295",
            "4:71: `policy[0].users.include[4]`: unknown user selector \"user: \" (write `all`, `user:NAME`, `uid:N` or \
         `group:NAME`)",
            "5:31: `policy[0].conditions.devices.exclude[0]`: the name must not begin or end with a blank (did you mean \
         `tag:x`?)",
        ],
    );
    let rules = rule("name = 'a'\naction = 'block'") + &rule("name = 'a'\naction = 'allow'");
    bad(
        &custom(&(rules + &rule("action = 'allow'") + &rule("name = 'rule 3'\naction = 'allow'"))),
        &[
            "9:8: `policy[0].session.rule[1].name`: two rules of the policy are named \"a\" (records name the rule that \
         decided: give each its own)",
            "14:8: `policy[0].session.rule[3].name`: two rules of the policy are named \"rule 3\" (records name the rule \
         that decided: give each its own)",
        ],
    );
    bad(
        &custom(&rule("activity = ['download', 'download']\naction = 'block'")),
        &["6:25: `policy[0].session.rule[0].activity[1]`: stands in the list twice"],
    );
}

#[test]
fn what_nobody_can_see_of_a_page_is_not_asked_for() {
    bad(
        &custom(&rule("activity = ['download', 'cut']\naction = 'monitor'")),
        &[
            "7:10: `policy[0].session.rule[0].action`: a \"cut\" in a page can be blocked, but is not seen to be recorded \
         (write `action = \"block\"`, or take it out of the list)",
        ],
    );
    bad(
        &custom(&rule("activity = ['copy']\ncontent = { detect = ['iban'] }\naction = 'block'")),
        &[
            "7:11: `policy[0].session.rule[0].content`: of a \"copy\" in a page neither file nor content is known (give it \
         a rule of its own without this)",
        ],
    );
}

#[test]
fn rules_are_checked_word_by_word() {
    let text = custom(&rule(
        "activity = ['downlaod', 'upload']\nfiles = { extensions = ['*.docx'], mime = ['pdf'], larger_than = '1 Mib' }\n\
         content = { detect = ['credit_card', 'iban'], at_least = 0, unscanned = 'block' }\naction = 'deny'\nmessage = ' '",
    ));
    bad(
        &text,
        &[
            "6:13: `policy[0].session.rule[0].activity[0]`: unknown activity \"downlaod\" (did you mean `download`?)",
            "7:25: `policy[0].session.rule[0].files.extensions[0]`: an extension is written without wildcards, as in \
         `docx` (patterns over whole names go into `names`)",
            "7:44: `policy[0].session.rule[0].files.mime[0]`: not a media type (write type and subtype without parameters, \
         as in `application/pdf` or `image/*`)",
            "7:66: `policy[0].session.rule[0].files.larger_than`: unknown unit of size \"Mib\" (did you mean `1MiB`?)",
            "8:23: `policy[0].session.rule[0].content.detect[0]`: unknown detector \"credit_card\" (did you mean \
         `credit-card`?)",
            "8:58: `policy[0].session.rule[0].content.at_least`: must lie between 1 and 4294967295",
            "8:73: `policy[0].session.rule[0].content.unscanned`: unknown value \"block\" (one of `ignore`, `match`)",
            "9:10: `policy[0].session.rule[0].action`: unknown value \"deny\" (one of `allow`, `monitor`, `block`)",
            "10:11: `policy[0].session.rule[0].message`: must not be empty",
        ],
    );
}

#[test]
fn types_are_words_of_a_list() {
    bad(
        &custom(&rule("files.types = ['archiv', 'docx']\naction = 'block'")),
        &[
            "6:16: `policy[0].session.rule[0].files.types[0]`: unknown file type \"archiv\" (did you mean `archive`?)",
        ],
    );
    let text = custom(&rule("files.types = ['exe']\naction = 'block'"));
    let app = catalog().app("m365-sharepoint").cloned().unwrap();
    assert!(build(&text).asks_true_types(&app) && !build(&block("")).asks_true_types(&app));
}

#[test]
fn texts_of_every_kind_come_back_as_they_are_written() {
    let odd = "users.include = ['user:o\"b\\r\u{200e}i', 'group:ä b']\nsession.message = \"a\\nb\\\"c\"\n";
    let (_, explanation) = case(block(odd)).decide();
    assert!(explanation.policies[0].conditions[0].why.contains("nothing that is included"));
    let rules = rule(
        "files = { extensions = ['tar.gz', '.DOCX'], names = ['*.x', 'a?'], mime = ['image/*'], types = ['exe', 'archive'], larger_than = '1KiB' }\n\
         activity = ['upload']\naction = 'monitor'\nmessage = 'm'",
    );
    case(custom(&(rules + &rule("name = 'n'\naction = 'allow'")))).decide();
    case("[[policy]]\nname = 'P'\napps.include = ['slack', 'corp']\nusers.exclude = ['uid:0']").decide();
}
