//! What a dump that goes on keeps is what its servers still have, and nothing else.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::client::{Client, Fetched};
use crate::harness::memcached::Memcached;
use crate::harness::unfinished_dump::{KEY_COUNT, arguments, half_dumped, items, sealed};
use crate::harness::workdir::Workdir;

fn resume(workdir: &Workdir, server: &Memcached, more: &[&str]) -> Value {
    let address = server.address();
    let output = workdir
        .mcsnap(&arguments("a", &address, more))
        .arg("--resume")
        .succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "complete", "{report}");
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
    report
}

/// All that a server has: value, flags and when it expires.
fn content(client: &mut Client) -> BTreeMap<Vec<u8>, (Vec<u8>, u32, i64)> {
    let keys = client.keys();
    let items = client.fetch_all(keys.keys());
    assert_eq!(items.len(), keys.len());
    let describe = |(key, item): (Vec<u8>, Fetched)| {
        let exptime = keys[&key]["exp"].parse().unwrap();
        (key, (item.value, item.flags, exptime))
    };
    items.into_iter().map(describe).collect()
}

/// Restores the snapshot, and compares what comes of it with the server.
fn assert_same_as(workdir: &Workdir, server: &Memcached, report: &Value) {
    let wanted = content(&mut server.client());
    assert_eq!(report["records"], wanted.len(), "{report}");
    assert_eq!(report["stored"], wanted.len(), "{report}");
    let target = Memcached::start_with(&["-m", "256"]);
    workdir
        .mcsnap(&["restore", "s/a", "--to", &target.address(), "-q"])
        .succeeds();
    let restored = content(&mut target.client());
    assert!(restored.keys().eq(wanted.keys()), "other keys");
    for (key, (value, flags, exptime)) in &wanted {
        let (found, found_flags, found_exptime) = &restored[key];
        assert!(found == value && found_flags == flags, "{key:?}");
        // Their clocks tick apart, and late where a machine is loaded.
        assert!(found_exptime.abs_diff(*exptime) <= 60, "{key:?}");
    }
}

#[test]
fn values_of_yesterday_are_not_in_the_snapshot_of_today() {
    let (server, workdir, count) = half_dumped(&[], &[]);
    let before = sealed(&workdir);
    let mut client = server.client();
    for at in 0..KEY_COUNT / 2 {
        client.send(format!("delete key:{at} noreply\r\n").as_bytes());
    }
    client.load(items(KEY_COUNT / 2..KEY_COUNT, "new"));
    assert_eq!(client.keys().len(), KEY_COUNT as usize / 2);
    let report = resume(&workdir, &server, &[]);
    assert_eq!(report["kept_segments"], 0, "{report}");
    assert_eq!(report["dropped_records"], 100 * count);
    assert!(report["kept_began_at"].is_string() && report["kept_age_s"].is_u64());
    let left = sealed(&workdir);
    assert!(before.iter().all(|file| !left.contains(file)));
    assert_same_as(&workdir, &server, &report);
}

type Change = fn(&mut Client, &str);

/// What one key of a sealed segment goes through.
const CHANGES: [(&str, Change); 5] = [
    ("nothing", |_, _| {}),
    ("deleted", |client, key| {
        assert_eq!(client.command(&format!("delete {key}")), "DELETED");
    }),
    ("touched", |client, key| {
        assert_eq!(client.command(&format!("touch {key} 1000")), "TOUCHED");
    }),
    ("deleted and set again", |client, key| {
        let (flags, value) = client.get(key).unwrap();
        assert_eq!(client.command(&format!("delete {key}")), "DELETED");
        client.set(key, flags, 86_400, &value);
    }),
    ("appended to", |client, key| {
        client.send(format!("append {key} 0 0 1\r\nx\r\n").as_bytes());
        assert_eq!(client.read_line(), "STORED");
    }),
];

#[test]
fn one_change_costs_one_segment_and_all_others_are_kept() {
    let (server, workdir, count) = half_dumped(&[], &[]);
    let killed = sealed(&workdir);
    copy(&workdir, "s/a", "killed");
    let mut client = server.client();
    for (number, (what, change)) in CHANGES.into_iter().enumerate() {
        fs::remove_dir_all(workdir.join("s")).unwrap();
        fs::create_dir(workdir.join("s")).unwrap();
        copy(&workdir, "killed", "s/a");
        let file = &killed[number];
        let path = format!("s/a/segments/{file}");
        let listed = workdir.mcsnap(&["ls", &path, "--keys"]).succeeds();
        let keys = String::from_utf8(listed.stdout).unwrap();
        change(&mut client, keys.lines().next().unwrap());
        // Those of earlier rounds have changed, too, but for the first.
        let report = resume(&workdir, &server, &[]);
        assert_eq!(report["kept_segments"], count - number, "{what}: {report}");
        assert_eq!(report["dropped_records"], 100 * number, "{what}");
        let left = sealed(&workdir);
        let is_kept = |file: &&String| left.contains(file);
        let changed: Vec<&String> = killed.iter().filter(|file| !is_kept(file)).collect();
        assert_eq!(
            changed,
            killed[1..=number].iter().collect::<Vec<_>>(),
            "{what}"
        );
        let address = server.address();
        let whole = workdir
            .mcsnap(&arguments("whole", &address, &[]))
            .succeeds();
        let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
        for digest in ["content_digest", "content_digest_exptime"] {
            assert_eq!(report[digest], whole[digest], "{what}");
        }
        assert_same_as(&workdir, &server, &report);
    }
}

/// Copies a directory.
fn copy(workdir: &Workdir, from: &str, to: &str) {
    let copied = workdir.run_of("cp").arg("-r").arg(from).arg(to);
    copied.succeeds();
}

/// Lists leave nothing out of a server that nobody else uses.
#[test]
fn what_lists_show_is_kept_as_well() {
    for walk in ["--walk=slabs", "--walk=slabs:serial"] {
        let (server, workdir, count) = half_dumped(&[], &[walk]);
        let report = resume(&workdir, &server, &[walk]);
        assert_eq!(report["kept_segments"], count, "{walk}: {report}");
        assert_eq!(report["dropped_records"], 0);
        assert_eq!(report["records"], KEY_COUNT);
    }
}

/// Without a CAS nothing tells whether an item is the same.
#[test]
fn of_a_server_without_cas_nothing_is_kept() {
    for (server_arguments, more) in [(&["-C"][..], &[][..]), (&[], &["--walk=cachedump"])] {
        let (server, workdir, count) = half_dumped(server_arguments, more);
        let address = server.address();
        let before = sealed(&workdir);
        let output = workdir
            .mcsnap(&arguments("a", &address, more))
            .arg("--resume")
            .arg("--dry-run")
            .succeeds();
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["kept_segments"], 0, "{plan}");
        assert_eq!(sealed(&workdir), before);
        let output = workdir
            .mcsnap(&arguments("a", &address, more))
            .arg("--resume")
            .run();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["kept_segments"], 0, "{report}");
        assert_eq!(report["dropped_records"], 100 * count, "{report}");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            message.contains("tells no CAS, by which an item that has changed"),
            "{message}"
        );
        assert!(before.iter().all(|file| !sealed(&workdir).contains(file)));
        workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
    }
}

/// What is not selected any more is no part of what is selected tonight.
#[test]
fn kept_items_are_selected_anew() {
    let select = ["--select=ttl>1h"];
    let (server, workdir, count) = half_dumped(&[], &select);
    let mut client = server.client();
    // Only the exptime tells; and it is the exptime that a selection is about.
    let name = &sealed(&workdir)[0];
    let listed = workdir
        .mcsnap(&["ls", &format!("s/a/segments/{name}"), "--keys"])
        .succeeds();
    let keys = String::from_utf8(listed.stdout).unwrap();
    let key = keys.lines().next().unwrap();
    assert_eq!(client.command(&format!("touch {key} 600")), "TOUCHED");
    let report = resume(&workdir, &server, &select);
    assert_eq!(report["kept_segments"], count - 1, "{report}");
    let selected = (0..KEY_COUNT).filter(|at| at % 3 != 0).count();
    let never = KEY_COUNT as usize - selected;
    // Without a TTL it is more than any.
    assert_eq!(report["records"], selected + never - 1, "{report}");
}
