//! What the text of a setting means.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use mcsnap::engines::discovery::NodeSource;
use mcsnap::ports::store::{FileMode, MapChoice, is_remote};
use mcsnap::words::error::Error;
use mcsnap::words::item::{Exptime, unescape_bytes};
use mcsnap::words::units::UnixSecs;

use crate::exit::UsageError;
use crate::settings::split_commas;

/// Reads nodes and endpoints.
pub(crate) fn parse_sources(texts: &[String]) -> Result<Vec<NodeSource>> {
    Ok(split_commas(texts)
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, Error>>()?)
}

/// Reads the permissions of new files in a place; the default is for their owner alone.
/// Objects in a store have none.
pub(crate) fn parse_file_mode(place: &str, text: Option<&str>) -> Result<FileMode> {
    let Some(text) = text else {
        return Ok(FileMode::default());
    };
    let mode = text.parse()?;
    if is_remote(place) {
        let allowed = "objects in a store have no permissions of files; leave it out";
        return Err(Error::invalid_input("file-mode", text, allowed).into());
    }
    Ok(mode)
}

/// Reads a number of bytes, such as `256MiB`, at least `least`.
pub(crate) fn parse_size(name: &'static str, text: &str, least: u64) -> Result<u64> {
    let size = text
        .parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .ok();
    let allowed = format!(
        "wanted a size of at least {}, such as 256MiB",
        bytesize::ByteSize(least)
    );
    size.filter(|&size| size >= least)
        .ok_or_else(|| Error::invalid_input(name, text, allowed).into())
}

/// Reads a count within bounds.
pub(crate) fn parse_count(name: &'static str, text: &str, least: u64, most: u64) -> Result<u64> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| {
        Error::invalid_input(
            name,
            text,
            format!("wanted a number from {least} to {most}"),
        )
        .into()
    })
}

/// Reads a percentage, such as `0.5` or `0.5%`.
pub(crate) fn parse_percent(name: &'static str, text: &str) -> Result<f64> {
    let number = text.trim_end_matches('%').trim_end().parse::<f64>().ok();
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| {
            let allowed = "wanted a percentage from 0 to 100, such as 0.5";
            Error::invalid_input(name, text, allowed).into()
        })
}

/// Reads a length of time, such as `10s`.
pub(crate) fn parse_duration(name: &'static str, text: &str) -> Result<Duration> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    let allowed = "wanted a length of time from 1ms to 1h, such as 10s or 500ms";
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    duration
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| Error::invalid_input(name, text, allowed).into())
}

/// Reads whether an unfinished dump is gone on with, and how old it may be: `true` for
/// six hours, `false`, or a time.
pub(crate) fn parse_resume(text: &str) -> Result<Option<Duration>> {
    const DEFAULT: Duration = Duration::from_secs(6 * 60 * 60);
    const AGE_MAX: u64 = 3650 * 24 * 60 * 60;
    match text {
        "true" | "yes" => return Ok(Some(DEFAULT)),
        "false" | "no" => return Ok(None),
        _ => {}
    }
    let allowed = "wanted true, false, or how long ago the unfinished dump began at most, from 1s \
                   to 3650d, such as 90m, 6h or 2d";
    parse_seconds(text)
        .filter(|seconds| (1..=AGE_MAX).contains(seconds))
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .ok_or_else(|| Error::invalid_input("resume", text, allowed).into())
}

/// Reads a length of time with its unit, in days, too.
fn parse_seconds(text: &str) -> Option<u64> {
    if let Some(days) = text.strip_suffix('d') {
        return days.parse::<u64>().ok()?.checked_mul(24 * 60 * 60);
    }
    let length = text.parse::<jiff::SignedDuration>().ok()?;
    u64::try_from(length.as_secs()).ok()
}

/// Reads how long a node that does not answer is asked again; 0 is not at all.
pub(crate) fn parse_wait(name: &'static str, text: &str) -> Result<Duration> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    let allowed = "wanted 0s, or a length of time up to 1h, such as 30s or 5m";
    duration
        .filter(|duration| *duration <= Duration::from_secs(3600))
        .ok_or_else(|| Error::invalid_input(name, text, allowed).into())
}

/// Reads for how long a call to an object store is tried again.
pub(crate) fn parse_patience(name: &'static str, text: &str) -> Result<Duration> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    // What signs a request is good for 15 minutes.
    let allowed = "wanted a length of time up to 14m, such as 30s or 4m";
    duration
        .filter(|duration| *duration <= Duration::from_secs(14 * 60))
        .ok_or_else(|| Error::invalid_input(name, text, allowed).into())
}

/// Reads a time to live that begins now, such as `2h` or `7d`, or `never`.
pub(crate) fn parse_ttl(text: &str, now: UnixSecs) -> Result<Exptime> {
    const TTL_MAX: u64 = 3650 * 24 * 60 * 60;
    if text == "never" {
        return Ok(Exptime::Never);
    }
    let seconds = parse_seconds(text);
    let allowed = "wanted never, or a time from 1s to 3650d, such as 30m, 2h or 7d";
    seconds
        .filter(|seconds| (1..=TTL_MAX).contains(seconds))
        .map(|seconds| Exptime::At(UnixSecs(now.0.saturating_add(seconds))))
        .ok_or_else(|| Error::invalid_input("ttl-if-unknown", text, allowed).into())
}

/// Reads a moment.
pub(crate) fn parse_moment(text: &str) -> Result<UnixSecs> {
    if text == "now" {
        return Ok(UnixSecs::from_system_time(SystemTime::now()));
    }
    let seconds = text.parse().ok();
    let seconds = seconds.or_else(|| {
        let moment = text.parse::<jiff::Timestamp>().ok()?;
        u64::try_from(moment.as_second()).ok()
    });
    let allowed = "wanted now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970";
    seconds
        .map(UnixSecs)
        .ok_or_else(|| Error::invalid_input("at", text, allowed).into())
}

/// Reads one of a few words.
pub(crate) fn parse_choice<T: Copy>(
    name: &'static str,
    text: &str,
    choices: &[(&str, T)],
) -> Result<T> {
    let chosen = choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, choice)| *choice);
    chosen.ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let allowed = format!("wanted one of {}", words.join(", "));
        Error::invalid_input(name, text, allowed).into()
    })
}

/// Reads a number of threads; the default is one a processor.
pub(crate) fn parse_threads(text: Option<&str>) -> Result<usize> {
    let Some(text) = text else {
        return Ok(std::thread::available_parallelism().map_or(2, std::num::NonZero::get));
    };
    Ok(usize::try_from(parse_count("threads", text, 1, 1024)?)?)
}

/// Reads when to map files.
pub(crate) fn parse_map_choice(text: Option<&str>) -> Result<MapChoice> {
    let choices = [("auto", MapChoice::Auto), ("never", MapChoice::Never)];
    parse_choice("mmap", text.unwrap_or("auto"), &choices)
}

/// Reads a key, or the start of one, as keys are printed.
pub(crate) fn parse_key(what: &'static str, text: &str) -> Result<Vec<u8>, UsageError> {
    unescape_bytes(text).ok_or_else(|| {
        let allowed = "a backslash is written \\\\, and any byte \\xNN";
        UsageError(format!("{what} \"{text}\": {allowed}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(parse_size("x", "256MiB", 1).unwrap(), 256 << 20);
        assert_eq!(parse_size("x", "1048576", 1).unwrap(), 1 << 20);
        assert_eq!(
            parse_duration("x", "500ms").unwrap(),
            Duration::from_millis(500)
        );
        assert_eq!(parse_duration("x", "10s").unwrap(), Duration::from_secs(10));
        assert_eq!(
            parse_size("segment-size", "10q", 1 << 20)
                .unwrap_err()
                .to_string(),
            "segment-size \"10q\": wanted a size of at least 1.0 MiB, such as 256MiB"
        );
        for text in ["", "-1s", "0s", "ten", "2h"] {
            assert!(parse_duration("x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wait_may_be_none() {
        assert_eq!(parse_wait("x", "0s").unwrap(), Duration::ZERO);
        assert_eq!(parse_wait("x", "1h").unwrap(), Duration::from_secs(3600));
        for text in ["", "-1s", "1h1s", "30", "ever"] {
            let error = parse_wait("wait-for-node", text).unwrap_err().to_string();
            assert!(error.starts_with("wait-for-node \""), "{error}");
        }
    }

    #[test]
    fn a_time_to_live_begins_now() {
        let now = UnixSecs(1000);
        assert_eq!(parse_ttl("never", now).unwrap(), Exptime::Never);
        for (text, seconds) in [("1s", 1), ("2h", 7200), ("1h 30m", 5400), ("7d", 604_800)] {
            let wanted = Exptime::At(UnixSecs(1000 + seconds));
            assert_eq!(parse_ttl(text, now).unwrap(), wanted, "{text}");
        }
        for text in [
            "",
            "0s",
            "-1h",
            "100ms",
            "3651d",
            "d",
            "soon",
            "12345678901234567890d",
        ] {
            let error = parse_ttl(text, now).unwrap_err().to_string();
            assert!(error.starts_with("ttl-if-unknown \""), "{error}");
        }
    }

    #[test]
    fn lists_are_split_at_commas() {
        let nodes = parse_sources(&["a:1,b:2".to_owned(), "c:3".to_owned()]).unwrap();
        assert_eq!(nodes.len(), 3);
    }

    #[test]
    fn a_moment_is_read_in_each_of_its_forms() {
        for (text, wanted) in [
            ("0", 0),
            ("1795140000", 1_795_140_000),
            ("2026-11-20T02:00:00Z", 1_795_140_000),
            ("2026-11-20T03:00:00.9+01:00", 1_795_140_000),
        ] {
            assert_eq!(parse_moment(text).unwrap(), UnixSecs(wanted), "{text}");
        }
        assert!(parse_moment("now").unwrap() > UnixSecs(1_700_000_000));
        for text in ["", "-1", "yesterday", "2026-11-20", "1960-01-01T00:00:00Z"] {
            let error = parse_moment(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("at \"{text}\": wanted now")),
                "{error}"
            );
        }
    }
}
