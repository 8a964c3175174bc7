//! The report of a command that did not do its work.

use anyhow::Error;
use mcsnap::words::error::ErrorKind;
use mcsnap::words::location::Location;
use serde_json::{Value, json};

use crate::exit::{UsageError, kind_of, library_error};
use crate::job_watch::JobWatch;
use crate::this_run::ThisRun;

/// What a job had done before it ended early: both forms of a report, of which one
/// is printed.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// Members beside those that every failure has.
    pub(crate) document: Value,
    pub(crate) rows: Vec<(&'static str, String)>,
}

/// Returns the word for how it ended.
pub(crate) fn verdict(kind: Option<&ErrorKind>) -> &'static str {
    match kind {
        Some(ErrorKind::Canceled) => "stopped",
        Some(_) | None => "failed",
    }
}

/// Makes the report for programs: that of the job as far as there is one, and why
/// it ended.
pub(crate) fn document(
    run: &ThisRun,
    watch: &JobWatch,
    error: &Error,
    message: &str,
    code: u8,
    unfinished: Option<Value>,
) -> Value {
    let kind = kind_of(error);
    let mut document = head(run, verdict(kind), word(error, kind), message, code);
    if let Some(location) = library_error(error).and_then(|error| error.location()) {
        match location {
            Location::Node { node, key } => {
                document["node"] = json!(node);
                if let Some(key) = key {
                    document["key"] = json!(key);
                }
            }
            place @ (Location::Object { .. } | _) => document["place"] = json!(place.to_string()),
        }
    }
    if let Some(job) = watch.job() {
        let (items, bytes) = watch.totals();
        document["progress"] = json!({"job": job, "items": items, "bytes": bytes});
    }
    if let (Value::Object(members), Some(Value::Object(more))) = (&mut document, unfinished) {
        for (name, value) in more {
            members.entry(name).or_insert(value);
        }
    }
    run.stamp(&mut document);
    document
}

/// Makes the report of a command line that makes no sense, or of an end at once.
pub(crate) fn bare_document(
    run: &ThisRun,
    verdict: &str,
    kind: &str,
    message: &str,
    code: u8,
) -> Value {
    let mut document = head(run, verdict, kind, message, code);
    run.stamp(&mut document);
    document
}

fn head(run: &ThisRun, verdict: &str, kind: &str, message: &str, code: u8) -> Value {
    json!({
        "schema": run.schema(),
        "verdict": verdict,
        "error": message,
        "kind": kind,
        "exit_code": code,
    })
}

/// Returns the word for what went wrong.
fn word(error: &Error, kind: Option<&ErrorKind>) -> &'static str {
    match kind {
        Some(kind) => kind.as_str(),
        None if error.is::<UsageError>() => "usage",
        None => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_where_and_why() {
        let run = ThisRun::begin("dump");
        let watch = JobWatch::default();
        let error = mcsnap::words::error::Error::new(ErrorKind::Busy).at(Location::node("a:1"));
        let unfinished = json!({"verdict": "never", "records": 3});
        let made = document(
            &run,
            &watch,
            &error.into(),
            "a:1: busy",
            1,
            Some(unfinished),
        );
        assert_eq!(made["schema"], "mcsnap.dump/1");
        assert_eq!(made["verdict"], "failed");
        assert_eq!(made["kind"], "busy");
        assert_eq!(made["node"], "a:1");
        assert_eq!(made["records"], 3);
        assert_eq!(made["exit_code"], 1);
        assert!(made["finished_at"].is_string() && made["progress"].is_null());
        let usage = UsageError("no".to_owned()).into();
        let made = document(&ThisRun::begin(""), &watch, &usage, "no", 2, None);
        assert_eq!(
            (&made["kind"], &made["schema"]),
            (&json!("usage"), &json!("mcsnap.error/1"))
        );
    }
}
