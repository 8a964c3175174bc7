//! Events that a running job reports.

use std::time::Duration;

/// An event of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The job starts. Totals are estimates, and 0 if unknown.
    Started {
        /// `dump`, `inspect`, `pull`, `push`, `restore`, `ring plan`, `salvage` or `verify`.
        job: &'static str,
        /// Items the job expects to handle.
        items_total: u64,
        /// Bytes the job expects to handle.
        bytes_total: u64,
    },
    /// A node is started. Jobs that handle nodes one at a time, or do not see nodes, do
    /// not report this.
    NodeStarted {
        /// Zero-based index of the node.
        node_index: u32,
        /// The node, as the user wrote it.
        node: String,
        /// Items the job expects to handle there.
        items_total: u64,
    },
    /// The walk of a node's keys starts.
    WalkStarted {
        /// Zero-based index of the node.
        node_index: u32,
        /// If the job is stopped, the rest of the walk is read, because the server may not
        /// survive it otherwise; this is how long the server may be silent meanwhile. `None` if
        /// the walk is abandoned at once.
        rest: Option<Duration>,
    },
    /// The walk of a node's keys has ended.
    WalkEnded {
        /// Zero-based index of the node.
        node_index: u32,
    },
    /// A node does not answer and is asked again for some time. Reported once, before the
    /// job starts.
    NodeAwaited {
        /// The node, as the user wrote it.
        node: String,
        /// Why it does not answer, as text.
        reason: String,
        /// How long to keep asking at most.
        limit: Duration,
    },
    /// More has been done since the last event of this kind.
    Advanced {
        /// Index of the node at which it was done, if that node was started.
        node_index: Option<u32>,
        /// Number of items done since.
        items: u64,
        /// Bytes done since: of values in a dump or restore, of stored bytes in a verify, of
        /// stored keys in an inspection, of keys in a ring plan, of objects in a push or pull.
        bytes: u64,
    },
    /// Work is tried again since the last event of this kind: a connection broke and a new
    /// one takes over, or a node failed and is asked once more.
    Retried {
        /// Index of the node, if that node was started.
        node_index: Option<u32>,
        /// Number of new tries since.
        retries: u64,
    },
    /// Items have been lost since the last event of this kind. If a node is read from its
    /// beginning again, what was lost of it before may come back; the report knows.
    Lost {
        /// Index of the node that had them, if that node was started.
        node_index: Option<u32>,
        /// Number of items lost since.
        items: u64,
    },
    /// A node is finished.
    NodeFinished {
        /// Zero-based index of the node, if it was started.
        node_index: Option<u32>,
        /// The node, as the user wrote it.
        node: String,
        /// Number of items of this node.
        items: u64,
        /// Why the node did not finish; `None` if it did.
        failure: Option<String>,
    },
    /// The job has ended.
    Finished,
}

/// What did not go well so far in a part of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// How often a broken connection was replaced by a new one.
    pub retries: u64,
    /// Number of items lost.
    pub losses: u64,
}

impl Troubles {
    /// Reports what was added to what was there before; nothing if that is nothing.
    pub(crate) fn report_since(
        self,
        before: Self,
        node_index: Option<u32>,
        progress: &dyn Progress,
    ) {
        let retries = self.retries.saturating_sub(before.retries);
        if retries > 0 {
            progress.event(Event::Retried {
                node_index,
                retries,
            });
        }
        let items = self.losses.saturating_sub(before.losses);
        if items > 0 {
            progress.event(Event::Lost { node_index, items });
        }
    }
}

/// Receives the events of a job.
///
/// Implementations are called from many threads at once and must return quickly: a slow
/// one slows the job.
pub trait Progress: Sync {
    /// Handles one event.
    fn event(&self, event: Event);
}

/// Ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn event(&self, _event: Event) {}
}

/// A job that has reported its start; reports its end when dropped, however the job ends.
#[must_use = "the job is over when this is dropped"]
pub(crate) struct RunningJob<'a>(&'a dyn Progress);

impl<'a> RunningJob<'a> {
    /// Reports the start of a job; totals are as in [`Event::Started`].
    pub(crate) fn start(
        progress: &'a dyn Progress,
        job: &'static str,
        items_total: u64,
        bytes_total: u64,
    ) -> Self {
        progress.event(Event::Started {
            job,
            items_total,
            bytes_total,
        });
        Self(progress)
    }
}

impl Drop for RunningJob<'_> {
    fn drop(&mut self) {
        self.0.event(Event::Finished);
    }
}
