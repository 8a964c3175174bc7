//! A restore into servers that have not the memory for it.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::reports::{number, run_json};
use crate::harness::workdir::Workdir;

/// A snapshot `s/a` of so many items of each of these sizes.
fn make_snapshot(workdir: &Workdir, sizes: &[(usize, usize)]) {
    let source = Memcached::start_with(&["-m", "1024", "-I", "8m"]);
    let mut client = source.client();
    for &(count, len) in sizes {
        let items = (0..count).map(|at| Item::new(format!("{len}:{at}"), vec![b'v'; len]));
        client.load(items);
    }
    workdir
        .mcsnap(&["dump", "--to=s", "--name=a", &source.address()])
        .succeeds();
}

fn stat(server: &Memcached, name: &str) -> u64 {
    server.client().stats("")[name].parse().unwrap()
}

#[test]
fn evictions_to_come_are_told_and_need_a_word() {
    let workdir = Workdir::new("will-evict");
    make_snapshot(&workdir, &[(20_000, 900), (20_000, 300)]);
    let target = Memcached::start_with(&["-m", "16"]);
    let to = target.address();
    let arguments = ["restore", "s/a", "--to", &to];
    let dry = [&arguments[..], &["--dry-run"]].concat();
    let plan = run_json(&workdir, &dry, 0);
    let memory = &plan["nodes"][0]["memory"];
    assert_eq!(memory["fit"], "evicts", "{plan}");
    assert_eq!(memory["limit"], 16 << 20);
    let planned = number(memory, "would_evict");
    let output = workdir.mcsnap(&dry).succeeds();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = text
        .lines()
        .find(|line| line.starts_with("memory"))
        .unwrap();
    assert!(
        row.contains(&to) && row.contains(" of 16.0 MiB free: would evict about "),
        "{row}"
    );
    assert!(row.contains(" of 40,000 items there and to come"), "{row}");
    // Nobody is there to be asked, and nothing is sent.
    let output = workdir.mcsnap(&arguments).exits(2);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("mcsnap: nothing was sent: "), "{errors}");
    assert!(
        errors.contains(&to) && errors.contains("would evict about "),
        "{errors}"
    );
    assert!(errors.contains("; pass --yes if that is to be"), "{errors}");
    assert_eq!(stat(&target, "cmd_set"), 0);
    let report = run_json(&workdir, &[&arguments[..], &["--yes"]].concat(), 3);
    let evicted = number(&report, "evicted");
    assert!(
        planned.abs_diff(evicted) * 20 <= evicted,
        "{planned} planned, {evicted} evicted"
    );
}

#[test]
fn a_restore_that_fits_asks_nothing_and_evicts_nothing() {
    let workdir = Workdir::new("fits");
    // 7 classes; and items in two and three chunks of half a MiB.
    let sizes = [
        (5000, 10),
        (5000, 100),
        (5000, 500),
        (3000, 1000),
        (500, 10_000),
        (6, 700_000),
        (3, 1_400_000),
    ];
    make_snapshot(&workdir, &sizes);
    let roomy = Memcached::start_with(&["-m", "1024", "-I", "8m"]);
    let to = roomy.address();
    let plan = run_json(&workdir, &["restore", "s/a", "--dry-run", "--to", &to], 0);
    let memory = &plan["nodes"][0]["memory"];
    assert_eq!(memory["fit"], "fits", "{plan}");
    // A server that has just so many pages as it takes, by what it says itself.
    run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    let taken: u64 = roomy.client().stats("slabs")["total_malloced"]
        .parse()
        .unwrap();
    let pages = (taken >> 20).to_string();
    let tight = Memcached::start_with(&["-m", &pages, "-I", "8m"]);
    let to = tight.address();
    let plan = run_json(&workdir, &["restore", "s/a", "--dry-run", "--to", &to], 0);
    assert_eq!(plan["nodes"][0]["memory"]["fit"], "tight", "{plan}");
    let report = run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    assert_eq!(report["evicted"], 0, "{report}");
    // Now it is full of them.
    let plan = run_json(&workdir, &["restore", "s/a", "--dry-run", "--to", &to], 0);
    assert_eq!(plan["nodes"][0]["memory"]["fit"], "evicts", "{plan}");
    // Of the expired and of what is not selected nothing is counted.
    let none = ["restore", "s/a", "--select=prefix=none", "--to", &to];
    run_json(&workdir, &none, 0);
}

/// Their chunks are as good as free, though it takes the server a while to say so.
#[test]
fn items_that_were_flushed_are_not_in_the_way() {
    let workdir = Workdir::new("flushed-memory");
    make_snapshot(&workdir, &[(10_000, 900)]);
    // Without its maintainer nobody takes them away but a set that needs the room.
    let target = Memcached::start_with(&["-m", "16", "-o", "no_lru_maintainer,no_lru_crawler"]);
    let to = target.address();
    run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    let dry = ["restore", "s/a", "--dry-run", "--to", &to];
    let plan = run_json(&workdir, &dry, 0);
    assert_eq!(plan["nodes"][0]["memory"]["fit"], "evicts", "{plan}");
    let mut client = target.client();
    client.wait_for_tick();
    client.flush_all();
    client.wait_for_tick();
    let plan = run_json(&workdir, &dry, 0);
    assert_eq!(plan["nodes"][0]["memory"]["fit"], "fits", "{plan}");
    let report = run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    assert_eq!(
        (&report["stored"], &report["evicted"]),
        (&10_000.into(), &0.into())
    );
}

#[test]
fn a_server_with_chunks_of_other_sizes_is_counted_as_it_is() {
    let workdir = Workdir::new("other-chunks");
    make_snapshot(&workdir, &[(30_000, 600)]);
    let target = Memcached::start_with(&["-m", "16", "-f", "1.08", "-n", "64"]);
    let to = target.address();
    let arguments = ["restore", "s/a", "--yes", "--to", &to];
    let plan = run_json(&workdir, &[&arguments[..], &["--dry-run"]].concat(), 0);
    let planned = number(&plan["nodes"][0]["memory"], "would_evict");
    let report = run_json(&workdir, &arguments, 3);
    let evicted = number(&report, "evicted");
    assert!(
        planned.abs_diff(evicted) * 20 <= evicted,
        "{planned} planned, {evicted} evicted"
    );
}

#[test]
fn a_server_that_evicts_nothing_is_said_to_refuse() {
    let workdir = Workdir::new("will-refuse");
    make_snapshot(&workdir, &[(20_000, 900)]);
    let target = Memcached::start_with(&["-m", "8", "-M"]);
    let to = target.address();
    let plan = run_json(&workdir, &["restore", "s/a", "--dry-run", "--to", &to], 0);
    let memory = &plan["nodes"][0]["memory"];
    assert_eq!(memory["fit"], "refuses", "{plan}");
    let planned = number(memory, "would_refuse");
    let output = workdir
        .mcsnap(&["restore", "s/a", "--format=json", "--to", &to])
        .exits(3);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("would refuse about "), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed = number(&report, "failed");
    assert!(
        planned.abs_diff(failed) * 20 <= failed,
        "{planned} planned, {failed} failed"
    );
}

/// At a terminal a person is asked; `script` makes one.
#[test]
fn a_person_at_the_terminal_is_asked() {
    let workdir = Workdir::new("consent");
    make_snapshot(&workdir, &[(20_000, 900)]);
    let target = Memcached::start_with(&["-m", "8"]);
    let at_terminal = |answer: &str| {
        let line = format!(
            "printf '{answer}\\n' | script -qec \"$1 restore s/a --to {} >report\" typescript",
            target.address()
        );
        let run = workdir.run_of("sh").arg("-c").arg(line).arg("sh");
        run.arg(crate::harness::workdir::PROGRAM).run()
    };
    let output = at_terminal("n");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("would evict about "), "{shown}");
    assert!(
        shown.contains("Restore, and let items be thrown out? [y/N] "),
        "{shown}"
    );
    assert!(shown.contains("mcsnap: nothing was sent"), "{shown}");
    assert_eq!(stat(&target, "cmd_set"), 0);
    let output = at_terminal("y");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    // Its own items are among those that are evicted.
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(stat(&target, "evictions") > 0);
}

#[test]
fn a_restore_is_stopped_where_too_much_is_evicted() {
    let workdir = Workdir::new("stop-evictions");
    make_snapshot(&workdir, &[(40_000, 2000)]);
    let target = Memcached::start_with(&["-m", "8"]);
    let to = target.address();
    let is_over = AtomicBool::new(false);
    let arguments = [
        "restore",
        "s/a",
        "--yes",
        "--stop-on-evictions=0",
        "--to",
        &to,
    ];
    let output = std::thread::scope(|scope| {
        // Somebody else fills the server, too, so that it evicts at every moment.
        scope.spawn(|| {
            let mut client = target.client();
            while !is_over.load(Ordering::Relaxed) {
                client.load((0..8000).map(|at| Item::new(format!("x:{at}"), vec![b'x'; 2000])));
            }
        });
        let output = workdir.mcsnap(&arguments).arg("--format=json").run();
        is_over.store(true, Ordering::Relaxed);
        output
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("it is stopped, since more than 0 are not wanted"),
        "{errors}"
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["stopped"], true, "{report}");
    let verdict = report["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("stopped: ") && verdict.ends_with("--stop-on-evictions 0"));
    assert!(number(&report, "unsent") > 0, "{report}");
    assert_eq!(number(&report, "unaccounted"), 0, "{report}");
    assert_eq!(
        number(&report, "records"),
        ["stored", "existing", "unsent", "not_kept", "failed"]
            .into_iter()
            .map(|name| number(&report, name))
            .sum::<u64>(),
        "{report}"
    );
}

#[test]
fn evictions_that_are_too_many_at_the_end_are_no_success() {
    let workdir = Workdir::new("end-evictions");
    make_snapshot(&workdir, &[(5000, 2000)]);
    let target = Memcached::start_with(&["-m", "8"]);
    let to = target.address();
    let most = [
        "restore",
        "s/a",
        "--yes",
        "--stop-on-evictions=100000000",
        "--to",
        &to,
    ];
    let report = run_json(&workdir, &most, 3);
    assert_eq!(report["stopped"], false);
    assert!(number(&report, "evicted") > 1, "{report}");
    let again = [
        "restore",
        "s/a",
        "--yes",
        "--mode=set",
        "--stop-on-evictions=1",
        "--to",
        &to,
    ];
    let report = run_json(&workdir, &again, 3);
    let verdict = report["verdict"].as_str().unwrap();
    assert!(
        verdict.contains("evicted, more than --stop-on-evictions 1"),
        "{verdict}"
    );
}
