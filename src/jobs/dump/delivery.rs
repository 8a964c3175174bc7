//! Items on their way from those who read them to the writers of their shards.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::encoder::{Pushed, PushedPieces};
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::ShardWriter;
use crate::engines::source::ItemSink;
use crate::words::batch::ItemBatch;
use crate::words::error::{Error, Result};
use crate::words::item::{ItemMeta, Record};

/// Bytes gathered for a shard before they go to its writer.
const BATCH_LEN: usize = 256 << 10;
/// Parcels on their way to one writer.
const PARCEL_COUNT_MAX: usize = 4;
/// Pieces of a large value on their way to a writer.
const PIECE_COUNT_MAX: usize = 4;

/// What a writer is handed.
#[derive(Debug)]
pub(super) enum Parcel {
    /// Whole items.
    Batch(ItemBatch),
    /// An item whose value is still on its way. The writer takes all of its
    /// pieces before it takes another parcel; where they end too early, its
    /// reader has given it up.
    Large {
        key: Vec<u8>,
        meta: ItemMeta,
        value_len: u64,
        pieces: Receiver<Vec<u8>>,
    },
}

/// The ends of the ways to the writers of all shards.
pub(super) type Ways = (Vec<Sender<Parcel>>, Vec<Receiver<Parcel>>);

/// Makes a way to each of 2^bits writers.
pub(super) fn open_ways(shard_bits: u8) -> Ways {
    let shard_count = 1_usize.checked_shl(shard_bits.into()).unwrap_or(1);
    (0..shard_count).map(|_| bounded(PARCEL_COUNT_MAX)).unzip()
}

/// Sorts items by shard, and hands them to the writers.
#[derive(Debug)]
pub(super) struct Delivery {
    senders: Vec<Sender<Parcel>>,
    batches: Vec<ItemBatch>,
    shard_bits: u8,
    large: Option<LargeDelivery>,
}

/// A value in the middle of its delivery.
#[derive(Debug)]
struct LargeDelivery {
    sender: Sender<Vec<u8>>,
    /// Held back until the end is known: a value that lacks it is none.
    last_piece: Vec<u8>,
}

impl Delivery {
    pub(super) fn new(senders: Vec<Sender<Parcel>>, shard_bits: u8) -> Self {
        let batches = senders.iter().map(|_| ItemBatch::default()).collect();
        Self {
            senders,
            batches,
            shard_bits,
            large: None,
        }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        (0..self.batches.len()).try_for_each(|shard| self.send_batch(shard))
    }

    fn shard(&self, key: &[u8]) -> usize {
        usize::try_from(shard_of(key, self.shard_bits)).unwrap_or(0)
    }

    fn send_batch(&mut self, shard: usize) -> Result<()> {
        match self.batches.get_mut(shard) {
            Some(batch) if !batch.is_empty() => {
                let batch = std::mem::take(batch);
                self.send(shard, Parcel::Batch(batch))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Waits for the writer if it is behind. One that has ended has failed, and
    /// raised the node's stop flag; its error is the one to report.
    fn send(&self, shard: usize, parcel: Parcel) -> Result<()> {
        let sender = self
            .senders
            .get(shard)
            .ok_or_else(|| no_such_shard(shard))?;
        sender.send(parcel).map_err(|_| writer_ended())
    }
}

impl ItemSink for Delivery {
    fn item(&mut self, record: &Record<'_>) -> Result<()> {
        let shard = self.shard(record.key);
        let Some(batch) = self.batches.get_mut(shard) else {
            return Err(no_such_shard(shard));
        };
        batch.push(record);
        if batch.byte_len() >= BATCH_LEN {
            return self.send_batch(shard);
        }
        Ok(())
    }

    fn begin_large(&mut self, key: &[u8], meta: &ItemMeta, value_len: u64) -> Result<()> {
        let (sender, pieces) = bounded(PIECE_COUNT_MAX);
        self.large = Some(LargeDelivery {
            sender,
            last_piece: Vec::new(),
        });
        let parcel = Parcel::Large {
            key: key.to_vec(),
            meta: *meta,
            value_len,
            pieces,
        };
        self.send(self.shard(key), parcel)
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        let large = self.large.as_mut().ok_or_else(no_large_value)?;
        let before = std::mem::replace(&mut large.last_piece, bytes.to_vec());
        if before.is_empty() {
            return Ok(());
        }
        large.sender.send(before).map_err(|_| writer_ended())
    }

    fn end_large(&mut self) -> Result<()> {
        let large = self.large.take().ok_or_else(no_large_value)?;
        let sent = large.sender.send(large.last_piece);
        sent.map_err(|_| writer_ended())
    }

    fn abandon_large(&mut self) {
        self.large = None;
    }
}

fn no_such_shard(shard: usize) -> Error {
    Error::internal(format!(
        "a key belongs to shard {shard}, which has no writer"
    ))
}

fn no_large_value() -> Error {
    Error::internal("a piece of a value that was not begun")
}

fn writer_ended() -> Error {
    Error::partner_ended("the writer of a shard")
}

/// What one writer did.
#[derive(Debug, Default)]
pub(super) struct ShardResult {
    pub(super) segments: Vec<ManifestSegment>,
    pub(super) stored: u64,
    pub(super) duplicate: u64,
}

/// Writes all that comes.
///
/// # Errors
///
/// - Those of [`ShardWriter`].
pub(super) fn write_parcels(
    mut writer: ShardWriter<'_>,
    parcels: Receiver<Parcel>,
) -> Result<ShardResult> {
    let mut result = ShardResult::default();
    let (mut stored, mut duplicate) = (0_u64, 0_u64);
    for parcel in parcels {
        match parcel {
            Parcel::Batch(batch) => {
                for record in batch.iter() {
                    match writer.push(&record)? {
                        Pushed::Stored => stored = stored.saturating_add(1),
                        Pushed::Duplicate => duplicate = duplicate.saturating_add(1),
                    }
                }
            }
            Parcel::Large {
                key,
                meta,
                value_len,
                pieces,
            } => {
                let mut next = || Ok(pieces.recv().ok());
                match writer.push_large(&key, &meta, value_len, &mut next)? {
                    PushedPieces::Stored => stored = stored.saturating_add(1),
                    PushedPieces::Duplicate => duplicate = duplicate.saturating_add(1),
                    // Its reader asks for it again, or counts why not.
                    PushedPieces::Abandoned => {}
                }
            }
        }
    }
    result.segments = writer.finish()?;
    result.stored = stored;
    result.duplicate = duplicate;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            key: b"key",
            value: b"value",
            meta: ItemMeta::default(),
        }
    }

    #[test]
    fn an_item_that_cannot_be_delivered_is_never_taken_for_one_that_nobody_wants() {
        let mut without_writers = Delivery::new(Vec::new(), 0);
        let errors = [
            without_writers.item(&record()),
            without_writers.begin_large(b"key", &ItemMeta::default(), 9 << 20),
            Delivery::new(Vec::new(), 0).piece(b"piece"),
            Delivery::new(Vec::new(), 0).end_large(),
        ];
        for error in errors.map(Result::unwrap_err) {
            assert!(error.is_internal() && !error.is_of_partner(), "{error}");
        }
    }

    #[test]
    fn a_writer_that_has_ended_is_the_one_to_tell_why() {
        let (senders, receivers) = open_ways(0);
        let mut delivery = Delivery::new(senders, 0);
        delivery.item(&record()).unwrap();
        drop(receivers);
        let error = delivery.flush().unwrap_err();
        assert!(error.is_internal() && error.is_of_partner(), "{error}");
    }
}
