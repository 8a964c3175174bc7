//! The documents say what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mcsnap::codecs::format::checksum::{
    ContentDigests, crc32, index_hash, seeded_crc32, shard_of, value_hash,
};
use mcsnap::codecs::format::column::known_columns;
use mcsnap::codecs::format::encoder::EncoderOptions;
use mcsnap::codecs::format::frame::{FrameFlags, FrameType};
use mcsnap::codecs::format::hash_page::HashTable;
use mcsnap::codecs::format::ids::{LookUpId, SegmentId, SegmentIds, SnapshotId, SyncMarker};
use mcsnap::codecs::format::key_index::KeyIndexShape;
use mcsnap::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FILE_MAGIC, FRAME_HEADER_SIZE, FRAME_MARKER, PAGE_SIZE, STRUCTURES,
    TAIL_MAGIC, TOC_ENTRY_SIZE, VERSION_MAJOR, VERSION_MINOR,
};
use mcsnap::codecs::format::manifest::LookUpName;
use mcsnap::codecs::format::stat::STAT_SECTIONS;
use mcsnap::codecs::statistics::{KEY_DELIMITERS, PrefixTree, prefix_of, push_without_numbers};
use mcsnap::words::defect::Defect;
use mcsnap::words::item::{Attribute, Attributes, Exptime, ItemMeta, KEY_LEN_MAX};
use mcsnap::words::limits::{Limits, VALUE_LEN_MAX};

use crate::format::golden::frame_name;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The lines of a chapter, such as 5.2, up to the next heading.
fn chapter<'a>(text: &'a str, number: &str) -> Vec<&'a str> {
    let (chapter, section) = (format!("### {number} "), format!("## {number}. "));
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(&chapter) && !line.starts_with(&section));
    assert!(lines.next().is_some(), "FORMAT.md has no chapter {number}");
    lines.take_while(|line| !line.starts_with('#')).collect()
}

/// The cells of the rows of a chapter's tables, headings and rules among them.
fn rows<'a>(text: &'a str, number: &str) -> Vec<Vec<&'a str>> {
    chapter(text, number)
        .iter()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect()
}

/// The rows of the tables that start with an offset and a size.
fn offset_tables(lines: &[&str]) -> Vec<Vec<(usize, usize, String)>> {
    let mut tables = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", "Offset", "Size", ..] => tables.push(Vec::new()),
            ["", offset, size, _, name, ..] => {
                if let (Ok(offset), Ok(size)) = (offset.parse(), size.parse()) {
                    let name = name.replace('`', "");
                    tables
                        .last_mut()
                        .expect("a row outside a table")
                        .push((offset, size, name));
                }
            }
            _ => {}
        }
    }
    tables
}

#[test]
fn every_offset_in_the_format_document_is_that_of_the_code() {
    let text = document("FORMAT.md");
    for (number, table, _, fields) in STRUCTURES {
        let tables = offset_tables(&chapter(&text, number));
        let found = tables
            .get(*table)
            .unwrap_or_else(|| panic!("{number}: no table {table}"));
        let coded: Vec<_> = fields
            .iter()
            .map(|field| (field.offset, field.size, field.name.to_owned()))
            .collect();
        assert_eq!(*found, coded, "chapter {number}, table {table}");
    }
}

#[test]
fn every_finding_code_is_documented_and_every_documented_one_exists() {
    let text = document("FORMAT.md");
    let listed: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("## 11"))
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|word| word.starts_with("MCS"))
        .collect();
    assert_eq!(listed, Defect::CODES);
    let rules: BTreeSet<&str> = text
        .match_indices("[MCS")
        .filter_map(|(at, _)| text.get(at + 1..at + 7))
        .collect();
    // Two are no rules of the format: MCS020 repeats what the dump itself said,
    // and MCS021 what the store did not let a reader see.
    let without_rule: Vec<_> = Defect::CODES
        .iter()
        .filter(|code| !rules.contains(*code))
        .collect();
    assert_eq!(without_rule, [&"MCS020", &"MCS021"]);
}

/// Reads `250 bytes`, `65,536`, `64 MiB`, `2^32`, or a sum of two such.
fn amount(text: &str) -> u64 {
    if let Some((first, second)) = text.split_once(" and ") {
        return amount(first) + amount(second);
    }
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number = match number.split_once('^') {
        Some((base, exponent)) => base.parse::<u64>().unwrap().pow(exponent.parse().unwrap()),
        None => number.replace(',', "").parse().unwrap(),
    };
    match unit {
        "" | "bytes" => number,
        "KiB" => number << 10,
        "MiB" => number << 20,
        "GiB" => number << 30,
        _ => panic!("{text}: what unit is that?"),
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}

#[test]
fn every_limit_in_the_format_document_is_that_of_the_code() {
    let limits = Limits::default();
    let sections = limits.key_section_len_max + limits.value_section_len_max;
    let headers = to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE);
    let coded = [
        ("L1", to_u64(KEY_LEN_MAX)),
        // The flag's own test knows the least size of a file, L2.
        ("L3", VALUE_LEN_MAX),
        ("L4", to_u64(EncoderOptions::BLOCK_RAW_LEN)),
        ("L5", limits.block_record_count_max),
        ("L6", limits.key_section_len_max),
        ("L7", limits.value_section_len_max),
        ("L8", limits.toc_entry_count_max),
        ("L9", limits.meta_len_max),
        ("L10", limits.manifest_len_max),
        ("L11", limits.segment_record_count_max),
        ("L12", sections + headers),
        ("L13", limits.node_address_len_max),
        ("L14", limits.large_value_len_max),
        ("L15", limits.value_part_len_max),
        ("L16", limits.manifest_part_len_max),
        ("L17", limits.stat_len_max),
    ];
    let text = document("FORMAT.md");
    let mut found = BTreeMap::new();
    for row in rows(&text, "8") {
        let name = row[0].split(' ').next().unwrap();
        if name != "L2" && name.starts_with('L') && name != "Limit" {
            // What follows a comma is said in words.
            let words = row[1].split(", or").next().unwrap();
            found.insert(name, amount(words));
        }
    }
    assert_eq!(found, BTreeMap::from(coded));
    let toc_len = 2 * limits.toc_entry_count_max * to_u64(TOC_ENTRY_SIZE);
    let longest = "640,000,000 bytes";
    assert_eq!(amount(longest), toc_len);
    assert!(text.contains(longest));
}

#[test]
fn every_frame_type_in_the_format_document_is_that_of_the_code() {
    let text = document("FORMAT.md");
    let mut seen = Vec::new();
    for row in rows(&text, "5.3") {
        let Ok(raw) = row[0].parse::<u8>() else {
            continue;
        };
        let (name, critical, payload) = (row[1], row[2], row[3]);
        let frame_type = FrameType::from_raw(raw);
        let is_reserved = payload.contains("not in 1.0");
        assert_eq!(frame_type.is_known(), !is_reserved, "{name}");
        // Those without a name in the code are read by none.
        if frame_type != FrameType::Other(raw) {
            assert_eq!(frame_name(frame_type), name);
            let is_critical = FrameFlags::of(frame_type).is_critical();
            assert_eq!(is_critical, critical == "yes", "{name}");
        }
        seen.push(raw);
    }
    assert_eq!(seen, (1..=9).collect::<Vec<u8>>());
    for raw in (0..=0).chain(10..=255) {
        assert!(!FrameType::from_raw(raw).is_known(), "{raw}");
    }
}

#[test]
fn the_values_to_test_with_are_those_that_the_code_computes() {
    let text = document("FORMAT.md");
    let all: Vec<u8> = (0..=255).collect();
    let place = |table: HashTable| {
        let (page, fingerprint) = table.place(b"user:1");
        format!("{page}, {fingerprint}")
    };
    let ids = SegmentIds {
        segment: SegmentId([0x11; 16]),
        snapshot: SnapshotId([0x22; 16]),
        sync: SyncMarker([0x33; 8]),
    };
    let shape = KeyIndexShape {
        seed: 5,
        page_count: 7,
    };
    let look_up = LookUpName {
        id: LookUpId([0xb1; 16]),
        pages: 7,
        blocks: 1,
    };
    let meta = ItemMeta {
        client_flags: Some(7),
        exptime: Some(Exptime::Never),
        ..ItemMeta::default()
    };
    let mut digests = ContentDigests::default();
    digests.add(b"user:1", &meta, value_hash(b"Ada"), &mut Vec::new());
    let computed = [
        format!("{:08x}", crc32(b"123456789")),
        format!("{:08x}", seeded_crc32(ids.segment, &[b"123456789"])),
        format!("{:016x}", value_hash(b"")),
        format!("{:016x}", value_hash(b"Ada")),
        format!("{:016x}", value_hash(&all)),
        format!("{:016x}", shard_of(b"user:1", 64)),
        shard_of(b"user:1", 3).to_string(),
        format!("{:032x}", index_hash(b"user:1", 0)),
        format!("{:032x}", index_hash(b"user:1", 5)),
        format!("{:032x}", index_hash(&all, 5)),
        place(shape.table(&ids, 1)),
        place(look_up.table()),
        format!("{:032x}", digests.content),
        format!("{:032x}", digests.content_exptime),
    ];
    let rows = rows(&text, "6");
    let documented: Vec<&str> = rows.iter().skip(2).map(|row| row[1]).collect();
    assert_eq!(documented, computed);
}

#[test]
fn every_section_of_statistics_in_the_format_document_is_that_of_the_code() {
    let text = document("FORMAT.md");
    let mut documented = Vec::new();
    for row in rows(&text, "5.16") {
        if let (Ok(id), 3) = (row[0].parse::<u16>(), row.len()) {
            documented.push((id, row[1]));
        }
    }
    assert_eq!(documented, STAT_SECTIONS);
}

#[test]
fn the_prefixes_of_keys_in_the_format_document_are_those_of_the_code() {
    let text = document("FORMAT.md");
    let mut count = 0;
    for row in rows(&text, "5.16") {
        let [key, documented] = row[..] else {
            continue;
        };
        let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`')) else {
            continue;
        };
        let mut prefixes = Vec::new();
        for depth in 1..=PrefixTree::DEPTH_MAX {
            let delimiters = KEY_DELIMITERS.as_bytes();
            if let Some((prefix, delimiter)) = prefix_of(key.as_bytes(), delimiters, depth) {
                let mut name = Vec::new();
                push_without_numbers(&mut name, prefix, delimiter);
                prefixes.push(format!("`{}`", String::from_utf8(name).unwrap()));
            }
        }
        // A key with fewer has its longest at each greater depth.
        prefixes.dedup();
        assert_eq!(documented, prefixes.join(" "), "{key}");
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn every_column_and_mark_in_the_format_document_is_that_of_the_code() {
    let text = document("FORMAT.md");
    let widths = [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)];
    let mut documented = Vec::new();
    let mut marks = "";
    for row in rows(&text, "5.6") {
        let [id, name, critical, part, meaning] = row[..] else {
            continue;
        };
        if let (Ok(id), "yes" | "no") = (id.parse::<u8>(), critical)
            && !meaning.contains("reserved, not written by 1.0")
        {
            let width = widths.iter().find(|(kind, _)| *kind == part);
            documented.push((id, name, width.map(|(_, width)| *width), critical == "yes"));
            if name == "ATTRIBUTES" {
                marks = meaning;
            }
        }
    }
    let coded: Vec<_> = known_columns()
        .map(|column| (column.id, column.name, column.width, column.is_critical))
        .collect();
    assert_eq!(documented, coded);

    let coded = Attribute::ALL.map(|attribute| {
        let mut attributes = Attributes::default();
        attributes.set(attribute, true);
        let name = match attribute {
            Attribute::Fetched => "fetched",
            Attribute::Stale => "stale",
            Attribute::WinSent => "win-sent",
            Attribute::KeyIsBinary => "key-is-binary",
            Attribute::Incompressible => "incompressible",
        };
        format!("{} {name}", attributes.to_bits().0.trailing_zeros())
    });
    let wanted = format!("; bit {}; others reserved", coded.join(", "));
    assert!(marks.ends_with(&wanted), "{marks:?} is not {wanted:?}");
}

#[test]
fn every_magic_number_and_version_in_the_format_document_is_that_of_the_code() {
    let text = document("FORMAT.md");
    let value = |number: &str, field: &str| {
        let rows = rows(&text, number);
        let row = rows.iter().find(|row| row.get(3) == Some(&field));
        row.unwrap_or_else(|| panic!("{number}: no field {field}"))[4].to_owned()
    };
    let hex = |bytes: &[u8]| {
        let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("`{}`", pairs.join(" "))
    };
    assert_eq!(value("5.1", "magic"), hex(&FILE_MAGIC));
    assert_eq!(value("5.2", "marker"), hex(&FRAME_MARKER));
    assert_eq!(value("5.11", "magic"), hex(&TAIL_MAGIC));
    assert_eq!(value("5.1", "major"), VERSION_MAJOR.to_string());
    let minor = format!("{VERSION_MINOR}; ");
    assert!(value("5.1", "minor").starts_with(&minor));
    assert!(text.contains("The pages follow, of 4,096 bytes each."));
    assert_eq!(PAGE_SIZE, 4096);
    let entry_size = format!("{TOC_ENTRY_SIZE}; ");
    assert!(value("5.10", "entry_size").starts_with(&entry_size));
    let title = format!("# The mcsnap snapshot format, version {VERSION_MAJOR}.{VERSION_MINOR}");
    assert_eq!(text.lines().next(), Some(title.as_str()));
}

/// Rules such as F5 that the readers name are those of the document.
#[test]
fn every_rule_that_the_independent_reader_names_exists() {
    let text = document("FORMAT.md");
    let rules: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split("**").next())
        .collect();
    let reader = document("tools/read_snapshot.py");
    let named = reader
        .lines()
        .filter_map(|line| Some(line.split_once("  # ")?.1))
        .filter(|comment| comment.len() <= 3 && comment.ends_with(|c: char| c.is_ascii_digit()))
        .filter(|comment| !comment.starts_with('L'));
    let unknown: Vec<&str> = named.filter(|rule| !rules.contains(rule)).collect();
    assert_eq!(unknown, [""; 0]);
}

/// Codes and what to do: the table of the code, and that of README.
#[test]
fn every_exit_code_is_in_both_tables_and_tells_a_scheduler_what_to_do() {
    let codes = |lines: &mut dyn Iterator<Item = &str>, last: usize| {
        let mut codes = BTreeSet::new();
        for line in lines {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let read = |cell: &str| cell.split(", ").map(str::parse::<u8>).collect();
            let Some(Ok(found)) = cells.first().map(|cell| read(cell)) else {
                continue;
            };
            let found: Vec<u8> = found;
            assert!(cells.len() == last + 1 && !cells[last].is_empty(), "{line}");
            codes.extend(found);
        }
        codes
    };
    let code = document("src/bin/mcsnap/exit.rs");
    let rows = code.lines().filter_map(|line| line.strip_prefix("//! |"));
    let of_code = codes(&mut rows.take(20), 1);
    let readme = document("README.md");
    let chapter = readme.lines().skip_while(|line| *line != "## Exit codes");
    let rows = chapter
        .skip(1)
        .take_while(|line| !line.starts_with("| word"));
    let of_readme = codes(&mut rows.filter_map(|line| line.strip_prefix("| ")), 2);
    assert_eq!(of_code, BTreeSet::from([0, 1, 2, 3, 4, 130, 143]));
    assert_eq!(of_readme, of_code);
}
