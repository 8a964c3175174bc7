//! How many threads read a restart file, and how much memory they get.

use crate::engines::pump::PumpOptions;
use crate::engines::snapshot::writer_memory;
use crate::jobs::dump::warm_file::WarmFilePlan;
use crate::jobs::dump::width::WHOLE_VALUE_LEN;
use crate::ports::host;
use crate::words::budget::Need;
use crate::words::error::Result;
use crate::words::limits::VALUE_INLINE_LEN_MAX;
use crate::words::units::to_u64;

/// How wide the dump of a restart file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WarmFileWidth {
    /// Threads that read pages.
    pub(super) thread_count: usize,
    /// Bytes of items on their way to the segments.
    pub(super) pump_memory: u64,
    /// Longer values are read in pieces.
    pub(super) whole_value_len_max: u64,
}

/// Memory of a thread that reads pages: a value, and the pieces of a long one.
const PAGE_READER: u64 = (4 << 20) + Need::THREAD_MEMORY;

impl WarmFilePlan {
    /// Decides how wide the dump is.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the memory limit is too low for a single thread.
    pub(super) fn width(&self, writing_memory: u64) -> Result<WarmFileWidth> {
        let options = &self.options;
        let budget = host::budget(options.memory_limit);
        // Of the file each item takes at least this much.
        const ITEM_LEN: u64 = 48;
        let shards = to_u64(1_usize.checked_shl(options.shard_bits.into()).unwrap_or(1));
        let records = (self.meta.file_size / ITEM_LEN).div_ceil(shards);
        let records = options.segment_record_count_max.min(records);
        let writer = writer_memory(options.memory_limit, options.compression, records)?;
        let writer = writer.saturating_add(writing_memory);
        let process = Need {
            memory: Need::PROCESS_MEMORY.saturating_add(writer.saturating_mul(shards)),
            files: 0,
        };
        let reader = Need {
            memory: PAGE_READER,
            files: 0,
        };
        let (wanted, most) = (options.thread_count, PumpOptions::MEMORY_MAX);
        let fit = budget.fit_with_queues(process, reader, wanted, most)?;
        let is_limited = fit.memory_left.is_some();
        Ok(WarmFileWidth {
            thread_count: fit.count,
            pump_memory: PumpOptions::memory_within(fit.memory_left),
            whole_value_len_max: if is_limited {
                WHOLE_VALUE_LEN
            } else {
                VALUE_INLINE_LEN_MAX
            },
        })
    }
}
