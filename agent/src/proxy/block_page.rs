//! What a user reads when an activity is blocked: one sentence, as page, JSON or text. Everything foreign is escaped.

use uuid::Uuid;

use crate::classify::ActivityType;

/// No script, no fetch, no frame: the page is text and its own style.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'";

/// The standard sentence. Without a file name it speaks of this file.
pub fn standard_text(activity: ActivityType, filename: Option<&str>) -> String {
    let file = filename.unwrap_or("this file");
    let (title, doing) = match activity {
        ActivityType::Upload => ("Upload blocked", format!("Uploading {file}")),
        ActivityType::Message => ("Message blocked", "Sending this message".to_owned()),
        ActivityType::SignIn | ActivityType::SignInFailed => ("Sign-in blocked", "Signing in".to_owned()),
        ActivityType::Copy => ("Copying blocked", "Copying from this page".to_owned()),
        ActivityType::Cut => ("Cutting blocked", "Cutting from this page".to_owned()),
        ActivityType::Paste => ("Pasting blocked", "Pasting into this page".to_owned()),
        ActivityType::Print => ("Printing blocked", "Printing this page".to_owned()),
        ActivityType::None => ("Request blocked", "This request".to_owned()),
        _ => ("Download blocked", format!("Downloading {file}")),
    };
    format!("{title}. {doing} is blocked by your organization's security policy.")
}

/// What a program reads instead.
const fn code(activity: ActivityType) -> &'static str {
    match activity {
        ActivityType::Upload => "upload_blocked",
        ActivityType::Message => "message_blocked",
        ActivityType::SignIn | ActivityType::SignInFailed => "sign_in_blocked",
        ActivityType::Print => "print_blocked",
        ActivityType::None => "request_blocked",
        _ => "download_blocked",
    }
}

/// A page of its own, readable without images or scripts, in light and dark.
pub fn html(text: &str, app: &str, activity: Uuid) -> String {
    let (text, app) = (escape(text), escape(app));
    let title = text.split_once(". ").map_or("Blocked", |(title, _)| title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>\n:root {{ color-scheme: \
         light dark; }}\nbody {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 \
         1.5rem; }}\nh1 {{ font-size: 1.4rem; }}\np {{ overflow-wrap: anywhere; }}\nsmall {{ opacity: .7; }}\n</style>\n\
         </head>\n<body>\n<main role=\"alert\">\n<h1>{title}</h1>\n<p>{text}</p>\n<p><small>App: {app}<br>Activity: \
         {activity}</small></p>\n</main>\n</body>\n</html>\n"
    )
}

/// The error object of the interface contract.
pub fn json(kind: ActivityType, text: &str, filename: Option<&str>, activity: Uuid) -> String {
    let object = serde_json::json!({
        "error": {
            "code": code(kind),
            "message": text,
            "filename": filename,
            "activity": activity,
        }
    });
    format!("{object}\n")
}

/// For element content, and for values of attributes in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_the_sentence_and_escapes_the_name() {
        let page = html(
            &standard_text(ActivityType::Download, Some("<img src=x onerror=alert(1)>.docx")),
            "A & B",
            Uuid::nil(),
        );
        assert!(page.contains(
            "Downloading &lt;img src=x onerror=alert(1)&gt;.docx is blocked by your organization's"
        ));
        assert!(page.contains("App: A &amp; B"));
        assert!(!page.contains("<img"));
    }

    #[test]
    fn json_has_the_contracts_fields() {
        let value: serde_json::Value =
            serde_json::from_str(&json(ActivityType::Download, "text", Some("a\"b.docx"), Uuid::nil()))
                .unwrap();
        assert_eq!(value["error"]["code"], "download_blocked");
        assert_eq!(value["error"]["filename"], "a\"b.docx");
        assert_eq!(value["error"]["activity"], Uuid::nil().to_string());
    }

    /// Names come from origins, messages from the administrator; neither is markup, steers a terminal or turns a line
    /// around.
    #[test]
    fn no_name_breaks_out_of_any_form() {
        use crate::http::content_disposition::display_name;
        let hostile = [
            "</p></main><script>alert(1)</script>.docx",
            "&lt;b&gt;.docx",
            "\"><svg/onload=alert(1)>",
            "a\"},\"x\":{\"b\":\"",
            "a\r\nSet-Cookie: x=1\r\n\r\nbody.docx",
            "\u{1b}[2J\u{1b}]0;title\u{7}.docx",
            "invoice\u{202e}xcod.exe",
            "\u{2066}a\u{2069}\u{200f}b\u{feff}.docx",
            &format!("{}.docx", "ä".repeat(32 << 10)),
            &"<".repeat(64 << 10),
        ];
        for name in hostile {
            let shown = display_name(name).unwrap();
            let text = standard_text(ActivityType::Download, Some(&shown));
            assert!(text.len() < 400, "{} octets", text.len());
            assert!(
                !text.contains(|c: char| c.is_control() || "\u{202e}\u{2066}\u{200f}\u{feff}".contains(c)),
                "{text:?}"
            );
            let page = html(&text, name, Uuid::nil());
            let tags = ["<script", "<svg", "<b>", "</p></main><script"];
            assert!(!tags.iter().any(|tag| page.contains(tag)), "{page}");
            assert_eq!(page.matches('<').count(), html("", "", Uuid::nil()).matches('<').count(), "{page}");
            let body = json(ActivityType::Download, &text, Some(&shown), Uuid::nil());
            assert_eq!(body.matches('\n').count(), 1, "{body}");
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (value["error"]["filename"].as_str(), value.as_object().unwrap().len()),
                (Some(&*shown), 1)
            );
        }
        let message = "Ask <b>IT</b> & \"mail\".\nhelp@corp.test";
        assert!(
            html(message, "A", Uuid::nil())
                .contains("<p>Ask &lt;b&gt;IT&lt;/b&gt; &amp; &quot;mail&quot;.\nhelp")
        );
    }

    #[test]
    fn without_a_name_the_sentence_still_reads() {
        assert_eq!(
            standard_text(ActivityType::Download, None),
            "Download blocked. Downloading this file is blocked by your organization's security policy."
        );
    }
}
