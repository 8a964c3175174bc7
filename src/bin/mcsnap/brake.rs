//! How a job is held back for the sake of other clients: flags, what a dry run says
//! of them, and what a report does.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use mcsnap::codecs::throttle::{Rate, Rates};
use mcsnap::ports::net::{BrakeOptions, BrakeReport};
use mcsnap::words::error::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::exit::UsageError;
use crate::render::{count, counted, millis, seconds, size};
use crate::settings::{Given, switch, text};

/// Flags of every command that reads or stores many items.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct BrakeArgs {
    /// What the p99 of other clients' answers may rise by [default: 1ms]
    ///
    /// Where a server has other clients, which its counters tell, so little is on
    /// its way at a time that the 99th percentile of the answers to a question
    /// without effect, asked over a connection of its own, stays below that. none
    /// turns it off, and leaves the limits below.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) latency_bound: Option<String>,
    /// Whole batches over all connections, even where others use the servers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) full_speed: Option<bool>,
    /// Most items a second over all servers, such as 500, 50k or 2M
    ///
    /// SIGUSR1 has the configuration file read again, and its limits taken over by
    /// the running job.
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) items_per_second: Option<String>,
    /// Most bytes of keys and values a second over all servers, such as 10MiB
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) bytes_per_second: Option<String>,
    /// Most items a second of one server
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) node_items_per_second: Option<String>,
    /// Most bytes of keys and values a second of one server
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) node_bytes_per_second: Option<String>,
}

const FULL_SPEED: &str = "full-speed";

/// What full speed leaves no room for.
const HOLD_BACK: [&str; 5] = [
    "latency-bound",
    "items-per-second",
    "bytes-per-second",
    "node-items-per-second",
    "node-bytes-per-second",
];

impl BrakeArgs {
    /// Reads all of it. Where one layer wants full speed and another holds it back,
    /// the higher one counts.
    pub(crate) fn options(&self, given: &BTreeMap<String, Given>) -> Result<BrakeOptions> {
        let origin = |name: &str| given.get(name).map(|given| given.origin);
        let full_speed = origin(FULL_SPEED).filter(|_| self.full_speed == Some(true));
        let held_back = HOLD_BACK.iter().filter_map(|name| origin(name)).max();
        if let Some(full_speed) = full_speed {
            let beside = HOLD_BACK
                .iter()
                .find(|name| origin(name) == Some(full_speed));
            if let Some(name) = beside {
                let text =
                    format!("--{FULL_SPEED} and --{name} contradict each other; leave one out");
                return Err(UsageError(text).into());
            }
            if held_back < Some(full_speed) {
                return Ok(BrakeOptions {
                    rates: Rates::default(),
                    latency_bound: None,
                });
            }
        }
        // A lower layer's wish for full speed takes its own limits with it.
        let is_above =
            |name: &str| full_speed.is_none_or(|full_speed| origin(name) > Some(full_speed));
        let items = |name: &'static str, setting: &Option<String>| {
            let text = setting.as_deref().filter(|_| is_above(name));
            text.map(|text| parse_items(name, text)).transpose()
        };
        let bytes = |name: &'static str, setting: &Option<String>| {
            let text = setting.as_deref().filter(|_| is_above(name));
            text.map(|text| parse_bytes(name, text)).transpose()
        };
        let rates = Rates {
            total: Rate {
                items: items("items-per-second", &self.items_per_second)?,
                bytes: bytes("bytes-per-second", &self.bytes_per_second)?,
            },
            node: Rate {
                items: items("node-items-per-second", &self.node_items_per_second)?,
                bytes: bytes("node-bytes-per-second", &self.node_bytes_per_second)?,
            },
        };
        let is_above_total = |node: Option<u64>, total: Option<u64>| {
            node.zip(total).is_some_and(|(node, total)| node > total)
        };
        for (node, total, name, of_all) in [
            (
                rates.node.items,
                rates.total.items,
                "node-items-per-second",
                "items-per-second",
            ),
            (
                rates.node.bytes,
                rates.total.bytes,
                "node-bytes-per-second",
                "bytes-per-second",
            ),
        ] {
            if is_above_total(node, total) {
                let value = given.get(name).map(|given| given.value.clone());
                let all = given.get(of_all).map_or("", |given| &given.value);
                let allowed =
                    format!("is above {of_all}, {all}, which is for all servers together");
                return Err(Error::invalid_input(name, value.unwrap_or_default(), allowed).into());
            }
        }
        let bound = self
            .latency_bound
            .as_deref()
            .filter(|_| is_above("latency-bound"));
        Ok(BrakeOptions {
            rates,
            latency_bound: match bound {
                None => Some(BrakeOptions::LATENCY_BOUND),
                Some("none") => None,
                Some(text) => Some(parse_bound(text)?),
            },
        })
    }
}

/// Reads a number of items a second, such as `500`, `50k` or `2M/s`.
fn parse_items(name: &'static str, text: &str) -> Result<u64> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let (digits, unit) = match number.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (number.get(..at), 1000),
        Some((at, 'M')) => (number.get(..at), 1_000_000),
        Some(_) | None => (Some(number), 1),
    };
    let is_number = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = digits
        .filter(is_number)
        .and_then(|digits| digits.parse::<u64>().ok());
    parsed
        .and_then(|number| number.checked_mul(unit))
        .filter(|rate| (1..=Rate::MAX).contains(rate))
        .ok_or_else(|| {
            let allowed = "wanted items a second, at least 1, such as 500, 50k or 2M";
            Error::invalid_input(name, text, allowed).into()
        })
}

/// Reads bytes a second with their unit, such as `10MiB`.
pub(crate) fn parse_bytes(name: &'static str, text: &str) -> Result<u64> {
    let amount = text.strip_suffix("/s").unwrap_or(text);
    // A bare number is taken for KiB by some programs, and for bytes by others.
    let has_unit = amount.ends_with(|last: char| last.is_ascii_alphabetic());
    let parsed = amount
        .parse::<bytesize::ByteSize>()
        .ok()
        .filter(|_| has_unit);
    parsed
        .map(|rate| rate.as_u64())
        .filter(|rate| (Rate::BYTES_MIN..=Rate::MAX).contains(rate))
        .ok_or_else(|| {
            let allowed = "wanted bytes a second with their unit, at least 1KiB, such as 10MiB";
            Error::invalid_input(name, text, allowed).into()
        })
}

fn parse_bound(text: &str) -> Result<Duration> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let bound = span.and_then(|span| Duration::try_from(span).ok());
    let options = |bound| BrakeOptions {
        latency_bound: Some(bound),
        ..BrakeOptions::default()
    };
    bound
        .filter(|bound| options(*bound).validate().is_ok())
        .ok_or_else(|| {
            let allowed = "wanted none, or a length of time from 100us to 10s, such as 1ms";
            Error::invalid_input("latency-bound", text, allowed).into()
        })
}

/// Says in a few words what the limits are; `None` without any.
fn rates_text(rates: Rates) -> Option<String> {
    let rate = |rate: Rate, of: &str| {
        let items = rate
            .items
            .map(|items| format!("{}/s{of}", counted(items, "item")));
        let bytes = rate.bytes.map(|bytes| format!("{}/s{of}", size(bytes)));
        items.into_iter().chain(bytes)
    };
    let all: Vec<String> = rate(rates.total, "")
        .chain(rate(rates.node, " a server"))
        .collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Says what limits a job has now.
pub(crate) fn limits_text(rates: Rates) -> String {
    rates_text(rates).unwrap_or_else(|| "none".to_owned())
}

/// The limits, for programs.
pub(crate) fn rates_json(rates: Rates) -> Value {
    json!({
        "items_per_second": rates.total.items,
        "bytes_per_second": rates.total.bytes,
        "node_items_per_second": rates.node.items,
        "node_bytes_per_second": rates.node.bytes,
    })
}

/// Says in a dry run how the job will be held back.
pub(crate) fn plan_row(options: BrakeOptions) -> (&'static str, String) {
    let bound = options.latency_bound.map(|bound| {
        format!(
            "where a server has other clients, the p99 of their answers rises by {} at most",
            latency(bound)
        )
    });
    let parts: Vec<String> = bound.into_iter().chain(rates_text(options.rates)).collect();
    if parts.is_empty() {
        return ("brake", "none: full speed".to_owned());
    }
    ("brake", parts.join("; "))
}

/// The same, for programs.
pub(crate) fn plan_json(options: BrakeOptions) -> Value {
    let mut value = rates_json(options.rates);
    value["latency_bound_us"] = json!(options.latency_bound.map(micros));
    value
}

/// Says what was done at the nodes where anything was.
pub(crate) fn report_rows(reports: &[BrakeReport]) -> Vec<(&'static str, String)> {
    let braked = reports.iter().filter(|report| !report.is_idle());
    braked
        .map(|report| ("brake", report_text(report)))
        .collect()
}

fn report_text(report: &BrakeReport) -> String {
    let beside = (!report.shared_time.is_zero()).then(|| beside_text(report));
    let blind = report.blind.as_ref().map(|why| {
        let most = count(mcsnap::ports::net::NodeBrake::BLIND_ITEMS_PER_SECOND);
        format!(
            "for {} at most {most} items/s, since there was no connection for probes: {why}",
            seconds(report.blind_time)
        )
    });
    let parts: Vec<String> = beside.into_iter().chain(blind).collect();
    format!("{}  {}", report.node, parts.join("; "))
}

fn beside_text(report: &BrakeReport) -> String {
    let mut text = format!(
        "beside {} of other clients: {}/s ({} in the slowest second), {} or more at a time",
        counted(report.commands_of_others, "command"),
        counted(report.rate, "item"),
        count(report.rate_min),
        counted(report.in_flight_min, "item"),
    );
    if let (Some((p50, p99)), Some((quiet_p50, quiet_p99))) = (report.busy, report.quiet) {
        text.push_str(&format!(
            "; probes p50 {} and p99 {}, without the job {} and {}",
            latency(p50),
            latency(p99),
            latency(quiet_p50),
            latency(quiet_p99)
        ));
    }
    text
}

/// What was done at each node, for programs.
pub(crate) fn report_json(reports: &[BrakeReport]) -> Value {
    let nodes = reports.iter().map(|report| {
        let pair =
            |pair: Option<(Duration, Duration)>| pair.map(|(p50, p99)| [micros(p50), micros(p99)]);
        json!({
            "node": report.node,
            "commands_of_others": report.commands_of_others,
            "braked_ms": millis(report.shared_time),
            "items_per_second": report.rate,
            "items_per_second_min": report.rate_min,
            "in_flight_min": report.in_flight_min,
            "probe_p50_p99_us": pair(report.busy),
            "quiet_p50_p99_us": pair(report.quiet),
            "no_probes": report.blind,
            "no_probes_ms": millis(report.blind_time),
        })
    });
    Value::Array(nodes.collect())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Writes a short time in milliseconds.
fn latency(time: Duration) -> String {
    let text = format!("{:.2}", time.as_secs_f64() * 1e3);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    format!("{short} ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Origin;

    fn given(pairs: &[(&str, &str, Origin)]) -> BTreeMap<String, Given> {
        let entry = |(name, value, origin): &(&str, &str, Origin)| {
            let given = Given {
                value: (*value).to_owned(),
                origin: *origin,
            };
            ((*name).to_owned(), given)
        };
        pairs.iter().map(entry).collect()
    }

    /// Reads flags as they would come from these layers.
    fn read(pairs: &[(&str, &str, Origin)]) -> Result<BrakeOptions> {
        let yaml: String = pairs
            .iter()
            .map(|(name, value, _)| format!("{name}: '{value}'\n"))
            .collect();
        let args: BrakeArgs = serde_yaml::from_str(&yaml).unwrap();
        args.options(&given(pairs))
    }

    #[test]
    fn rates_are_read_with_their_units() {
        for (text, wanted) in [
            ("1", 1),
            ("500/s", 500),
            ("50k", 50_000),
            ("2M/s", 2_000_000),
        ] {
            assert_eq!(parse_items("x", text).unwrap(), wanted, "{text}");
        }
        for text in [
            "",
            "0",
            "k",
            "-1",
            "1.5",
            "1e3",
            "10 k",
            "50G",
            "+5",
            "9999999999999M",
            "1µ",
        ] {
            let error = parse_items("items-per-second", text)
                .unwrap_err()
                .to_string();
            assert!(error.ends_with("such as 500, 50k or 2M"), "{error}");
        }
        for (text, wanted) in [
            ("10MiB", 10 << 20),
            ("1KiB/s", 1024),
            ("5MB", 5_000_000),
            ("2048B", 2048),
        ] {
            assert_eq!(parse_bytes("x", text).unwrap(), wanted, "{text}");
        }
        for text in [
            "", "0", "0B", "10", "1000000", "1023B", "MiB", "10Q", "-1MiB", "9EiB",
        ] {
            let error = parse_bytes("bytes-per-second", text)
                .unwrap_err()
                .to_string();
            assert!(error.ends_with("such as 10MiB"), "{error}");
        }
        for (text, wanted) in [("100us", 100), ("1ms", 1000), ("10s", 10_000_000)] {
            assert_eq!(micros(parse_bound(text).unwrap()), wanted, "{text}");
        }
        for text in ["", "0", "1", "99us", "11s", "fast", "-1ms"] {
            assert!(parse_bound(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_full_speed_and_limits_the_higher_layer_counts() {
        let (flag, file) = (Origin::Flag, Origin::File);
        let none = BrakeOptions {
            latency_bound: None,
            rates: Rates::default(),
        };
        let limit = |layer| ("items-per-second", "10", layer);
        let full = |layer| ("full-speed", "true", layer);
        assert_eq!(read(&[]).unwrap(), BrakeOptions::default());
        assert_eq!(read(&[full(flag)]).unwrap(), none);
        assert_eq!(read(&[full(flag), limit(file)]).unwrap(), none);
        let limited = read(&[full(file), limit(flag)]).unwrap();
        assert_eq!(limited.rates.total.items, Some(10));
        assert_eq!(limited.latency_bound, Some(BrakeOptions::LATENCY_BOUND));
        assert_eq!(
            read(&[full(flag), limit(flag)]).unwrap_err().to_string(),
            "--full-speed and --items-per-second contradict each other; leave one out"
        );
        let off = read(&[("full-speed", "false", flag), limit(flag)]).unwrap();
        assert_eq!(off.rates.total.items, Some(10));
        let bound = read(&[("latency-bound", "none", flag), limit(flag)]).unwrap();
        assert_eq!(
            (bound.latency_bound, bound.rates.total.items),
            (None, Some(10))
        );
    }

    #[test]
    fn a_dry_run_tells_bound_and_limits() {
        let row = |pairs: &[(&str, &str, Origin)]| plan_row(read(pairs).unwrap()).1;
        let flag = Origin::Flag;
        assert_eq!(
            row(&[]),
            "where a server has other clients, the p99 of their answers rises by 1 ms at most"
        );
        assert_eq!(row(&[("full-speed", "true", flag)]), "none: full speed");
        assert_eq!(
            row(&[
                ("latency-bound", "none", flag),
                ("bytes-per-second", "10MiB", flag),
                ("node-items-per-second", "50k", flag),
            ]),
            "10.0 MiB/s, 50,000 items/s a server"
        );
        assert_eq!(latency(Duration::from_micros(40)), "0.04 ms");
        assert_eq!(latency(Duration::from_secs(1)), "1000 ms");
    }

    #[test]
    fn a_report_tells_what_was_done_with_probes_and_without() {
        let blind = BrakeReport {
            node: "a:1".to_owned(),
            blind: Some("the connection broke".to_owned()),
            blind_time: Duration::from_secs(6),
            ..BrakeReport::default()
        };
        let words = "for 6.00 s at most 10,000 items/s, since there was no connection for probes: the \
                     connection broke";
        assert_eq!(report_text(&blind), format!("a:1  {words}"));
        let both = BrakeReport {
            shared_time: Duration::from_secs(60),
            commands_of_others: 7,
            rate: 500,
            rate_min: 100,
            in_flight_min: 4,
            ..blind
        };
        assert_eq!(
            report_text(&both),
            format!(
                "a:1  beside 7 commands of other clients: 500 items/s (100 in the slowest second), 4 \
                 items or more at a time; {words}"
            )
        );
    }
}
