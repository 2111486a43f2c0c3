//! The version of the operating system: does its maker still mend it?

use std::fs;
use std::path::Path;

use jiff::civil::Date;

use super::Verdict;

/// Tables of releases and the ends of their support, as distributions ship them (package distro-info-data).
const TABLES: [(&str, &str); 2] =
    [("debian", "usr/share/distro-info/debian.csv"), ("ubuntu", "usr/share/distro-info/ubuntu.csv")];
/// Columns with an end of free support. The longest counts.
const ENDS: [&str; 3] = ["eol", "eol-lts", "eol-server"];

pub(super) fn judge(root: &Path, today: Date) -> Verdict {
    let Some(text) = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| fs::read_to_string(root.join(path)).ok())
    else {
        return Verdict::unknown("there is no /etc/os-release");
    };
    let value = |key| value(&text, key);
    let name = value("PRETTY_NAME").or_else(|| value("ID")).unwrap_or("this system");
    // os-release(5): the day support ends, where the maker says so.
    if let Some(end) = value("SUPPORT_END") {
        return match end.parse() {
            Ok(end) => until(name, end, today),
            Err(_) => Verdict::unknown(format!("SUPPORT_END in /etc/os-release is no date: {end:.40}")),
        };
    }
    if value("BUILD_ID") == Some("rolling") {
        return Verdict::passed(format!("{name} is a rolling release: only its updates count"));
    }
    let id = value("ID").unwrap_or_default();
    let Some((_, table)) = TABLES.iter().find(|(distribution, _)| *distribution == id) else {
        return Verdict::unknown(format!(
            "{name} does not say when its support ends (SUPPORT_END in /etc/os-release)"
        ));
    };
    let Ok(releases) = fs::read_to_string(root.join(table)) else {
        return Verdict::unknown(format!("/{table} is not there: install distro-info-data"));
    };
    match value("VERSION_CODENAME").and_then(|series| end_of(&releases, series)) {
        Some(end) => until(name, end, today),
        None => Verdict::unknown(format!("/{table} does not know when the support of {name} ends")),
    }
}

fn until(name: &str, end: Date, today: Date) -> Verdict {
    if today <= end {
        Verdict::passed(format!("{name} is supported until {end}"))
    } else {
        Verdict::failed(format!("the support of {name} ended on {end}: upgrade it"))
    }
}

/// The value of a key of os-release(5), without its quotes.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(unquoted.unwrap_or(value)).filter(|value| !value.is_empty())
}

/// When the series' support ends, by the table's own column names.
fn end_of(table: &str, series: &str) -> Option<Date> {
    let mut lines = table.lines();
    let columns: Vec<&str> = lines.next()?.split(',').collect();
    let position = |name: &str| columns.iter().position(|column| *column == name);
    let series_column = position("series")?;
    let row = lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .find(|row| row.get(series_column) == Some(&series))?;
    ENDS.iter().filter_map(|name| row.get(position(name)?)?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    const DEBIAN: &str = "version,codename,series,created,release,eol,eol-lts,eol-elts\n\
        10,Buster,buster,2017-06-17,2019-07-06,2022-09-10,2024-06-30,2029-06-30\n\
        12,Bookworm,bookworm,2021-08-14,2023-06-10,2026-06-10,2028-06-30,2033-06-30\n\
        ,Sid,sid,1993-08-16\n";

    fn verdict(release: &str) -> Verdict {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("etc/os-release", release), (TABLES[0].1, DEBIAN)] {
            fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            fs::write(root.path().join(path), text).unwrap();
        }
        judge(root.path(), "2026-09-01".parse().unwrap())
    }

    #[test]
    fn support_ends_when_the_maker_says_so() {
        for (release, expected) in [
            ("ID=debian\nVERSION_CODENAME=bookworm\n", Outcome::Passed),
            ("ID=debian\nVERSION_CODENAME=buster\n", Outcome::Failed),
            ("ID=debian\nVERSION_CODENAME=sid\n", Outcome::Unknown),
            ("ID=debian\n", Outcome::Unknown),
            ("ID=ubuntu\nVERSION_CODENAME=jammy\n", Outcome::Unknown),
            ("ID=fedora\nSUPPORT_END=2026-09-01\n", Outcome::Passed),
            ("ID=fedora\nSUPPORT_END='2026-08-31'\n", Outcome::Failed),
            ("ID=fedora\nSUPPORT_END=soon\n", Outcome::Unknown),
            ("ID=arch\nBUILD_ID=rolling\n", Outcome::Passed),
            ("ID=other\n", Outcome::Unknown),
            ("", Outcome::Unknown),
        ] {
            let verdict = verdict(release);
            assert_eq!(verdict.outcome, expected, "{release}: {verdict:?}");
        }
        let told = verdict("ID=debian\nPRETTY_NAME=\"Debian 10\"\nVERSION_CODENAME=buster\n").reason;
        assert_eq!(told, "the support of Debian 10 ended on 2024-06-30: upgrade it");
    }
}
