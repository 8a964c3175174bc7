//! Reads one block of a snapshot: decompresses it and routes its records.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::codecs::format::block::StoredValue;
use crate::codecs::format::compression::SectionReader;
use crate::engines::pump::{LargeItem, Outlet};
use crate::engines::sink::TextCheck;
use crate::engines::snapshot::SegmentValue;
use crate::jobs::restore::cursor::{BlockTask, Damage};
use crate::jobs::restore::duplicates::DuplicateKeys;
use crate::jobs::restore::filter::RecordFilter;
use crate::jobs::restore::plan::RestorePlan;
use crate::words::error::{Error, Result};
use crate::words::item::Record;
use crate::words::pieces::HeldValue;
use crate::words::progress::{Event, Progress};
use crate::words::units::UnixSecs;

/// A longer value is sent by itself, so that no request has to hold it.
const INLINE_LEN_MAX: usize = 1 << 20;

/// What all reading threads share.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) damage: &'a Mutex<Damage>,
    pub(super) filter: &'a RecordFilter<'a>,
    pub(super) text_check: &'a TextCheck<'a>,
    pub(super) plan: &'a RestorePlan,
    pub(super) duplicate_keys: &'a DuplicateKeys,
    pub(super) duplicates: &'a AtomicU64,
    /// Records that lose their CAS, by node; empty if that need not be counted.
    pub(super) without_cas: &'a [AtomicU64],
    /// When the restore began.
    pub(super) now: UnixSecs,
    /// Whether reading is to stop.
    pub(super) is_stopped: &'a AtomicBool,
    pub(super) progress: &'a dyn Progress,
}

impl Reading<'_> {
    /// Decompresses a block and routes its records. Damage is recorded. If all records of
    /// the block are dropped, no value is read.
    pub(super) fn route_block(
        self,
        task: &BlockTask,
        outlet: &mut Outlet<'_>,
        sections: &mut SectionReader,
    ) -> Result<()> {
        let entry = task.segment.block_entry(task.block);
        let records: u64 = entry.map_or(0, |entry| entry.record_count.into());
        let mut kept = None;
        let mut dropped = 0;
        let decoded = if self.filter.is_idle() {
            let frame = task.segment.read_block(task.block);
            frame.and_then(|frame| frame.decode(sections).map_err(Error::corrupt))
        } else {
            let columns = match task.segment.read_keys(task.block, sections) {
                Ok(columns) => columns,
                Err(error) => return self.note(task, error, records),
            };
            let judged = self.filter.judge_block(&columns);
            self.progress.event(Event::Advanced {
                node_index: None,
                items: judged.dropped,
                bytes: judged.dropped_bytes,
            });
            if judged.is_none() {
                return Ok(());
            }
            dropped = judged.dropped;
            kept = Some(judged);
            let frame = task.segment.read_block(task.block);
            frame.and_then(|frame| frame.decode_with(columns, sections).map_err(Error::corrupt))
        };
        let block = match decoded {
            Ok(block) => block,
            Err(error) => return self.note(task, error, records.saturating_sub(dropped)),
        };
        let (plan, source) = (self.plan, task.source_index);
        for index in 0..block.len() {
            let is_kept = kept.as_ref().map(|kept| kept.is_kept.get(index));
            if is_kept == Some(Some(&false)) {
                continue;
            }
            match block.record(index) {
                Some(Ok(stored)) => {
                    let (key, meta) = (stored.key, stored.meta);
                    if self.duplicate_keys.drops(key, task.source_index) {
                        self.duplicates.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    self.text_check.look(key);
                    let node = plan.locate(key, source);
                    let meta = plan.clocks.adjust(meta, task.clock_offset, node);
                    if let Some(count) = self.without_cas.get(node)
                        && plan.loses_cas(key, &meta, node, self.now)
                    {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    match stored.value {
                        StoredValue::Inline(value) if value.len() > INLINE_LEN_MAX => {
                            let item = LargeItem {
                                key: key.to_vec(),
                                meta,
                                value: Box::new(HeldValue::new(value)),
                            };
                            outlet.push_large(item, node)?;
                        }
                        StoredValue::Inline(value) => {
                            outlet.push(&Record { key, value, meta }, node)?;
                        }
                        StoredValue::Parts(value) => {
                            let segment = Arc::clone(&task.segment.0);
                            let value = SegmentValue::new(segment, task.block, index, value);
                            let item = LargeItem {
                                key: key.to_vec(),
                                meta,
                                value: Box::new(value),
                            };
                            outlet.push_large(item, node)?;
                        }
                    }
                }
                Some(Err(defect)) => self.note(task, Error::corrupt(defect), 1)?,
                None => {}
            }
        }
        Ok(())
    }

    fn note(self, task: &BlockTask, error: Error, records: u64) -> Result<()> {
        let place = task.segment.block_location(task.block);
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.add(error, place, records)
    }
}
