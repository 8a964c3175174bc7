//! What a running job tells of itself.

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
