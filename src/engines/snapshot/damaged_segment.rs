//! Recovers every block that can still be proved to belong to a segment, wherever it is.
//! Nothing about the file is taken for granted.

use crate::codecs::format::segment_meta::SegmentMeta;
use crate::engines::snapshot::salvage_walk::Walk;
use crate::engines::snapshot::salvaged::{SalvagedRecord, SegmentSalvage};
use crate::engines::snapshot::segment_identity::{Identity, find_identity, read_meta};
use crate::ports::store::ObjectReader;
use crate::words::cancel::Cancel;
use crate::words::defect::{Defect, Structure};
use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::limits::Limits;
use crate::words::location::Location;

/// A file that may be a damaged segment, a truncated one, one without its head, or
/// something else.
#[derive(Debug)]
pub struct DamagedSegment {
    object: Box<dyn ObjectReader>,
    place: String,
    limits: Limits,
    identity: Option<Identity>,
}

impl DamagedSegment {
    /// Opens a file, and finds out which segment it is or was unless that is known.
    ///
    /// # Errors
    ///
    /// - `Newer`: a sound file header or tail needs a newer build.
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

    /// Returns the name of the segment for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the segment's identity if any part of the file belongs to one.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Reads the segment's description if it survived.
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

    /// Returns the file's size in bytes.
    pub fn size(&self) -> u64 {
        self.object.size()
    }

    /// Recovers every record that can be proved, in file order. Records of damaged blocks
    /// come after those, and records with values in parts last. A value that `take`
    /// receives in pieces may still turn out to be damaged; then it is counted as lost.
    /// `records_total` is the number of records that the segment had, if that is known
    /// from elsewhere.
    ///
    /// # Errors
    ///
    /// - `Newer`: a sound part of the segment needs a newer build, which could read what
    ///   this one would leave out.
    /// - `Canceled`, and the errors of `take`. Damage is not an error.
    ///
    /// # Memory
    ///
    /// One block or part of a value, both stored and decompressed, the table of contents,
    /// and the keys of the records with values in parts.
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

    /// The report on a file in which nothing was found.
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
