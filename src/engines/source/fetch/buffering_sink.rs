//! An item sink that buffers while other batches wait for this one's reply.

use crate::engines::pump::ItemBatch;
use crate::engines::pump::ItemSink;
use crate::ports::net::NodeBrake;
use crate::words::error::Result;
use crate::words::item::{ItemMeta, Record};

/// Buffers items while a batch is being read and other batches wait for it, and passes
/// them on once the batch has been read. Otherwise a slow writer would make the server
/// look slow.
///
/// # Memory
///
/// The values of one batch, which is small in this case.
pub(super) struct BufferingSink<'a> {
    sink: &'a mut dyn ItemSink,
    brake: &'a NodeBrake,
    kept: ItemBatch,
}

impl<'a> BufferingSink<'a> {
    pub(super) fn new(sink: &'a mut dyn ItemSink, brake: &'a NodeBrake) -> Self {
        Self {
            sink,
            brake,
            kept: ItemBatch::default(),
        }
    }

    /// Passes on the buffered items.
    pub(super) fn flush(&mut self) -> Result<()> {
        let kept = std::mem::take(&mut self.kept);
        kept.iter().try_for_each(|record| self.sink.item(&record))
    }
}

impl ItemSink for BufferingSink<'_> {
    fn item(&mut self, record: &Record<'_>) -> Result<()> {
        if self.kept.is_empty() && !self.brake.is_waited_for() {
            return self.sink.item(record);
        }
        self.kept.push(record);
        Ok(())
    }

    fn begin_large(&mut self, key: &[u8], meta: &ItemMeta, value_len: u64) -> Result<()> {
        self.flush()?;
        self.sink.begin_large(key, meta, value_len)
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.piece(bytes)
    }

    fn end_large(&mut self) -> Result<()> {
        self.sink.end_large()
    }

    fn abandon_large(&mut self) {
        self.sink.abandon_large();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::net::{Asked, Brake};

    /// Records what it is given.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl ItemSink for Notes {
        fn item(&mut self, record: &Record<'_>) -> Result<()> {
            self.0
                .push(String::from_utf8_lossy(record.key).into_owned());
            Ok(())
        }

        fn begin_large(&mut self, key: &[u8], _: &ItemMeta, _: u64) -> Result<()> {
            self.0
                .push(format!("{} begins", String::from_utf8_lossy(key)));
            Ok(())
        }

        fn piece(&mut self, _: &[u8]) -> Result<()> {
            self.0.push("piece".to_owned());
            Ok(())
        }

        fn end_large(&mut self) -> Result<()> {
            self.0.push("ends".to_owned());
            Ok(())
        }

        fn abandon_large(&mut self) {
            self.0.push("abandoned".to_owned());
        }
    }

    #[test]
    fn items_come_in_their_order_and_wait_only_beside_others() {
        let record = |key| Record {
            key,
            value: b"value",
            meta: ItemMeta::default(),
        };
        for (brake, seen_early) in [(Brake::full_speed(), 2), (Brake::default(), 0)] {
            let brake = brake.node("a:1", Asked::Gets);
            let mut notes = Notes::default();
            let mut sink = BufferingSink::new(&mut notes, &brake);
            sink.item(&record(b"a")).unwrap();
            sink.item(&record(b"b")).unwrap();
            assert_eq!(2 - sink.kept.len(), seen_early);
            sink.begin_large(b"c", &ItemMeta::default(), 1).unwrap();
            sink.piece(b"x").unwrap();
            sink.end_large().unwrap();
            sink.abandon_large();
            sink.item(&record(b"d")).unwrap();
            sink.flush().unwrap();
            sink.flush().unwrap();
            assert_eq!(
                notes.0,
                ["a", "b", "c begins", "piece", "ends", "abandoned", "d"]
            );
        }
    }
}
