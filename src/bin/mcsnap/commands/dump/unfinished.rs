//! The report of a dump that did not come to its end.

use std::sync::Arc;

use mcsnap::engines::snapshot::{Sealed, count_sealed};
use mcsnap::ports::store::Store;
use mcsnap::words::error::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Unfinished, verdict};
use crate::job_watch::NodeCount;
use crate::render::{counted, size, without_address};

/// Leaves a report of what was done of a dump that ended early.
pub(super) fn leave_unfinished(
    context: &Context,
    store: &Arc<dyn Store>,
    name: &str,
    is_kept: bool,
    error: &Error,
) {
    // What was refused before it began has nothing to report.
    if context.watch().job().is_none() {
        return;
    }
    let sealed = || {
        let counted = count_sealed(&**store, name).inspect_err(|error| {
            tracing::info!("what is kept is not known: {}", error.to_chain());
        });
        counted.ok()
    };
    let unfinished = UnfinishedDump {
        place: store.describe(name),
        name,
        nodes: context.watch().nodes(),
        kept: is_kept.then(sealed).flatten(),
    };
    context.leave(unfinished.report(error.kind()));
}

/// What there is of a dump that ended early.
#[derive(Debug)]
pub(crate) struct UnfinishedDump<'a> {
    /// Where the snapshot was to be.
    pub(crate) place: String,
    pub(crate) name: &'a str,
    pub(crate) nodes: Vec<NodeCount>,
    /// What stays for another run to go on with, if anything does.
    pub(crate) kept: Option<Sealed>,
}

impl UnfinishedDump<'_> {
    pub(crate) fn report(&self, kind: &ErrorKind) -> Unfinished {
        Unfinished {
            document: self.document(),
            rows: self.rows(kind),
        }
    }

    fn document(&self) -> Value {
        let node = |node: &NodeCount| {
            json!({"node": node.name, "items_start": node.items_total, "read": node.items,
                   "bytes": node.bytes, "is_finished": node.is_finished,
                   "failure": node.failure})
        };
        let kept = self.kept.unwrap_or_default();
        json!({
            "snapshot": Value::Null,
            "place": self.place,
            "name": self.name,
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
            "kept_segments": kept.segments,
            "kept_records": kept.records,
            "resume": self.kept.is_some(),
        })
    }

    fn rows(&self, kind: &ErrorKind) -> Vec<(&'static str, String)> {
        let verdict = verdict(Some(kind));
        let place = format!("{} ({verdict}: there is no snapshot)", self.place);
        let mut rows = vec![("snapshot", place)];
        for node in &self.nodes {
            let read = counted(node.items, "item");
            let bytes = size(node.bytes);
            let text = match (&node.failure, node.is_finished) {
                (Some(failure), _) => {
                    let failure = without_address(failure, &node.name);
                    format!("{}  {read} read, {bytes}, then: {failure}", node.name)
                }
                (None, true) => format!("{}  {read} read, {bytes}, to its end", node.name),
                (None, false) => format!(
                    "{}  {read} read of about {}, {bytes}",
                    node.name,
                    counted(node.items_total, "item")
                ),
            };
            rows.push(("node", text));
        }
        let kept = match self.kept {
            Some(kept) => format!(
                "{} in {}, for --resume --name {}",
                counted(kept.records, "record"),
                counted(kept.segments, "segment"),
                self.name
            ),
            None => "nothing".to_owned(),
        };
        rows.push(("kept", kept));
        rows
    }
}

#[cfg(test)]
mod tests {
    use mcsnap::words::progress::Troubles;

    use super::*;

    #[test]
    fn what_was_read_and_what_is_kept_are_told() {
        let node = |name: &str, is_finished, failure: Option<&str>| NodeCount {
            name: name.to_owned(),
            items_total: 2000,
            items: 1000,
            bytes: 4 << 20,
            troubles: Troubles::default(),
            is_finished,
            failure: failure.map(str::to_owned),
        };
        let mut dump = UnfinishedDump {
            place: "/b/n".to_owned(),
            name: "n",
            nodes: vec![
                node("a:1", true, None),
                node("b:1", false, None),
                node("c:1", false, Some("c:1: gone")),
            ],
            kept: None,
        };
        let texts = |dump: &UnfinishedDump<'_>| -> Vec<String> {
            let rows = dump.rows(&ErrorKind::Canceled).into_iter();
            rows.map(|(_, text)| text).collect()
        };
        assert_eq!(
            texts(&dump),
            [
                "/b/n (stopped: there is no snapshot)",
                "a:1  1,000 items read, 4.0 MiB, to its end",
                "b:1  1,000 items read of about 2,000 items, 4.0 MiB",
                "c:1  1,000 items read, 4.0 MiB, then: gone",
                "nothing",
            ]
        );
        dump.kept = Some(Sealed {
            segments: 1,
            records: 1500,
            nodes: 1,
        });
        let kept = "1,500 records in 1 segment, for --resume --name n";
        assert_eq!(texts(&dump).last().unwrap(), kept);
        assert_eq!(dump.document()["kept_records"], 1500);
    }
}
