//! The layout of chunks: `struct _stritem` and `struct _strchunk` in memcached.h, on a
//! 64-bit little-endian machine.

/// Bytes before the CAS, if there is one, and before the key.
pub(super) const ITEM_HEADER_LEN: usize = 48;
/// Length of a CAS in bytes.
pub(super) const CAS_LEN: usize = 8;
/// Bytes before the data in a chunk of a chain.
pub(super) const CHUNK_HEADER_LEN: usize = 42;

/// Flag bits of an item.
pub(super) mod flag {
    pub(in crate::codecs::warm_file) const LINKED: u16 = 1;
    pub(in crate::codecs::warm_file) const CAS: u16 = 2;
    pub(in crate::codecs::warm_file) const SLABBED: u16 = 4;
    pub(in crate::codecs::warm_file) const FETCHED: u16 = 8;
    pub(in crate::codecs::warm_file) const ACTIVE: u16 = 16;
    pub(in crate::codecs::warm_file) const CHUNKED: u16 = 32;
    pub(in crate::codecs::warm_file) const CHUNK: u16 = 64;
    pub(in crate::codecs::warm_file) const HDR: u16 = 128;
    pub(in crate::codecs::warm_file) const CFLAGS: u16 = 256;
    pub(in crate::codecs::warm_file) const TOKEN_SENT: u16 = 512;
    pub(in crate::codecs::warm_file) const STALE: u16 = 2048;
    pub(in crate::codecs::warm_file) const KEY_BINARY: u16 = 4096;
    /// All bits that versions up to 1.6.45 set; 1024 is reserved.
    pub(in crate::codecs::warm_file) const KNOWN: u16 = LINKED
        | CAS
        | SLABBED
        | FETCHED
        | ACTIVE
        | CHUNKED
        | CHUNK
        | HDR
        | CFLAGS
        | TOKEN_SENT
        | STALE
        | KEY_BINARY;
}

/// The header of every chunk that may hold an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemHeader {
    /// Seconds on the server's clock.
    pub(super) time: u32,
    /// Seconds on the server's clock; 0 means never.
    pub(super) exptime: u32,
    /// Length of the value in bytes, including its CRLF.
    pub(super) data_len: u32,
    pub(super) flags: u16,
    /// The class, without the two bits that select the LRU list.
    pub(super) class: u8,
    pub(super) key_len: u8,
}

impl ItemHeader {
    pub(super) fn decode(chunk: &[u8]) -> Option<Self> {
        let &[class, key_len] = chunk.get(40..)?.first_chunk()?;
        Some(Self {
            time: u32_at(chunk, 24)?,
            exptime: u32_at(chunk, 28)?,
            data_len: u32_at(chunk, 32)?,
            flags: u16_at(chunk, 38)?,
            class: class & 63,
            key_len,
        })
    }

    pub(super) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Returns where the data of an item begins in its chunk: after the header, the CAS,
    /// the key with its zero byte, and the client flags. `ITEM_data` in memcached.h.
    pub(super) fn data_start(self, client_flags_len: usize) -> Option<usize> {
        let cas_len = if self.has(flag::CAS) { CAS_LEN } else { 0 };
        let flags_len = if self.has(flag::CFLAGS) {
            client_flags_len
        } else {
            0
        };
        ITEM_HEADER_LEN
            .checked_add(cas_len)?
            .checked_add(usize::from(self.key_len))?
            .checked_add(1)?
            .checked_add(flags_len)
    }

    /// Returns the size of an item in bytes as memcached counts it. `ITEM_ntotal` in
    /// memcached.h.
    pub(super) fn item_len(self, client_flags_len: usize) -> Option<usize> {
        let data_len = usize::try_from(self.data_len).ok()?;
        self.data_start(client_flags_len)?.checked_add(data_len)
    }
}

/// The header of a chunk of a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkHeader {
    /// Address in the server's memory; 0 if there is no next chunk.
    pub(super) next: u64,
    pub(super) prev: u64,
    /// Length of the data in bytes.
    pub(super) used: u32,
    pub(super) flags: u16,
    pub(super) class: u8,
    /// In the chunk inside the item, the class of the item's own chunk.
    pub(super) own_class: u8,
}

impl ChunkHeader {
    pub(super) fn decode(chunk: &[u8]) -> Option<Self> {
        let &[class, own_class] = chunk.get(40..)?.first_chunk()?;
        Some(Self {
            next: u64_at(chunk, 0)?,
            prev: u64_at(chunk, 8)?,
            used: u32_at(chunk, 28)?,
            flags: u16_at(chunk, 38)?,
            class: class & 63,
            own_class,
        })
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|part| u16::from_le_bytes(*part))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|part| u32::from_le_bytes(*part))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|part| u64::from_le_bytes(*part))
}
