//! Salvage leaves nothing out in silence because a newer mcsnap has made it.

use std::fs;
use std::path::PathBuf;

use crate::format::golden_newer::{base, with_minor, with_minor_column, with_segment};
use crate::format::golden_valid::Snapshot;
use crate::harness::forge::{Forge, Place};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const REFUSAL: &str = "made by a newer mcsnap; upgrade\n";

/// Writes a snapshot, without a manifest if none is wanted.
fn write(workdir: &Workdir, snapshot: &Snapshot, has_manifest: bool) -> PathBuf {
    let place = workdir.join("s/n");
    for (file, bytes) in snapshot.files() {
        let path = place.join(&file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if has_manifest || file != "manifest.json" {
            fs::write(path, bytes).unwrap();
        }
    }
    place
}

fn refuses(workdir: &Workdir) -> String {
    let output = workdir.mcsnap(&["salvage", "s/n", "--to=out"]).exits(2);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.ends_with(REFUSAL), "{errors}");
    assert!(!workdir.join("out/n-salvaged").exists(), "{errors}");
    errors
}

#[test]
fn a_segment_of_another_major_version_is_not_left_out() {
    for has_manifest in [true, false] {
        let workdir = Workdir::new("salvage-major");
        let snapshot = with_segment(|forge| {
            forge.set(Place::FileHeader, "major", 2);
            forge.set(Place::Tail, "major", 2);
        });
        let place = write(&workdir, &snapshot, has_manifest);
        let errors = refuses(&workdir);
        assert!(errors.contains("format version 2.0"), "{errors}");
        // A file that the manifest does not name keeps nothing from being salvaged.
        if has_manifest {
            let first = &snapshot.files[0];
            fs::write(place.join("segments/stray.mcs"), &first.1).unwrap();
            fs::write(place.join(&first.0), &base().files[0].1).unwrap();
            let output = workdir.mcsnap(&["salvage", "s/n", "--to=out"]).succeeds();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(
                text.contains("MCS022") && text.contains("stray.mcs"),
                "{text}"
            );
            assert!(text.contains("4 recovered, none lost"), "{text}");
        }
    }
}

#[test]
fn what_is_newer_is_refused_though_damage_hides_the_version() {
    let workdir = Workdir::new("salvage-version");
    let mut snapshot = with_minor_column();
    // One of the two has the version, and then none.
    let bytes = &mut snapshot.files[0].1;
    bytes[8] ^= 1;
    write(&workdir, &snapshot, true);
    let errors = refuses(&workdir);
    assert!(
        errors.contains("unknown critical column 200, in format version 1.7"),
        "{errors}"
    );
    let bytes = &mut snapshot.files[0].1;
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    write(&workdir, &snapshot, true);
    let errors = refuses(&workdir);
    assert!(
        errors.contains("unknown critical column 200, in an unknown format version"),
        "{errors}"
    );
}

#[test]
fn damage_of_a_later_minor_version_is_salvaged_where_nothing_newer_is_met() {
    let workdir = Workdir::new("salvage-later");
    let mut snapshot = with_minor(|_| ());
    let at = Forge::new(&snapshot.files[0].1).range(Place::Block(0)).end + 90;
    snapshot.files[0].1[at] ^= 1;
    write(&workdir, &snapshot, true);
    let output = workdir.mcsnap(&["salvage", "s/n", "--to=out"]).exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("2 recovered, 2 lost"), "{text}");
}

#[test]
fn a_feature_of_a_segment_counts_though_the_manifest_does_not_list_it() {
    let workdir = Workdir::new("salvage-feature");
    let snapshot = with_segment(|forge| {
        let text = String::from_utf8(forge.bytes()[forge.payload(0)].to_vec()).unwrap();
        let text = text.replacen('{', "{\"features\":{\"restore\":[\"deltas\"]},", 1);
        forge.set_payload(0, text.as_bytes());
    });
    write(&workdir, &snapshot, true);
    let errors = refuses(&workdir);
    assert!(errors.contains("feature \"deltas\""), "{errors}");
    // Who restores reads the description, too.
    let server = Memcached::start();
    let output = workdir
        .mcsnap(&["restore", "s/n", "--to", &server.address()])
        .exits(2);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("feature \"deltas\""), "{errors}");
    workdir.mcsnap(&["verify", "s/n"]).succeeds();
}
