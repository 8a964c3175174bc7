//! The memory that an item takes in a server. `do_item_alloc` in items.c.

use crate::codecs::warm_file::layout::{CAS_LEN, ITEM_HEADER_LEN};
use crate::codecs::warm_file::slab_classes::SlabClasses;
use crate::words::units::to_u64;

/// Length of the header of a chunk in a chain, in bytes, as C rounds it up.
const CHUNK_HEADER_SIZE: u64 = 48;
/// Length of the line end that memcached stores after a value.
const LINE_END_LEN: u64 = 2;

/// The lengths that determine how much memory an item takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemLengths {
    /// Length of the key in bytes, as the server stores it.
    pub key: u64,
    /// Length of the value in bytes.
    pub value: u64,
    /// Client flags; unknown flags count as 0, which take no space.
    pub client_flags: Option<u64>,
}

impl ItemLengths {
    /// Returns the size of the item in bytes: header, CAS, key, client flags and value.
    /// Without CAS (`-C`) a server takes 8 bytes less.
    pub fn item_size(self) -> u64 {
        self.head_size()
            .saturating_add(self.value)
            .saturating_add(LINE_END_LEN)
    }

    /// Returns the class of the item, and the total size in bytes of the chunks that the
    /// server gives it, which exceeds the item's size.
    pub fn chunks(self, classes: &SlabClasses) -> (u8, u64) {
        let mut bytes: u64 = 0;
        let class = self.each_chunk(classes, |class, count| {
            let size = to_u64(classes.size(class).unwrap_or(0));
            bytes = bytes.saturating_add(size.saturating_mul(count));
        });
        (class, bytes)
    }

    /// Returns the same size if this is the class of the item; `None` if it has another.
    pub fn chunks_in(self, class: u8, classes: &SlabClasses) -> Option<u64> {
        let len = self.item_size();
        let size_of = |class| classes.size(class).map_or(0, to_u64);
        let (smaller, size) = (size_of(class.saturating_sub(1)), size_of(class));
        if len <= size {
            return (len > smaller).then_some(size);
        }
        // What fits no chunk is of the last class.
        if class != classes.count() {
            return None;
        }
        let (own, chunks) = self.chunks(classes);
        (own == class).then_some(chunks)
    }

    /// Passes the class and number of the chunks that the server gives the item to
    /// `take`; returns the class of the item.
    pub fn each_chunk(self, classes: &SlabClasses, mut take: impl FnMut(u8, u64)) -> u8 {
        let class_of = |len: u64| classes.class_of(usize::try_from(len).unwrap_or(usize::MAX));
        let class = class_of(self.item_size());
        let chunk = to_u64(classes.size(class).unwrap_or(0));
        if self.item_size() <= chunk {
            take(class, 1);
            return class;
        }
        // Too large for any chunk: the header is in one chunk, the value in a chain.
        take(
            class_of(self.head_size().saturating_add(CHUNK_HEADER_SIZE)),
            1,
        );
        let data_len = self.value.saturating_add(LINE_END_LEN);
        let room = chunk.saturating_sub(CHUNK_HEADER_SIZE).max(1);
        take(class, data_len.checked_div(room).unwrap_or(0));
        match data_len.checked_rem(room).unwrap_or(0) {
            0 => {}
            rest => take(class_of(rest.saturating_add(CHUNK_HEADER_SIZE)), 1),
        }
        class
    }

    fn head_size(self) -> u64 {
        let client_flags_len = match self.client_flags {
            None | Some(0) => 0,
            Some(flags) if flags <= u32::MAX.into() => 4,
            Some(_) => 8,
        };
        to_u64(ITEM_HEADER_LEN)
            .saturating_add(to_u64(CAS_LEN))
            .saturating_add(self.key)
            .saturating_add(1)
            .saturating_add(client_flags_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // tests/it/inspect_behaviour.rs compares this with the counts of a real server.
    #[test]
    fn an_item_takes_the_chunk_of_its_class_or_a_chain() {
        let classes = SlabClasses::of_defaults();
        for (key, value, client_flags, size, wanted) in [
            (5, 0, None, 64, (1, 96)),
            (5, 32, Some(0), 96, (1, 96)),
            (5, 32, Some(7), 100, (2, 120)),
            (5, 32, Some(u64::MAX), 104, (2, 120)),
            (10, 524_219, Some(0), 524_288, (39, 524_288)),
            // A header of 115 bytes in a chunk of 120, everything else in one more chunk.
            (10, 524_220, Some(0), 524_289, (39, 524_288 + 120)),
            // Two whole chunks, and 100 bytes in a third chunk of 152.
            (
                10,
                2 * (524_288 - 48) + 98,
                Some(0),
                1_048_647,
                (39, 2 * 524_288 + 152 + 120),
            ),
        ] {
            let lengths = ItemLengths {
                key,
                value,
                client_flags,
            };
            assert_eq!(lengths.item_size(), size, "{lengths:?}");
            assert_eq!(lengths.chunks(&classes), wanted, "{lengths:?}");
            for class in 0..=u8::MAX {
                let chunks = (class == wanted.0).then_some(wanted.1);
                assert_eq!(lengths.chunks_in(class, &classes), chunks, "{lengths:?}");
            }
        }
        let huge = ItemLengths {
            key: u64::MAX,
            value: u64::MAX,
            client_flags: None,
        };
        assert!(huge.chunks(&classes).1 >= u64::from(u32::MAX));
    }
}
