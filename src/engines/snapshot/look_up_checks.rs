//! Checks the look-up object of a shard, and that no key stands twice in the shard.

use std::path::PathBuf;

use crate::codecs::format::bytes::check_count;
use crate::codecs::format::checksum::index_hash;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::hash_page::{Entry, HashPage};
use crate::codecs::format::layout::{LOOK_UP_BLOCK_SIZE, LOOK_UP_HEADER_SIZE, PAGE_SIZE};
use crate::codecs::format::look_up::{LookUpBlock, LookUpHeader};
use crate::codecs::format::manifest::{LookUpName, ManifestSegment};
use crate::codecs::format::version::judge;
use crate::engines::snapshot::look_up_reader::check_look_up_len;
use crate::engines::snapshot::object_pass::LookUpOf;
use crate::engines::snapshot::object_range::read_range;
use crate::engines::snapshot::reader::SnapshotReader;
use crate::engines::snapshot::segment_opening::Opening;
use crate::engines::snapshot::segment_pass::TakeBytes;
use crate::engines::snapshot::sorted_runs::{Merge, SortedRuns, join, split};
use crate::ports::store::ObjectReader;
use crate::words::cancel::Cancel;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::item::escape_key;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// What is read of an object with the request that opens it.
const OPENED_LEN: u64 = 1 << 20;

/// A shard whose keys are checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckedShard<'a> {
    /// Index of its node in the manifest.
    pub node_index: u32,
    /// Number of the shard within the node.
    pub shard_index: u64,
    /// Its segments, in their order.
    pub segments: &'a [&'a ManifestSegment],
    /// Its look-up object, if it has one.
    pub look_up: Option<&'a LookUpName>,
}

/// Takes what is wrong, and where.
pub type TakeDefect<'a> = &'a mut dyn FnMut(Location, Defect);

impl SnapshotReader {
    /// Checks the header of a look-up object, and with `is_whole` every page and entry (U1
    /// to U4).
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Unsupported`, `Io`.
    pub fn check_look_up(&self, shard: &CheckedShard<'_>, is_whole: bool) -> Result<()> {
        let Some(name) = shard.look_up.filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        let look_up = self.open_checked_look_up(name)?;
        let header = &look_up.header;
        let records = shard.segments.iter().map(|segment| segment.records);
        let records = records.fold(0, u64::saturating_add);
        self.check_header(header, shard, name, records)
            .map_err(|defect| look_up.fault(defect, 0))?;
        if !is_whole {
            return Ok(());
        }
        let mut entries = 0_u64;
        for page in 0..name.pages {
            entries = entries.saturating_add(to_u64(look_up.page(page)?.len()));
        }
        let field = "sum of the pages' entries";
        check_count(Structure::LookUp, field, header.entry_count, entries)
            .map_err(|defect| look_up.fault(defect, 0))?;
        for block in 0..name.blocks {
            look_up.block(block)?;
        }
        Ok(())
    }

    /// Passes the bytes of a look-up object to `take`, each page and entry once it is
    /// checked (U1 to U4).
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Newer`, `Io`, and those of `take`.
    pub(super) fn pass_look_up(&self, of: &LookUpOf, take: TakeBytes<'_>) -> Result<()> {
        let look_up = self.open_checked_look_up(&of.name)?;
        let shard = CheckedShard {
            node_index: of.node_index,
            shard_index: of.shard_index,
            segments: &[],
            look_up: Some(&of.name),
        };
        self.check_header(&look_up.header, &shard, &of.name, of.records)
            .map_err(|defect| look_up.fault(defect, 0))?;
        let object = &*look_up.object;
        take(&read_range(object, 0, to_u64(LOOK_UP_HEADER_SIZE))?)?;
        let table = of.name.table();
        let mut entries = 0_u64;
        for page in 0..of.name.pages {
            let offset = of.name.page_offset(page);
            let bytes = read_range(object, offset, to_u64(PAGE_SIZE))?;
            let decoded = table.decode_page(page, &bytes);
            let decoded = decoded.map_err(|defect| look_up.fault(defect, offset))?;
            entries = entries.saturating_add(to_u64(decoded.len()));
            take(&bytes)?;
        }
        let field = "sum of the pages' entries";
        check_count(
            Structure::LookUp,
            field,
            look_up.header.entry_count,
            entries,
        )
        .map_err(|defect| look_up.fault(defect, 0))?;
        for block in 0..of.name.blocks {
            let offset = of.name.block_offset(block);
            let bytes = read_range(object, offset, to_u64(LOOK_UP_BLOCK_SIZE))?;
            LookUpBlock::decode(of.name.id, block, &bytes)
                .map_err(|defect| look_up.fault(defect, offset))?;
            take(&bytes)?;
        }
        Ok(())
    }

    /// Opens a look-up object, and reads its header. The version comes before the length: in
    /// another major version that may be any.
    fn open_checked_look_up<'a>(&self, name: &'a LookUpName) -> Result<OpenLookUp<'a>> {
        let (object, place) = self.open_look_up(name, 0..OPENED_LEN)?;
        if object.size() < to_u64(LOOK_UP_HEADER_SIZE) {
            check_look_up_len(&*object, &place, name)?;
        }
        let bytes = read_range(&*object, 0, to_u64(LOOK_UP_HEADER_SIZE))?;
        let header = LookUpHeader::decode(&bytes)
            .map_err(|defect| Error::corrupt(defect).at(Location::offset(&place, 0)))?;
        drop(bytes);
        check_look_up_len(&*object, &place, name)?;
        Ok(OpenLookUp {
            name,
            object,
            place,
            header,
        })
    }

    fn check_header(
        &self,
        header: &LookUpHeader,
        shard: &CheckedShard<'_>,
        name: &LookUpName,
        records: u64,
    ) -> std::result::Result<(), Defect> {
        let structure = Structure::LookUp;
        let foreign = |field, stored: String, computed: String| {
            Err(Defect::Foreign {
                structure,
                field,
                stored,
                computed,
            })
        };
        if header.id != name.id {
            return foreign("look-up id", header.id.to_string(), name.id.to_string());
        }
        let snapshot = self.manifest().snapshot_id;
        if header.snapshot != snapshot {
            let stored = header.snapshot.to_string();
            return foreign("snapshot id", stored, snapshot.to_string());
        }
        let pairs = [
            (
                "node_index",
                header.node_index.into(),
                shard.node_index.into(),
            ),
            ("shard_index", header.shard_index, shard.shard_index),
            ("page_count", header.page_count.into(), name.pages.into()),
            ("block_count", header.block_count.into(), name.blocks.into()),
            ("entry_count", header.entry_count, records),
        ];
        pairs.into_iter().try_for_each(|(field, stored, computed)| {
            check_count(structure, field, stored, computed)
        })
    }

    /// Reads all keys of a shard: checks that none stands twice (K9), and that the look-up
    /// object leads to each and to nothing else (U5, U6).
    ///
    /// # Errors
    ///
    /// - `Corrupt`: a segment or the object cannot be read, which has its own finding;
    ///   `Io`, `Canceled`.
    ///
    /// # Memory
    ///
    /// 8 MiB, or 320 bytes for each segment if that is more, and the hashes of a segment at 20
    /// bytes each; all others are in a nameless file in the directory.
    pub fn check_shard_keys(
        &self,
        shard: &CheckedShard<'_>,
        scratch_directory: PathBuf,
        cancel: &Cancel,
        take: TakeDefect<'_>,
    ) -> Result<()> {
        let name = shard.look_up.filter(|name| !name.is_empty());
        let opened = name.map(|name| self.open_checked_look_up(name));
        let opened = opened.transpose()?;
        let seed = name.map_or(0, |name| name.id.seed());
        let mut runs = SortedRuns::new(scratch_directory, 4 << 20);
        let mut sections = SectionReader::default();
        let mut base = 0_u32;
        for named in shard.segments {
            let segment = self.open_segment_as(named, Opening::Lookup)?;
            let mut run = Vec::new();
            for block in 0..segment.block_count() {
                cancel.check()?;
                let number = base.saturating_add(u32::try_from(block).unwrap_or(u32::MAX));
                let columns = segment.read_keys(block, &mut sections)?;
                let hashes = columns.iter().map(|record| index_hash(record.key, seed));
                run.extend(hashes.map(|hash| join(hash, number)));
                if let (Some(look_up), Some(entry)) = (&opened, segment.block_entry(block)) {
                    let wanted = LookUpBlock {
                        segment: named.segment_id,
                        sequence: named.sequence,
                        block: u32::try_from(block).unwrap_or(u32::MAX),
                        offset: entry.offset,
                        key_stored_len: entry.key_stored_len,
                    };
                    let found = look_up.block(number)?;
                    if let Some(defect) = compare_entry(number, &found, &wanted) {
                        let offset = look_up.name.block_offset(number);
                        take(Location::offset(&look_up.place, offset), defect);
                    }
                }
            }
            runs.push(run)?;
            let blocks = u32::try_from(segment.block_count()).unwrap_or(u32::MAX);
            base = base.saturating_add(blocks);
        }
        if let Some(look_up) = &opened {
            let (stored, computed) = (look_up.name.blocks.into(), base.into());
            check_count(Structure::LookUp, "block_count", stored, computed)
                .map_err(|defect| look_up.fault(defect, 0))?;
        }
        let mut keys = KeysOf {
            snapshot: self,
            shard,
            seed,
        };
        let mut merge = Unique {
            merge: runs.merge()?,
            last: None,
        };
        match &opened {
            Some(look_up) => compare_pages(look_up, &mut merge, &mut keys, take),
            None => {
                while merge.next(&mut keys, take)?.is_some() {
                    cancel.check()?;
                }
                Ok(())
            }
        }
    }
}

/// A look-up object whose version is known.
struct OpenLookUp<'a> {
    name: &'a LookUpName,
    object: Box<dyn ObjectReader>,
    place: String,
    header: LookUpHeader,
}

impl OpenLookUp<'_> {
    /// Makes the error of a defect at an offset; in a later minor version it may be no
    /// damage.
    fn fault(&self, defect: Defect, offset: u64) -> Error {
        let defect = judge(defect, self.header.minor.into());
        Error::corrupt(defect).at(Location::offset(&self.place, offset))
    }

    fn page(&self, page: u32) -> Result<HashPage> {
        let offset = self.name.page_offset(page);
        let bytes = read_range(&*self.object, offset, to_u64(PAGE_SIZE))?;
        let decoded = self.name.table().decode_page(page, &bytes);
        decoded.map_err(|defect| self.fault(defect, offset))
    }

    fn block(&self, block: u32) -> Result<LookUpBlock> {
        let offset = self.name.block_offset(block);
        let bytes = read_range(&*self.object, offset, to_u64(LOOK_UP_BLOCK_SIZE))?;
        let decoded = LookUpBlock::decode(self.name.id, block, &bytes);
        decoded.map_err(|defect| self.fault(defect, offset))
    }
}

/// Compares the entry of a block with the block (U5).
fn compare_entry(number: u32, found: &LookUpBlock, wanted: &LookUpBlock) -> Option<Defect> {
    let number_of = |stored: u64, computed: u64| (stored.to_string(), computed.to_string());
    let fields = [
        (
            "segment_id",
            (found.segment.to_string(), wanted.segment.to_string()),
        ),
        (
            "sequence",
            number_of(found.sequence.into(), wanted.sequence.into()),
        ),
        ("block", number_of(found.block.into(), wanted.block.into())),
        ("offset", number_of(found.offset, wanted.offset)),
        (
            "key_stored_len",
            number_of(found.key_stored_len.into(), wanted.key_stored_len.into()),
        ),
    ];
    let mut fields = fields.into_iter();
    let wrong = fields.find(|(_, (stored, computed))| stored != computed);
    wrong.map(|(field, (stored, computed))| Defect::FigureMismatch {
        structure: Structure::LookUp,
        figure: format!("{field} in the entry of block {number}"),
        stored,
        computed,
    })
}

/// Compares each page with the keys that belong into it.
fn compare_pages(
    look_up: &OpenLookUp<'_>,
    merge: &mut Unique<'_>,
    keys: &mut KeysOf<'_>,
    take: TakeDefect<'_>,
) -> Result<()> {
    let name = look_up.name;
    let table = name.table();
    let mut next = merge.next(keys, take)?;
    let mut wanted: Vec<(Entry, u128)> = Vec::new();
    for page in 0..name.pages {
        wanted.clear();
        while let Some((hash, number)) = next {
            let (place, fingerprint) = table.place_of(hash);
            if place != page {
                break;
            }
            wanted.push(((fingerprint, number), hash));
            next = merge.next(keys, take)?;
        }
        wanted.sort_unstable();
        let location = || Location::offset(&look_up.place, name.page_offset(page));
        let stored = look_up.page(page)?;
        let mut left = stored.entries();
        for (entry, hash) in &wanted {
            // Entries that lead to nothing are passed over, and counted at the end.
            let start = left.partition_point(|stored| stored < entry);
            left = left.get(start..).unwrap_or_default();
            if left.first() == Some(entry) {
                left = left.get(1..).unwrap_or_default();
            } else {
                let key = keys.find(*hash, entry.1)?;
                take(location(), Defect::KeyNotFound { key });
            }
        }
        if stored.len() > wanted.len() {
            let (stored, computed) = (to_u64(stored.len()), to_u64(wanted.len()));
            let defect = Defect::CountMismatch {
                structure: Structure::LookUpPage,
                field: "entry_count",
                stored,
                computed,
            };
            take(location(), defect);
        }
    }
    Ok(())
}

/// Visits the hashes of a shard, and reports keys that stand twice.
struct Unique<'a> {
    merge: Merge<'a>,
    last: Option<u128>,
}

impl Unique<'_> {
    fn next(&mut self, keys: &mut KeysOf<'_>, take: TakeDefect<'_>) -> Result<Option<(u128, u32)>> {
        let Some(entry) = self.merge.next()? else {
            return Ok(None);
        };
        let (hash, number) = split(&entry);
        if self.last == Some(hash) {
            let key = keys.find(hash, number)?;
            let place = Location::object(keys.snapshot.describe());
            take(place, Defect::KeyTwice { key });
        }
        self.last = Some(hash);
        Ok(Some((hash, number)))
    }
}

/// Finds keys again by their hashes.
struct KeysOf<'a> {
    snapshot: &'a SnapshotReader,
    shard: &'a CheckedShard<'a>,
    seed: u64,
}

impl KeysOf<'_> {
    /// Returns the key, escaped, of a hash in the block with this number in the shard.
    fn find(&self, hash: u128, number: u32) -> Result<String> {
        let mut before = 0_u64;
        for named in self.shard.segments {
            let block = u64::from(number).saturating_sub(before);
            before = before.saturating_add(named.blocks);
            if u64::from(number) >= before {
                continue;
            }
            let segment = self.snapshot.open_segment_as(named, Opening::Lookup)?;
            let block = usize::try_from(block).unwrap_or(usize::MAX);
            let columns = segment.read_keys(block, &mut SectionReader::default())?;
            let mut keys = columns.iter().map(|record| record.key);
            let key = keys.find(|key| index_hash(key, self.seed) == hash);
            return Ok(escape_key(key.unwrap_or_default()));
        }
        Ok(String::new())
    }
}
