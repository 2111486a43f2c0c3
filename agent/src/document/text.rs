//! Durations and sizes as people write them: `90d`, `60s`, `10MiB`.

use std::time::Duration;

use super::Fault;

/// A whole number and a unit: `ms s m h d w`.
pub fn parse_duration(text: &str) -> Result<Duration, Fault> {
    const HELP: &str = "write a whole number and a unit, for example `60s`, `15m`, `12h`, `90d`";
    let (number, unit) = number_and_unit(text).ok_or_else(|| Fault::new("not a duration").help(HELP))?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        "d" => number.checked_mul(86_400),
        "w" => number.checked_mul(7 * 86_400),
        _ => return Err(Fault::new(format!("unknown unit of time \"{}\"", unit.escape_debug())).help(HELP)),
    };
    seconds.map(Duration::from_secs).ok_or_else(|| Fault::new("the duration is too long"))
}

/// Bytes: a whole number and a unit, decimal (`kB MB GB TB`) or binary (`KiB MiB GiB TiB`); `B` or no unit are bytes.
pub fn parse_size(text: &str) -> Result<u64, Fault> {
    const HELP: &str = "write a whole number and a unit, for example `512KiB`, `10MiB`, `2GB`";
    let (number, unit) = number_and_unit(text).ok_or_else(|| Fault::new("not a size").help(HELP))?;
    let factor = match unit {
        "" => Some(1),
        "KB" => Some(1_000),
        _ => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor),
    };
    let Some(factor) = factor else {
        let fault = Fault::new(format!("unknown unit of size \"{}\"", unit.escape_debug()));
        // Written otherwise, or shortened as `10M` is, which most programs take for the binary unit.
        let meant =
            |name: &str| name.eq_ignore_ascii_case(unit) || name.replace("iB", "").eq_ignore_ascii_case(unit);
        let near = UNITS.iter().rev().find(|(name, _)| meant(name));
        return Err(match near {
            Some((name, _)) => fault.help(format!("did you mean `{number}{name}`?")),
            None => fault.help(HELP),
        });
    };
    number.checked_mul(factor).ok_or_else(|| Fault::new("the size is too large"))
}

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("60s", 60), ("15m", 900), ("12h", 43_200), ("90d", 7_776_000), ("2w", 1_209_600)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "s",
            "60",
            "-1s",
            "1.5h",
            "60 years",
            "60S",
            "99999999999999999999s",
            "18446744073709551615w",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10MiB", 10 << 20),
            ("512KiB", 512 << 10),
            ("2GB", 2_000_000_000),
            ("7", 7),
            ("7 B", 7),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1", "10 mib", "1.5MiB", "18446744073709551615KiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for (bad, meant) in
            [("10mib", "10MiB"), ("10 M", "10MiB"), ("2gb", "2GB"), ("3k", "3KiB"), ("4b", "4B")]
        {
            let help = parse_size(bad).unwrap_err().help.unwrap();
            assert_eq!(help, format!("did you mean `{meant}`?"));
        }
    }
}
