//! Values too large to be held, from end to end: restored to real servers,
//! looked up and salvaged, in memory that does not grow with them.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcsnap::codecs::format::checksum::ValueHasher;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::encoder::PushedPieces;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::engines::pump::LargeItem;
use mcsnap::engines::sink::{LargeLoad, LoadOptions, Loader, SetProtocol, WriteStrategy};
use mcsnap::engines::snapshot::{ShardWriter, SnapshotDraft, SnapshotReader};
use mcsnap::ports::net::{Asked, Brake, NetOptions, ServerReport};
use mcsnap::ports::store::{MapChoice, create_directory, open_snapshot_place};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::defect::{Defect, Structure};
use mcsnap::words::error::{Error, Result};
use mcsnap::words::item::{Attribute, Cas, Exptime, ItemMeta, Record};
use mcsnap::words::limits::VALUE_LEN_MAX;
use mcsnap::words::pieces::{LargeValue, Pieces};
use mcsnap::words::units::{UnixSecs, to_u64};

use crate::format::snapshot_property::{Cut, manifest, noise, shard_options};
use crate::harness::client::meta_flag;
use crate::harness::fake_server::{FakeServer, Step};
use crate::harness::made_pieces::MadePieces;
use crate::harness::memcached::Memcached;
use crate::harness::memory_peak::peak_kib;
use crate::harness::reports::run_json;
use crate::harness::workdir::Workdir;

const MIB: usize = 1 << 20;

/// The piece of a value with this number: every third is noise, the others
/// compress well; no two are the same.
fn piece(number: usize, len: usize) -> Vec<u8> {
    static NOISE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let mut piece = match number % 3 {
        0 => NOISE.get_or_init(|| noise(7, MIB)).clone(),
        _ => b"lorem ipsum dolor sit amet, ".repeat(MIB / 28 + 1),
    };
    piece.truncate(len);
    let stamp = number.to_le_bytes();
    let stamped = stamp.len().min(len);
    piece[..stamped].copy_from_slice(&stamp[..stamped]);
    piece
}

/// The pieces of a value of this length, one MiB each but the last.
fn pieces(len: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..len.div_ceil(MIB)).map(move |number| piece(number, MIB.min(len - number * MIB)))
}

fn value(len: usize) -> Vec<u8> {
    pieces(len).flatten().collect()
}

fn never() -> ItemMeta {
    ItemMeta {
        client_flags: Some(5),
        exptime: Some(Exptime::Never),
        ..ItemMeta::default()
    }
}

/// Writes a snapshot of large values, and one small, below `s/a`.
fn write_snapshot(workdir: &Workdir, items: &[(&str, usize, ItemMeta)]) {
    let directory = workdir.join("s");
    let store = create_directory(directory.to_str().unwrap()).unwrap();
    let snapshot = SnapshotDraft::begin(store, "a").unwrap();
    let cut = Cut {
        segment_size_max: 256 << 20,
        segment_record_count_max: 1000,
        compression: Compression::Zstd(1),
        shard_bits: 0,
    };
    let mut writer = ShardWriter::new(&snapshot, shard_options(&cut, 0));
    let small = Record {
        key: b"small",
        value: b"value",
        meta: never(),
    };
    writer.push(&small).unwrap();
    for (key, len, meta) in items {
        let mut pieces = pieces(*len);
        let mut next = MadePieces::new(|| Ok(pieces.next()));
        let pushed = writer.push_large(key.as_bytes(), meta, to_u64(*len), &mut next);
        assert_eq!(pushed.unwrap(), PushedPieces::Stored);
    }
    let segments = writer.finish().unwrap();
    snapshot
        .publish(&manifest(&snapshot, segments, 0), 1)
        .unwrap();
}

/// Flips a bit in the last part of a value.
fn damage(workdir: &Workdir, key: &str) {
    let place = workdir.join("s/a");
    let (store, name) = open_snapshot_place(place.to_str().unwrap(), MapChoice::Never).unwrap();
    let snapshot = SnapshotReader::open(store, &name, Need::Read).unwrap();
    for named in &snapshot.manifest().segments {
        let segment = snapshot.open_segment(named).unwrap();
        let mut sections = Default::default();
        let Some(found) = segment.find(key.as_bytes(), &mut sections).unwrap() else {
            continue;
        };
        // The parts stand right before their block.
        let block = segment.block_entry(found.block).unwrap().offset;
        let path = place.join(&named.object);
        let mut file = fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let at = SeekFrom::Start(block - 1);
        let mut byte = [0];
        file.seek(at).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(at).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
        return;
    }
    panic!("{key} is not there");
}

#[test]
fn large_values_are_restored_as_they_were() {
    let mut stale = never();
    stale.attributes.set(Attribute::Stale, true);
    stale.attributes.set(Attribute::WinSent, true);
    stale.cas = Some(Cas(77));
    let mortal = ItemMeta {
        exptime: Some(Exptime::At(UnixSecs(u64::from(u32::MAX)))),
        ..never()
    };
    let expired = ItemMeta {
        exptime: Some(Exptime::At(UnixSecs(1_700_000_000))),
        ..never()
    };
    let workdir = Workdir::new("large-values");
    let beyond_blocks = usize::try_from(VALUE_LEN_MAX).unwrap() + 12_345;
    write_snapshot(
        &workdir,
        &[
            ("plain", 9 * MIB + 1, never()),
            ("stale", 10 * MIB, stale),
            ("mortal", 11 * MIB, mortal),
            ("expired", 9 * MIB, expired),
            ("existing", 9 * MIB, never()),
            ("huge", beyond_blocks, never()),
        ],
    );
    let target = Memcached::start_with(&["-I", "128m", "-m", "1024"]);
    let mut client = target.client();
    client.set("existing", 1, 0, b"newer");
    let to = target.address();
    let report = run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(number("records"), 7);
    assert_eq!(
        (number("stored"), number("existing"), number("expired")),
        (5, 1, 1),
        "{report}"
    );
    assert_eq!(client.get("existing"), Some((1, b"newer".to_vec())));
    assert_eq!(client.get("small"), Some((5, b"value".to_vec())));
    for (key, len) in [("plain", 9 * MIB + 1), ("huge", beyond_blocks)] {
        let (flags, found) = client.get(key).unwrap();
        assert!(flags == 5 && found == value(len), "{key}");
    }
    let (header, found) = client.mg(b"mortal", "t v").unwrap();
    assert_ne!(meta_flag(&header, 't'), "-1");
    assert!(found == value(11 * MIB));
    let (header, found) = client.mg(b"stale", "v").unwrap();
    assert!(
        header.ends_with(" X Z") || header.ends_with(" Z X"),
        "{header}"
    );
    assert!(found == value(10 * MIB));
    // Replacing, the item that was there goes.
    let arguments = ["restore", "s/a", "--mode=set", "--to", &to];
    let report = run_json(&workdir, &arguments, 0);
    assert_eq!(report["stored"], 6);
    assert!(client.get("existing").unwrap().1 == value(9 * MIB));
}

#[test]
fn a_large_value_that_does_not_fit_or_is_damaged_harms_nothing() {
    let workdir = Workdir::new("large-losses");
    write_snapshot(
        &workdir,
        &[
            ("fits", 9 * MIB, never()),
            ("damaged", 10 * MIB, never()),
            ("too-large", 20 * MIB, never()),
            ("fits-too", 9 * MIB, never()),
        ],
    );
    damage(&workdir, "damaged");
    let target = Memcached::start_with(&["-I", "16m", "-m", "256"]);
    let mut client = target.client();
    client.set("damaged", 0, 0, b"precious");
    client.set("too-large", 0, 0, b"precious");
    let to = target.address();
    let arguments = ["restore", "s/a", "--mode=set", "--to", &to];
    let report = run_json(&workdir, &arguments, 3);
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(
        (number("stored"), number("too_large"), number("damaged")),
        (3, 1, 1),
        "{report}"
    );
    assert_eq!((number("failed"), number("unsent")), (0, 0), "{report}");
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report}");
    assert_eq!(findings[0]["code"], "MCS003");
    for key in ["damaged", "too-large"] {
        assert_eq!(client.get(key), Some((0, b"precious".to_vec())), "{key}");
    }
    for key in ["fits", "fits-too"] {
        assert!(client.get(key).unwrap().1 == value(9 * MIB), "{key}");
    }
    // The other readers tell the same record.
    let verify = run_json(&workdir, &["verify", "s/a", "--deep"], 3);
    let finding = &verify["findings"][0];
    assert_eq!(verify["findings"].as_array().unwrap().len(), 1, "{verify}");
    assert!(finding["location"]["record"].is_u64(), "{finding}");
    run_json(&workdir, &["verify", "s/a", "--data"], 3);
    run_json(&workdir, &["verify", "s/a"], 0);
    let output = workdir.mcsnap(&["get", "s/a", "damaged", "--raw"]).exits(3);
    assert!(output.stdout.is_empty(), "nothing of a damaged value");
    let salvage = ["salvage", "s/a", "--to", "out", "--name", "b"];
    let report = run_json(&workdir, &salvage, 3);
    assert_eq!(report["records"], 4, "{report}");
    // Its own warning, that the dump it came from had losses, is no error.
    run_json(&workdir, &["verify", "out/b", "--deep"], 0);
    let output = workdir
        .mcsnap(&["get", "out/b", "too-large", "--raw"])
        .succeeds();
    assert!(output.stdout == value(20 * MIB));
}

#[test]
fn a_large_value_is_looked_up_in_every_form() {
    let workdir = Workdir::new("large-look-up");
    write_snapshot(&workdir, &[("big", 9 * MIB + 7, never())]);
    let wanted = value(9 * MIB + 7);
    let output = workdir.mcsnap(&["get", "s/a", "big", "--raw"]).succeeds();
    assert!(output.stdout == wanted);
    let json = run_json(&workdir, &["get", "s/a", "big"], 0);
    let copy = &json["copies"][0];
    assert_eq!(copy["value_len"], wanted.len());
    let found = STANDARD.decode(copy["value_base64"].as_str().unwrap());
    assert!(found.unwrap() == wanted);
    let output = workdir.mcsnap(&["get", "s/a", "big"]).succeeds();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("9,437,191 bytes"), "{text}");
    assert!(text.contains("and 9,436,679 bytes more"), "{text}");
    let output = workdir.mcsnap(&["ls", "s/a", "--long"]).succeeds();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("9437191"), "{text}");
    let json = run_json(&workdir, &["inspect", "s/a"], 0);
    assert_eq!(json["largest_values"][0]["key"], "big", "{json}");
    let share = &json["nodes"][0]["share"];
    assert_eq!(share["value_section_bytes"], wanted.len() + 5, "{share}");
}

/// A value that fails to be read the first `failures` times.
#[derive(Debug)]
struct Flaky {
    len: usize,
    /// Fails before this piece.
    fails_at: Option<usize>,
}

struct FlakyPieces<'a> {
    value: &'a Flaky,
    number: usize,
    current: Vec<u8>,
}

impl LargeValue for Flaky {
    fn len(&self) -> u64 {
        to_u64(self.len)
    }

    fn open(&self) -> Box<dyn Pieces + '_> {
        Box::new(FlakyPieces {
            value: self,
            number: 0,
            current: Vec::new(),
        })
    }
}

impl Pieces for FlakyPieces<'_> {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        let number = self.number;
        if number * MIB >= self.value.len {
            return Ok(None);
        }
        if self.value.fails_at == Some(number) {
            let structure = Structure::ValuePart;
            return Err(Error::corrupt(Defect::BadMagic { structure }));
        }
        self.number += 1;
        self.current = piece(number, MIB.min(self.value.len - number * MIB));
        Ok(Some(&self.current))
    }
}

fn large_item(key: &str, len: usize, fails_at: Option<usize>) -> LargeItem {
    LargeItem {
        key: key.as_bytes().to_vec(),
        meta: never(),
        value: Box::new(Flaky { len, fails_at }),
    }
}

fn loader<'a>(
    node: &'a mcsnap::words::node::NodeSpec,
    server: &'a ServerReport,
    cancel: &'a Cancel,
) -> Loader<'a> {
    let options = LoadOptions {
        net: NetOptions::of_timeout(Duration::from_secs(30)),
        mode: SetMode::Set,
        strategy: WriteStrategy {
            set_protocol: SetProtocol::Meta,
            has_binary_protocol: false,
            has_gets: true,
            holds_cas: false,
            client_flags_max: u32::MAX.into(),
        },
        exptime_if_unknown: None,
        brake: Brake::default().node(&node.address(), Asked::Sets),
    };
    Loader::new(node, server, options, cancel)
}

#[test]
fn a_connection_that_breaks_within_a_value_is_begun_again_from_its_start() {
    let len = 3 * MIB;
    let request = [
        format!("ms big {len} T0 F5 O0\r\n").into_bytes(),
        value(len),
        b"\r\n".to_vec(),
    ]
    .concat();
    let fake = FakeServer::scripted([
        vec![Step::expect("ms big "), Step::Swallow(MIB), Step::Reset],
        vec![
            Step::expect("ms big "),
            Step::Swallow(len + 2),
            Step::reply("HD\r\n"),
            // Half of a value that cannot be read to its end, and the close.
            Step::expect("ms cut "),
            Step::Swallow(MIB),
            Step::Close,
        ],
        vec![
            Step::expect("ms big "),
            Step::reply("SERVER_ERROR no\r\n"),
            Step::Swallow(len + 2),
        ],
    ]);
    let (node, cancel) = (fake.address().parse().unwrap(), Cancel::new());
    let mut server = ServerReport::default();
    server.settings.item_size_max = 1 << 30;
    server.settings.client_flags_max = u32::MAX.into();
    let mut loader = loader(&node, &server, &cancel);
    let loaded = loader.load_large(&large_item("big", len, None)).unwrap();
    assert!(matches!(loaded, LargeLoad::Counted));
    let loaded = loader.load_large(&large_item("cut", len, Some(1))).unwrap();
    let LargeLoad::Unread(error) = loaded else {
        panic!("half a value is no value");
    };
    assert!(error.to_string().contains("value part"), "{error}");
    // A refusal comes before all is sent; the server still takes the rest.
    let loaded = loader.load_large(&large_item("big", len, None)).unwrap();
    assert!(matches!(loaded, LargeLoad::Counted));
    let tally = loader.into_tally();
    assert_eq!(
        (
            tally.counters.taken,
            tally.counters.stored,
            tally.counters.failed
        ),
        (2, 1, 1)
    );
    assert_eq!(tally.stored_bytes, to_u64(len + 3));
    assert_eq!(tally.counters.accounted(), tally.counters.taken);
    let received = fake.received();
    assert_eq!(received.len(), 3);
    assert!(received[1].starts_with(&request));
    let after = &received[1][request.len()..];
    assert!(after.len() < len, "the server was given an end");
}

/// Runs the program to its end; returns the most memory it was seen to take, in
/// KiB, and what it wrote to stdout, hashed.
fn peak_of(workdir: &Workdir, arguments: &[&str]) -> (u64, u64, usize) {
    let mut child = workdir.mcsnap(arguments).spawn();
    let mut out = child.stdout.take().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut hasher, mut len) = (ValueHasher::default(), 0);
        let mut buffer = vec![0; MIB];
        loop {
            let count = out.read(&mut buffer).unwrap();
            if count == 0 {
                return (hasher.finish(), len);
            }
            hasher.update(&buffer[..count]);
            len += count;
        }
    });
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        text
    });
    let peak = peak_kib(&mut child, "VmHWM");
    let complaints = complaints.join().unwrap();
    assert!(
        child.wait().unwrap().success(),
        "{arguments:?}: {complaints}"
    );
    let (hash, len) = reader.join().unwrap();
    (peak, hash, len)
}

#[test]
fn memory_does_not_grow_with_a_value() {
    const LEN: usize = 300 * MIB;
    // The value is three times as large, and a copy of it would show.
    const PEAK_KIB_MAX: u64 = 100 << 10;
    let workdir = Workdir::new("large-memory");
    write_snapshot(&workdir, &[("big", LEN, never())]);
    let mut hasher = ValueHasher::default();
    for piece in pieces(LEN) {
        hasher.update(&piece);
    }
    let hash = hasher.finish();
    let target = Memcached::start_with(&["-I", "512m", "-m", "1024"]);
    let to = target.address();
    let commands: [&[&str]; 7] = [
        &["verify", "s/a", "--data", "--threads=2"],
        &["verify", "s/a", "--deep", "--threads=2"],
        &["ls", "s/a", "--threads=2"],
        &["inspect", "s/a", "--threads=2"],
        &[
            "salvage",
            "s/a",
            "--to=out",
            "--name=b",
            "--threads=2",
            "-q",
        ],
        &["restore", "s/a", "--to", &to, "--threads=2", "-q"],
        &["get", "s/a", "big", "--raw"],
    ];
    let mut peaks = Vec::new();
    for arguments in commands {
        let (peak, found, len) = peak_of(&workdir, arguments);
        if arguments.contains(&"--raw") {
            assert_eq!((found, len), (hash, LEN));
        }
        peaks.push((arguments.join(" "), peak));
    }
    for (what, peak) in &peaks {
        assert!(*peak < PEAK_KIB_MAX, "{what}: {peak} KiB of {peaks:?}");
    }
    let mut stored = ValueHasher::default();
    let (_, found) = target.client().get("big").unwrap();
    stored.update(&found);
    assert_eq!(stored.finish(), hash);
    assert!(Path::new(&workdir.join("out/b/manifest.json")).exists());
}

/// The segment reader keeps the file open, however long a value waits.
#[test]
fn a_value_outlives_the_reader_it_came_from() {
    let workdir = Workdir::new("large-outlives");
    write_snapshot(&workdir, &[("big", 9 * MIB, never())]);
    let place = workdir.join("s/a");
    let (store, name) = open_snapshot_place(place.to_str().unwrap(), MapChoice::Auto).unwrap();
    let snapshot = SnapshotReader::open(store, &name, Need::Read).unwrap();
    let named = &snapshot.manifest().segments[0];
    let segment = Arc::new(snapshot.open_segment(named).unwrap());
    let found = segment
        .find(b"big", &mut Default::default())
        .unwrap()
        .unwrap();
    let parted = found.parted_value().unwrap();
    let value_of = mcsnap::engines::snapshot::SegmentValue::new(
        Arc::clone(&segment),
        found.block,
        found.record,
        parted,
    );
    drop((segment, snapshot));
    fs::remove_dir_all(place).unwrap();
    for _ in 0..2 {
        let (mut whole, mut pieces) = (Vec::new(), value_of.open());
        while let Some(piece) = pieces.next_piece().unwrap() {
            whole.extend_from_slice(piece);
        }
        assert!(whole == value(9 * MIB));
    }
}
