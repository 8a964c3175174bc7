//! How a restore went, in a few words.

use mcsnap::codecs::format::manifest::Verdict;
use mcsnap::jobs::restore::RestoreReport;

use crate::render::{count, counted_with};

/// Says so where the nodes had some of the keys, or all of them.
fn existing_text(report: &RestoreReport) -> String {
    let totals = report.totals();
    let there = match totals.counters.existing {
        1 => "1 key was there already, and keeps its value".to_owned(),
        keys => format!(
            "{} keys were there already, and keep their values",
            count(keys)
        ),
    };
    match totals.counters.stored {
        0 => format!("nothing restored: {there}; --mode set replaces them"),
        _ => format!("restored; {there}"),
    }
}

/// Says that the servers threw out more than they may.
fn evictions_text(report: &RestoreReport) -> String {
    let items = counted_with(report.evicted(), "item", ["was", "were"]);
    let most = count(report.evictions_max.unwrap_or(0));
    let cause = format!("{items} evicted, more than --stop-on-evictions {most}");
    if report.is_stopped {
        format!("stopped: {cause}")
    } else {
        format!("restored, but {cause}")
    }
}

/// Says in a few words how a restore went.
pub(super) fn verdict(snapshot_verdict: Verdict, report: &RestoreReport) -> String {
    if report.has_evicted_too_many() {
        return evictions_text(report);
    }
    let words = match (report.has_losses(), snapshot_verdict) {
        (true, _)
            if report.totals().counters.stored == 0 && report.totals().counters.unsure == 0 =>
        {
            "nothing restored, with losses"
        }
        (true, _) => "restored, with losses",
        (false, _) if report.is_all_expired() => {
            return match report.totals().counters.expired {
                1 => "nothing restored: the only record has expired".to_owned(),
                all => format!("nothing restored: all {} records have expired", count(all)),
            };
        }
        (false, verdict) if report.totals().counters.existing > 0 => {
            let lack = match verdict {
                Verdict::Complete => "",
                Verdict::Unsure => "; the dump may have missed items",
                Verdict::Lossy => "; the dump had lost items",
                Verdict::Partial => "; the dump lacked a server",
            };
            return existing_text(report) + lack;
        }
        (false, Verdict::Complete) if report.filtered > 0 => "restored, as selected",
        (false, Verdict::Complete) => "restored, complete",
        (false, Verdict::Unsure) => "all of it restored, but the dump may have missed items",
        (false, Verdict::Lossy) => "all of it restored, but the dump had lost items",
        (false, Verdict::Partial) => "all of it restored, but the dump lacked a server",
    };
    words.to_owned()
}
