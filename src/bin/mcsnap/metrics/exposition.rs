//! Metrics as Prometheus reads them: its text format, 0.0.4.

use jiff::Timestamp;
use mcsnap::words::units::to_f64;
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder};

use crate::metrics::families::{Family, Kind};

/// The number of a series.
#[derive(Debug)]
pub(super) struct Sample {
    family: &'static Family,
    /// The values of the family's own labels, in their order.
    labels: Vec<String>,
    value: f64,
}

/// Labels that every series has, and their values.
pub(super) type CommonLabels<'a> = [(&'static str, &'a str)];

impl Sample {
    pub(super) fn of(family: &'static Family, value: f64) -> Self {
        Self {
            family,
            labels: Vec::new(),
            value,
        }
    }

    pub(super) fn count(family: &'static Family, count: u64) -> Self {
        Self::of(family, to_f64(count))
    }

    pub(super) fn flag(family: &'static Family, is_so: bool) -> Self {
        Self::count(family, is_so.into())
    }

    pub(super) fn moment(family: &'static Family, moment: Timestamp) -> Self {
        Self::of(family, unix_seconds(moment))
    }

    /// Gives it the value of the family's label.
    pub(super) fn with(mut self, label: &str) -> Self {
        self.labels.push(label.to_owned());
        self
    }
}

/// Returns a moment in seconds, as Prometheus has it, to the millisecond.
pub(super) fn unix_seconds(moment: Timestamp) -> f64 {
    let millis = u64::try_from(moment.as_millisecond()).unwrap_or(0);
    to_f64(millis) / 1000.0
}

/// Writes all samples, those of a family together.
///
/// # Errors
///
/// - A family or a label has a name that Prometheus does not know; a series is there twice.
pub(super) fn render(
    samples: &[Sample],
    common: &CommonLabels<'_>,
) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    let mut rest = samples;
    while let Some(first) = rest.first() {
        let is_other = |sample: &Sample| sample.family.name != first.family.name;
        let end = rest.iter().position(is_other).unwrap_or(rest.len());
        let (of_family, later) = rest.split_at(end);
        register(&registry, first.family, of_family, common)?;
        rest = later;
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}

fn register(
    registry: &Registry,
    family: &Family,
    samples: &[Sample],
    common: &CommonLabels<'_>,
) -> Result<(), prometheus::Error> {
    let options = Opts::new(family.name, family.help);
    let names: Vec<&str> = common.iter().map(|(name, _)| *name).collect();
    let names = [names.as_slice(), family.labels].concat();
    let values = |sample: &Sample| {
        let common = common.iter().map(|(_, value)| (*value).to_owned());
        common.chain(sample.labels.clone()).collect::<Vec<_>>()
    };
    match family.kind {
        Kind::Gauge => {
            let gauges = GaugeVec::new(options, &names)?;
            for sample in samples {
                let gauge = gauges.get_metric_with_label_values(&values(sample))?;
                gauge.set(sample.value);
            }
            registry.register(Box::new(gauges))
        }
        Kind::Counter => {
            let counters = CounterVec::new(options, &names)?;
            for sample in samples {
                let counter = counters.get_metric_with_label_values(&values(sample))?;
                counter.inc_by(sample.value);
            }
            registry.register(Box::new(counters))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::families::{LAST_RECORDS, LAST_SUCCESS, RECORDS};

    #[test]
    fn samples_are_written_by_family_with_help_and_type() {
        let samples = [
            Sample::count(&RECORDS, 7),
            Sample::of(&LAST_SUCCESS, 1_795_140_000.25),
            Sample::count(&LAST_RECORDS, 9_007_199_254_740_992).with("stored"),
            Sample::count(&LAST_RECORDS, 0).with("expired"),
        ];
        let common = [("command", "dump"), ("directory", "/a \"b\"\\\nc")];
        let labels = r#"command="dump",directory="/a \"b\"\\\nc""#;
        let text = render(&samples, &common).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let records =
            |outcome| format!("mcsnap_last_run_records{{{labels},outcome=\"{outcome}\"}}");
        let wanted = [
            format!("# HELP {} {}", LAST_RECORDS.name, LAST_RECORDS.help),
            "# TYPE mcsnap_last_run_records gauge".to_owned(),
            format!("{} 0", records("expired")),
            format!("{} 9007199254740992", records("stored")),
            format!("# HELP {} {}", LAST_SUCCESS.name, LAST_SUCCESS.help),
            "# TYPE mcsnap_last_success_timestamp_seconds gauge".to_owned(),
            format!("mcsnap_last_success_timestamp_seconds{{{labels}}} 1795140000.25"),
            format!("# HELP {} {}", RECORDS.name, RECORDS.help),
            "# TYPE mcsnap_run_records_total counter".to_owned(),
            format!("mcsnap_run_records_total{{{labels}}} 7"),
        ];
        assert_eq!(lines, wanted);
        assert!(text.ends_with('\n') && !text.contains('\r'));
    }
}
