//! What a salvage brings out of a segment.

use std::fmt;

use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::item::ItemMeta;
use crate::words::pieces::Pieces;

/// A record that is recovered.
#[derive(Debug)]
pub struct SalvagedRecord<'a> {
    /// 1 to 250 bytes, any bytes.
    pub key: &'a [u8],
    /// Everything but key and value.
    pub meta: ItemMeta,
    /// The value.
    pub value: SalvagedValue<'a>,
}

/// The value of a record that is recovered.
pub enum SalvagedValue<'a> {
    /// Whole, and sound.
    Whole(&'a [u8]),
    /// Too large to be held, and not yet known to be sound: it is if all pieces
    /// come, and lost if an error comes instead of one.
    Pieces {
        /// Bytes of the value.
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

/// Takes the records of a segment one after the other.
pub(super) type Take<'t> = dyn FnMut(SalvagedRecord<'_>) -> Result<()> + 't;

/// What was recovered of a segment, and what was not.
#[derive(Clone, Debug, Default)]
pub struct SegmentSalvage {
    /// Bytes of the file.
    pub size: u64,
    /// Blocks of which every record was recovered.
    pub blocks_whole: u64,
    /// Blocks that are known to have been there, and are damaged or missing.
    pub blocks_damaged: u64,
    /// Records recovered, those of damaged blocks included.
    pub records: u64,
    /// Records that are known to be lost.
    pub records_lost: u64,
    /// More may be lost than that: what told how much there was is lost, too.
    pub is_loss_unknown: bool,
    /// Blocks that stood in the file again.
    pub blocks_repeated: u64,
    /// Bytes of the file that are part of no sound structure.
    pub bytes_lost: u64,
    /// Bytes that the store could not read, among these.
    pub bytes_unreadable: u64,
    /// Keys of lost records, escaped; at most
    /// [`SegmentSalvage::LOST_KEY_COUNT_MAX`].
    pub lost_keys: Vec<String>,
    /// Lost records whose keys survived.
    pub lost_key_count: u64,
    /// What is damaged, at its place; at most
    /// [`SegmentSalvage::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub finding_count_dropped: u64,
}

impl SegmentSalvage {
    /// Keys of lost records that are kept for each segment.
    pub const LOST_KEY_COUNT_MAX: usize = 10_000;
    /// Findings that are kept for each segment.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Says whether records are lost, or may be.
    pub fn has_loss(&self) -> bool {
        self.records_lost > 0 || self.is_loss_unknown
    }
}
