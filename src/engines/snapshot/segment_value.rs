//! A value in parts that stays in its segment until it is read.

use std::sync::Arc;

use crate::codecs::format::value_part::PartedValue;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::words::pieces::{LargeValue, Pieces};

/// The value of one record, and the open segment that contains it.
#[derive(Clone, Debug)]
pub struct SegmentValue {
    segment: Arc<SegmentReader>,
    block: usize,
    record: usize,
    value: PartedValue,
}

impl SegmentValue {
    /// Identifies a value by the numbers of its record's block and of the record in it.
    pub fn new(
        segment: Arc<SegmentReader>,
        block: usize,
        record: usize,
        value: PartedValue,
    ) -> Self {
        Self {
            segment,
            block,
            record,
            value,
        }
    }
}

impl LargeValue for SegmentValue {
    fn len(&self) -> u64 {
        self.value.len.into()
    }

    fn open(&self) -> Box<dyn Pieces + '_> {
        let parts = self.segment.open_parts(self.block, self.record, self.value);
        Box::new(parts)
    }
}
