//! Snapshots with what FORMAT.md 7.1 keeps a place for, as a later version may write it:
//! each must be refused as newer by the readers of this one.

use mcsnap::codecs::format::frame::{FrameHeader, FrameType};
use mcsnap::codecs::format::layout::{FRAME_HEADER_SIZE, TAIL_SIZE};
use mcsnap::codecs::format::tail::Tail;
use serde_json::{Value, json};

use crate::format::golden_newer::{
    Case, KEY, base, digest_of, in_segment, with_manifest, with_minor,
};
use crate::format::golden_valid::{Snapshot, raw_keys, text_of, with_column};
use crate::harness::forge::{CRITICAL, Forge, HAS_PAYLOAD_CRC, PLAIN, Place, Side};

/// Frame types of a later version. FORMAT.md 5.3.
const DICTIONARY: u8 = 8;
const ENCRYPTED: u8 = 9;

/// The column of a later version. FORMAT.md 7.1.
const STATE: u8 = 12;

/// The codec of a later version. FORMAT.md 7.1.
const ZSTD_WITH_DICTIONARY: u8 = 2;

/// What the scheme of these files adds to what it encrypts.
const ADDED: [u8; 16] = [0xad; 16];

const KEY_ID: [u8; 16] = [0xc1; 16];

/// No cipher, but it looks like what one makes.
fn encrypted(plain: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = plain.iter().map(|byte| byte ^ 0x5a).collect();
    bytes.extend_from_slice(&ADDED);
    bytes
}

/// The payload of an ENCRYPTED frame.
fn encrypted_frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let parameters = [0x77; 24];
    let mut bytes = vec![kind, CRITICAL | HAS_PAYLOAD_CRC];
    bytes.extend_from_slice(&u16::try_from(parameters.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&KEY_ID);
    bytes.extend_from_slice(&parameters);
    bytes.extend_from_slice(&encrypted(payload));
    bytes
}

fn keys() -> Value {
    json!([{ "id": "c1".repeat(16), "scheme": "example", "parameters": { "recipients": [] } }])
}

/// Changes META of the first segment, as text.
fn set_meta(forge: &mut Forge, change: impl FnOnce(&mut Value)) {
    let mut meta: Value = serde_json::from_slice(&forge.bytes()[forge.payload(0)]).unwrap();
    change(&mut meta);
    let text = serde_json::to_string(&meta).unwrap();
    forge.set_payload(0, text.as_bytes());
}

fn set_feature(forge: &mut Forge, feature: &str) {
    set_meta(forge, |meta| {
        meta["features"] = json!({ "read": [feature], "restore": [], "verify": [] });
    });
}

/// The manifest of a snapshot of a later version that needs a feature.
fn later_manifest(snapshot: &Snapshot, feature: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut manifest: Value = serde_json::from_str(&text_of(&snapshot.manifest)).unwrap();
    manifest["version"]["minor"] = json!(1);
    manifest["features"]["read"] = json!([feature]);
    let members = manifest.as_object_mut().unwrap();
    let checksum = members.shift_remove("checksum").unwrap();
    change(&mut manifest);
    let members = manifest.as_object_mut().unwrap();
    members.insert("checksum".to_owned(), checksum);
    format!("{manifest:#}\n")
}

/// Times on a clock that this build does not know.
fn clock() -> Case {
    let snapshot = with_minor(|forge| {
        set_feature(forge, "clock");
        set_meta(forge, |meta| meta["clock"] = json!("true-time"));
    });
    let text = later_manifest(&snapshot, "clock", |_| ());
    Case {
        files: with_manifest(&snapshot, &text),
        ..in_segment("clock", "times on an unknown clock", &[], &snapshot)
    }
}

/// A snapshot that borrows its second segment from [`base`], and has two records of which
/// one says that its key is deleted, and one has newer metadata alone.
fn increment() -> Case {
    let mut snapshot = with_minor(|forge| {
        set_feature(forge, "increments");
        let raw = with_column(&raw_keys(forge, 0), STATE, CRITICAL, 0, &[1, 2]);
        forge.set_section(0, Side::Keys, PLAIN, &raw, &raw);
    });
    // It is lent, and so not here.
    snapshot.files.truncate(1);
    let lender = text_of(&base().manifest);
    let lender: Value = serde_json::from_str(&lender).unwrap();
    let text = later_manifest(&snapshot, "increments", |manifest| {
        manifest["parents"] = json!([{
            "name": "sound",
            "snapshot_id": lender["snapshot_id"],
        }]);
        manifest["segments"][1]["parent"] = json!(1);
        // The lent one is farther, but of another node: the order stays.
        manifest["counting"] = json!({
            "records": "2",
            "key_bytes": "2",
            "value_bytes": "100",
            "content_digest": "0".repeat(32),
            "content_digest_exptime": "0".repeat(32),
        });
    });
    Case {
        files: with_manifest(&snapshot, &text),
        ..in_segment(
            "increment",
            "a lent segment, a deleted key, and metadata without their value",
            &[],
            &snapshot,
        )
    }
}

/// A segment in which only file header, frame headers, ids and tail are in clear.
fn encrypted_segment() -> Case {
    let mut snapshot = with_minor(|forge| {
        for side in [Side::Keys, Side::Values] {
            let bytes = forge.bytes()[forge.section_range(0, side)].to_vec();
            forge.set_section(0, side, PLAIN, &encrypted(&bytes), &bytes);
        }
        let meta = forge.bytes()[forge.payload(0)].to_vec();
        set_meta(forge, |meta| {
            let members = meta.as_object_mut().unwrap();
            members.retain(|name, _| name.ends_with("_id") || name == "sync_marker");
            meta["keys"] = keys();
        });
        set_feature(forge, "encryption");
        let flags = CRITICAL | HAS_PAYLOAD_CRC;
        forge.insert_frame(1, ENCRYPTED, flags, &encrypted_frame(1, &meta));
        for side in [Side::Keys, Side::Values] {
            forge.set(Place::Section(0, side), "flags", 1);
            forge.set(Place::Section(0, side), "reserved", 1);
            forge.set(Place::Section(0, side), "raw_crc", 0);
        }
        forge.set(Place::KeyIndex, "reserved", 1);
    });
    let bytes = with_encrypted_toc(&snapshot.files[0].1);
    let named = &mut snapshot.manifest.segments[0];
    named.size = u64::try_from(bytes.len()).unwrap();
    named.digest = digest_of(&bytes);
    snapshot.files[0].1 = bytes;
    snapshot.add_up();
    let text = later_manifest(&snapshot, "encryption", |manifest| {
        manifest["keys"] = keys()
    });
    Case {
        files: with_manifest(&snapshot, &text),
        ..in_segment(
            "encrypted-segment",
            "encrypted META, sections and table of contents",
            &[],
            &snapshot,
        )
    }
}

/// Puts an ENCRYPTED frame into the place of the table of contents.
fn with_encrypted_toc(segment: &[u8]) -> Vec<u8> {
    let (rest, tail) = segment.split_at(segment.len() - TAIL_SIZE);
    let file_len = u64::try_from(segment.len()).unwrap();
    let tail = Tail::decode(tail, file_len).unwrap();
    let (frames, toc) = rest.split_at(usize::try_from(tail.toc_offset).unwrap());
    let sequence = FrameHeader::decode(toc, &tail.ids, tail.toc_offset)
        .unwrap()
        .sequence;
    let payload = encrypted_frame(FrameType::Toc.to_raw(), &toc[FRAME_HEADER_SIZE..]);
    let mut header = FrameHeader::new(
        &tail.ids,
        FrameType::Toc,
        sequence,
        tail.toc_offset,
        &payload,
    );
    header.frame_type = FrameType::Other(ENCRYPTED);
    let frame = [header.encode(&tail.ids), payload].concat();
    let toc_len = u64::try_from(frame.len()).unwrap();
    let tail = Tail {
        toc_len,
        file_len: tail.toc_offset + toc_len + u64::try_from(TAIL_SIZE).unwrap(),
        ..tail
    };
    [frames, &frame, &tail.encode()].concat()
}

/// A manifest of which nothing is in clear.
fn encrypted_manifest() -> Case {
    let snapshot = base();
    let text = later_manifest(&snapshot, "encryption", |manifest| {
        *manifest = json!({
            "format": "mcsnap-encrypted",
            "version": manifest["version"],
            "features": manifest["features"],
            "snapshot_id": manifest["snapshot_id"],
            "key": keys()[0],
            "encrypted": "bm90aGluZyB0aGF0IGEgcmVhZGVyIG9mIDEuMCByZWFkcw==",
        });
    });
    Case {
        is_in_segment: false,
        files: with_manifest(&snapshot, &text),
        ..in_segment(
            "encrypted-manifest",
            "an encrypted manifest",
            &[],
            &snapshot,
        )
    }
}

/// A zstd frame of one byte many times, which names the dictionary. By hand, so that it is
/// the same whatever zstd makes.
fn zstd_frame(dictionary: &[u8], byte: u8, count: u8) -> Vec<u8> {
    let id = &dictionary[4..8];
    let block = u32::from(count) << 3 | 1 << 1 | 1;
    let descriptor = 0b0010_0011;
    let parts: [&[u8]; 5] = [
        &[0x28, 0xb5, 0x2f, 0xfd, descriptor],
        id,
        &[count],
        &block.to_le_bytes()[..3],
        &[byte],
    ];
    parts.concat()
}

/// A segment with a dictionary, and values that are compressed with it.
fn dictionary() -> Case {
    let dictionary = include_bytes!("../../../testdata/dictionary.zstd");
    let snapshot = with_minor(|forge| {
        set_feature(forge, "dictionaries");
        let raw = forge.bytes()[forge.section_range(0, Side::Values)].to_vec();
        let count = u8::try_from(raw.len()).unwrap();
        let stored = zstd_frame(dictionary, raw[0], count);
        let mut decompressor = zstd::bulk::Decompressor::with_dictionary(dictionary).unwrap();
        assert_eq!(decompressor.decompress(&stored, raw.len()).unwrap(), raw);
        forge.set_section(0, Side::Values, ZSTD_WITH_DICTIONARY, &stored, &raw);
        forge.insert_frame(1, DICTIONARY, CRITICAL | HAS_PAYLOAD_CRC, dictionary);
    });
    let text = later_manifest(&snapshot, "dictionaries", |_| ());
    Case {
        files: with_manifest(&snapshot, &text),
        ..in_segment(
            "dictionary",
            "values compressed with a dictionary",
            &[],
            &snapshot,
        )
    }
}

/// All cases; each is refused by every command.
pub(crate) fn cases() -> Vec<Case> {
    let cases = vec![
        clock(),
        increment(),
        encrypted_segment(),
        encrypted_manifest(),
        dictionary(),
    ];
    assert!(
        cases
            .iter()
            .all(|case| case.key == KEY && case.reads.is_empty())
    );
    cases
}
