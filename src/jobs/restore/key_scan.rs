//! Reads the keys of a restore, without values.

use std::sync::{Mutex, PoisonError};

use crate::codecs::format::column::KeyRecord;
use crate::codecs::format::compression::SectionReader;
use crate::engines::snapshot::Opening;
use crate::jobs::restore::cursor::{BlockOrder, BlockTask, Cursor, Damage};
use crate::jobs::restore::plan::RestorePlan;
use crate::ports::threads::{Pool, with_crew};
use crate::words::cancel::Cancel;
use crate::words::error::Result;

impl RestorePlan {
    /// Calls `visit` with every record's key and metadata, its block, and the state of
    /// the calling thread; returns the states. Damage is recorded.
    ///
    /// # Errors
    ///
    /// - `Io`, `Canceled`, and whatever `visit` returns.
    pub(super) fn scan_keys<S: Send>(
        &self,
        damage: &Mutex<Damage>,
        cancel: &Cancel,
        begin: impl Fn() -> S + Sync,
        visit: impl Fn(&mut S, &KeyRecord<'_>, &BlockTask) -> Result<()> + Sync,
    ) -> Result<Vec<S>> {
        let pool = Pool::new("keys", self.thread_count()?)?;
        let stop = cancel.child();
        with_crew(&stop, |crew| {
            let (order, opening) = (BlockOrder::Plain, Opening::Checked);
            let (snapshot, segments) = (&self.snapshot, &self.segments);
            let cursor = Cursor::new(snapshot, segments, order, opening, damage, crew);
            let states = pool.broadcast(|| {
                let mut state = begin();
                let mut sections = SectionReader::default();
                while let Some(task) = cursor.next()? {
                    cancel.check()?;
                    let columns = match task.segment.read_keys(task.block, &mut sections) {
                        Ok(columns) => columns,
                        Err(error) => {
                            let place = task.segment.block_location(task.block);
                            let entry = task.segment.block_entry(task.block);
                            let records = entry.map_or(0, |entry| entry.record_count.into());
                            let mut damage = damage.lock().unwrap_or_else(PoisonError::into_inner);
                            damage.add(error, place, records)?;
                            continue;
                        }
                    };
                    for record in columns.iter() {
                        visit(&mut state, &record, &task)?;
                    }
                }
                Ok(state)
            });
            states.into_iter().collect()
        })
    }
}
