//! Values longer than a chunk: a chain of chunks, each of which refers to the next.

use crate::codecs::warm_file::layout::{CHUNK_HEADER_LEN, ChunkHeader, flag};
use crate::codecs::warm_file::slab_classes::SlabClasses;
use crate::words::units::to_u64;

/// The file seen as addresses in the server's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory<'a> {
    pub(super) bytes: &'a [u8],
    /// The address of the first byte.
    pub(super) base: u64,
    pub(super) page_size: usize,
    pub(super) classes: &'a SlabClasses,
}

impl<'a> Memory<'a> {
    pub(super) fn address_of(self, offset: usize) -> u64 {
        self.base.saturating_add(to_u64(offset))
    }

    /// Returns the chunk at an address, if a chunk that names `previous` as its
    /// predecessor can start there.
    ///
    /// A chunk names one predecessor, and the first of a chain names none. So no chunk is
    /// reached twice: chains cannot merge or loop, and following all chains of a file
    /// takes no more steps than it has chunks, even in a malicious file.
    fn chunk_after(self, previous: usize, address: u64) -> Option<Place> {
        let offset = usize::try_from(address.checked_sub(self.base)?).ok()?;
        let header = ChunkHeader::decode(self.bytes.get(offset..)?)?;
        let len = self.classes.size(header.class)?;
        let within = offset.checked_rem(self.page_size)?;
        let number = within.checked_div(len)?;
        let is_start = within.checked_rem(len)? == 0
            && number < self.classes.chunk_count(header.class)?
            && header.flags == flag::CHUNK
            && header.prev == self.address_of(previous);
        is_start.then_some(Place { offset, len })
    }
}

/// The position of a chunk of a chain, and its size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// The data of the chunks of a chain in order; ends after the first error.
#[derive(Clone, Debug)]
pub(super) struct Chain<'a> {
    memory: Memory<'a>,
    place: Option<Place>,
    is_first: bool,
}

impl<'a> Chain<'a> {
    /// Starts at the chunk inside an item, if it can be one: it must have no predecessor,
    /// and its successor must name it.
    pub(super) fn start(memory: Memory<'a>, place: Place, own_class: u8) -> Option<Self> {
        let end = place.offset.checked_add(place.len)?;
        let header = ChunkHeader::decode(memory.bytes.get(place.offset..end)?)?;
        let is_start = header.prev == 0
            && header.own_class == own_class
            && memory.chunk_after(place.offset, header.next).is_some();
        is_start.then_some(Self {
            memory,
            place: Some(place),
            is_first: true,
        })
    }

    fn step(&mut self, place: Place) -> Result<&'a [u8], &'static str> {
        const BROKEN: &str = "a chunk of its value is invalid";
        let end = place.offset.checked_add(place.len).ok_or(BROKEN)?;
        let chunk = self.memory.bytes.get(place.offset..end).ok_or(BROKEN)?;
        let header = ChunkHeader::decode(chunk).ok_or(BROKEN)?;
        let used = usize::try_from(header.used).map_err(|_| BROKEN)?;
        let data_end = CHUNK_HEADER_LEN.checked_add(used).ok_or(BROKEN)?;
        let data = chunk.get(CHUNK_HEADER_LEN..data_end);
        let data = data.ok_or("a chunk of its value is longer than its place")?;
        if header.next != 0 {
            // The chunk inside the item is only the head of the chain, and may be empty.
            if used == 0 && !self.is_first {
                return Err("a chunk of its value is empty but not the last");
            }
            let next = self.memory.chunk_after(place.offset, header.next);
            self.place = Some(next.ok_or("its value continues where no chunk of it is")?);
        }
        self.is_first = false;
        Ok(data)
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Result<&'a [u8], &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.place.take()?;
        Some(self.step(place))
    }
}

/// The bytes of a value in order, in pieces that are never empty.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    pub(super) source: Source<'a>,
    /// Bytes still to come; the CRLF follows them.
    pub(super) left: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    Whole(&'a [u8]),
    Chain(Chain<'a>),
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    /// Ends early only if the file has changed since the item was found.
    fn next(&mut self) -> Option<&'a [u8]> {
        while self.left > 0 {
            let piece = match &mut self.source {
                Source::Whole(bytes) => std::mem::take(bytes),
                Source::Chain(chain) => match chain.next()? {
                    Ok([]) => continue,
                    Ok(piece) => piece,
                    Err(_) => return None,
                },
            };
            let piece = piece.get(..self.left).unwrap_or(piece);
            if piece.is_empty() {
                return None;
            }
            self.left = self.left.saturating_sub(piece.len());
            return Some(piece);
        }
        None
    }
}
