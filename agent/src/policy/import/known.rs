//! Ids of Microsoft's own applications, which are the same in every tenant, and the apps of the catalog they belong to.

/// Application id (lower case) and id in the built-in catalog. From Microsoft's list of first-party applications.
const APPLICATIONS: [(&str, &str); 9] = [
    ("00000002-0000-0ff1-ce00-000000000000", "m365-exchange"),
    ("00000003-0000-0ff1-ce00-000000000000", "m365-sharepoint"),
    ("1fec8e78-bce4-4aaf-ab1b-5451cc387264", "m365-teams"),
    ("5e3ce6c0-2b1f-4285-8d4b-75ee78787346", "m365-teams"),
    ("cc15fd57-2c6c-4117-a88c-83b1d56b4bbe", "m365-teams"),
    ("4765445b-32c6-49b0-83e6-1d93765276ca", "m365-office-web"),
    ("89bee1f7-5e6e-4d8a-9f3d-ecd601259da7", "m365-office-web"),
    ("00000006-0000-0ff1-ce00-000000000000", "m365-admin"),
    ("00000003-0000-0000-c000-000000000000", "m365-graph"),
];

pub(super) fn application(id: &str) -> Option<&'static str> {
    APPLICATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(id)).map(|(_, app)| *app)
}
