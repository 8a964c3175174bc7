//! What a running job tells of itself.

use std::time::Duration;

/// One thing that happened in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The job starts; totals are estimates, 0 when unknown.
    Started {
        /// `dump`, `inspect`, `restore`, `ring plan`, `salvage` or `verify`.
        job: &'static str,
        /// Items the job expects to handle.
        items_total: u64,
        /// Bytes the job expects to handle.
        bytes_total: u64,
    },
    /// A node is begun with; jobs that handle one node at a time, or do not see
    /// nodes, tell no such thing.
    NodeStarted {
        /// Zero-based place of the node.
        node_index: u32,
        /// The node, as the user wrote it.
        node: String,
        /// Items the job expects to handle there.
        items_total: u64,
    },
    /// The keys of a node are walked from now on.
    WalkStarted {
        /// Zero-based place of the node.
        node_index: u32,
        /// How long the server may be silent while the rest of the walk is read where
        /// the job is stopped, since it may not survive it otherwise. `None` where it is
        /// left at once.
        rest: Option<Duration>,
    },
    /// The walk of a node's keys is over.
    WalkEnded {
        /// Zero-based place of the node.
        node_index: u32,
    },
    /// A node does not answer, and is asked again for some time; told once, before
    /// the job starts.
    NodeAwaited {
        /// The node, as the user wrote it.
        node: String,
        /// Why it does not answer, in words.
        reason: String,
        /// How long it is asked at most.
        limit: Duration,
    },
    /// Some more is done, since the last such event.
    Advanced {
        /// The node it was done at, if it was begun with.
        node_index: Option<u32>,
        /// Items done since.
        items: u64,
        /// Bytes done since: values for a dump or a restore, stored bytes for
        /// a verify, stored keys for an inspection, keys for a plan of a ring.
        bytes: u64,
    },
    /// A node is done with.
    NodeFinished {
        /// Its zero-based place, if it was begun with.
        node_index: Option<u32>,
        /// The node, as the user wrote it.
        node: String,
        /// Items of this node.
        items: u64,
        /// `None`, or why the node did not finish.
        failure: Option<String>,
    },
    /// The job is over.
    Finished,
}

/// Where a job sends its events.
///
/// An implementer is called from many threads at once and returns quickly: a
/// slow one slows the job.
pub trait Progress: Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Drops every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn event(&self, _event: Event) {}
}

/// A job that has told that it starts; tells that it is over when it is dropped,
/// however it ends.
#[must_use = "the job is over when this is dropped"]
pub(crate) struct RunningJob<'a>(&'a dyn Progress);

impl<'a> RunningJob<'a> {
    /// Tells that a job starts; totals are as in [`Event::Started`].
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
