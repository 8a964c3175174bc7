//! A segment of which nothing is taken for granted: every block that can still
//! be proved to be one of it, wherever it stands.

use std::fmt;

use crate::codecs::format::segment_meta::SegmentMeta;
use crate::engines::snapshot::salvage_walk::Walk;
use crate::engines::snapshot::segment_identity::{Identity, find_identity, read_meta};
use crate::ports::store::ObjectReader;
use crate::words::cancel::Cancel;
use crate::words::defect::{Defect, Structure};
use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::item::ItemMeta;
use crate::words::limits::Limits;
use crate::words::location::Location;
use crate::words::pieces::Pieces;

/// A segment that may be damaged, cut, without its head, or something else.
#[derive(Debug)]
pub struct DamagedSegment {
    object: Box<dyn ObjectReader>,
    place: String,
    limits: Limits,
    identity: Option<Identity>,
}

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

impl DamagedSegment {
    /// Finds out which segment this is or was, unless that is known.
    ///
    /// # Errors
    ///
    /// - `Unsupported`: a sound file header says another major version.
    /// - `Canceled`.
    pub fn open(
        object: Box<dyn ObjectReader>,
        place: String,
        known: Option<Identity>,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let identity = match known {
            Some(identity) => Some(identity),
            None => find_identity(&*object, limits, cancel)
                .map_err(|error| error.at(Location::object(place.clone())))?,
        };
        Ok(Self {
            object,
            place,
            limits: *limits,
            identity,
        })
    }

    /// Returns what to call the segment in a message.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns which segment it is, if anything in it is part of one.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Reads its description, if that survived.
    ///
    /// # Errors
    ///
    /// - `Canceled`.
    pub fn read_meta(&self, cancel: &Cancel) -> Result<Option<SegmentMeta>> {
        match self.identity {
            Some(identity) => read_meta(&*self.object, identity.segment, &self.limits, cancel),
            None => Ok(None),
        }
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.object.size()
    }

    /// Brings out every record that can be proved, in the order of the file;
    /// those of damaged blocks come behind, and last those with values in parts.
    /// A value in parts that `take` gets in pieces may still turn out to be
    /// damaged: then it is counted as lost. `records_total` is how many there were,
    /// if that is known from elsewhere.
    ///
    /// # Errors
    ///
    /// - `Canceled`, and what `take` fails with. What is damaged is no error.
    ///
    /// # Memory
    ///
    /// One block or part of a value as stored and decompressed, the table of
    /// contents, and the keys of the records with values in parts.
    pub fn salvage(
        &self,
        records_total: Option<u64>,
        cancel: &Cancel,
        take: &mut dyn FnMut(SalvagedRecord<'_>) -> Result<()>,
    ) -> Result<SegmentSalvage> {
        let Some(identity) = self.identity else {
            return Ok(self.nothing(records_total));
        };
        Walk::new(
            &*self.object,
            &self.place,
            &self.limits,
            identity.segment,
            records_total,
            cancel,
        )
        .run(take)
    }

    /// What is said of a file in which nothing is found.
    fn nothing(&self, records_total: Option<u64>) -> SegmentSalvage {
        let size = self.object.size();
        let structure = Structure::Segment;
        let finding = Finding::new(
            Location::object(self.place.clone()),
            Defect::BadMagic { structure },
        );
        SegmentSalvage {
            size,
            bytes_lost: size,
            records_lost: records_total.unwrap_or(0),
            is_loss_unknown: records_total.is_none(),
            findings: vec![finding],
            ..SegmentSalvage::default()
        }
    }
}
