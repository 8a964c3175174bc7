//! What a report says of the earlier run that a dump went on with.

use mcsnap::jobs::dump::Kept;
use serde_json::{Value, json};

use crate::render::record::moment;
use crate::render::{counted, counted_with, span};

/// Says what was done, or would be, before this run.
pub(super) fn kept_text(kept: &Kept) -> String {
    let segments = counted(kept.segments, "segment");
    let records = counted(kept.records, "record");
    let since = kept.since.map_or_else(String::new, |(began_at, age)| {
        let (began_at, age) = (moment(began_at), span(age));
        format!(" that began at {began_at}, {age} before this run")
    });
    let mut text = format!("{records} in {segments} of a dump{since}");
    if kept.dropped_records > 0 {
        let dropped = counted_with(kept.dropped_records, "record", ["is", "are"]);
        text.push_str(&format!(
            "; {dropped} not kept, since some of their segments have changed or gone, or may have"
        ));
    }
    if kept.unconfirmed_records > 0 {
        let unconfirmed = counted(kept.unconfirmed_records, "record");
        text.push_str(&format!(
            "; {unconfirmed} of these are of a server that failed, which may not have them any more"
        ));
    }
    text
}

/// Adds to a report for programs what is about an earlier run.
pub(super) fn with_kept(mut document: Value, kept: &Kept) -> Value {
    let of_kept = [
        ("kept_segments", json!(kept.segments)),
        ("kept_records", json!(kept.records)),
        (
            "kept_began_at",
            json!(kept.since.map(|(began_at, _)| moment(began_at))),
        ),
        (
            "kept_age_s",
            json!(kept.since.map(|(_, age)| age.as_secs())),
        ),
        ("kept_unconfirmed_records", json!(kept.unconfirmed_records)),
        ("dropped_records", json!(kept.dropped_records)),
    ];
    if let Value::Object(members) = &mut document {
        members.extend(of_kept.map(|(name, value)| (name.to_owned(), value)));
    }
    document
}
