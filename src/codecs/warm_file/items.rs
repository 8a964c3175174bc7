//! The items in the pages of a restart file.

use crate::codecs::warm_file::chain::{Chain, Memory, Pieces, Source};
use crate::codecs::warm_file::file::{Chunk, WarmFile};
use crate::codecs::warm_file::layout::{
    CAS_LEN, ITEM_HEADER_LEN, ItemHeader, flag, u32_at, u64_at,
};
use crate::codecs::warm_file::meta::Meta;
use crate::codecs::warm_file::pages::PageUse;
use crate::codecs::warm_file::refusal::Refusal;
use crate::codecs::warm_file::slab_classes::SlabClasses;
use crate::words::item::{Attribute, Attributes, Cas, Exptime, ItemMeta, KEY_LEN_MAX, SlabClass};
use crate::words::units::to_u64;

/// The content of a chunk.
#[derive(Clone, Debug)]
pub enum Found<'a> {
    /// An item that a client would have found.
    Live(WarmItem<'a>),
    /// An item that had expired when the server stopped.
    Expired,
    /// An item that `flush_all` had invalidated but that was still in memory.
    Flushed,
    /// An item that was deleted or replaced while a client was being sent it.
    Unlinked,
    /// An inconsistent item, or a page of items whose class cannot be determined.
    Damaged {
        /// Offset from the start of the file in bytes.
        offset: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An item whose value is in extstore.
    External {
        /// Offset from the start of the file in bytes.
        offset: u64,
    },
}

/// An item of a stopped server.
#[derive(Clone, Debug)]
pub struct WarmItem<'a> {
    /// Offset of the item's chunk from the start of the file, in bytes.
    pub offset: u64,
    /// 1 to 250 bytes, any bytes.
    pub key: &'a [u8],
    /// Everything but the value, with times on the clock of the server's host.
    pub meta: ItemMeta,
    value: Pieces<'a>,
}

impl<'a> WarmItem<'a> {
    /// Returns the length of the value in bytes.
    pub fn value_len(&self) -> usize {
        self.value.left
    }

    /// Visits the value in pieces: one piece, or one for each chunk of a long value.
    pub fn pieces(&self) -> Pieces<'a> {
        self.value.clone()
    }
}

/// The parts of an item within its chunk.
#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    header: ItemHeader,
    key: &'a [u8],
    client_flags: u64,
    cas: u64,
    /// Offset of the data in the chunk, or of the chain of chunks.
    data_start: usize,
}

impl<'a> WarmFile<'a> {
    /// Number of pages to examine before a file is accepted: every file has one page of
    /// each class at its start.
    const SAMPLE_PAGE_COUNT: usize = 64;

    /// Opens a file after examining its first pages.
    ///
    /// # Errors
    ///
    /// - [`Refusal`]: it is not the file that the `.meta` describes.
    pub fn open(
        bytes: &'a [u8],
        meta: &'a Meta,
        classes: &'a SlabClasses,
    ) -> Result<Self, Refusal> {
        if to_u64(bytes.len()) != meta.file_size {
            return Err(Refusal::FileSize {
                found: to_u64(bytes.len()),
                wanted: meta.file_size,
            });
        }
        let mut file = Self {
            memory: Memory {
                bytes,
                base: meta.old_base,
                page_size: usize::try_from(meta.slab_page_size).unwrap_or(usize::MAX),
                classes,
            },
            meta,
            client_flags_len: 4,
        };
        let mut looked_at = 0_usize;
        let mut unknown = Vec::new();
        let mut votes = [0_usize; 2];
        for page in 0..file.page_count() {
            match file.use_of(page) {
                PageUse::None => continue,
                PageUse::Class(class) => file.ask_flags_len(page, class, &mut votes),
                PageUse::Unknown => unknown.push(page),
            }
            looked_at = looked_at.saturating_add(1);
            if looked_at >= Self::SAMPLE_PAGE_COUNT {
                break;
            }
        }
        // One or two damaged pages are no reason to give up the others.
        if unknown.len().saturating_mul(2) > looked_at {
            if unknown.iter().any(|&page| file.is_big_endian(page)) {
                return Err(Refusal::ForeignMachine {
                    kind: "big-endian numbers",
                });
            }
            let unknown = unknown.len();
            return Err(Refusal::UnknownLayout { unknown, looked_at });
        }
        if votes[1] > votes[0] {
            file.client_flags_len = 8;
        }
        Ok(file)
    }

    /// Visits the content of a page, without free chunks.
    pub fn page(&self, page: usize) -> Chunks<'a> {
        let (class, count) = match self.use_of(page) {
            PageUse::None => (0, 0),
            PageUse::Unknown => (0, 1),
            PageUse::Class(class) => {
                let count = self.memory.classes.chunk_count(class);
                (class, count.unwrap_or(0))
            }
        };
        Chunks {
            file: *self,
            page,
            class,
            next: 0,
            count,
        }
    }

    /// Returns the content of a chunk; `None` if it is free, belongs to an item
    /// elsewhere, or is not an item yet.
    fn read(&self, chunk: Chunk<'a>) -> Option<Found<'a>> {
        let header = ItemHeader::decode(chunk.bytes)?;
        let damaged = |why| Found::Damaged {
            offset: to_u64(chunk.offset),
            why,
        };
        if !header.has(flag::LINKED) {
            if header.has(flag::SLABBED | flag::CHUNK) {
                return None;
            }
            // The upload had not ended, or the item was removed from the table but not freed yet.
            return self.parts(chunk, header).ok().and_then(|parts| {
                let is_whole = self.value(chunk, &parts).is_ok();
                is_whole.then_some(Found::Unlinked)
            });
        }
        if header.has(flag::HDR) {
            return Some(self.read_external(chunk, header));
        }
        let parts = match self.parts(chunk, header) {
            Ok(parts) => parts,
            Err(why) => return Some(damaged(why)),
        };
        if self.is_flushed(&parts) {
            return Some(Found::Flushed);
        }
        if header.exptime != 0 && header.exptime <= self.meta.current_time {
            return Some(Found::Expired);
        }
        Some(match self.value(chunk, &parts) {
            Ok(value) => Found::Live(WarmItem {
                offset: to_u64(chunk.offset),
                key: parts.key,
                meta: self.item_meta(&parts),
                value,
            }),
            Err(why) => damaged(why),
        })
    }

    /// Reads an item in extstore. Such an item has the length of the value but not its
    /// bytes; an item with both has a wrong mark.
    fn read_external(&self, chunk: Chunk<'a>, header: ItemHeader) -> Found<'a> {
        let plain = ItemHeader {
            flags: header.flags & !flag::HDR,
            ..header
        };
        let is_whole = self
            .parts(chunk, plain)
            .and_then(|parts| self.value(chunk, &parts))
            .is_ok();
        let offset = to_u64(chunk.offset);
        // Such items are small, and therefore in a small class.
        let is_possible = header.flags & !flag::KNOWN == 0
            && !header.has(flag::SLABBED | flag::CHUNK | flag::CHUNKED)
            && header.has(flag::CAS) == self.meta.has_cas
            && (1..=KEY_LEN_MAX).contains(&usize::from(header.key_len));
        if is_whole || !is_possible {
            let why = "it is marked as in extstore, but is not";
            return Found::Damaged { offset, why };
        }
        Found::External { offset }
    }

    /// Splits the header of an item into its parts.
    fn parts(&self, chunk: Chunk<'a>, header: ItemHeader) -> Result<Parts<'a>, &'static str> {
        const CUT: &str = "its chunk is too short for it";
        if header.flags & !flag::KNOWN != 0 {
            return Err("it has a mark that no known memcached sets");
        }
        if header.has(flag::SLABBED) {
            return Err("it is in use and free at once");
        }
        if header.has(flag::CHUNK | flag::HDR) {
            return Err("it is an item and part of one at once");
        }
        if header.has(flag::CAS) != self.meta.has_cas {
            return Err("it has a CAS where others have none, or none where they have one");
        }
        let key_len = usize::from(header.key_len);
        if key_len == 0 || key_len > KEY_LEN_MAX {
            return Err("its key has no length that keys have");
        }
        if header.data_len < 2 || header.data_len > self.meta.item_size_max {
            return Err("its value has no length that values have");
        }
        let cas_len = if header.has(flag::CAS) { CAS_LEN } else { 0 };
        let key_start = ITEM_HEADER_LEN.saturating_add(cas_len);
        let key_end = key_start.saturating_add(key_len);
        // A zero byte ends the key.
        let flags_start = key_end.saturating_add(1);
        let client_flags = match (header.has(flag::CFLAGS), self.client_flags_len) {
            (false, _) => Some(0),
            (true, 8) => u64_at(chunk.bytes, flags_start),
            (true, _) => u32_at(chunk.bytes, flags_start).map(u64::from),
        };
        let cas = if header.has(flag::CAS) {
            u64_at(chunk.bytes, ITEM_HEADER_LEN)
        } else {
            Some(0)
        };
        Ok(Parts {
            header,
            key: chunk.bytes.get(key_start..key_end).ok_or(CUT)?,
            client_flags: client_flags.ok_or(CUT)?,
            cas: cas.ok_or(CUT)?,
            data_start: header.data_start(self.client_flags_len).ok_or(CUT)?,
        })
    }

    /// Finds the value of an item, and checks everything that can be checked.
    fn value(&self, chunk: Chunk<'a>, parts: &Parts<'a>) -> Result<Pieces<'a>, &'static str> {
        let header = parts.header;
        let classes = self.memory.classes;
        let data_len = usize::try_from(header.data_len).map_err(|_| "it is too long")?;
        let total = header
            .item_len(self.client_flags_len)
            .ok_or("it is too long")?;
        let is_long = total > classes.size(classes.count()).unwrap_or(0);
        if header.has(flag::CHUNKED) != is_long {
            return Err("its length contradicts its mark for a chain of chunks");
        }
        let class = if is_long {
            classes.count()
        } else {
            chunk.class
        };
        if header.class != class {
            return Err("its class is not that of its page");
        }
        let left = data_len.saturating_sub(2);
        if !is_long {
            if classes.class_of(total) != class {
                return Err("it is of a length that belongs to another class");
            }
            let data = chunk.bytes.get(parts.data_start..total);
            let value = data.and_then(|data| data.strip_suffix(b"\r\n"));
            let value = value.ok_or("its value does not end where its length says")?;
            return Ok(Pieces {
                source: Source::Whole(value),
                left,
            });
        }
        let mut starts = self.chain_starts(chunk, header);
        let chain = starts.find_map(|place| Chain::start(self.memory, place, chunk.class));
        let chain = chain.ok_or("its value begins where no chunk of it is")?;
        let mut found_len = 0_usize;
        let mut end = [0; 2];
        for piece in chain.clone() {
            let piece = piece?;
            found_len = found_len.saturating_add(piece.len());
            end = match (piece, end) {
                ([.., first, second], _) => [*first, *second],
                ([second], [_, first]) => [first, *second],
                ([], end) => end,
            };
            if found_len > data_len {
                break;
            }
        }
        if found_len != data_len {
            return Err("the chunks of its value do not add up to its length");
        }
        if &end != b"\r\n" {
            return Err("its value does not end where its length says");
        }
        Ok(Pieces {
            source: Source::Chain(chain),
            left,
        })
    }

    /// `item_is_flushed` in items.c, for all versions.
    fn is_flushed(&self, parts: &Parts<'_>) -> bool {
        let Meta {
            oldest_live,
            oldest_cas,
            current_time,
            ..
        } = *self.meta;
        let is_in_force = oldest_live != 0 && oldest_live <= current_time;
        let is_older = parts.header.time <= oldest_live;
        let is_before = parts.cas != 0 && parts.cas < oldest_cas;
        is_in_force && (is_older || is_before)
    }

    fn item_meta(&self, parts: &Parts<'_>) -> ItemMeta {
        let header = parts.header;
        let mut attributes = Attributes::default();
        for (attribute, mark) in [
            (Attribute::Fetched, flag::FETCHED),
            (Attribute::Stale, flag::STALE),
            (Attribute::WinSent, flag::TOKEN_SENT),
            (Attribute::KeyIsBinary, flag::KEY_BINARY),
        ] {
            attributes.set(attribute, header.has(mark));
        }
        ItemMeta {
            client_flags: Some(parts.client_flags),
            exptime: Some(match header.exptime {
                0 => Exptime::Never,
                at => Exptime::At(self.meta.to_host_time(at)),
            }),
            last_access: Some(self.meta.to_host_time(header.time)),
            cas: (parts.cas != 0).then_some(Cas(parts.cas)),
            slab_class: Some(SlabClass(header.class)),
            attributes,
        }
    }
}

/// Visits the content of the chunks of a page.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    file: WarmFile<'a>,
    page: usize,
    /// 0 if the page has no class.
    class: u8,
    next: usize,
    count: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        while self.next < self.count {
            let number = self.next;
            self.next = self.next.saturating_add(1);
            if self.class == 0 {
                let offset = self.page.saturating_mul(self.file.memory.page_size);
                return Some(Found::Damaged {
                    offset: to_u64(offset),
                    why: "its whole page is of no class",
                });
            }
            let chunk = self.file.chunk(self.page, self.class, number)?;
            if let Some(found) = self.file.read(chunk) {
                return Some(found);
            }
        }
        None
    }
}
