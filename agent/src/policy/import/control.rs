//! `sessionControls.cloudAppSecurity`: Conditional Access App Control, the one control that this host carries out.

use super::fields::Fields;
use super::{Draft, Effect, said};
use crate::policy::Control;
use crate::policy::write::{Session, WrittenRule};

/// `None`: the policy is left without control.
pub(super) fn read(session: &Fields<'_>, draft: &mut Draft) -> Option<Session> {
    const FIELD: &str = "sessionControls.cloudAppSecurity";
    let with = |control: &Control| Session { control: Some(control.name().to_owned()), ..Session::default() };
    let security = session.object("cloudAppSecurity").unwrap_or_default();
    let security = Fields::new(&security, FIELD);
    let enabled = security.boolean("isEnabled");
    let kind = security.text("cloudAppSecurityType").unwrap_or_default();
    security.rest(|field, value| {
        draft.note(field, Effect::Unknown, format!("this import does not know the field: {}", said(value)));
    });
    if enabled.is_none() && !kind.is_empty() {
        let text = format!(
            "{kind:?} without `isEnabled`: whether it is used is not said, the policy is left without it"
        );
        draft.note(FIELD, Effect::Unknown, text);
        return None;
    }
    if enabled != Some(true) {
        let text = "Conditional Access App Control is not used: without session control the policy does nothing here";
        draft.note(FIELD, Effect::None, text);
        return None;
    }
    match kind.to_ascii_lowercase().as_str() {
        "monitoronly" => Some(with(&Control::MonitorOnly)),
        "blockdownloads" => Some(with(&Control::BlockDownloads)),
        "mcasconfigured" => {
            draft.note(
                FIELD,
                Effect::CoversLess,
                "mcasConfigured: the rules stand in the session policies of Defender for Cloud Apps, which no export has; \
                 write them as [[policy.session.rule]]. Until then everything is monitored and nothing blocked",
            );
            let rule = WrittenRule {
                name: "in place of the session policies".to_owned(),
                action: "monitor".to_owned(),
                ..WrittenRule::default()
            };
            Some(Session { rules: vec![rule], ..with(&Control::Custom(Vec::new())) })
        }
        "protectdownloads" => {
            draft.note(
                FIELD,
                Effect::CoversLess,
                "protectDownloads: files are not labelled or encrypted here; downloads are monitored instead",
            );
            Some(with(&Control::MonitorOnly))
        }
        _ => {
            draft.note(
                FIELD,
                Effect::Unknown,
                format!("unknown control {kind:?}: the policy is left without one"),
            );
            None
        }
    }
}
