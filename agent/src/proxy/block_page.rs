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

/// For element content only: attributes of the page are constants.
fn escape(text: &str) -> String {
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

    #[test]
    fn without_a_name_the_sentence_still_reads() {
        assert_eq!(
            standard_text(ActivityType::Download, None),
            "Download blocked. Downloading this file is blocked by your organization's security policy."
        );
    }
}
