//! A restart file as pages, and pages as chunks.

use crate::codecs::warm_file::chain::Memory;
use crate::codecs::warm_file::meta::Meta;

/// A restart file with the information from its `.meta`.
#[derive(Clone, Copy, Debug)]
pub struct WarmFile<'a> {
    pub(super) memory: Memory<'a>,
    pub(super) meta: &'a Meta,
    /// Length of client flags in bytes: 4, or 8 if memcached was built that way.
    pub(super) client_flags_len: usize,
}

/// One chunk of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
    pub(super) class: u8,
}

impl<'a> WarmFile<'a> {
    /// Returns the number of pages.
    pub fn page_count(&self) -> usize {
        let count = self.memory.bytes.len().checked_div(self.memory.page_size);
        count.unwrap_or(0)
    }

    /// Returns a chunk of a page; the class must exist.
    pub(super) fn chunk(&self, page: usize, class: u8, number: usize) -> Option<Chunk<'a>> {
        let len = self.memory.classes.size(class)?;
        let start = page.checked_mul(self.memory.page_size)?;
        let offset = start.checked_add(number.checked_mul(len)?)?;
        let bytes = self.memory.bytes.get(offset..offset.checked_add(len)?)?;
        Some(Chunk {
            bytes,
            offset,
            class,
        })
    }

    pub(super) fn chunks_as(&self, page: usize, class: u8) -> impl Iterator<Item = Chunk<'a>> {
        let count = self.memory.classes.chunk_count(class).unwrap_or(0);
        let file = *self;
        (0..count).filter_map(move |number| file.chunk(page, class, number))
    }
}
