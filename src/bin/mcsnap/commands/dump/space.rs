//! What a dump may take of a disk, and what is there.

use mcsnap::codecs::format::compression::Compression;
use mcsnap::jobs::dump::DumpPlan;
use mcsnap::ports::store::Room;

use crate::render::size;

/// What a dump may take of a disk, and what is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Bytes, if nothing could be compressed; also of what is not selected.
    pub(super) wanted_max: u64,
    /// Bytes, if a good guess is right; none where there is nothing to guess by.
    wanted: Option<u64>,
    pub(super) room: Room,
}

impl Space {
    pub(super) fn new(plan: &DumpPlan, room: Room) -> Self {
        let wanted_max = plan.byte_count();
        // zstd makes half of most values; who warns every night is not heard.
        let wanted = match plan.options.compression {
            Compression::None => wanted_max,
            Compression::Zstd { .. } => wanted_max / 2,
        };
        Self {
            wanted_max,
            wanted: plan.options.selection.is_everything().then_some(wanted),
            room,
        }
    }

    pub(super) fn warn(self, to: &str) {
        if let (Some(wanted), Some(free)) = (self.wanted, self.room.free_bytes)
            && free < wanted
        {
            tracing::warn!(
                "{to} has {} free, and the servers' items take {} in memory: they may not fit",
                size(free),
                size(self.wanted_max),
            );
        }
    }

    pub(super) fn to_text(self) -> String {
        let wanted = format!(
            "{} at most, if nothing can be compressed",
            size(self.wanted_max)
        );
        match self.room.free_bytes {
            Some(free) => format!("{wanted}; {} free", size(free)),
            None => format!("{wanted}; how much is free is not known"),
        }
    }
}
