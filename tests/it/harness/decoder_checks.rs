//! What every decoder owes to bytes that anybody may have made, whatever they
//! are: each function panics where one owes it. Property tests and `tools/fuzz`
//! call them.

use std::fmt::Write as _;

use mcsnap::codecs::format::checksum::value_hash;
use mcsnap::codecs::format::compression::SectionReader;
use mcsnap::codecs::format::hash_page::HashPage;
use mcsnap::codecs::format::ids::LookUpId;
use mcsnap::codecs::format::ids::SegmentId;
use mcsnap::codecs::format::key_index::KeyIndex;
use mcsnap::codecs::format::layout::FILE_HEADER_SIZE;
use mcsnap::codecs::format::layout::PAGE_SIZE;
use mcsnap::codecs::format::look_up::{LookUpBlock, LookUpHeader};
use mcsnap::codecs::format::manifest::{LookUpName, Manifest, Need, PartName};
use mcsnap::codecs::format::manifest_part::ManifestPart;
use mcsnap::codecs::format::sealed_text::check_seal;
use mcsnap::codecs::format::segment_meta::SegmentMeta;
use mcsnap::codecs::format::stat::{decode_stat, encode_stat};
use mcsnap::codecs::format::toc::{Toc, TocEntry};
use mcsnap::codecs::format::verification::VerificationRecord;
use mcsnap::codecs::protocol::binary::{BINARY_HEADER_LEN, parse_binary_get, parse_binary_store};
use mcsnap::codecs::protocol::cachedump::{
    ListingLine, classify_listing, exptime_of_listing, parse_listed,
};
use mcsnap::codecs::protocol::classic::{parse_gets, parse_store};
use mcsnap::codecs::protocol::cluster_config::{ConfigReply, parse_config};
use mcsnap::codecs::protocol::metadump::{WalkLine, classify, parse_item};
use mcsnap::codecs::protocol::reply::parse_reply;
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::protocol::stats::{ServerSettings, ServerStats, StatTable, parse_stats};
use mcsnap::codecs::protocol::text::{Step, parse_line};
use mcsnap::codecs::ring::{Placement, RingSpec};
use mcsnap::codecs::select::{Candidate, Judgement, Selection};
use mcsnap::codecs::statistics::{KEY_DELIMITERS, RecordFacts, Recount};
use mcsnap::codecs::warm_file::{Found, Meta, SlabClasses, WarmFile};
use mcsnap::engines::snapshot::{
    DamagedSegment, Identity, SalvagedValue, SegmentReader, SegmentSalvage,
};
use mcsnap::jobs::inspect::{PrefixDepth, Statistics};
use mcsnap::ports::store::ObjectReader;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::defect::Structure;
use mcsnap::words::error::{Error, ErrorKind, Result};
use mcsnap::words::item::{Exptime, ItemMeta, KEY_LEN_MAX, Record, SlabClass};
use mcsnap::words::limits::Limits;
use mcsnap::words::node::NodeSpec;
use mcsnap::words::units::UnixSecs;

/// What a reader got out of a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether its tables were taken.
    pub(crate) is_open: bool,
    /// Blocks decoded whole.
    pub(crate) blocks: usize,
    /// Records returned as good: keys, and hashes of the values.
    pub(crate) records: Vec<(Vec<u8>, u64)>,
    /// Findings: code and text.
    pub(crate) complaints: Vec<String>,
    digest: Option<String>,
}

impl Seen {
    /// Notes an error. Bytes in memory can be wrong in two ways only; an error
    /// of another kind would send the user after the wrong thing.
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let code = if let ErrorKind::Corrupt(defect) = error.kind() {
            defect.code()
        } else {
            assert!(error.is_newer(), "not an error of the bytes: {error}");
            "unsupported"
        };
        self.complaints.push(format!("{code} {error}"));
        None
    }
}

/// An object in memory that lends its bytes, as a mapped file does, or copies
/// them, as a file that is not mapped.
#[derive(Debug)]
struct MemoryObject {
    bytes: Vec<u8>,
    lends: bool,
}

impl ObjectReader for MemoryObject {
    fn describe(&self) -> &'static str {
        "segment"
    }

    fn size(&self) -> u64 {
        to_u64(self.bytes.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        // Memory has been taken for the buffer already.
        let start = usize::try_from(offset).expect("64 bits");
        let end = start.checked_add(buffer.len()).expect("64 bits");
        let bytes = self.bytes.get(start..end);
        buffer.copy_from_slice(bytes.expect("a read past the end"));
        Ok(())
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        self.lends.then_some(&self.bytes)
    }
}

/// Reads everything out of a segment, mapped and not.
pub(crate) fn check_segment(bytes: &[u8], limits: &Limits) -> Seen {
    let [mapped, copied] = [true, false].map(|lends| {
        let bytes = bytes.to_vec();
        read_segment(Box::new(MemoryObject { bytes, lends }), limits)
    });
    assert_eq!(mapped, copied, "a mapped segment is read as any other");
    mapped
}

fn read_segment(object: Box<dyn ObjectReader>, limits: &Limits) -> Seen {
    let mut seen = Seen::default();
    let opened = SegmentReader::open_object(object, "segment".to_owned(), limits);
    let Some(segment) = seen.note(opened) else {
        return seen;
    };
    seen.is_open = true;
    check_toc(segment.toc(), limits);
    if let Some(meta) = seen.note(segment.read_meta(Need::Verify)) {
        let again = SegmentMeta::decode(&meta.encode(), &meta.ids(), Need::Verify, limits);
        assert_eq!(again, Ok(meta));
    }
    seen.note(segment.read_statistics());
    seen.digest = seen.note(segment.compute_digest());
    for frame in 0..segment.toc().entries.len() {
        seen.note(segment.read_frame(frame));
        seen.note(segment.read_other_frame(frame));
    }
    let index_bytes = seen.note(segment.read_key_index()).unwrap_or_default();
    let index = seen.note(segment.decode_key_index(&index_bytes));
    if let Some(index) = &index {
        assert_eq!(to_u64(index.len()), segment.toc().record_count);
    }
    let mut sections = SectionReader::default();
    for block in 0..segment.block_count() {
        check_block(&segment, block, index.as_ref(), &mut sections, &mut seen);
    }
    for key in [&b""[..], b"absent", &[0xff; KEY_LEN_MAX]] {
        candidates(&segment, key, &mut seen);
    }
    let beyond = segment.read_block(segment.block_count()).map(|_| ());
    let kind = beyond.expect_err("there is no such block");
    assert!(matches!(kind.kind(), ErrorKind::InvalidInput { .. }));
    seen
}

fn check_toc(toc: &Toc, limits: &Limits) {
    let payload = toc.encode();
    let offset = toc
        .entries
        .last()
        .map_or(to_u64(FILE_HEADER_SIZE), TocEntry::end);
    assert_eq!(Toc::decode(&payload, offset, limits).as_ref(), Ok(toc));
    // A vector that grows by doubling, of entries not much larger than stored.
    let memory = toc.entries.capacity() * size_of::<TocEntry>();
    assert!(memory <= 4 * payload.len(), "{memory} bytes of entries");
    let records: u64 = toc
        .blocks()
        .map(|block| u64::from(block.record_count))
        .sum();
    assert!(records <= toc.record_count);
}

fn check_block(
    segment: &SegmentReader,
    number: usize,
    index: Option<&KeyIndex>,
    sections: &mut SectionReader,
    seen: &mut Seen,
) {
    /// A look-up reads a page; many of them would take all the time.
    const LOOK_UP_COUNT_MAX: usize = 32;
    /// To find a record takes the keys of a block, and its values.
    const FIND_COUNT_MAX: usize = 3;
    let columns = seen.note(segment.read_keys(number, sections));
    let Some(frame) = seen.note(segment.read_block(number)) else {
        return;
    };
    let is_stored_right = seen
        .note(frame.check_stored().map_err(Error::corrupt))
        .is_some();
    let decoded = frame.decode(sections).map_err(Error::corrupt);
    let Some(block) = seen.note(decoded) else {
        return;
    };
    assert!(is_stored_right, "a wrong checksum was not seen");
    let columns = columns.expect("the keys alone are read as the whole block is");
    let record_count = usize::try_from(frame.header.record_count).expect("64 bits");
    assert_eq!((block.len(), columns.len()), (record_count, record_count));
    assert!(block.record(record_count).is_none() && columns.get(record_count).is_none());
    assert_eq!(columns.iter().count(), record_count);
    seen.blocks += 1;
    let mut value_bytes = 0;
    for at in 0..record_count {
        let keys = columns.get(at).expect("a record that is counted");
        assert_eq!(block.columns().get(at), Some(keys));
        if columns.parted_value(at).is_none() {
            value_bytes += u64::from(keys.value_len);
        }
        let record = block.record(at).expect("a record that is counted");
        let Some(record) = seen.note(record.map_err(Error::corrupt)) else {
            continue;
        };
        assert_eq!((record.key, record.meta), (keys.key, keys.meta));
        let value = segment.whole_value(number, at, record.value);
        let Some(value) = seen.note(value) else {
            continue;
        };
        let record = Record {
            key: record.key,
            value: &value,
            meta: record.meta,
        };
        let good = (record.key.to_vec(), keys.value_hash);
        seen.records.push(good);
        assert!((1..=KEY_LEN_MAX).contains(&record.key.len()));
        assert_eq!(to_u64(record.value.len()), u64::from(keys.value_len));
        assert_eq!(value_hash(record.value), keys.value_hash, "a wrong value");
        if at < FIND_COUNT_MAX {
            check_found(segment, number, at, &record, sections, seen);
        }
        if at < LOOK_UP_COUNT_MAX {
            let found = candidates(segment, record.key, seen);
            if let Some(index) = index {
                let found = found.expect("every page of this index was sound");
                for block in 0..u32::try_from(segment.block_count()).expect("few blocks") {
                    let is_found = found.contains(&block);
                    assert_eq!(index.leads_to(record.key, block), is_found);
                }
            }
        }
    }
    assert_eq!(value_bytes, u64::from(frame.header.values.raw_len));
}

/// Looks a good record up: what is found is it, or another one of that key.
fn check_found(
    segment: &SegmentReader,
    block: usize,
    at: usize,
    record: &Record<'_>,
    sections: &mut SectionReader,
    seen: &mut Seen,
) {
    // The index may lie, and a block before this one be damaged.
    let Some(Some(found)) = seen.note(segment.find(record.key, sections)) else {
        return;
    };
    let value = seen.note(segment.read_value(&found, sections));
    if let Some(value) = &value {
        assert_eq!(value_hash(value), found.value_hash, "a wrong value");
        assert_eq!(to_u64(value.len()), u64::from(found.value_len));
    }
    if (found.block, found.record) == (block, at) {
        assert_eq!(found.meta, record.meta);
        assert_eq!(value.as_deref(), Some(record.value));
    }
}

fn candidates(segment: &SegmentReader, key: &[u8], seen: &mut Seen) -> Option<Vec<u32>> {
    let found = seen.note(segment.candidate_blocks(key))?;
    for &block in &found {
        let block = usize::try_from(block).expect("64 bits");
        assert!(block < segment.block_count(), "block {block} is not there");
    }
    Some(found)
}

/// Brings out of a segment what can be brought; says how many records.
pub(crate) fn check_salvage(bytes: &[u8], limits: &Limits) -> usize {
    let object = || MemoryObject {
        bytes: bytes.to_vec(),
        lends: false,
    };
    let seen = read_segment(Box::new(object()), limits);
    let is_sound = seen.is_open && seen.complaints.is_empty();
    let mut strict = seen.records;
    let own = Identity {
        segment: SegmentId([0x11; 16]),
        snapshot: None,
    };
    let total = to_u64(strict.len());
    let mut most = 0;
    for (known, records_total) in [(None, None), (Some(own), Some(total))] {
        let place = "segment".to_owned();
        let cancel = Cancel::new();
        let opened = DamagedSegment::open(Box::new(object()), place, known, limits, &cancel);
        let segment = match opened {
            Ok(segment) => segment,
            Err(error) => {
                assert!(error.is_newer(), "damage is no error: {error}");
                continue;
            }
        };
        let meta = segment.read_meta(&cancel);
        meta.expect("damage is no error");
        let mut taken = Vec::new();
        let salvaged = segment.salvage(records_total, &cancel, &mut |record| {
            assert!((1..=KEY_LEN_MAX).contains(&record.key.len()));
            if let Some(hash) = hash_salvaged(record.value) {
                taken.push((record.key.to_vec(), hash));
            }
            Ok(())
        });
        let salvaged = match salvaged {
            Ok(salvaged) => salvaged,
            Err(error) => {
                assert!(error.is_newer(), "damage is no error: {error}");
                continue;
            }
        };
        assert_eq!(salvaged.records, to_u64(taken.len()));
        assert!(salvaged.bytes_lost <= to_u64(bytes.len()));
        assert!(salvaged.findings.len() <= SegmentSalvage::FINDING_COUNT_MAX);
        assert!(salvaged.lost_keys.len() <= SegmentSalvage::LOST_KEY_COUNT_MAX);
        assert!(to_u64(salvaged.lost_keys.len()) <= salvaged.lost_key_count);
        for finding in &salvaged.findings {
            assert!(!finding.to_string().is_empty());
        }
        most = most.max(taken.len());
        // Of what nobody complains about, nothing is left behind.
        if is_sound {
            strict.sort_unstable();
            taken.sort_unstable();
            assert_eq!(taken, strict);
            assert!(!salvaged.has_loss(), "{salvaged:?}");
        }
    }
    most
}

/// The hash of a value that is brought out; nothing for one that is not.
fn hash_salvaged(value: SalvagedValue<'_>) -> Option<u64> {
    let (len, pieces) = match value {
        SalvagedValue::Whole(value) => return Some(value_hash(value)),
        SalvagedValue::Pieces { len, pieces } => (len, pieces),
    };
    let mut whole = Vec::new();
    loop {
        match pieces.next_piece() {
            Ok(Some(piece)) => {
                assert!(!piece.is_empty());
                whole.extend_from_slice(piece);
            }
            Ok(None) => break,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{error}");
                assert!(matches!(pieces.next_piece(), Ok(None)));
                return None;
            }
        }
    }
    assert_eq!(to_u64(whole.len()), len);
    Some(value_hash(&whole))
}

/// Reads the statistics of a segment; returns whether they were taken. They are then
/// what is written of them, and add up with themselves.
pub(crate) fn check_statistics(bytes: &[u8], limits: &Limits) -> bool {
    let Ok(stored) = decode_stat(bytes, limits) else {
        return false;
    };
    assert_eq!(
        decode_stat(&encode_stat(&stored), limits).as_ref(),
        Ok(&stored)
    );
    let moment = stored.exptimes.first().map_or(0, |span| span.last);
    let depth = PrefixDepth::Fitting;
    let mut sums = Statistics::new(UnixSecs(moment), KEY_DELIMITERS.as_bytes(), depth, 10);
    sums.add_segment(&stored, 0);
    let mut twice = sums.clone();
    twice.merge(sums.clone());
    assert_eq!(twice.total.records, stored.total.records.saturating_mul(2));
    assert!(sums.key_prefixes.rows(&sums.total).len() <= 3 * stored.prefixes.rows.len());
    let ttl = &sums.ttl;
    let rows = ttl.left.buckets().map(|bucket| bucket.tally);
    let rows = rows.chain([ttl.expired, ttl.never, ttl.unknown]);
    assert_eq!(
        rows.map(|tally| tally.records).sum::<u64>(),
        stored.total.records
    );
    let mut recount = Recount::new(&stored);
    for record in &stored.largest {
        let facts = RecordFacts {
            key: &record.key,
            value_len: record.value_len,
            meta: &record.meta,
        };
        recount.add(&stored, &facts);
    }
    let is_all = recount.compare(&stored).is_none();
    assert!(!is_all || stored.total.records == to_u64(stored.largest.len()));
    true
}

/// Reads the header, a page and an entry of a look-up object: the bytes as they are, and
/// with their checksums made right. Returns whether a page could be read.
pub(crate) fn check_look_up(bytes: &[u8], blocks: u32) -> bool {
    let name = LookUpName {
        id: LookUpId([7; 16]),
        pages: 1,
        blocks,
    };
    let _ = LookUpHeader::decode(bytes);
    let _ = LookUpBlock::decode(name.id, 0, bytes);
    let table = name.table();
    let _ = table.decode_page(0, bytes);
    let mut page = bytes.to_vec();
    page.resize(PAGE_SIZE, 0);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&name.id.0);
    hasher.update(&0_u32.to_le_bytes());
    hasher.update(&page[4..]);
    page[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
    let Ok(page) = table.decode_page(0, &page) else {
        return false;
    };
    let entries = page.entries();
    assert!(entries.is_sorted());
    for &(fingerprint, number) in entries {
        assert!(number < blocks && fingerprint < 1 << 19);
        assert!(page.candidates(fingerprint).any(|found| found == number));
    }
    // A page that was read can be written, if its gaps are not made longer than they need.
    let mut again = Vec::new();
    if table.encode_page(0, entries, &mut again) {
        let again = table.decode_page(0, &again);
        assert_eq!(again.as_ref().map(HashPage::entries), Ok(entries));
    }
    true
}

/// Reads a manifest for every need, and the same bytes as the other texts of a snapshot;
/// says whether there is any that can be read at all. `root` is the manifest that the other
/// texts belong to.
pub(crate) fn check_manifest(bytes: &[u8], root: &Manifest, limits: &Limits) -> bool {
    let is_part = check_part(bytes, root, limits);
    let is_record = check_record(bytes, root, limits);
    check_root(bytes, limits) || is_part || is_record
}

/// Reads a part of a manifest.
fn check_part(bytes: &[u8], root: &Manifest, limits: &Limits) -> bool {
    let Ok(checksum) = check_seal(Structure::ManifestPart, bytes) else {
        return false;
    };
    let name = PartName {
        object: "parts/a.json".to_owned(),
        size: to_u64(bytes.len()),
        checksum,
        first_node: 0,
        last_node: 1,
    };
    let Ok(part) = ManifestPart::decode(bytes, &name, root, limits) else {
        return false;
    };
    let (again, encoded) = part.encode(0);
    let name = PartName {
        checksum: encoded.checksum,
        ..name
    };
    let again = ManifestPart::decode(&again, &name, root, limits);
    assert_eq!(again.ok(), Some(part));
    true
}

/// Reads the record of a verification.
fn check_record(bytes: &[u8], root: &Manifest, limits: &Limits) -> bool {
    let Ok(record) = VerificationRecord::decode(bytes, root.snapshot_id, limits) else {
        return false;
    };
    let again = VerificationRecord::decode(&record.encode().0, root.snapshot_id, limits);
    assert_eq!(again, Ok(record));
    true
}

fn check_root(bytes: &[u8], limits: &Limits) -> bool {
    let needs = [Need::Read, Need::Restore, Need::Verify];
    let [read, restored, verified] = needs.map(|need| {
        let manifest = Manifest::decode(bytes, need, limits).ok()?;
        let again = Manifest::decode(&manifest.encode(), need, limits);
        assert_eq!(again.as_ref().ok(), Some(&manifest));
        Some(manifest)
    });
    // What can be restored or verified can be read: they need more.
    for more in [restored, verified].into_iter().flatten() {
        assert_eq!(read.as_ref(), Some(&more));
    }
    read.is_some()
}

/// Reads the lines of a walk as they come whole and in pieces; returns how many
/// items there are.
pub(crate) fn check_walk(bytes: &[u8], piece_len: usize) -> usize {
    let read = |bytes: &[u8]| match parse_line(bytes, "a line of a walk") {
        Ok(Step::Done(line, len)) => Taken::Whole(line.to_vec(), len),
        Ok(Step::Need) => Taken::Part,
        Err(error) => Taken::Refused(reason(&error)),
    };
    let lines = feed(bytes, bytes.len(), read);
    assert_eq!(lines, feed(bytes, 1, read));
    assert_eq!(lines, feed(bytes, piece_len, read));
    let items = lines.found.iter().map(|line| check_walk_line(line));
    items.map(usize::from).sum()
}

/// Reads one line of a walk; says whether it is an item.
fn check_walk_line(line: &[u8]) -> bool {
    let mut key = Vec::new();
    let parsed = parse_item(line, &mut key);
    // What the key's memory holds from before makes no difference.
    let mut used = vec![b'x'; 300];
    assert_eq!(parse_item(line, &mut used), parsed);
    let kind = classify(line);
    let Some(item) = parsed else {
        return false;
    };
    assert_eq!(kind, WalkLine::Item, "an item that no walk would hand on");
    assert_eq!(key, used);
    assert!((1..=KEY_LEN_MAX).contains(&key.len()));
    // Every byte of the key encoded, and the rest as it is.
    let mut encoded = String::from("key=");
    for byte in &key {
        write!(encoded, "%{byte:02X}").expect("a string takes everything");
    }
    let key_end = line.iter().position(|&byte| byte == b' ');
    let rest = &line[key_end.unwrap_or(line.len())..];
    let again = parse_item(&[encoded.as_bytes(), rest].concat(), &mut used);
    assert_eq!((again, used), (Some(item), key));
    true
}

/// Reads the lines of a listing as they come whole and in pieces; returns how
/// many items there are.
pub(crate) fn check_listing(bytes: &[u8], piece_len: usize) -> usize {
    let read = |bytes: &[u8]| match parse_line(bytes, "a line of a listing") {
        Ok(Step::Done(line, len)) => Taken::Whole(line.to_vec(), len),
        Ok(Step::Need) => Taken::Part,
        Err(error) => Taken::Refused(reason(&error)),
    };
    let lines = feed(bytes, bytes.len(), read);
    assert_eq!(lines, feed(bytes, 1, read));
    assert_eq!(lines, feed(bytes, piece_len, read));
    let items = lines.found.iter().map(|line| check_listed(line));
    items.map(usize::from).sum()
}

/// Reads one line of a listing; says whether it is an item.
fn check_listed(line: &[u8]) -> bool {
    let kind = classify_listing(line);
    let Some(item) = parse_listed(line) else {
        return false;
    };
    assert_eq!(
        kind,
        ListingLine::Item,
        "an item that no listing would hand on"
    );
    assert!((1..=KEY_LEN_MAX).contains(&item.key.len()));
    // Written as a server does, it is the same item.
    let mut written = [b"ITEM ", item.key].concat();
    let numbers = format!(" [{} b; {} s]", item.value_len, item.exptime);
    written.extend_from_slice(numbers.as_bytes());
    assert_eq!(parse_listed(&written), Some(item));
    let started_at = UnixSecs(1_700_000_000);
    let is_never = exptime_of_listing(item.exptime, started_at) == Exptime::Never;
    assert_eq!(is_never, item.exptime <= started_at.0);
    true
}

/// Reads heads of replies to `gets`, and replies to sets, as they come whole and in
/// pieces; returns how many of the former there are.
pub(crate) fn check_gets(bytes: &[u8], piece_len: usize) -> usize {
    let read = |bytes: &[u8]| match parse_gets(bytes) {
        Ok(Step::Done(head, len)) => {
            assert!(len > 0 && len <= bytes.len());
            Taken::Whole(format!("{head:?}"), len)
        }
        Ok(Step::Need) => Taken::Part,
        Err(error) => Taken::Refused(reason(&error)),
    };
    let heads = feed(bytes, bytes.len(), read);
    assert_eq!(heads, feed(bytes, 1, read));
    assert_eq!(heads, feed(bytes, piece_len, read));
    let read = |bytes: &[u8]| match parse_store(bytes) {
        Ok(Step::Done(reply, len)) => {
            assert!(len > 0 && len <= bytes.len());
            Taken::Whole(format!("{reply:?}"), len)
        }
        Ok(Step::Need) => Taken::Part,
        Err(error) => Taken::Refused(reason(&error)),
    };
    let replies = feed(bytes, bytes.len(), read);
    assert_eq!(replies, feed(bytes, 1, read));
    assert_eq!(replies, feed(bytes, piece_len, read));
    heads.found.len()
}

/// Reads heads of binary replies, all with the same opaque, as they come whole and in
/// pieces: of gets, and of both kinds of set; returns how many of the former there
/// are.
pub(crate) fn check_binary(bytes: &[u8], piece_len: usize) -> usize {
    const OPAQUE: u32 = 0;
    let read = |bytes: &[u8]| match parse_binary_get(bytes, OPAQUE) {
        Ok(Step::Done(head, len)) => {
            assert!(len >= BINARY_HEADER_LEN && len <= bytes.len());
            Taken::Whole(format!("{head:?}"), len)
        }
        Ok(Step::Need) => Taken::Part,
        Err(error) => Taken::Refused(reason(&error)),
    };
    let heads = feed(bytes, bytes.len(), read);
    assert_eq!(heads, feed(bytes, 1, read));
    assert_eq!(heads, feed(bytes, piece_len, read));
    for mode in [SetMode::Add, SetMode::Set] {
        let read = |bytes: &[u8]| match parse_binary_store(bytes, mode, OPAQUE) {
            Ok(Step::Done(reply, len)) => {
                assert!(len >= BINARY_HEADER_LEN && len <= bytes.len());
                Taken::Whole(format!("{reply:?}"), len)
            }
            Ok(Step::Need) => Taken::Part,
            Err(error) => Taken::Refused(reason(&error)),
        };
        let replies = feed(bytes, bytes.len(), read);
        assert_eq!(replies, feed(bytes, 1, read));
        assert_eq!(replies, feed(bytes, piece_len, read));
    }
    heads.found.len()
}

/// Reads replies to meta commands as they come whole and in pieces; returns
/// how many there are.
pub(crate) fn check_replies(bytes: &[u8], value_len_max: u64, piece_len: usize) -> usize {
    let read = |bytes: &[u8]| match parse_reply(bytes, value_len_max) {
        Ok(Step::Done(reply, len)) => {
            assert!(len > 0 && len <= bytes.len());
            Taken::Whole(format!("{reply:?}"), len)
        }
        Ok(Step::Need) => Taken::Part,
        Err(error) => Taken::Refused(reason(&error)),
    };
    let replies = feed(bytes, bytes.len(), read);
    assert_eq!(replies, feed(bytes, 1, read));
    assert_eq!(replies, feed(bytes, piece_len, read));
    replies.found.len()
}

/// Reads a restart file by its `.meta`; returns the keys of what is live, and
/// `None` for a file that is refused.
pub(crate) fn check_warm_file(meta: &[u8], bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let meta = Meta::parse(meta).ok()?;
    let classes = SlabClasses::of(&meta).ok()?;
    for class in 1..=classes.count() {
        let size = classes.size(class).expect("a class");
        assert!(size >= 48 && classes.chunk_count(class) >= Some(1));
        assert!(classes.class_of(size) <= class);
    }
    let file = WarmFile::open(bytes, &meta, &classes).ok()?;
    let within = bytes.as_ptr_range();
    let mut keys = Vec::new();
    let (mut found_count, mut piece_count) = (0, 0);
    for found in (0..file.page_count()).flat_map(|page| file.page(page)) {
        found_count += 1;
        let Found::Live(item) = found else {
            continue;
        };
        assert!((1..=KEY_LEN_MAX).contains(&item.key.len()));
        let mut len = 0;
        for piece in std::iter::once(item.key).chain(item.pieces()) {
            let piece_within = piece.as_ptr_range();
            assert!(!piece.is_empty());
            assert!(within.start <= piece_within.start && piece_within.end <= within.end);
            len += piece.len();
            piece_count += 1;
        }
        assert_eq!(len, item.key.len() + item.value_len());
        keys.push(item.key.to_vec());
    }
    // No chunk is reached twice, and an item takes one of its own.
    let smallest = classes.size(1).expect("a class").min(48);
    assert!(found_count + piece_count <= 3 * bytes.len() / smallest);
    Some(keys)
}

/// Reads statistics as they come whole and in pieces; says whether they end.
pub(crate) fn check_stats(bytes: &[u8], piece_len: usize) -> bool {
    let (whole, refusal) = feed_stats(bytes, bytes.len());
    for len in [1, piece_len] {
        assert_eq!(feed_stats(bytes, len), (whole.clone(), refusal.clone()));
    }
    let stats = ServerStats::of(&whole);
    let _ = (stats.is_hash_about_to_expand(), stats.started_at());
    let _ = ServerSettings::of(&whole);
    refusal.is_none()
}

/// Reads lists of an endpoint as they come whole and in pieces; returns how many
/// nodes they name.
pub(crate) fn check_config(bytes: &[u8], piece_len: usize) -> usize {
    let read = |bytes: &[u8]| match parse_config(bytes) {
        Ok(Step::Done(reply, len)) => {
            assert!(len > 0 && len <= bytes.len());
            Taken::Whole(reply, len)
        }
        Ok(Step::Need) => Taken::Part,
        Err(error) => Taken::Refused(reason(&error)),
    };
    let replies = feed(bytes, bytes.len(), read);
    assert_eq!(replies, feed(bytes, 1, read));
    assert_eq!(replies, feed(bytes, piece_len, read));
    let mut node_count = 0;
    for reply in replies.found {
        if let ConfigReply::Config(config) = reply {
            assert!(!config.nodes.is_empty());
            for node in &config.nodes {
                // What is written down in a snapshot is read again.
                assert_eq!(
                    node.to_string().parse::<NodeSpec>().as_ref().ok(),
                    Some(node)
                );
            }
            node_count += config.nodes.len();
        }
    }
    node_count
}

/// What has been read when all has come, and how it ended.
fn feed_stats(bytes: &[u8], piece_len: usize) -> (StatTable, Option<String>) {
    let mut table = StatTable::default();
    let (mut start, mut end) = (0, 0);
    loop {
        match parse_stats(&bytes[start..end], &mut table) {
            Ok((Step::Done((), _), _)) => return (table, None),
            Ok((Step::Need, len)) => start += len,
            Err(error) => return (table, Some(reason(&error))),
        }
        if end == bytes.len() {
            return (table, Some("cut".to_owned()));
        }
        end = bytes.len().min(end + piece_len.max(1));
    }
}

/// One look at the front of a stream.
enum Taken<T> {
    Whole(T, usize),
    Part,
    Refused(String),
}

/// All that was taken from a stream.
#[derive(Debug, PartialEq, Eq)]
struct Fed<T> {
    found: Vec<T>,
    refusal: Option<String>,
    /// What is left is the beginning of something.
    rest_len: usize,
}

/// Takes a stream apart that arrives in pieces of this length.
fn feed<T>(bytes: &[u8], piece_len: usize, read: impl Fn(&[u8]) -> Taken<T>) -> Fed<T> {
    let mut fed = Fed {
        found: Vec::new(),
        refusal: None,
        rest_len: 0,
    };
    let (mut start, mut end) = (0, 0);
    loop {
        match read(&bytes[start..end]) {
            Taken::Whole(found, len) => {
                fed.found.push(found);
                start += len;
                continue;
            }
            Taken::Refused(reason) => {
                fed.refusal = Some(reason);
                return fed;
            }
            Taken::Part if end < bytes.len() => {
                end = bytes.len().min(end + piece_len.max(1));
            }
            Taken::Part => {
                fed.rest_len = end - start;
                return fed;
            }
        }
    }
}

/// What an error says, without the bytes it shows: they are those that have
/// come so far.
fn reason(error: &Error) -> String {
    if let ErrorKind::Protocol { wanted, .. } = error.kind() {
        return format!("wanted {wanted}");
    }
    error.to_string()
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("no length is above 64 bits")
}

/// Reads an expression, writes it, reads that, and judges; says whether it is
/// one. The bits of `told` say what is known of the item that is judged.
pub(crate) fn check_select(text: &str, told: u8) -> bool {
    let selection = match Selection::parse(text) {
        Ok(selection) => selection,
        Err(error) => {
            let is_refusal = matches!(error.kind(), ErrorKind::InvalidInput { .. });
            assert!(is_refusal, "{error}");
            assert!(error.to_string().len() < 2000, "{error}");
            return false;
        }
    };
    let written = selection.to_string();
    let again = Selection::parse(&written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    assert_eq!(again, selection, "{written:?}");
    assert_eq!(again.to_string(), written);
    let is_told = |bit: u8| told >> bit & 1 == 1;
    let meta = ItemMeta {
        client_flags: is_told(0).then_some(5),
        exptime: is_told(1).then_some(Exptime::At(UnixSecs(2000))),
        last_access: is_told(2).then_some(UnixSecs(500)),
        slab_class: is_told(3).then_some(SlabClass(5)),
        ..ItemMeta::default()
    };
    let value_len = is_told(4).then_some(1024);
    let now = UnixSecs(1000);
    for key in [&b"user:1"[..], b"\xff", b"a b(c)"] {
        let late = selection.judge(&Candidate::new(key, value_len, &meta, now));
        assert_eq!(
            again.judge(&Candidate::new(key, value_len, &meta, now)),
            late
        );
        let early = Candidate::new(key, None, &ItemMeta::default(), now);
        match selection.judge_early(&early) {
            Judgement::Unknown => {}
            decided @ (Judgement::Keep | Judgement::Drop) => assert_eq!(decided, late),
        }
    }
    true
}

/// Reads a ring, writes it, reads that, puts nodes on it and asks for a key; says
/// whether the key was placed.
pub(crate) fn check_ring(ring: &str, nodes: &str, key: &[u8]) -> bool {
    let refused = |error: &Error| {
        let is_refusal = matches!(
            error.kind(),
            ErrorKind::InvalidInput { .. } | ErrorKind::LimitExceeded { .. }
        );
        assert!(is_refusal, "{error}");
    };
    let spec: RingSpec = match ring.parse() {
        Ok(spec) => spec,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    let written = spec.to_string();
    let again: RingSpec = written
        .parse()
        .unwrap_or_else(|error| panic!("{written:?}: {error}"));
    assert_eq!((&again, again.rule()), (&spec, spec.rule()), "{written:?}");
    let mut specs = Vec::new();
    // Few: a ring of many is only slower.
    for node in nodes.split(',').take(8) {
        match node.parse::<NodeSpec>() {
            Ok(node) if node.weight <= 1_000 => specs.push(node),
            Ok(_) => return false,
            Err(error) => {
                refused(&error);
                return false;
            }
        }
    }
    let key = &key[..key.len().min(KEY_LEN_MAX + 1)];
    match Placement::new(&spec, &specs) {
        Ok(placement) => {
            let index = placement.locate(key, 0);
            assert!(index < specs.len(), "{written} has {key:?} on {index}");
            assert_eq!(placement.locate(key, 0), index);
            true
        }
        Err(error) => {
            refused(&error);
            false
        }
    }
}
