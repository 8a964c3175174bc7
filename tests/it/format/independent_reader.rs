//! A reader that shares no code with the library, `tools/read_snapshot.py`, finds
//! in a snapshot what the library finds.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcsnap::codecs::format::compression::SectionReader;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{MapChoice, open_snapshot_place};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::item::{Attribute, Exptime, Record, escape_bytes};
use mcsnap::words::location::Location;
use mcsnap::words::progress::NoProgress;
use serde_json::{Map, Value, json};

use crate::format::golden_valid::testdata;
use crate::format::snapshot_property::noise;
use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::{Run, Workdir};

/// A Python that has zstandard: that in PATH, or Debian's own.
fn python() -> &'static str {
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        ["python3", "/usr/bin/python3"].into_iter().find(|python| {
            let probe = Command::new(python)
                .args(["-c", "import zstandard"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            probe.is_ok_and(|status| status.success())
        })
    });
    found.expect(
        "no python3 with zstandard; install it: apt-get install python3-zstandard (or run \
         tools/setup)",
    )
}

/// Runs the independent reader; returns its exit code, stdout and stderr.
pub(crate) fn read_snapshot(place: &Path, options: &[&str]) -> (i32, String, String) {
    run_reader(|run| run, place.as_os_str(), options)
}

/// The same, of a segment that comes through standard input.
fn read_piped(segment: &Path, options: &[&str]) -> (i32, String, String) {
    run_reader(|run| run.read_from(segment), "-".as_ref(), options)
}

fn run_reader(
    set_up: impl FnOnce(Run) -> Run,
    place: &OsStr,
    options: &[&str],
) -> (i32, String, String) {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/read_snapshot.py");
    let workdir = Workdir::new("independent-reader");
    let mut run = set_up(workdir.run_of(python())).arg(tool);
    for option in options {
        run = run.arg(option);
    }
    let output = run.arg(place).run();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Lists a snapshot as `mcsnap ls --format json` does, by the library alone.
pub(crate) fn list_by_library(place: &Path, with_values: bool) -> String {
    let (store, name) = open_snapshot_place(place.to_str().unwrap(), MapChoice::Auto).unwrap();
    let snapshot = SnapshotReader::open(store, &name, Need::Read).unwrap();
    let mut sections = SectionReader::default();
    let mut lines = String::new();
    for segment in &snapshot.manifest().segments {
        let reader = snapshot.open_segment(segment).unwrap();
        for number in 0..reader.block_count() {
            let frame = reader.read_block(number).unwrap();
            let block = frame.decode(&mut sections).unwrap();
            for (index, keys) in block.columns().iter().enumerate() {
                let stored = block.record(index).unwrap().unwrap();
                let value = reader.whole_value(number, index, stored.value).unwrap();
                let record = Record {
                    key: stored.key,
                    value: &value,
                    meta: stored.meta,
                };
                let mut line = line_of(&record, snapshot.node(segment), keys.value_hash);
                if with_values {
                    let value = STANDARD.encode(record.value);
                    line.insert("value_base64".to_owned(), value.into());
                }
                lines.push_str(&Value::Object(line).to_string());
                lines.push('\n');
            }
        }
    }
    lines
}

fn line_of(record: &Record<'_>, node: &str, value_hash: u64) -> Map<String, Value> {
    let marks: Map<String, Value> = [
        (Attribute::Fetched, "fetched"),
        (Attribute::Stale, "stale"),
        (Attribute::WinSent, "win_sent"),
        (Attribute::KeyIsBinary, "key_is_binary"),
        (Attribute::Incompressible, "incompressible"),
    ]
    .into_iter()
    .filter_map(|(mark, name)| Some((name.to_owned(), record.meta.attributes.get(mark)?.into())))
    .collect();
    let meta = &record.meta;
    let line = json!({
        "key": escape_bytes(record.key),
        "node": node,
        "value_len": record.value.len(),
        "value_hash": format!("{value_hash:016x}"),
        "client_flags": meta.client_flags.map(|flags| flags.to_string()),
        "exptime": meta.exptime.map(|exptime| match exptime {
            Exptime::Never => json!("never"),
            Exptime::At(at) => json!(at.0),
        }),
        "last_access": meta.last_access.map(|at| at.0),
        "cas": meta.cas.map(|cas| cas.0.to_string()),
        "slab_class": meta.slab_class.map(|class| class.0),
        "marks": marks,
    });
    let Value::Object(line) = line else {
        panic!("an object is one");
    };
    line
}

/// What `mcsnap ls --format json` prints.
pub(crate) fn list_by_program(place: &Path) -> String {
    let workdir = Workdir::new("ls");
    let run = workdir.mcsnap(&["ls", "--format=json"]).arg(place);
    String::from_utf8(run.succeeds().stdout).unwrap()
}

/// Checks that all readers find the same in a sound snapshot; returns how many
/// records.
pub(crate) fn check_agreement(place: &Path) -> usize {
    let (code, findings, errors) = read_snapshot(place, &["--check"]);
    assert_eq!((code, findings.as_str(), errors.as_str()), (0, "", ""));
    let (code, found, errors) = read_snapshot(place, &["--values"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    check_lines(&found, &list_by_library(place, true));
    let (_, found, _) = read_snapshot(place, &[]);
    check_lines(&found, &list_by_program(place));
    found.lines().count()
}

/// Compares line by line, so that a difference can be read.
fn check_lines(found: &str, wanted: &str) {
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted);
    }
    assert!(found == wanted, "one has more lines than the other");
}

/// Items whose keys and values take every path of the hashes, which choose by
/// length, and of the escapes.
fn odd_items() -> BTreeMap<Vec<u8>, Item> {
    let mut items = Vec::new();
    for byte in 0..=u8::MAX {
        items.push(Item::new([byte], "one byte").flags(byte.into()));
        items.push(Item::new([b'"', byte, b'\\'], [byte, 0]).ttl(3600));
    }
    for len in 2..=250 {
        items.push(Item::new(vec![b'k'; len], vec![b'v'; len]));
    }
    for len in 0..=1100 {
        let flags = if len == 0 { u32::MAX } else { 0 };
        let value = noise(u64::try_from(len).unwrap(), len);
        items.push(Item::new(format!("len:{len}"), value).flags(flags));
    }
    // Above a block's target, compressible and not, and blocks' ends between.
    items.push(Item::new("large:noise", noise(1, 300_000)));
    items.push(Item::new("large:zeros", vec![0; 700_000]));
    items.push(Item::new("large:1024", noise(2, 1024 * 1024)));
    items
        .into_iter()
        .map(|item| (item.key.clone(), item))
        .collect()
}

#[test]
fn a_reader_written_from_the_specification_alone_reads_real_dumps() {
    let servers: Vec<Memcached> = (0..2)
        .map(|_| Memcached::start_with(&["-I", "4m", "-m", "256"]))
        .collect();
    let items = odd_items();
    let halves = items.values().cloned().enumerate();
    let (even, odd): (Vec<_>, Vec<_>) = halves.partition(|(number, _)| number % 2 == 0);
    for (server, half) in servers.iter().zip([even, odd]) {
        server.client().load(half.into_iter().map(|(_, item)| item));
    }
    // Marks: one was read, one is stale.
    servers[0]
        .client()
        .load([Item::new("read", "1"), Item::new("stale", "1")]);
    servers[0].client().get("read").unwrap();
    assert_eq!(servers[0].client().command("md stale I"), "HD");

    let workdir = Workdir::new("odd-dumps");
    let addresses: Vec<String> = servers.iter().map(Memcached::address).collect();
    let ways: [(&str, &[&str]); 3] = [
        ("plain", &["--compression=none", "--shards=4"]),
        ("packed", &["--compression=zstd:3", "--segment-size=1MiB"]),
        ("many", &["--segment-records=100", "--shards=1"]),
    ];
    for (name, options) in ways {
        let mut run = workdir.mcsnap(&["dump", "--quiet", "--to=s", "--name", name]);
        for argument in options {
            run = run.arg(argument);
        }
        for address in &addresses {
            run = run.arg(address);
        }
        run.succeeds();
        let place = workdir.join("s").join(name);
        assert_eq!(check_agreement(&place), items.len() + 2, "{name}");
        check_values(&place, &items);
    }
}

/// Compares with what was stored in the servers, whatever the readers agree on.
fn check_values(place: &Path, items: &BTreeMap<Vec<u8>, Item>) {
    let (_, found, _) = read_snapshot(place, &["--values"]);
    let mut seen = 0;
    for line in found.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let key = mcsnap::words::item::unescape_bytes(line["key"].as_str().unwrap()).unwrap();
        if let Some(item) = items.get(&key) {
            let value = STANDARD.decode(line["value_base64"].as_str().unwrap());
            assert!(value.unwrap() == item.value, "value of {key:?}");
            assert_eq!(line["client_flags"], item.flags.to_string());
            assert_eq!(line["exptime"] == "never", item.ttl == 0);
            seen += 1;
        } else {
            let marks = &line["marks"];
            assert_eq!(marks["fetched"], key == b"read");
            assert_eq!(marks["stale"], key == b"stale");
        }
    }
    assert_eq!(seen, items.len());
}

/// A finding as both readers tell it: code, object, offset in it.
pub(crate) type Told = (String, String, Option<u64>);

/// What the library finds at a place; nothing where it refuses it as no
/// snapshot.
pub(crate) fn verify_by_library(place: &Path) -> Option<BTreeSet<Told>> {
    let (store, name) = open_snapshot_place(place.to_str().unwrap(), MapChoice::Auto).unwrap();
    let root = format!("{}/", store.describe(&name));
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    let report = verify_snapshot(store, &name, &options, &Cancel::new(), &NoProgress);
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            let is_none = error.to_string().ends_with("this is not a snapshot");
            assert!(is_none, "{}: {error}", place.display());
            return None;
        }
    };
    let told = report.findings.iter().map(|finding| {
        let Location::Object { object, offset, .. } = &finding.location else {
            panic!("{finding}");
        };
        let object = match object.strip_prefix(&root) {
            Some(within) => within,
            // Strays are named as in the store.
            None => object.strip_prefix(&format!("{name}/")).unwrap_or(object),
        };
        let is_lone = place.is_file();
        let is_whole = format!("{object}/") == root;
        let object = match (is_lone, is_whole) {
            (true, _) => name.as_str(),
            (false, true) => ".",
            (false, false) => object,
        };
        (finding.defect.code().to_owned(), object.to_owned(), *offset)
    });
    Some(told.collect())
}

/// What the independent reader finds at some places, by their paths.
pub(crate) fn verify_independently(places: &[&Path]) -> BTreeMap<PathBuf, Option<BTreeSet<Told>>> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/read_snapshot.py");
    let workdir = Workdir::new("independent-check");
    let mut run = workdir.run_of(python()).arg(tool).arg("--check");
    let mut all = BTreeMap::new();
    for place in places {
        run = run.arg(place);
        all.insert(place.to_path_buf(), Some(BTreeSet::new()));
    }
    let output = run.run();
    let (out, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    for line in errors.lines() {
        let place = line
            .strip_prefix("read_snapshot: ")
            .and_then(|line| Some(line.split_once(": ")?.0));
        let place = place.unwrap_or_else(|| panic!("{errors}"));
        all.insert(place.into(), None);
    }
    for line in out.lines() {
        let (head, _) = line.split_once(": ").unwrap();
        let (code, rest) = head.split_once(' ').unwrap();
        let (path, offset) = rest.rsplit_once(' ').unwrap();
        let place = places
            .iter()
            .find(|place| Path::new(path).starts_with(place));
        let place = place.unwrap_or_else(|| panic!("{line}"));
        let within = Path::new(path)
            .strip_prefix(place)
            .unwrap()
            .to_str()
            .unwrap();
        let object = match within {
            "" if place.is_dir() => ".",
            "" => place.file_name().unwrap().to_str().unwrap(),
            within => within,
        };
        let told = (code.to_owned(), object.to_owned(), offset.parse().ok());
        let found = all.get_mut(*place).unwrap().as_mut().unwrap();
        found.insert(told);
    }
    all
}

#[test]
fn a_segment_is_read_front_to_back_and_tells_where_it_ends_too_early() {
    let workdir = Workdir::new("front-to-back");
    let mut count = 0;
    for entry in fs::read_dir(testdata("valid")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "mcs") {
            continue;
        }
        let (code, wanted, _) = read_snapshot(&path, &["--values"]);
        let (piped_code, found, errors) = read_piped(&path, &["--values"]);
        assert_eq!((code, piped_code, errors.as_str()), (0, 0, ""));
        assert_eq!(found, wanted, "{}", path.display());
        count += 1;
    }
    assert!(count > 10, "{count}");

    // Values in parts, and others; whatever comes before the end is whole.
    let whole = fs::read(testdata("valid/parts.mcs")).unwrap();
    let (_, wanted, _) = read_piped(&testdata("valid/parts.mcs"), &[]);
    let cut = workdir.join("cut.mcs");
    let step = whole.len() / 24;
    let mut longest = 0;
    for len in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        fs::write(&cut, &whole[..len]).unwrap();
        let (code, found, errors) = read_piped(&cut, &[]);
        assert_eq!(code, 3, "{len}: {errors}");
        assert!(errors.starts_with("MCS001 "), "{len}: {errors}");
        assert!(wanted.starts_with(&found), "{len}: {found}");
        longest = longest.max(found.lines().count());
    }
    assert_eq!(longest, wanted.lines().count());
    fs::write(&cut, [&whole[..], b"x"].concat()).unwrap();
    assert_eq!(read_piped(&cut, &["--check"]).0, 3);

    // What is newer, it cannot take for damaged either.
    let newer = testdata("newer/dictionary/segments/n0000-s000-00000-10101010.mcs");
    let (code, found, _) = read_piped(&newer, &["--check"]);
    assert_eq!((code, &found[..6]), (3, "MCS022"));
}

#[test]
fn the_independent_reader_says_what_it_was_given() {
    let workdir = Workdir::new("wrong-input");
    let (code, out, errors) = read_snapshot(&workdir.join("gone"), &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(errors.contains("No such file or directory"), "{errors}");
    fs::write(workdir.join("manifest.json"), "{\"format\": \"other\"}").unwrap();
    let (code, _, errors) = read_snapshot(workdir.path(), &["--check"]);
    assert_eq!(code, 1);
    assert!(errors.ends_with("this is no snapshot\n"), "{errors}");
    let (code, ..) = read_snapshot(workdir.path(), &["--nonsense"]);
    assert_eq!(code, 2);
}
