//! Snapshots with something that only a newer mcsnap reads, and what each command says
//! of them: never that they are damaged, and always the same.
//!
//! Each run makes them anew, compares them with the stored ones, and lets both readers
//! and every command look. `MCSNAP_BLESS=1` writes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Output;

use mcsnap::codecs::format::checksum::{crc32, seeded_crc32_of};
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::encoder::EncoderOptions;
use mcsnap::codecs::format::layout::{LOOK_UP_BLOCK_SIZE, LOOK_UP_HEADER_SIZE, PAGE_SIZE};
use mcsnap::codecs::format::sealed_text::check_seal;
use mcsnap::codecs::format::segment_meta::SegmentMeta;
use mcsnap::engines::snapshot::SegmentReader;
use mcsnap::ports::store::{MemoryStore, Store as _};
use mcsnap::words::defect::Structure;
use mcsnap::words::error::Result;
use mcsnap::words::item::Exptime;
use mcsnap::words::limits::Limits;
use serde_json::json;

use crate::format::golden_corrupt::findings_json;
use crate::format::golden_to_come;
use crate::format::golden_valid::{
    Snapshot, check, forged, is_blessed, raw_keys, resealed, row, testdata, text_of, told,
    with_column,
};
use crate::format::independent_reader::{verify_by_library, verify_independently};
use crate::harness::forge::{CRITICAL, Forge, HAS_PAYLOAD_CRC, PLAIN, Place, Side};
use crate::harness::memcached::Memcached;
use crate::harness::sound_segments;
use crate::harness::workdir::{Run, Workdir};

/// The words of every refusal.
const REFUSAL: &str = "made by a newer mcsnap; upgrade";

/// The key of the first segment that is looked up, unless a case has another.
pub(crate) const KEY: &str = "a";

/// A way to use a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Verify,
    VerifyData,
    VerifyDeep,
    Ls,
    Get,
    Inspect,
    InspectExact,
    RingDetect,
    RestoreDryRun,
    Restore,
    Push,
    Pull,
    Salvage,
}

impl Job {
    const ALL: [Self; 13] = [
        Self::Verify,
        Self::VerifyData,
        Self::VerifyDeep,
        Self::Ls,
        Self::Get,
        Self::Inspect,
        Self::InspectExact,
        Self::RingDetect,
        Self::RestoreDryRun,
        Self::Restore,
        Self::Push,
        Self::Pull,
        Self::Salvage,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::VerifyData => "verify --data",
            Self::VerifyDeep => "verify --deep",
            Self::Ls => "ls",
            Self::Get => "get",
            Self::Inspect => "inspect",
            Self::InspectExact => "inspect --exact",
            Self::RingDetect => "ring detect",
            Self::RestoreDryRun => "restore --dry-run",
            Self::Restore => "restore",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Salvage => "salvage",
        }
    }

    fn is_verify(self) -> bool {
        matches!(self, Self::Verify | Self::VerifyData | Self::VerifyDeep)
    }

    /// A segment alone is no snapshot that has a ring, or that could be copied.
    fn takes_segments(self) -> bool {
        !matches!(self, Self::RingDetect | Self::Push | Self::Pull)
    }

    /// Runs the command on a snapshot or a segment file.
    fn run(self, workdir: &Workdir, place: &Path, key: &str, server: &Memcached) -> Output {
        let start = |words: &[&str]| -> Run { workdir.mcsnap(words) };
        let run = match self {
            Self::Verify => start(&["verify"]).arg(place),
            Self::VerifyData => start(&["verify", "--data"]).arg(place),
            Self::VerifyDeep => start(&["verify", "--deep"]).arg(place),
            Self::Ls => start(&["ls"]).arg(place),
            Self::Get => start(&["get"]).arg(place).arg(key),
            Self::Inspect => start(&["inspect"]).arg(place),
            Self::InspectExact => start(&["inspect", "--exact"]).arg(place),
            Self::RingDetect => start(&["ring", "detect", "--snapshot"]).arg(place),
            Self::RestoreDryRun => start(&["restore", "--ttl-if-unknown=1h", "--dry-run", "--to"])
                .arg(server.address())
                .arg(place),
            Self::Restore => start(&["restore", "--ttl-if-unknown=1h", "--to"])
                .arg(server.address())
                .arg(place),
            Self::Push | Self::Pull => {
                let _ = fs::remove_dir_all(workdir.join("out"));
                start(&[self.name(), "--to=out", "--name=new"]).arg(place)
            }
            Self::Salvage => {
                let _ = fs::remove_dir_all(workdir.join("out"));
                start(&["salvage", "--to=out", "--name=new"]).arg(place)
            }
        };
        run.run()
    }
}

/// A snapshot with something newer.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// The jobs that do not meet it, or may pass over it. All others refuse.
    pub(crate) reads: &'static [Job],
    /// Whether it is in the segment, so that a reader of the segment alone meets it, too.
    pub(crate) is_in_segment: bool,
    pub(crate) key: &'static str,
}

/// The jobs that look at no block.
const TABLES_ALONE: &[Job] = &[Job::Verify, Job::Inspect];
/// Jobs that decode no record.
const STORED_ALONE: &[Job] = &[
    Job::Verify,
    Job::VerifyData,
    Job::Inspect,
    Job::Push,
    Job::Pull,
];
/// Jobs that read neither the key index nor values in parts.
const KEYS_ALONE: &[Job] = &[
    Job::Verify,
    Job::Ls,
    Job::Inspect,
    Job::InspectExact,
    Job::RingDetect,
    Job::RestoreDryRun,
];
const BLOCKS_ALONE: &[Job] = &[
    Job::Verify,
    Job::Ls,
    Job::Inspect,
    Job::InspectExact,
    Job::RingDetect,
    Job::RestoreDryRun,
    Job::Restore,
];
const ALL_BUT_RESTORE: &[Job] = &[
    Job::Verify,
    Job::VerifyData,
    Job::VerifyDeep,
    Job::Ls,
    Job::Get,
    Job::Inspect,
    Job::InspectExact,
    Job::RingDetect,
    Job::Push,
    Job::Pull,
];
/// Jobs that do without look-up objects.
const ALL_BUT_VERIFICATIONS: &[Job] = &[
    Job::Ls,
    Job::Get,
    Job::Inspect,
    Job::InspectExact,
    Job::RingDetect,
    Job::RestoreDryRun,
    Job::Restore,
    Job::Salvage,
];
/// The same, and one that reads no page.
const ALL_BUT_PAGES: &[Job] = &[
    Job::Verify,
    Job::Ls,
    Job::Get,
    Job::Inspect,
    Job::InspectExact,
    Job::RingDetect,
    Job::RestoreDryRun,
    Job::Restore,
    Job::Salvage,
];
const ALL_BUT_VERIFY: &[Job] = &[
    Job::Ls,
    Job::Get,
    Job::Inspect,
    Job::InspectExact,
    Job::RingDetect,
    Job::RestoreDryRun,
    Job::Restore,
];

/// Two nodes, so that a ring can be looked for, with a segment each.
pub(crate) fn base() -> Snapshot {
    let mut snapshot = Snapshot::new(&[("cache1:11211", 0), ("cache2:11211", 0)]);
    // Not what a server would drop at once, or take back without a part of it.
    let mut meta = told();
    meta.exptime = Some(Exptime::Never);
    meta.cas = None;
    let value = "v".repeat(50);
    let rows = |keys: [&str; 2]| keys.map(|key| row(key, &value, meta)).to_vec();
    snapshot.add(0, 0, 0, Compression::None, &rows([KEY, "b"]));
    snapshot.add(1, 0, 0, Compression::None, &rows(["c", "d"]));
    snapshot
}

/// The snapshot with another first segment, and what its manifest then says of it.
pub(crate) fn with_segment(change: impl FnOnce(&mut Forge)) -> Snapshot {
    let mut snapshot = base();
    let bytes = forged(&snapshot.files[0].1, change);
    let named = &mut snapshot.manifest.segments[0];
    named.size = u64::try_from(bytes.len()).unwrap();
    named.digest = digest_of(&bytes);
    snapshot.files[0].1 = bytes;
    snapshot.add_up();
    snapshot
}

/// As [`with_segment`], in a segment of a later minor version.
pub(crate) fn with_minor(change: impl FnOnce(&mut Forge)) -> Snapshot {
    with_segment(|forge| {
        change(forge);
        forge.set(Place::FileHeader, "minor", 7);
        forge.set(Place::Tail, "minor", 7);
    })
}

/// A segment with a column that this build must not pass over.
pub(crate) fn with_minor_column() -> Snapshot {
    with_minor(|forge| {
        set_keys(forge, |raw| {
            with_column(&raw, 200, CRITICAL, 0, b"what must be known")
        });
    })
}

/// A segment with values in parts, one of them in an unknown codec.
fn in_parts() -> Case {
    let mut snapshot = base();
    let forge = Forge::new(&snapshot.files[0].1);
    let meta: SegmentMeta = serde_json::from_slice(&forge.bytes()[forge.payload(0)]).unwrap();
    let options = EncoderOptions {
        compression: Compression::None,
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
        part_raw_len: sound_segments::PART_LEN,
        index_seed: 9,
    };
    let bytes = forged(&sound_segments::in_parts_of(&meta, options), |forge| {
        forge.set(Place::PartSection(0), "codec", 2);
        forge.set(Place::FileHeader, "minor", 7);
        forge.set(Place::Tail, "minor", 7);
    });
    snapshot.set_segment(0, bytes);
    Case {
        key: "user:2",
        ..in_segment(
            "part",
            "an unknown codec of a part of a value",
            KEYS_ALONE,
            &snapshot,
        )
    }
}

pub(crate) fn open(bytes: &[u8]) -> Result<SegmentReader> {
    let store = MemoryStore::new();
    store.put_new("s", bytes)?;
    SegmentReader::open_object(store.open("s")?, "s".to_owned(), &Limits::default())
}

/// The digest of a segment, or any where a newer reader is needed for it.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    open(bytes)
        .and_then(|segment| segment.compute_digest())
        .unwrap_or_else(|_| format!("sha256:{}", "0".repeat(64)))
}

fn set_keys(forge: &mut Forge, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let raw = change(raw_keys(forge, 0));
    forge.set_section(0, Side::Keys, PLAIN, &raw, &raw);
}

pub(crate) fn in_segment(
    name: &'static str,
    what: &'static str,
    reads: &'static [Job],
    snapshot: &Snapshot,
) -> Case {
    Case {
        name,
        what,
        files: snapshot.files(),
        reads,
        is_in_segment: true,
        key: KEY,
    }
}

/// A segment and a manifest that need a feature for a job.
fn with_feature(name: &'static str, what: &'static str, job: &str, reads: &'static [Job]) -> Case {
    let snapshot = with_segment(|forge| {
        let text = String::from_utf8(forge.bytes()[forge.payload(0)].to_vec()).unwrap();
        let features = format!("{{\"features\":{{\"{job}\":[\"deltas\"]}},");
        forge.set_payload(0, text.replacen('{', &features, 1).as_bytes());
    });
    let empty = format!("\"{job}\": []");
    let text = text_of(&snapshot.manifest).replace(&empty, &format!("\"{job}\": [\"deltas\"]"));
    Case {
        files: with_manifest(&snapshot, &text),
        ..in_segment(name, what, reads, &snapshot)
    }
}

pub(crate) fn with_manifest(snapshot: &Snapshot, text: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = snapshot.files.clone();
    files.push(("manifest.json".to_owned(), resealed(text)));
    files
}

fn in_manifest(
    name: &'static str,
    what: &'static str,
    reads: &'static [Job],
    changes: &[(&str, &str)],
) -> Case {
    let snapshot = base();
    let mut text = text_of(&snapshot.manifest);
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    Case {
        name,
        what,
        files: with_manifest(&snapshot, &text),
        reads,
        is_in_segment: false,
        key: KEY,
    }
}

/// A snapshot whose first look-up object, of one page and one block, is changed and has
/// right checksums again.
fn in_look_up(
    name: &'static str,
    what: &'static str,
    reads: &'static [Job],
    change: impl FnOnce(&mut Vec<u8>),
) -> Case {
    let mut snapshot = base().look_up();
    let id = snapshot.manifest.nodes[0].look_ups[0].id.0;
    let files = &mut snapshot.files;
    let (_, bytes) = files
        .iter_mut()
        .find(|(file, _)| file.ends_with(".mcl"))
        .unwrap();
    change(bytes);
    let number = 0_u32.to_le_bytes();
    let entry = LOOK_UP_HEADER_SIZE + PAGE_SIZE;
    let end = entry + LOOK_UP_BLOCK_SIZE - 4;
    let crc = crc32(&bytes[..LOOK_UP_HEADER_SIZE - 4]);
    bytes[LOOK_UP_HEADER_SIZE - 4..LOOK_UP_HEADER_SIZE].copy_from_slice(&crc.to_le_bytes());
    let crc = seeded_crc32_of(id, &[&number, &bytes[entry..end]]);
    bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    Case {
        name,
        what,
        files: snapshot.files(),
        reads,
        is_in_segment: false,
        key: KEY,
    }
}

fn look_ups() -> Vec<Case> {
    let (major, minor, key, parent) = (8, 10, 72, LOOK_UP_HEADER_SIZE + PAGE_SIZE + 36);
    vec![
        in_look_up(
            "look-up-major",
            "a look-up object of major version 2, and of another length",
            ALL_BUT_VERIFICATIONS,
            |bytes| {
                bytes[major] = 2;
                bytes.extend_from_slice(b"more");
            },
        ),
        in_look_up(
            "look-up-key",
            "a reserved field of a look-up object",
            ALL_BUT_VERIFICATIONS,
            |bytes| {
                bytes[minor] = 1;
                bytes[key] = 1;
            },
        ),
        in_look_up(
            "look-up-parent",
            "a reserved field of an entry of a look-up object",
            ALL_BUT_PAGES,
            |bytes| {
                bytes[minor] = 1;
                bytes[parent] = 1;
            },
        ),
        in_look_up(
            "look-up-minor",
            "a look-up object of minor version 1, and nothing newer",
            &Job::ALL,
            |bytes| bytes[minor] = 1,
        ),
    ]
}

/// A snapshot with its segments in a part of another version.
fn in_part(
    name: &'static str,
    what: &'static str,
    reads: &'static [Job],
    [old, new]: [&str; 2],
) -> Case {
    let mut snapshot = base().split(2);
    let (_, bytes) = snapshot.files.last_mut().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    *bytes = resealed(&text.replace(old, new));
    let said = &mut snapshot.manifest.parts[0];
    said.checksum = check_seal(Structure::ManifestPart, bytes).unwrap();
    Case {
        name,
        what,
        files: snapshot.files(),
        reads,
        is_in_segment: false,
        key: KEY,
    }
}

fn segments() -> Vec<Case> {
    let keys = Place::Section(0, Side::Keys);
    let values = Place::Section(0, Side::Values);
    let field = |place, name, value| {
        with_minor(move |forge| {
            forge.set(place, name, value);
        })
    };
    let major = with_segment(|forge| {
        forge.set(Place::FileHeader, "major", 2);
        forge.set(Place::Tail, "major", 2);
    });
    let mark = with_minor(|forge| {
        set_keys(forge, |mut raw| {
            let at = raw.len() - 2;
            raw[at] |= 1 << 5;
            raw[at + 1] |= 1 << 5;
            raw
        });
    });
    let frame = with_minor(|forge| {
        forge.insert_frame(2, 8, CRITICAL | HAS_PAYLOAD_CRC, b"a dictionary");
    });
    let flag = with_minor(|forge| {
        forge.set(Place::Frame(1), "flags", 0b101);
        forge.set(Place::TocEntry(1), "flags", 0b101);
    });
    let in_segment = |name, what, reads, snapshot| in_segment(name, what, reads, &snapshot);
    let (tables, stored) = (TABLES_ALONE, STORED_ALONE);
    vec![
        in_segment(
            "minor",
            "minor version 7, and nothing newer",
            &Job::ALL,
            with_minor(|_| ()),
        ),
        in_segment("major", "major version 2", &[], major),
        in_segment(
            "codec",
            "an unknown codec of a key section",
            tables,
            field(keys, "codec", 2),
        ),
        in_segment(
            "encrypted",
            "an encrypted value section",
            tables,
            field(values, "flags", 1),
        ),
        in_segment("mark", "a sixth mark", stored, mark),
        in_segment(
            "column",
            "an unknown critical column",
            stored,
            with_minor_column(),
        ),
        in_segment(
            "encoding",
            "an unknown encoding of a column",
            stored,
            with_minor(|forge| {
                set_keys(forge, |mut raw| {
                    // Of the last column.
                    let at = 4 + 8 * (usize::from(raw[0]) - 1);
                    raw[at + 2] = 1;
                    raw
                });
            }),
        ),
        in_segment("frame", "an unknown critical frame", &[], frame),
        in_segment(
            "frame-flag",
            "a reserved flag of a block's frame",
            tables,
            flag,
        ),
        in_segment(
            "entry",
            "a reserved field of an entry of the table of contents",
            &[],
            field(Place::TocEntry(1), "reserved", 1),
        ),
        in_segment(
            "toc",
            "a reserved field of the table of contents",
            &[],
            field(Place::Toc, "reserved", 1),
        ),
        in_segment(
            "page",
            "a reserved field of a page of the key index",
            BLOCKS_ALONE,
            field(Place::Page(0), "reserved", 1),
        ),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = segments();
    cases.extend([
        in_parts(),
        with_feature("feature-read", "a feature that all must know", "read", &[]),
        with_feature(
            "feature-restore",
            "a feature that restoring needs",
            "restore",
            ALL_BUT_RESTORE,
        ),
        with_feature(
            "feature-verify",
            "a feature that verifying needs",
            "verify",
            ALL_BUT_VERIFY,
        ),
        in_manifest(
            "manifest-minor",
            "a manifest of minor version 7, and nothing newer",
            &Job::ALL,
            &[("\"minor\": 0", "\"minor\": 7")],
        ),
        in_manifest(
            "manifest-major",
            "a manifest of major version 2",
            &[],
            &[("\"major\": 1", "\"major\": 2")],
        ),
        in_manifest(
            "manifest-verdict",
            "an unknown verdict",
            &[],
            &[
                ("\"minor\": 0", "\"minor\": 7"),
                ("\"verdict\": \"complete\"", "\"verdict\": \"mirrored\""),
            ],
        ),
    ]);
    cases.extend([
        in_part(
            "part-major",
            "a part of major version 2",
            &[],
            ["\"major\": 1", "\"major\": 2"],
        ),
        in_part(
            "part-minor",
            "a part of minor version 7, and nothing newer",
            &Job::ALL,
            ["\"minor\": 0", "\"minor\": 7"],
        ),
    ]);
    cases.extend(look_ups());
    cases.extend(golden_to_come::cases());
    cases
}

/// Checks what a command said and did; `sound` is what it does with a sound snapshot.
fn check_output(workdir: &Workdir, what: &str, job: Job, reads: bool, output: &Output, sound: i32) {
    let code = output.status.code().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let both = format!("{what}:\n{out}\n{errors}");
    assert!(
        !both.contains("damaged)") && !errors.contains("salvage recovers"),
        "{both}"
    );
    if reads {
        assert_eq!(code, sound, "{both}");
        assert!(!both.contains(REFUSAL), "{both}");
        return;
    }
    assert_eq!(code, 2, "{both}");
    let last = errors.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("mcsnap: ") && last.ends_with(REFUSAL),
        "{both}"
    );
    // No other finding, and nothing half done.
    let codes: BTreeSet<&str> = both
        .match_indices("MCS0")
        .filter_map(|(at, _)| both.get(at..at + 6))
        .collect();
    let wanted: &[&str] = if job.is_verify() { &["MCS022"] } else { &[] };
    assert_eq!(codes, wanted.iter().copied().collect(), "{both}");
    if job == Job::Salvage {
        assert!(!workdir.join("out/new").exists(), "{both}");
    }
    if matches!(job, Job::Push | Job::Pull) {
        // What is sound of it may be there.
        assert!(!workdir.join("out/new/manifest.json").exists(), "{both}");
    }
}

#[test]
fn every_command_refuses_what_is_newer_with_the_same_words_and_code() {
    let server = Memcached::start();
    let workdir = Workdir::new("newer");
    let sound = workdir.join("sound");
    for (file, bytes) in base().files() {
        let path = sound.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let code_of = |job: Job, place: &Path| {
        let output = job.run(&workdir, place, KEY, &server);
        output.status.code().unwrap()
    };
    let codes = Job::ALL.map(|job| code_of(job, &sound));
    let segment = fs::canonicalize(sound.join(&base().files[0].0)).unwrap();
    let lone_codes = Job::ALL.map(|job| code_of(job, &segment));
    let no_ring = 4;
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 0, no_ring, 0, 0, 0, 0, 0]);
    // One segment has no ring to be found, and is no snapshot.
    assert_eq!(lone_codes, [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 2, 2, 0]);
    for case in cases() {
        let place = testdata(&format!("newer/{}", case.name));
        let lone = place.join(&base().files[0].0);
        for ((job, code), lone_code) in Job::ALL.into_iter().zip(codes).zip(lone_codes) {
            let what = format!("{} of {}", job.name(), case.name);
            let reads = case.reads.contains(&job);
            let output = job.run(&workdir, &place, case.key, &server);
            check_output(&workdir, &what, job, reads, &output, code);
            if job.takes_segments() {
                let what = format!("{what}, its segment alone");
                let reads = reads || !case.is_in_segment;
                let output = job.run(&workdir, &lone, case.key, &server);
                check_output(&workdir, &what, job, reads, &output, lone_code);
            }
        }
    }
}

#[test]
fn both_readers_find_nothing_but_what_is_newer() {
    let cases = cases();
    if is_blessed() && testdata("newer").exists() {
        fs::remove_dir_all(testdata("newer")).unwrap();
    }
    let mut table = "# Snapshots with something newer\n\nOf each the first segment, the manifest, its part or a \
                     look-up object has something that a reader of 1.0 does not know and must not pass over. The JSON file beside \
                     it has what both readers find, and the commands that do not meet it; all others end with \
                     the exit code 2. Made by `tests/it/format/golden_newer.rs`.\n\n| snapshot | what it has \
                     |\n| --- | --- |\n"
        .to_owned();
    for case in &cases {
        for (file, bytes) in &case.files {
            check(&format!("newer/{}/{file}", case.name), bytes);
        }
        writeln!(table, "| `{}` | {} |", case.name, case.what).unwrap();
    }
    check("newer/README.md", table.as_bytes());
    let places: Vec<_> = cases
        .iter()
        .map(|case| testdata(&format!("newer/{}", case.name)))
        .collect();
    let paths: Vec<&Path> = places.iter().map(|place| place.as_path()).collect();
    let independent = verify_independently(&paths);
    for (case, place) in cases.iter().zip(&places) {
        let found = verify_by_library(place);
        assert_eq!(found, independent[place], "{}: {}", case.name, case.what);
        let found = found.unwrap();
        let is_refused = !case.reads.contains(&Job::VerifyDeep);
        assert_eq!(!found.is_empty(), is_refused, "{}: {found:?}", case.name);
        let is_newer = found.iter().all(|(code, ..)| code == "MCS022");
        assert!(is_newer, "{}: {found:?}", case.name);
        let reads: Vec<&str> = case.reads.iter().map(|job| job.name()).collect();
        let json = json!({
            "what": case.what,
            "findings": findings_json(&found),
            "reads": reads,
        });
        let json = format!("{json:#}\n");
        check(&format!("newer/{}.json", case.name), json.as_bytes());
    }
}
