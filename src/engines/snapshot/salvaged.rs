//! What a salvage recovers from a segment.

use std::fmt;

use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::item::ItemMeta;
use crate::words::pieces::Pieces;

/// A recovered record.
#[derive(Debug)]
pub struct SalvagedRecord<'a> {
    /// 1 to 250 bytes, any bytes.
    pub key: &'a [u8],
    /// Everything but key and value.
    pub meta: ItemMeta,
    /// The value.
    pub value: SalvagedValue<'a>,
}

/// The value of a recovered record.
pub enum SalvagedValue<'a> {
    /// A whole, sound value.
    Whole(&'a [u8]),
    /// A value too large to be held in memory, not yet known to be sound. It is sound if
    /// all pieces can be read, and lost if reading one returns an error.
    Pieces {
        /// Length of the value.
        len: u64,
        /// Its bytes.
        pieces: &'a mut dyn Pieces,
    },
}

impl fmt::Debug for SalvagedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => f.debug_tuple("Whole").field(value).finish(),
            Self::Pieces { len, .. } => {
                let mut shown = f.debug_struct("Pieces");
                shown.field("len", len).finish_non_exhaustive()
            }
        }
    }
}

/// Receives the records of a segment one by one.
pub(super) type Take<'t> = dyn FnMut(SalvagedRecord<'_>) -> Result<()> + 't;

/// What was recovered of a segment, and what was lost.
#[derive(Clone, Debug, Default)]
pub struct SegmentSalvage {
    /// Size of the file.
    pub size: u64,
    /// Blocks of which every record was recovered.
    pub blocks_whole: u64,
    /// Blocks that are known to have existed, and are damaged or missing.
    pub blocks_damaged: u64,
    /// Records recovered, including those of damaged blocks.
    pub records: u64,
    /// Records that are known to be lost.
    pub records_lost: u64,
    /// Whether more may be lost: the structure with the total is lost too.
    pub is_loss_unknown: bool,
    /// Blocks that are in the file more than once.
    pub blocks_repeated: u64,
    /// Bytes of the file that belong to no sound structure.
    pub bytes_lost: u64,
    /// How many of those the store could not read.
    pub bytes_unreadable: u64,
    /// Escaped keys of lost records; at most [`SegmentSalvage::LOST_KEY_COUNT_MAX`].
    pub lost_keys: Vec<String>,
    /// Lost records whose keys survived.
    pub lost_key_count: u64,
    /// What is damaged, and where; at most [`SegmentSalvage::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Number of further findings.
    pub finding_count_dropped: u64,
}

impl SegmentSalvage {
    /// The most keys of lost records that are kept for each segment.
    pub const LOST_KEY_COUNT_MAX: usize = 10_000;
    /// The most findings that are kept for each segment.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Reports whether records are lost, or may be.
    pub fn has_loss(&self) -> bool {
        self.records_lost > 0 || self.is_loss_unknown
    }
}
