//! Cuts a listing into chunks.

use crate::codecs::protocol::metadump::WalkItem;
use crate::engines::source::packed_walk::WalkPacker;
use crate::engines::source::spool::{LineForm, WalkChunk};
use crate::words::error::Result;

/// Packs items until they fill a chunk.
#[derive(Debug)]
pub(super) struct ChunkPacker {
    packer: WalkPacker,
    form: LineForm,
    /// Lines in the open chunk, and their bytes as the server sent them.
    line_count: u64,
    text_len: usize,
}

impl ChunkPacker {
    /// Bytes of lines in a chunk. That is some 700 lines of a walk, enough for one round
    /// trip of a fetcher.
    const TEXT_LEN: usize = 64 << 10;

    pub(super) fn new(form: LineForm) -> Result<Self> {
        Ok(Self {
            packer: WalkPacker::new()?,
            form,
            line_count: 0,
            text_len: 0,
        })
    }

    /// Returns the slab class of all items, if the form of the listing has one.
    pub(super) fn class(&self) -> Option<u8> {
        match self.form {
            LineForm::Metadump => None,
            LineForm::Cachedump { class } => Some(class),
        }
    }

    /// Adds an item whose line was this long.
    pub(super) fn push(&mut self, key: &[u8], item: &WalkItem, line_len: usize) {
        self.packer.push(key, item);
        self.count(line_len);
    }

    /// Adds a line that cannot be parsed.
    pub(super) fn push_broken(&mut self, line: &[u8]) {
        self.packer.push_broken(line);
        self.count(line.len());
    }

    fn count(&mut self, line_len: usize) {
        self.line_count = self.line_count.saturating_add(1);
        self.text_len = self.text_len.saturating_add(line_len);
    }

    /// Reports whether the chunk is large enough.
    pub(super) fn is_full(&self) -> bool {
        self.text_len >= Self::TEXT_LEN
    }

    /// Returns the chunk and the number of its lines, and begins another chunk; `None` if
    /// it is empty.
    pub(super) fn finish(&mut self) -> Result<Option<(WalkChunk, u64)>> {
        let line_count = std::mem::take(&mut self.line_count);
        self.text_len = 0;
        let form = self.form;
        let items = self.packer.finish()?;
        Ok(items.map(|items| (WalkChunk { items, form }, line_count)))
    }
}
