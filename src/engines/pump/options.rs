//! How wide a pump is.

/// How wide a pump is.
#[derive(Clone, Debug)]
pub struct PumpOptions {
    /// Part of the names of the sinks' threads.
    pub name: &'static str,
    /// The queues, each by the number of its sinks, which have a thread each.
    pub sinks: Vec<usize>,
    /// Most sinks that are open at a time. If the queues want more, so many threads serve
    /// all of them in turn: each closes its sink when it goes to another queue.
    pub open_max: usize,
    /// Threads that read, each with an outlet of its own.
    pub outlet_count: usize,
    /// Bytes of items on their way, whatever the numbers above. Beyond it each reading
    /// thread may hold one more item, and each large value has four pieces on its way.
    pub memory_max: u64,
}

impl PumpOptions {
    /// Bytes that suit a job where nobody says anything else.
    pub const MEMORY_MAX: u64 = 64 << 20;

    /// Returns the bytes for a job that has so many left, if its memory is limited.
    pub fn memory_within(left: Option<u64>) -> u64 {
        left.map_or(Self::MEMORY_MAX, |left| left.min(Self::MEMORY_MAX))
    }
}
