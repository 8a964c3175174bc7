//! Salvages one shard: one thread reads its files, and another one writes what was
//! recovered.

use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::pump::{ItemSink as _, Outlet, PumpOptions, Queues, pump};
use crate::engines::snapshot::{
    DamagedSegment, SalvagedRecord, SalvagedValue, SegmentSalvage, ShardOptions, ShardSink,
    SnapshotDraft,
};
use crate::jobs::salvage::report::SalvagedSegment;
use crate::jobs::salvage::sources::Source;
use crate::ports::store::{ObjectReader, Store};
use crate::words::cancel::Cancel;
use crate::words::defect::Defect;
use crate::words::error::{ErrorKind, Result};
use crate::words::finding::Finding;
use crate::words::item::{Record, escape_key};
use crate::words::limits::{LARGE_VALUE_LEN_MAX, Limits};
use crate::words::location::Location;
use crate::words::pieces::Pieces;
use crate::words::progress::{Event, Progress};

/// One shard to salvage.
pub(super) struct ShardJob<'a> {
    pub(super) snapshot: &'a SnapshotDraft,
    /// The store of the files.
    pub(super) store: &'a dyn Store,
    /// Index of the node.
    pub(super) node: usize,
    /// How the shard is written.
    pub(super) options: ShardOptions,
    /// The shard's files in the order in which they are read. Of two records of a key,
    /// the first is kept.
    pub(super) files: Vec<&'a Source>,
    /// Bytes of records on their way to the segments.
    pub(super) memory_max: u64,
    /// Raised when the whole salvage fails.
    pub(super) stop: &'a Cancel,
    pub(super) progress: &'a dyn Progress,
}

/// The result of one shard.
#[derive(Debug)]
pub(super) struct ShardSalvage {
    pub(super) node: usize,
    pub(super) segments: Vec<ManifestSegment>,
    pub(super) files: Vec<SalvagedSegment>,
    /// Records of keys that another record of the segment has.
    pub(super) duplicates: u64,
    /// The first record that belongs to another shard.
    pub(super) first_misplaced: Option<Finding>,
}

/// What was read of a shard's files.
#[derive(Debug, Default)]
struct ReadFiles {
    files: Vec<SalvagedSegment>,
    first_misplaced: Option<Finding>,
}

impl ShardJob<'_> {
    /// Reads all files and writes their records. Damage is in the result.
    ///
    /// # Errors
    ///
    /// - `Io` of the new snapshot, `Newer`, `Canceled`.
    pub(super) fn run(&self) -> Result<ShardSalvage> {
        let pump_options = PumpOptions {
            name: "write",
            sinks: vec![1],
            open_max: usize::MAX,
            outlet_count: 1,
            memory_max: self.memory_max,
        };
        let open = |_, _| Ok(ShardSink::new(self.snapshot, self.options.clone()));
        let read = |queues: &Queues| self.read_files(queues);
        let (read, written) = pump(&pump_options, self.stop, open, read).into_result()?;
        let mut shard = ShardSalvage {
            node: self.node,
            segments: Vec::new(),
            files: read.files,
            duplicates: 0,
            first_misplaced: read.first_misplaced,
        };
        for written in written.into_iter().flatten() {
            shard.segments.extend(written.segments);
            shard.duplicates = shard.duplicates.saturating_add(written.duplicate);
        }
        Ok(shard)
    }

    fn read_files(&self, queues: &Queues) -> Result<ReadFiles> {
        let only_queue = |_: &[u8]| 0;
        let mut outlet = Outlet::new(queues, &only_queue);
        let mut read = ReadFiles::default();
        for file in &self.files {
            self.stop.check()?;
            let salvaged = match file.file.open(self.store) {
                Ok(object) => {
                    let first_misplaced = &mut read.first_misplaced;
                    self.read_file(file, object, &mut outlet, first_misplaced)?
                }
                Err(error) => {
                    let place = self.store.describe(&file.file.object);
                    let finding = Finding::from_any_error(error, &place)?;
                    unreadable(place, file, finding)
                }
            };
            read.files.push(salvaged);
        }
        outlet.flush()?;
        Ok(read)
    }

    fn read_file(
        &self,
        file: &Source,
        object: Box<dyn ObjectReader>,
        outlet: &mut Outlet<'_>,
        first_misplaced: &mut Option<Finding>,
    ) -> Result<SalvagedSegment> {
        let place = object.describe().to_owned();
        let limits = Limits::default();
        let segment =
            DamagedSegment::open(object, place.clone(), file.identity, &limits, self.stop)?;
        let mut take = |record: SalvagedRecord<'_>| match self.misplacement(record.key) {
            Some(defect) => {
                let location = Location::object(place.clone());
                first_misplaced.get_or_insert_with(|| Finding::new(location, defect));
                Ok(())
            }
            None => send(record, outlet),
        };
        let salvage = segment.salvage(file.records_total, self.stop, &mut take)?;
        self.progress.event(Event::Advanced {
            node_index: None,
            items: salvage.records,
            bytes: salvage.size,
        });
        Ok(SalvagedSegment { place, salvage })
    }

    /// Returns a defect if the key belongs to another shard.
    fn misplacement(&self, key: &[u8]) -> Option<Defect> {
        let stored = self.options.shard_index;
        let computed = shard_of(key, self.options.shard_bits);
        (computed != stored).then(|| Defect::WrongShard {
            key: escape_key(key),
            stored,
            computed,
        })
    }
}

/// Hands a record on to the writer.
fn send(record: SalvagedRecord<'_>, outlet: &mut Outlet<'_>) -> Result<()> {
    let SalvagedRecord { key, meta, value } = record;
    match value {
        SalvagedValue::Whole(value) => outlet.item(&Record { key, value, meta }),
        // No part of a longer value is sound, so the record is counted as lost.
        SalvagedValue::Pieces { len, .. } if len > LARGE_VALUE_LEN_MAX => Ok(()),
        SalvagedValue::Pieces { len, pieces } => {
            // Otherwise it would overtake records before it.
            outlet.flush()?;
            outlet.begin_large(key, &meta, len)?;
            send_pieces(pieces, outlet)
        }
    }
}

/// Hands on the pieces of a value; one that cannot be read to its end is counted where
/// it is read.
fn send_pieces(pieces: &mut dyn Pieces, outlet: &mut Outlet<'_>) -> Result<()> {
    loop {
        match pieces.next_piece() {
            Ok(Some(piece)) => outlet.piece(piece)?,
            Ok(None) => return outlet.end_large(),
            Err(error) => {
                outlet.abandon_large();
                let is_damage = matches!(error.kind(), ErrorKind::Corrupt(_));
                return if is_damage { Ok(()) } else { Err(error) };
            }
        }
    }
}

/// A file that could be examined before, but can no longer be opened.
fn unreadable(place: String, file: &Source, finding: Finding) -> SalvagedSegment {
    let salvage = SegmentSalvage {
        size: file.size,
        bytes_lost: file.size,
        bytes_unreadable: file.size,
        records_lost: file.records_total.unwrap_or(0),
        is_loss_unknown: file.records_total.is_none(),
        findings: vec![finding],
        ..SegmentSalvage::default()
    };
    SalvagedSegment { place, salvage }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::pump::{Load, Sink, Taken};
    use crate::words::error::Error;
    use crate::words::item::ItemMeta;

    /// Notes the key and the number of bytes of each value that comes whole.
    #[derive(Default)]
    struct Notes(Vec<(Vec<u8>, usize)>);

    impl Sink for Notes {
        type Output = Vec<(Vec<u8>, usize)>;

        fn take(&mut self, load: &Load) -> Result<Taken> {
            match load {
                Load::Batch(batch) => {
                    let items = batch.iter();
                    self.0
                        .extend(items.map(|item| (item.key.to_vec(), item.value.len())));
                }
                Load::Large(item) => {
                    let (mut pieces, mut len) = (item.value.open(), 0);
                    while let Some(piece) = pieces.next_piece()? {
                        len += piece.len();
                    }
                    if u64::try_from(len).ok() == Some(item.value.len()) {
                        self.0.push((item.key.clone(), len));
                    }
                }
            }
            Ok(Taken::More)
        }

        fn finish(self) -> Result<Self::Output> {
            Ok(self.0)
        }
    }

    /// Some pieces of ten bytes, the last of which may be damaged.
    struct Tens {
        left: usize,
        is_damaged: bool,
    }

    impl Pieces for Tens {
        fn next_piece(&mut self) -> Result<Option<&[u8]>> {
            let Some(left) = self.left.checked_sub(1) else {
                return Ok(None);
            };
            self.left = left;
            if left == 0 && self.is_damaged {
                return Err(Error::corrupt(Defect::SegmentMissing));
            }
            Ok(Some(b"0123456789"))
        }
    }

    #[test]
    fn records_are_written_in_the_order_in_which_they_were_read() {
        let pump_options = PumpOptions {
            name: "test",
            sinks: vec![1],
            open_max: usize::MAX,
            outlet_count: 1,
            memory_max: 1 << 20,
        };
        let meta = ItemMeta::default();
        let read = |queues: &Queues| {
            let only_queue = |_: &[u8]| 0;
            let mut outlet = Outlet::new(queues, &only_queue);
            let whole = |key: &[u8], outlet: &mut Outlet<'_>| {
                let value = SalvagedValue::Whole(b"value");
                send(SalvagedRecord { key, meta, value }, outlet)
            };
            let parted = |key: &[u8], is_damaged, len, outlet: &mut Outlet<'_>| {
                let pieces = &mut Tens {
                    left: 7,
                    is_damaged,
                };
                let value = SalvagedValue::Pieces { len, pieces };
                send(SalvagedRecord { key, meta, value }, outlet)
            };
            whole(b"first", &mut outlet)?;
            parted(b"large", false, 70, &mut outlet)?;
            parted(b"damaged", true, 70, &mut outlet)?;
            parted(b"too large", false, LARGE_VALUE_LEN_MAX + 1, &mut outlet)?;
            whole(b"last", &mut outlet)?;
            outlet.flush()
        };
        let pumped = pump(
            &pump_options,
            &Cancel::new(),
            |_, _| Ok(Notes::default()),
            read,
        );
        let ((), mut written) = pumped.into_result().unwrap();
        let wanted = [("first", 5), ("large", 70), ("last", 5)];
        let wanted = wanted.map(|(key, len)| (key.as_bytes().to_vec(), len));
        assert_eq!(written.remove(0), [wanted.to_vec()]);
    }
}
