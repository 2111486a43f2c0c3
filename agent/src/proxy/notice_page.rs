//! What a user reads before the first page of a monitored app: one paragraph and two links, without a script.

use super::block_page::escape;
use crate::notice::CONTINUE;

/// What stands there where the administrator says nothing else.
fn standard_text(app: &str) -> String {
    format!(
        "Access to {app} is monitored. Your organization's security policy applies: what you do there is recorded, and \
         downloads and other activities may be blocked."
    )
}

/// `text`: the administrator's, in which `{app}` stands for the app's name. `then`: where the links lead in the end, a path
/// of this host. Links, because a browser would hold a form's restrictions against the redirects of the page behind it.
pub(super) fn html(text: Option<&str>, app: &str, then: &str) -> String {
    let text = text.map_or_else(|| standard_text(app), |text| text.replace("{app}", app));
    let query = |hide: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("then", then);
        if !hide.is_empty() {
            query.append_pair("hide", hide);
        }
        escape(&query.finish())
    };
    let (text, app, once, week) = (escape(&text), escape(app), query(""), query("week"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{app} is monitored</title>\n<style>\n:root {{ \
         color-scheme: light dark; }}\nbody {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; \
         padding: 0 1.5rem; }}\nh1 {{ font-size: 1.4rem; }}\np {{ overflow-wrap: anywhere; }}\n#continue {{ border: 1px \
         solid; border-radius: .3rem; padding: .4rem 1.2rem; text-decoration: none; }}\n</style>\n</head>\n<body>\n<main>\n\
         <h1>{app} is monitored</h1>\n<p>{text}</p>\n<p><a id=\"continue\" href=\"{CONTINUE}?{once}\">Continue to \
         {app}</a></p>\n<p><a id=\"hide\" href=\"{CONTINUE}?{week}\">Continue, and hide this notice for all apps for one \
         week</a></p>\n</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_app_and_leads_to_the_page_that_was_asked_for() {
        let page = html(None, "Corp Files", "/a?b=1&c=%22");
        assert!(page.contains("Access to Corp Files is monitored."));
        assert!(page.contains("?then=%2Fa%3Fb%3D1%26c%3D%2522\">Continue to Corp Files<"), "{page}");
        assert!(page.contains("&amp;hide=week\">Continue, and hide"), "{page}");
    }

    #[test]
    fn neither_an_app_nor_a_text_nor_a_path_is_markup() {
        let hostile = "\"><script>alert(1)</script>";
        let page = html(Some(&format!("{hostile} {{app}}")), hostile, hostile);
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches('<').count(), html(Some(""), "", "").matches('<').count());
        assert!(html(Some("Mind the rules of {app}."), "Box", "/").contains("<p>Mind the rules of Box.</p>"));
    }
}
