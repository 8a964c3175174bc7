//! Determines what the pages of a restart file are used for, which only their chunks
//! show.

use std::cmp::Ordering;

use crate::codecs::warm_file::chain::Place;
use crate::codecs::warm_file::file::{Chunk, WarmFile};
use crate::codecs::warm_file::layout::{CHUNK_HEADER_LEN, ITEM_HEADER_LEN, ItemHeader, flag};

/// What a page is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageUse {
    None,
    Class(u8),
    Unknown,
}

impl<'a> WarmFile<'a> {
    /// Number of items with client flags from which to determine the length of the flags.
    const SAMPLE_ITEM_COUNT: usize = 256;

    /// Determines the class of a page from its chunks, which alone show it.
    ///
    /// All chunks are considered, so that the damaged header of one does not hide the
    /// others, and so that nothing inside a value can be mistaken for an item.
    pub(super) fn use_of(&self, page: usize) -> PageUse {
        let start = page.saturating_mul(self.memory.page_size);
        let Some(head) = self.memory.bytes.get(start..) else {
            return PageUse::None;
        };
        let Some(head) = head.get(..ITEM_HEADER_LEN) else {
            return PageUse::None;
        };
        // The server marks pages without a class this way; old chunks may follow.
        if head.iter().all(|&byte| byte == 0) {
            return PageUse::None;
        }
        let agreement = |class| {
            let chunks = self.chunks_as(page, class);
            chunks.filter(|chunk| self.is_of_class(*chunk)).count()
        };
        let count_of = |class| self.memory.classes.chunk_count(class).unwrap_or(0);
        let first = ItemHeader::decode(head).map_or(0, |header| header.class);
        if count_of(first) > 0 && agreement(first) == count_of(first) {
            return PageUse::Class(first);
        }
        // If two classes fit equally well, choose neither.
        let mut best = (PageUse::Unknown, 0_usize, 1_usize);
        for class in 1..=self.memory.classes.count() {
            let (agreeing, all) = (agreement(class), count_of(class));
            if agreeing == 0 || agreeing.saturating_mul(2) < all {
                continue;
            }
            let (share, best_share) = (agreeing.saturating_mul(best.2), best.1.saturating_mul(all));
            best = match share.cmp(&best_share) {
                Ordering::Greater => (PageUse::Class(class), agreeing, all),
                Ordering::Equal => (PageUse::Unknown, agreeing, all),
                Ordering::Less => best,
            };
        }
        best.0
    }

    /// Returns whether a chunk looks like one of its class.
    fn is_of_class(&self, chunk: Chunk<'a>) -> bool {
        let Some(header) = ItemHeader::decode(chunk.bytes) else {
            return false;
        };
        if header.flags & !flag::KNOWN != 0 {
            return false;
        }
        if header.has(flag::CHUNKED) {
            // Such an item counts as one of the largest class, wherever it is.
            return header.class == self.memory.classes.count()
                && self.chain_starts(chunk, header).any(|place| {
                    let own = place.offset.checked_add(41);
                    own.and_then(|at| self.memory.bytes.get(at)) == Some(&chunk.class)
                });
        }
        let is_whole =
            header.has(flag::LINKED) && !header.has(flag::HDR | flag::SLABBED | flag::CHUNK);
        let fits = |flags_len| {
            let total = header.item_len(flags_len);
            total.is_some_and(|total| self.memory.classes.class_of(total) == chunk.class)
        };
        header.class == chunk.class && (!is_whole || fits(4) || fits(8))
    }

    /// Returns where the chain of a long item can start: directly after its header, or at
    /// the next multiple of 8 on processors that need that.
    pub(super) fn chain_starts(
        &self,
        chunk: Chunk<'a>,
        header: ItemHeader,
    ) -> impl Iterator<Item = Place> + use<'a> {
        let starts = [4, 8].into_iter().filter_map(move |flags_len| {
            let start = header.data_start(flags_len)?;
            Some([start, start.checked_next_multiple_of(8)?])
        });
        starts.flatten().filter_map(move |start| {
            let len = chunk.bytes.len().checked_sub(start)?;
            (len >= CHUNK_HEADER_LEN).then_some(Place {
                offset: chunk.offset.checked_add(start)?,
                len,
            })
        })
    }

    /// Determines from the items of a page how long their client flags are: with the
    /// right length, the CRLF after the value is at the end.
    pub(super) fn ask_flags_len(&self, page: usize, class: u8, votes: &mut [usize; 2]) {
        for chunk in self.chunks_as(page, class) {
            if votes.iter().sum::<usize>() >= Self::SAMPLE_ITEM_COUNT {
                return;
            }
            let Some(header) = ItemHeader::decode(chunk.bytes) else {
                continue;
            };
            let is_asked = header.has(flag::LINKED)
                && header.has(flag::CFLAGS)
                && !header.has(flag::CHUNKED | flag::HDR | flag::SLABBED | flag::CHUNK);
            if !is_asked {
                continue;
            }
            for (vote, flags_len) in votes.iter_mut().zip([4, 8]) {
                let end = header.item_len(flags_len);
                let item = end.and_then(|end| chunk.bytes.get(..end));
                if item.is_some_and(|item| item.ends_with(b"\r\n")) {
                    *vote = vote.saturating_add(1);
                }
            }
        }
    }

    /// Returns whether the numbers of a page make sense in big-endian order.
    pub(super) fn is_big_endian(&self, page: usize) -> bool {
        let start = page.saturating_mul(self.memory.page_size);
        let head = self.memory.bytes.get(start..).unwrap_or_default();
        let Some(first) = ItemHeader::decode(head) else {
            return false;
        };
        let (mut sound, mut all) = (0_usize, 0_usize);
        for chunk in self.chunks_as(page, first.class) {
            let Some(header) = ItemHeader::decode(chunk.bytes) else {
                continue;
            };
            let flags = header.flags.swap_bytes();
            all = all.saturating_add(1);
            if header.class == chunk.class && flags != 0 && flags & !flag::KNOWN == 0 {
                sound = sound.saturating_add(1);
            }
        }
        all > 0 && sound.saturating_mul(2) > all
    }
}
