//! Names of snapshots.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::engines::snapshot::LATEST;
use crate::ports::host;
use crate::words::error::{Error, Result};
use crate::words::units::UnixSecs;

/// The moment that fills in a name pattern.
#[derive(Clone, Debug)]
pub struct NameClock(Zoned);

impl NameClock {
    /// Takes a moment in UTC.
    pub fn utc(now: UnixSecs) -> Self {
        Self(timestamp(now).to_zoned(TimeZone::UTC))
    }

    /// Takes a moment in the time zone of the system, or that of `TZ`.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the system does not report its time zone.
    pub fn local(now: UnixSecs) -> Result<Self> {
        let zone = TimeZone::try_system().map_err(|error| {
            let zone = host::time_zone_name();
            let allowed = "the time zone of this system cannot be found; names in UTC need none";
            Error::invalid_input("TZ", zone, allowed).caused_by(error)
        })?;
        Ok(Self(timestamp(now).to_zoned(zone)))
    }

    /// Reports whether an hour occurs twice on this day because clocks are set back, so
    /// that two moments have the same local time.
    pub fn is_hour_doubled(&self) -> bool {
        let local = self.0.datetime();
        self.0.time_zone().to_ambiguous_zoned(local).is_ambiguous()
    }
}

fn timestamp(now: UnixSecs) -> Timestamp {
    let seconds = i64::try_from(now.0).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// Makes a name from a moment and some random digits, so that two dumps in the same
/// second get different names: `2026-11-20T02-00-00Z-1f9c`.
pub fn generate_name(now: UnixSecs) -> String {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let moment = timestamp(now);
    format!(
        "{}-{}",
        moment.strftime("%Y-%m-%dT%H-%M-%SZ"),
        token.get(..4).unwrap_or(&token)
    )
}

/// Expands a name pattern, in which `%F` and the like stand for parts of the date and
/// time as in `strftime`. Checks the result as [`parse_name`] does.
///
/// # Errors
///
/// - `InvalidInput`: an unknown character follows a `%`, or the result is not a legal
///   name.
pub fn expand_name(pattern: &str, clock: &NameClock) -> Result<String> {
    let mut specifiers = pattern.split('%').skip(1);
    while let Some(rest) = specifiers.next() {
        let letter = rest.chars().next();
        if letter.is_some_and(|letter| SPECIFIERS.contains(letter)) {
            continue;
        }
        // The text after "%%" is literal.
        if letter.is_none() && specifiers.next().is_some() {
            continue;
        }
        let wrong = letter.map_or_else(String::new, |letter| letter.to_string());
        let known = SPECIFIERS.chars().map(|known| format!("%{known}"));
        let known = known.collect::<Vec<_>>().join(" ");
        let allowed = format!("%{wrong} is not known; these are: {known}");
        return Err(Error::invalid_input("name", pattern, allowed));
    }
    if !pattern.contains('%') {
        return parse_name(pattern);
    }
    let expanded = jiff::fmt::strtime::format(pattern, &clock.0)
        .map_err(|error| Error::invalid_input("name", pattern, error.to_string()))?;
    parse_name(&expanded).map_err(|error| {
        let allowed = format!("would give a {}", error.to_chain());
        Error::invalid_input("name", pattern, allowed)
    })
}

/// The characters allowed after a `%`: dates, times, their parts, the time zone. The
/// others that `strftime` knows produce spaces or slashes, which no name can have.
const SPECIFIERS: &str = "FTYymdjGVuwabHIMSpszZ";

/// Checks a name given by the user.
///
/// # Errors
///
/// - `InvalidInput`: it is not a plain directory name on every system.
pub fn parse_name(text: &str) -> Result<String> {
    const LEN_MAX: usize = 200;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=@:".contains(&byte);
    let is_legal = !text.is_empty()
        && text.len() <= LEN_MAX
        && !text.starts_with(['.', '-'])
        && text.bytes().all(is_plain);
    if text == LATEST {
        let allowed = "it stands for the newest complete snapshot of a directory; take another";
        return Err(Error::invalid_input("snapshot name", text, allowed));
    }
    if !is_legal {
        return Err(Error::invalid_input(
            "snapshot name",
            text,
            "wanted 1 to 200 letters, digits and ._-+=@: not starting with . or -",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_sort_by_time_and_differ() {
        let name = generate_name(UnixSecs(1_700_000_000));
        assert!(name.starts_with("2023-11-14T22-13-20Z-"), "{name}");
        assert_eq!(parse_name(&name).unwrap(), name);
        for text in [
            "",
            ".hidden",
            "a/b",
            "..",
            "-x",
            "a b",
            "na\u{ef}ve",
            "latest",
        ] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_is_filled_with_the_moment() {
        let clock = NameClock::utc(UnixSecs(1_700_000_000));
        for (pattern, name) in [
            ("night-%F", "night-2023-11-14"),
            ("%Y%m%dT%H%M%S%z", "20231114T221320+0000"),
            ("plain", "plain"),
            ("w%G-%V.%u", "w2023-46.2"),
            ("%s", "1700000000"),
        ] {
            assert_eq!(expand_name(pattern, &clock).unwrap(), name);
        }
        for (pattern, says) in [
            ("a%q", "%q is not known; these are: %F %T"),
            ("a%", "% is not known"),
            ("%%a", "name \"%%a\": would give a snapshot name \"%a\""),
            ("%F/%H", "would give a snapshot name \"2023-11-14/22\""),
            ("", "snapshot name \"\": wanted"),
            ("%-d", "%- is not known"),
            ("%n", "%n is not known"),
        ] {
            let error = expand_name(pattern, &clock).unwrap_err().to_string();
            assert!(error.contains(says), "{pattern}: {error}");
        }
        let long = format!("{}%F", "x".repeat(250));
        let error = expand_name(&long, &clock).unwrap_err().to_string();
        assert!(error.contains("wanted 1 to 200 letters"), "{error}");
    }

    #[test]
    fn an_hour_that_comes_twice_is_known() {
        // The rules of Berlin, spelled out since the machine may have no list of zones.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text: &str| {
            let moment: Timestamp = text.parse().unwrap();
            NameClock(moment.to_zoned(zone.clone()))
        };
        for text in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            assert!(at(text).is_hour_doubled());
            assert_eq!(
                expand_name("%F-%H%M", &at(text)).unwrap(),
                "2026-10-25-0230"
            );
        }
        assert!(!at("2026-10-25T02:30:00Z").is_hour_doubled());
    }
}
