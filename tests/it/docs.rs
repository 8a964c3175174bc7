//! The documents say what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mcsnap::defect::Defect;
use mcsnap::format::layout::STRUCTURES;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The lines of a chapter, such as 5.2, up to the next heading.
fn chapter<'a>(text: &'a str, number: &str) -> Vec<&'a str> {
    let heading = format!("### {number} ");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&heading));
    assert!(lines.next().is_some(), "FORMAT.md has no chapter {number}");
    lines.take_while(|line| !line.starts_with('#')).collect()
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
        .skip_while(|line| !line.starts_with("## 12"))
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|word| word.starts_with("MCS"))
        .collect();
    assert_eq!(listed, Defect::CODES);
    let rules: BTreeSet<&str> = text
        .match_indices("[MCS")
        .filter_map(|(at, _)| text.get(at + 1..at + 7))
        .collect();
    // MCS020 is no rule of the format: it repeats what the dump itself said.
    let without_rule: Vec<_> = Defect::CODES
        .iter()
        .filter(|code| !rules.contains(*code))
        .collect();
    assert_eq!(without_rule, [&"MCS020"]);
}
