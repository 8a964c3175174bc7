//! The position of each field: the tables of FORMAT.md section 5, as data.
//!
//! A test compares them with FORMAT.md, and the annotated dump of the small segment is
//! drawn from them. The codecs read and write the same fields in the same order.

/// One field of a fixed structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset from the start of the structure in bytes.
    pub offset: usize,
    /// Size of the field in bytes.
    pub size: usize,
    /// The field's name in FORMAT.md.
    pub name: &'static str,
}

const fn field(offset: usize, size: usize, name: &'static str) -> Field {
    Field { offset, size, name }
}

/// First bytes of a segment. FORMAT.md 5.1.
pub const FILE_MAGIC: [u8; 8] = [0x89, b'M', b'C', b'S', 0x0d, 0x0a, 0x1a, 0x0a];
/// First bytes of a tail. FORMAT.md 5.11.
pub const TAIL_MAGIC: [u8; 8] = [0x89, b'M', b'C', b'T', 0x0d, 0x0a, 0x1a, 0x0a];
/// First bytes of a look-up object. FORMAT.md 5.15.
pub const LOOK_UP_MAGIC: [u8; 8] = [0x89, b'M', b'C', b'L', 0x0d, 0x0a, 0x1a, 0x0a];
/// First bytes of a frame. FORMAT.md 5.2.
pub const FRAME_MARKER: [u8; 4] = [0xf7, b'M', b'C', b'F'];

/// The major version this build reads and writes.
pub const VERSION_MAJOR: u16 = 1;
/// The minor version this build writes.
pub const VERSION_MINOR: u16 = 0;

/// Bytes of a file header.
pub const FILE_HEADER_SIZE: usize = 64;
/// Bytes of a frame header.
pub const FRAME_HEADER_SIZE: usize = 48;
/// Bytes of a block header.
pub const BLOCK_HEADER_SIZE: usize = 48;
/// Bytes of a section descriptor.
pub const SECTION_SIZE: usize = 20;
/// Bytes at the start of a key section, before the directory.
pub const COLUMNS_HEADER_SIZE: usize = 4;
/// Bytes of a column's entry in the directory.
pub const COLUMN_ENTRY_SIZE: usize = 8;
/// Bytes of a value part before its section.
pub const VALUE_PART_HEADER_SIZE: usize = 48;
/// Bytes of a key index's header.
pub const KEY_INDEX_HEADER_SIZE: usize = 32;
/// Bytes at the start of a key index page, before its entries.
pub const PAGE_HEADER_SIZE: usize = 8;
/// Bytes of a key index page.
pub const PAGE_SIZE: usize = 4096;
/// Bytes of a checkpoint before its entries.
pub const CHECKPOINT_HEADER_SIZE: usize = 64;
/// Bytes of an entry of a checkpoint.
pub const CHECKPOINT_ENTRY_SIZE: usize = 16;
/// Bytes of a table of contents before its entries.
pub const TOC_HEADER_SIZE: usize = 96;
/// Bytes of an entry of the table of contents.
pub const TOC_ENTRY_SIZE: usize = 80;
/// Bytes of a look-up object before its pages.
pub const LOOK_UP_HEADER_SIZE: usize = 80;
/// Bytes of the entry of a block in a look-up object.
pub const LOOK_UP_BLOCK_SIZE: usize = 44;
/// Bytes of a STAT payload before its directory.
pub const STAT_HEADER_SIZE: usize = 4;
/// Bytes of a section's entry in the directory of a STAT payload.
pub const STAT_SECTION_SIZE: usize = 8;
/// Bytes of a tail.
pub const TAIL_SIZE: usize = 80;

/// FORMAT.md 5.1.
pub const FILE_HEADER: &[Field] = &[
    field(0, 8, "magic"),
    field(8, 2, "major"),
    field(10, 2, "minor"),
    field(12, 4, "unused"),
    field(16, 16, "segment_id"),
    field(32, 16, "snapshot_id"),
    field(48, 8, "sync_marker"),
    field(56, 4, "unused"),
    field(60, 4, "header_crc"),
];

/// FORMAT.md 5.2.
pub const FRAME_HEADER: &[Field] = &[
    field(0, 4, "marker"),
    field(4, 8, "sync_marker"),
    field(12, 1, "type"),
    field(13, 1, "flags"),
    field(14, 2, "reserved"),
    field(16, 8, "sequence"),
    field(24, 8, "offset"),
    field(32, 8, "stored_len"),
    field(40, 4, "payload_crc"),
    field(44, 4, "header_crc"),
];

/// FORMAT.md 5.5, first table.
pub const BLOCK_HEADER: &[Field] = &[
    field(0, 4, "record_count"),
    field(4, 20, "key_section"),
    field(24, 20, "value_section"),
    field(44, 4, "header_crc"),
];

/// FORMAT.md 5.5, second table.
pub const SECTION: &[Field] = &[
    field(0, 1, "codec"),
    field(1, 1, "flags"),
    field(2, 2, "reserved"),
    field(4, 4, "stored_len"),
    field(8, 4, "raw_len"),
    field(12, 4, "stored_crc"),
    field(16, 4, "raw_crc"),
];

/// FORMAT.md 5.6, first table.
pub const COLUMNS_HEADER: &[Field] = &[field(0, 2, "column_count"), field(2, 2, "reserved")];

/// FORMAT.md 5.6, second table.
pub const COLUMN_ENTRY: &[Field] = &[
    field(0, 1, "id"),
    field(1, 1, "flags"),
    field(2, 2, "encoding"),
    field(4, 4, "len"),
];

/// FORMAT.md 5.7.
pub const VALUE_PART_HEADER: &[Field] = &[
    field(0, 8, "value_len"),
    field(8, 8, "value_offset"),
    field(16, 4, "part_number"),
    field(20, 4, "reserved"),
    field(24, 20, "section"),
    field(44, 4, "header_crc"),
];

/// FORMAT.md 5.8, first table.
pub const KEY_INDEX_HEADER: &[Field] = &[
    field(0, 8, "entry_count"),
    field(8, 8, "seed"),
    field(16, 4, "page_count"),
    field(20, 4, "block_count"),
    field(24, 4, "reserved"),
    field(28, 4, "header_crc"),
];

/// FORMAT.md 5.8, second table.
pub const PAGE_HEADER: &[Field] = &[
    field(0, 4, "page_crc"),
    field(4, 2, "entry_count"),
    field(6, 1, "gap_bits"),
    field(7, 1, "reserved"),
];

/// FORMAT.md 5.9, first table.
pub const CHECKPOINT_HEADER: &[Field] = &[
    field(0, 16, "segment_id"),
    field(16, 16, "snapshot_id"),
    field(32, 8, "sync_marker"),
    field(40, 8, "previous_offset"),
    field(48, 4, "entry_count"),
    field(52, 4, "reserved"),
    field(56, 8, "record_count"),
];

/// FORMAT.md 5.9, second table.
pub const CHECKPOINT_ENTRY: &[Field] = &[
    field(0, 1, "type"),
    field(1, 1, "flags"),
    field(2, 2, "reserved"),
    field(4, 4, "record_count"),
    field(8, 8, "stored_len"),
];

/// FORMAT.md 5.10, first table.
pub const TOC_HEADER: &[Field] = &[
    field(0, 4, "entry_count"),
    field(4, 2, "entry_size"),
    field(6, 2, "reserved"),
    field(8, 8, "record_count"),
    field(16, 8, "key_bytes"),
    field(24, 8, "value_bytes"),
    field(32, 16, "content_digest"),
    field(48, 16, "content_digest_exptime"),
    field(64, 8, "key_index_offset"),
    field(72, 8, "key_index_seed"),
    field(80, 4, "key_index_page_count"),
    field(84, 12, "reserved"),
];

/// FORMAT.md 5.10, second table.
pub const TOC_ENTRY: &[Field] = &[
    field(0, 1, "type"),
    field(1, 1, "flags"),
    field(2, 1, "temperature"),
    field(3, 1, "reserved"),
    field(4, 4, "record_count"),
    field(8, 8, "offset"),
    field(16, 8, "stored_len"),
    field(24, 4, "key_stored_len"),
    field(28, 4, "value_stored_len"),
    field(32, 4, "key_raw_len"),
    field(36, 4, "value_raw_len"),
    field(40, 8, "exptime_min"),
    field(48, 8, "exptime_max"),
    field(56, 8, "last_access_min"),
    field(64, 8, "last_access_max"),
    field(72, 4, "never_count"),
    field(76, 4, "unused"),
];

/// FORMAT.md 5.15, first table.
pub const LOOK_UP_HEADER: &[Field] = &[
    field(0, 8, "magic"),
    field(8, 2, "major"),
    field(10, 2, "minor"),
    field(12, 4, "node_index"),
    field(16, 16, "look_up_id"),
    field(32, 16, "snapshot_id"),
    field(48, 8, "shard_index"),
    field(56, 8, "entry_count"),
    field(64, 4, "page_count"),
    field(68, 4, "block_count"),
    field(72, 4, "reserved"),
    field(76, 4, "header_crc"),
];

/// FORMAT.md 5.15, second table.
pub const LOOK_UP_BLOCK: &[Field] = &[
    field(0, 16, "segment_id"),
    field(16, 4, "sequence"),
    field(20, 4, "block"),
    field(24, 8, "offset"),
    field(32, 4, "key_stored_len"),
    field(36, 2, "parent"),
    field(38, 2, "reserved"),
    field(40, 4, "entry_crc"),
];

/// FORMAT.md 5.11.
pub const TAIL: &[Field] = &[
    field(0, 8, "magic"),
    field(8, 16, "segment_id"),
    field(24, 16, "snapshot_id"),
    field(40, 8, "sync_marker"),
    field(48, 8, "toc_offset"),
    field(56, 8, "toc_len"),
    field(64, 8, "file_len"),
    field(72, 2, "major"),
    field(74, 2, "minor"),
    field(76, 4, "tail_crc"),
];

/// FORMAT.md 5.16, first table.
pub const STAT_HEADER: &[Field] = &[field(0, 2, "section_count"), field(2, 2, "reserved")];

/// FORMAT.md 5.16, second table.
pub const STAT_SECTION: &[Field] = &[
    field(0, 2, "id"),
    field(2, 2, "reserved"),
    field(4, 4, "len"),
];

/// Every fixed structure: the heading of its section in FORMAT.md, the number of the
/// table in that section, its size in bytes, and its fields.
pub const STRUCTURES: &[(&str, usize, usize, &[Field])] = &[
    ("5.1", 0, FILE_HEADER_SIZE, FILE_HEADER),
    ("5.2", 0, FRAME_HEADER_SIZE, FRAME_HEADER),
    ("5.5", 0, BLOCK_HEADER_SIZE, BLOCK_HEADER),
    ("5.5", 1, SECTION_SIZE, SECTION),
    ("5.6", 0, COLUMNS_HEADER_SIZE, COLUMNS_HEADER),
    ("5.6", 1, COLUMN_ENTRY_SIZE, COLUMN_ENTRY),
    ("5.7", 0, VALUE_PART_HEADER_SIZE, VALUE_PART_HEADER),
    ("5.8", 0, KEY_INDEX_HEADER_SIZE, KEY_INDEX_HEADER),
    ("5.8", 1, PAGE_HEADER_SIZE, PAGE_HEADER),
    ("5.9", 0, CHECKPOINT_HEADER_SIZE, CHECKPOINT_HEADER),
    ("5.9", 1, CHECKPOINT_ENTRY_SIZE, CHECKPOINT_ENTRY),
    ("5.10", 0, TOC_HEADER_SIZE, TOC_HEADER),
    ("5.10", 1, TOC_ENTRY_SIZE, TOC_ENTRY),
    ("5.11", 0, TAIL_SIZE, TAIL),
    ("5.15", 0, LOOK_UP_HEADER_SIZE, LOOK_UP_HEADER),
    ("5.15", 1, LOOK_UP_BLOCK_SIZE, LOOK_UP_BLOCK),
    ("5.16", 0, STAT_HEADER_SIZE, STAT_HEADER),
    ("5.16", 1, STAT_SECTION_SIZE, STAT_SECTION),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_each_other_without_gap_up_to_the_size() {
        for (chapter, table, size, fields) in STRUCTURES {
            let mut end = 0;
            for field in *fields {
                assert_eq!(field.offset, end, "{chapter} table {table}: {}", field.name);
                end += field.size;
            }
            assert_eq!(end, *size, "{chapter} table {table}");
        }
    }
}
