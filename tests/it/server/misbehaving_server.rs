//! What a dump says of a server that does not behave, and how soon.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mcsnap::words::units::UnixSecs;
use serde_json::Value;

use crate::harness::ageing_proxy::{Age, AgeingProxy};
use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::held_dump::hold;
use crate::harness::memcached::Memcached;
use crate::harness::running_job::{segment_files, wait_until};
use crate::harness::signals::signal;
use crate::harness::workdir::Workdir;

/// Longer than any of these takes on a busy machine, and far less than the two
/// minutes that a walk may be silent.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn stats(version: &str, more: &str) -> Vec<u8> {
    // Its clock is right, so that nobody warns of it.
    let now = UnixSecs::from_system_time(SystemTime::now());
    let mut table = format!(
        "STAT pid 1\r\nSTAT uptime 1000\r\nSTAT time {now}\r\n\
         STAT version {version}\r\nSTAT curr_items 3\r\n"
    );
    table.push_str(more);
    table.push_str("END\r\n");
    table.into_bytes()
}

pub(crate) fn line(key: &str) -> String {
    format!("key={key} exp=-1 la=1699999999 cas=5 fetch=no cls=1 size=64\n")
}

fn walk(keys: &[&str]) -> Vec<u8> {
    let lines: String = keys.iter().map(|key| line(key)).collect();
    format!("{lines}END\r\n").into_bytes()
}

/// The rules of a server with three items, after those of the test.
pub(crate) fn rules(first: impl Into<Vec<Rule>>) -> Vec<Rule> {
    let settings = "STAT item_size_max 1048576\r\nSTAT cas_enabled yes\r\nEND\r\n";
    let items = "STAT items:1:number 3\r\nEND\r\n";
    let mut rules: Vec<Rule> = first.into();
    rules.extend([
        Rule::new("stats settings", [Step::reply(settings)]),
        Rule::new("stats items", [Step::reply(items)]),
        Rule::new("stats", [Step::reply(stats("1.6.18", ""))]),
        Rule::new("version", [Step::reply("VERSION 1.6.18\r\n")]),
        Rule::new(
            "lru_crawler metadump 0",
            [Step::reply("BADCLASS invalid class id\r\n")],
        ),
        Rule::new(
            "lru_crawler metadump",
            [Step::reply(walk(&["a", "b", "c"]))],
        ),
        Rule::new("mg ", [Step::reply("VA 1 f7 t-1 c5 O?\r\nv\r\n")]),
        Rule::new("lru_crawler crawl", [Step::reply("OK\r\n")]),
        Rule::new("mn", [Step::reply("MN\r\n")]),
        Rule::new("md ", [Step::reply("HD\r\n")]),
    ]);
    rules
}

/// One dump of a server by these rules.
fn dump(first: impl Into<Vec<Rule>>, more: &[&str]) -> (Output, FakeServer, Workdir) {
    // A server on a loaded machine may answer late.
    dump_within("30s", first, more)
}

/// Does the same, with a timeout.
fn dump_within(
    timeout: &str,
    first: impl Into<Vec<Rule>>,
    more: &[&str],
) -> (Output, FakeServer, Workdir) {
    let server = FakeServer::ruled(rules(first));
    let workdir = Workdir::new("misbehaving");
    let address = server.address();
    let mut arguments = vec!["dump", "--to", "s", "--name", "a", "--format", "json"];
    arguments.extend(["--timeout", timeout, &address]);
    arguments.extend(more);
    let started = Instant::now();
    let output = workdir.mcsnap(&arguments).run();
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
    (output, server, workdir)
}

/// The dump fails with these words, and leaves nothing.
fn assert_fails(first: impl Into<Vec<Rule>>, words: &str) {
    assert_is_failure(dump(first, &[]), words);
}

fn assert_is_failure((output, server, workdir): (Output, FakeServer, Workdir), words: &str) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let wanted = format!("mcsnap: {}: {words}\n", server.address());
    assert!(errors.ends_with(&wanted), "wanted {wanted}, got {errors}");
    assert!(!workdir.join("s/a").exists());
}

/// Each of these dumps fails with its words, and is tried again and again before.
fn fail_side_by_side<const N: usize>(dumps: [([Rule; 1], &str); N]) {
    thread::scope(|scope| {
        for (rules, words) in dumps {
            scope.spawn(move || assert_fails(rules, words));
        }
    });
}

/// The dump ends with this code; its report.
fn report(first: impl Into<Vec<Rule>>, code: i32) -> Value {
    report_of(dump(first, &[]), code)
}

fn report_of((output, ..): (Output, FakeServer, Workdir), code: i32) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn on_walk(steps: impl Into<Vec<Step>>) -> [Rule; 1] {
    [Rule::new("lru_crawler metadump hash", steps)]
}

/// A walk of the hash table needs no slab classes; a refusal is read to its end.
#[test]
fn a_server_that_tells_no_slab_classes_is_dumped_by_its_hash_table() {
    for refusal in ["ERROR\r\n", "SERVER_ERROR not here\r\n"] {
        let refused = Rule::new("stats items", [Step::reply(refusal)]);
        let report = report([refused], 0);
        assert_eq!(
            (&report["stored"], &report["unlisted"]),
            (&3.into(), &0.into())
        );
    }
}

#[test]
fn a_walk_that_breaks_off_is_told_as_it_was() {
    let some = || Step::reply([line("a"), line("b"), "key=c ex".to_owned()].concat());
    let pipelined = "ERROR cannot pipeline other commands before metadump";
    fail_side_by_side([
        (
            on_walk([some(), Step::Close]),
            "server closed the connection",
        ),
        (
            on_walk([Step::Reset]),
            "cannot read: Connection reset by peer (os error 104)",
        ),
        (
            on_walk([Step::reply("\u{7f}ELF\n")]),
            r#"wanted a line of a walk, got "\x7fELF""#,
        ),
        (
            on_walk([some(), Step::reply("\nSERVER_ERROR out of memory\r\n")]),
            "server answered: SERVER_ERROR out of memory",
        ),
        (
            on_walk([Step::reply("ERROR an unknown error happened\r\n")]),
            "server answered: ERROR an unknown error happened",
        ),
        (
            on_walk([Step::reply(format!("{pipelined}\r\n"))]),
            &format!("server answered: {pipelined}"),
        ),
    ]);
}

/// As versions before 1.5.15 were seen to list, while clients changed what is there.
#[test]
fn a_line_of_a_walk_that_is_none_costs_its_item_alone() {
    for broken in ["\u{7f}ELF\n", "key=b%2\n", " exp=-1 la=1\n", "\n"] {
        let lines = [&line("a"), broken, &line("c"), "END\r\n"].concat();
        let report = report(on_walk([Step::reply(lines)]), 3);
        assert_eq!(report["stored"], 2, "{broken:?}");
        assert_eq!(report["refused"], 1, "{broken:?}");
        assert_eq!(report["unlisted"], 0, "{broken:?}");
    }
}

#[test]
fn a_line_without_end_is_not_waited_for() {
    let endless = on_walk([Step::reply([b'x'; 10_000]), Step::Hang]);
    let shown = "x".repeat(64);
    assert_fails(
        endless,
        &format!("wanted a line of a walk, got \"{shown}\""),
    );
    let endless = Rule::new("mg ", [Step::reply([b'x'; 10_000]), Step::Hang]);
    let words = format!("wanted a reply to a meta command, got \"{shown}\"");
    assert_fails([endless], &words);
}

#[test]
fn a_silent_walk_of_a_dead_server_is_given_up_soon() {
    let silent = Rule::new(
        "lru_crawler metadump hash",
        [Step::reply(line("a")), Step::Hang],
    );
    let dead = Rule::new("version", [Step::Hang]);
    let dumped = dump_within("1s", [silent, dead], &[]);
    assert_is_failure(dumped, "walk: no reply within 1 s");
}

#[test]
fn a_silent_walk_of_a_server_that_lives_is_waited_for() {
    let go_on = Arc::new(AtomicBool::new(false));
    let first = [
        Rule::new(
            "lru_crawler metadump hash",
            [
                // Cut in the middle of a line.
                Step::reply([line("a"), line("c"), "key=b exp=".to_owned()].concat()),
                Step::Await(Arc::clone(&go_on)),
                Step::reply(b"-1 la=1 cas=5 fetch=no cls=1 size=64\nEND\r\n"),
            ],
        ),
        // Asked for after a second of silence, and again after another.
        Rule::in_turn(
            "version",
            [
                vec![Step::reply("VERSION 1.6.18\r\n")],
                vec![Step::reply("VERSION 1.6.18\r\n"), Step::Raise(go_on)],
            ],
        ),
    ];
    let report = report_of(dump_within("1s", first, &[]), 0);
    assert_eq!(report["stored"], 3);
}

#[test]
fn a_stopped_server_is_given_up_soon() {
    let server = Memcached::start_with(&["-m", "256"]);
    let value = vec![b'v'; 2000];
    let items = (0..10_000).map(|at| Item::new(format!("key:{at}"), value.clone()));
    server.client().load(items);
    let workdir = Workdir::new("stopped");
    let run = workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", "--timeout", "1s"])
        .arg("--compression=none")
        .arg("--segment-size=1MiB")
        .arg(server.address());
    let (run, gate) = hold(run, &workdir, "*", 2);
    let child = run.spawn();
    wait_until("the dump starts", || has_segments(&workdir));
    server.stop();
    gate.open();
    let started = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
    server.resume();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let words = format!("mcsnap: {}: ", server.address());
    assert!(
        errors.contains(&words) && errors.contains("no reply within 1 s"),
        "{errors}"
    );
    // What it gave is no loss.
    let advice = errors.lines().last().unwrap();
    assert!(
        advice.contains("; pass --resume --name a to go on with "),
        "{errors}"
    );
    let output = workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", "--format=json", "-q"])
        .arg("--resume")
        .arg(server.address())
        .succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["kept_records"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["records"], 10_000);
}

fn has_segments(workdir: &Workdir) -> bool {
    !segment_files(workdir, "a").is_empty()
}

#[test]
fn replies_that_cannot_be_true_end_the_dump() {
    let on_get = |reply: &str| [Rule::new("mg ", [Step::reply(reply)])];
    assert_fails(
        on_get("VA 3 f0 t-1 c5 O?\r\nabcdefgh\r\n"),
        r#"wanted CRLF after a value, got "de""#,
    );
    assert_fails(
        on_get("VA 99999999999 f0 t-1 c5 O?\r\n"),
        "value length would be 99999999999; the limit is 2147483648",
    );
    assert_fails(
        on_get("VA x f0\r\n"),
        r#"wanted VA with a length, got "VA x f0""#,
    );
    assert_fails(
        on_get("VA 1 f0 t-1 O?\r\nx\r\n"),
        r#"wanted a CAS (c), got "f0 t-1 O0""#,
    );
    assert_fails(on_get("HD\r\n"), r#"wanted VA or EN, got "HD""#);
}

/// Rules of a server of version 1.4.13 with a listing, and one more for `gets`.
fn old(gets: Rule) -> Vec<Rule> {
    let listing = "ITEM a [1 b; 0 s]\r\nITEM b [1 b; 0 s]\r\nITEM c [1 b; 0 s]\r\nEND\r\n";
    vec![
        Rule::new("stats settings", [Step::reply("ERROR\r\n")]),
        Rule::new(
            "stats items",
            [Step::reply("STAT items:1:number 3\r\nEND\r\n")],
        ),
        Rule::new("stats cachedump", [Step::reply(listing)]),
        Rule::new("stats", [Step::reply(stats("1.4.13", ""))]),
        gets,
    ]
}

#[test]
fn values_in_another_order_are_not_taken_for_others() {
    let swapped = "VALUE b 0 1 1\r\nx\r\nVALUE a 0 1 1\r\ny\r\nEND\r\n";
    let words = r#"wanted the keys that were asked for, in their order, got "a""#;
    assert_fails(old(Rule::new("gets a b c", [Step::reply(swapped)])), words);
    let foreign = "VALUE z 0 1 1\r\nx\r\nEND\r\n";
    let words = r#"wanted the keys that were asked for, in their order, got "z""#;
    assert_fails(old(Rule::new("gets a b c", [Step::reply(foreign)])), words);
}

/// Memcached 1.2 tells no moment of a flush, lists and counts what was flushed, and
/// forgets it when it is asked for.
#[test]
fn a_flush_before_the_dump_is_no_flush_in_its_middle() {
    let listing = "ITEM a [1 b; 1699990000 s]\r\nITEM b [1 b; 1699990000 s]\r\n\
                   ITEM c [1 b; 1699990000 s]\r\nEND\r\nVERSION 1.2.8\r\n";
    let rules = |gets: Vec<Rule>, items_end: &str| {
        let at_start = stats("1.2.8", "");
        let at_end = stats("1.2.8", items_end);
        let asked = Arc::new(AtomicBool::new(false));
        let mut rules = vec![
            Rule::new("stats settings", [Step::reply("ERROR\r\n")]),
            Rule::new(
                "stats items",
                [Step::reply("STAT items:1:number 3\r\nEND\r\n")],
            ),
            Rule::new(
                "stats cachedump",
                [Step::Raise(Arc::clone(&asked)), Step::reply(listing)],
            ),
            // The plan, and the counts before the walk; then after it.
            Rule::in_turn(
                "stats\r",
                [
                    vec![Step::reply(&at_start)],
                    vec![Step::reply(&at_start)],
                    vec![Step::reply(&at_end)],
                ],
            ),
        ];
        rules.extend(gets);
        rules
    };
    let none = Rule::new("gets ", [Step::reply("END\r\n")]);
    let gone = report(rules(vec![none], "STAT curr_items 0\r\n"), 0);
    assert_eq!(gone["vanished"], 3);
    assert_eq!(gone["verdict"], "complete");
    // One was set since, and is there in the end as it was read.
    let one = Rule::new("gets a", [Step::reply("VALUE a 0 1 9\r\nx\r\nEND\r\n")]);
    let left = report(rules(vec![one], "STAT curr_items 0\r\n"), 0);
    assert_eq!((&left["stored"], &left["vanished"]), (&1.into(), &2.into()));
    // It is not: so the flush may have come after it was read.
    let then_none = Rule::in_turn(
        "gets a",
        [
            vec![Step::reply("VALUE a 0 1 9\r\nx\r\nEND\r\n")],
            vec![Step::reply("END\r\n")],
        ],
    );
    assert_fails(
        rules(vec![then_none], "STAT curr_items 0\r\n"),
        "most of its items vanished meanwhile, more than it deleted, evicted or changed, as by a \
         flush",
    );
}

#[test]
fn a_server_out_of_memory_loses_no_more_than_it_must() {
    const WORDS: &str = "SERVER_ERROR out of memory writing get response";
    let refusal = || Step::reply(format!("{WORDS}\r\n"));
    let on_get = Rule::in_turn(
        "mg ",
        [
            vec![refusal()],
            vec![Step::reply("VA 1 f7 t-1 c5 O?\r\nv\r\n")],
        ],
    );
    let report_of_meta = report([on_get], 3);
    // The three keys that were refused together can be had one by one.
    let mut rules = old(Rule::new("gets a b c", [refusal()]));
    for (key, reply) in [
        ("a", Step::reply("VALUE a 0 1 1\r\nx\r\nEND\r\n")),
        ("b", Step::reply("END\r\n")),
        ("c", refusal()),
    ] {
        rules.push(Rule::new(format!("gets {key}"), [reply]));
    }
    let report_of_classic = report(rules, 3);
    assert_eq!(report_of_classic["vanished"], 1);
    for (report, stored) in [(report_of_meta, 2), (report_of_classic, 1)] {
        assert_eq!(report["stored"], stored);
        assert_eq!(report["failed"], 1);
        assert_eq!(report["nodes"][0]["reasons"][WORDS], 1, "{report}");
        assert_eq!(report["verdict"], "lossy");
    }
}

#[test]
fn a_crawl_without_end_is_waited_for_as_long_as_was_asked() {
    for words in [
        "BUSY currently processing crawler request",
        "OK\r\nERROR locked try again later",
    ] {
        let busy = on_walk([Step::reply(format!("{words}\r\n"))]);
        let (output, server, workdir) = dump(busy, &["--busy-timeout", "2s"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let wanted = format!(
            "mcsnap: {}: server is already running an LRU crawl; retry later; pass a longer \
             --busy-timeout to wait for it\n",
            server.address()
        );
        assert!(errors.ends_with(&wanted), "{errors}");
        assert!(!workdir.join("s/a").exists());
        let asked = server.received().concat();
        let asked = String::from_utf8_lossy(&asked)
            .matches("metadump hash")
            .count();
        // Every quarter of a second.
        assert!((2..=10).contains(&asked), "asked {asked} times");
    }
}

#[test]
fn a_hash_table_that_is_locked_for_a_moment_costs_nothing() {
    let locked = Rule::in_turn(
        "lru_crawler metadump hash",
        [
            vec![Step::reply("ERROR locked try again later\r\n")],
            vec![Step::reply("BUSY currently processing crawler request\r\n")],
            vec![Step::reply(walk(&["a", "b", "c"]))],
        ],
    );
    assert_eq!(report([locked], 0)["stored"], 3);
}

/// Statistics that change: what the plan sees, the walk, and the end.
fn stats_in_turn(version: &str, turns: &[&str]) -> Rule {
    let turns: Vec<Vec<Step>> = turns
        .iter()
        .map(|more| vec![Step::reply(stats(version, more))])
        .collect();
    Rule::in_turn("stats\r", turns)
}

#[test]
fn a_server_that_is_restarted_or_flushed_meanwhile_is_no_good() {
    // Each answer is another process's.
    let pids: Vec<String> = (1..100).map(|pid| format!("STAT pid {pid}\r\n")).collect();
    let pids: Vec<&str> = pids.iter().map(String::as_str).collect();
    let restarted = stats_in_turn("1.6.18", &pids);
    let flushed = stats_in_turn(
        "1.6.18",
        &[
            "STAT cmd_flush 4\r\n",
            "STAT cmd_flush 4\r\n",
            "STAT cmd_flush 5\r\n",
        ],
    );
    fail_side_by_side([
        ([restarted], "the server was restarted meanwhile"),
        ([flushed], "flush_all was called on the server meanwhile"),
    ]);
    // Once, and it is read from the beginning.
    let restarted = stats_in_turn("1.6.18", &["", "", "STAT pid 2\r\nSTAT uptime 3\r\n"]);
    let report = report([restarted], 0);
    assert_eq!(
        (&report["stored"], &report["nodes"][0]["pid"]),
        (&3.into(), &2.into())
    );
}

#[test]
fn a_real_flush_meanwhile_is_noticed() {
    let server = Memcached::start_with(&["-m", "256"]);
    let value = vec![b'v'; 2000];
    let items = (0..10_000).map(|at| Item::new(format!("key:{at}"), value.clone()));
    let mut client = server.client();
    client.load(items);
    let workdir = Workdir::new("flushed");
    let run = workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", "--segment-size=1MiB"])
        .arg("--compression=none")
        .arg(server.address());
    let (run, gate) = hold(run, &workdir, "*", 2);
    let child = run.spawn();
    wait_until("the dump starts", || has_segments(&workdir));
    client.flush_all();
    gate.open();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let wanted = format!(
        "mcsnap: {}: flush_all was called on the server meanwhile\n",
        server.address()
    );
    assert!(errors.ends_with(&wanted), "{errors}");
    assert!(!workdir.join("s/a").exists());
}

/// Each byte comes in time, and the end never.
#[test]
fn statistics_without_an_end_are_given_up() {
    // They wait side by side: each for all the time that an answer may take.
    thread::scope(|scope| {
        for request in ["stats settings", "stats\r", "lru_crawler metadump 0"] {
            scope.spawn(move || {
                let drops = Step::Repeat(b"S".to_vec(), Duration::from_millis(50));
                let (output, ..) = dump_within("1s", [Rule::new(request, [drops])], &[]);
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(1), "{errors}");
                assert!(errors.ends_with(": no reply within 6 s\n"), "{errors}");
            });
        }
    });
    // More entries than any server has, each of another name.
    let entries = |count: usize| -> String {
        (0..count)
            .map(|number| format!("STAT n{number} 1\r\n"))
            .collect()
    };
    let many = Rule::new("stats\r", [Step::reply(stats("1.6.18", &entries(9_000)))]);
    let (output, ..) = dump([many], &[]);
    assert_eq!(output.status.code(), Some(0));
    let too_many = Rule::new("stats\r", [Step::reply(entries(10_001)), Step::Hang]);
    let (output, ..) = dump([too_many], &[]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let words = r#"wanted memcached statistics, got "STAT n10000 1\x0d\x0a""#;
    assert!(errors.contains(words), "{errors}");
    // A flood of what has been told already.
    let flood = Step::Repeat(b"STAT uptime 1000\r\n".repeat(4000), Duration::ZERO);
    let (output, ..) = dump([Rule::new("stats\r", [flood])], &[]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("wanted the end of a short answer, got "),
        "{errors}"
    );
}

/// A walk of the hash table that starts while the table starts to grow can lock
/// such a server up for ever.
#[test]
fn a_hash_table_that_grows_or_will_in_a_moment_is_waited_for() {
    // 2^4 buckets, which grow above 24 items.
    let full = "STAT hash_power_level 4\r\nSTAT curr_items 25\r\n";
    let growing = "STAT hash_power_level 4\r\nSTAT hash_is_expanding 1\r\n";
    let grown = "STAT hash_power_level 5\r\nSTAT hash_is_expanding 0\r\nSTAT curr_items 25\r\n";
    // It lists three of them.
    let more = ["--max-missing=100"];
    let check = |version: &str, asks: usize| {
        // The plan, the counts before, then before each start of a walk; then the
        // counts after, and the end.
        let stats = stats_in_turn(version, &[full, full, full, growing, grown]);
        let (output, server, _) = dump([stats], &more);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{version} {errors}");
        let received = String::from_utf8_lossy(&server.received().concat()).into_owned();
        let before = received.split("metadump hash").next().unwrap();
        assert_eq!(before.matches("stats\r\n").count(), asks, "{version}");
    };
    let check = &check;
    thread::scope(|scope| {
        for (version, asks) in [("1.6.9", 5), ("1.6.27", 5), ("1.6.28", 3)] {
            scope.spawn(move || check(version, asks));
        }
        // One that is full for good may not grow, and is walked after all.
        scope.spawn(|| {
            let (output, ..) = dump([stats_in_turn("1.6.18", &[full])], &more);
            assert_eq!(output.status.code(), Some(0));
        });
    });
}

/// Asking for a walk while another client's is not read blocks a thread of the
/// server with all its clients.
#[test]
fn a_running_crawl_is_waited_for_before_ours_is_asked_for() {
    let running = "STAT lru_crawler_running 1\r\n";
    let idle = "STAT lru_crawler_running 0\r\n";
    let stats = stats_in_turn("1.6.45", &[running, running, running, idle]);
    let (output, server, _) = dump([stats], &[]);
    assert_eq!(output.status.code(), Some(0));
    let received = String::from_utf8_lossy(&server.received().concat()).into_owned();
    let before = received.split("metadump hash").next().unwrap();
    assert_eq!(before.matches("stats\r\n").count(), 4);
    // While one does not end none is asked for.
    let stats = stats_in_turn("1.6.45", &[running]);
    let (output, server, _) = dump([stats], &["--busy-timeout", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("--busy-timeout"), "{errors}");
    let received = String::from_utf8_lossy(&server.received().concat()).into_owned();
    assert!(!received.contains("metadump hash"), "{received}");
}

#[test]
fn a_broken_connection_is_replaced_and_nothing_is_read_twice() {
    let value = || Step::reply("VA 1 f7 t-1 c5 O?\r\nv\r\n");
    let breaking = Rule::in_turn(
        "mg ",
        [
            vec![value()],
            // In the middle of the second value.
            vec![Step::reply("VA 5 f7 t-1 c5 O?\r\nva"), Step::Close],
            vec![value()],
        ],
    );
    let report = report([breaking], 0);
    assert_eq!(
        (&report["stored"], &report["listed"]),
        (&3.into(), &3.into())
    );
}

#[test]
fn a_win_token_is_given_back_though_the_connection_broke() {
    let stale = Rule::new("mg b ", [Step::reply("VA 1 f7 t-1 c5 O? W X\r\nv\r\n")]);
    let give_back = Rule::in_turn("md b ", [vec![Step::Reset], vec![Step::reply("HD\r\n")]]);
    let report = report([stale, give_back], 0);
    assert_eq!(report["stored"], 3);
    assert_eq!(report["win_tokens_returned"], 1);
}

#[test]
fn a_server_without_a_free_connection_is_waited_for_by_every_part() {
    let full = || Step::reply("ERROR Too many open connections\r\n");
    let odd = "key=a%20b exp=-1 la=1 cas=5 fetch=no cls=1 size=64\nEND\r\n";
    let settings = "STAT binding_protocol auto-negotiate\r\nEND\r\n";
    let reply = [
        &[0x81, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 5][..],
        &[0; 11],
        &[9, 0, 0, 0, 7],
        b"v",
    ]
    .concat();
    let first = [
        Rule::new("stats settings", [Step::reply(settings)]),
        Rule::new(
            "stats items",
            [Step::reply("STAT items:1:number 1\r\nEND\r\n")],
        ),
        Rule::new(
            "stats",
            [Step::reply(stats("1.6.8", "STAT curr_items 1\r\n"))],
        ),
        Rule::in_turn(
            "lru_crawler metadump all",
            [
                vec![full(), Step::Close],
                vec![Step::reply(odd.replace("%20", "%0A"))],
            ],
        ),
        // A line of the request ends with the line feed in its key.
        Rule::in_turn(
            [0x80],
            [
                vec![full(), Step::Close],
                vec![Step::Swallow(1), Step::Reply(reply)],
            ],
        ),
    ];
    let report = report(first, 0);
    assert_eq!(report["stored"], 1);
}

#[test]
fn a_stopped_dump_turns_the_crawler_off_again() {
    for (name, code) in [("HUP", 143), ("TERM", 143)] {
        let server = Memcached::start();
        server.client().set("key", 0, 0, b"value");
        let age = Age {
            busy_count: usize::MAX,
            ..Age::of((1, 4, 34))
        };
        let proxy = AgeingProxy::start(&server.address(), age);
        let workdir = Workdir::new("crawler-off");
        let address = proxy.address();
        let child = workdir
            .mcsnap_by(
                &["env", "--default-signal=HUP,TERM"],
                ["dump", "--to", "s", "--name", "a", &address],
            )
            .spawn();
        wait_until("the crawler is turned on", || proxy.is_crawler_on());
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(!proxy.is_crawler_on());
    }
}

/// Up to 1.4.33, and rarely up to 1.6.43, a server can crash when the client of
/// a walk goes away.
#[test]
fn a_stopped_dump_reads_a_walk_that_has_begun_to_its_end() {
    // More than the buffers of a socket hold.
    let many: String = (0..150_000)
        .map(|number| line(&number.to_string()))
        .collect();
    for (version, is_read) in [("1.6.9", true), ("1.6.44", false)] {
        let (go_on, is_sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let first = [
            Rule::new("stats\r", [Step::reply(stats(version, ""))]),
            Rule::new(
                "lru_crawler metadump hash",
                [
                    Step::reply(line("a")),
                    Step::Await(Arc::clone(&go_on)),
                    Step::reply(&many),
                    Step::reply("END\r\n"),
                    Step::Raise(Arc::clone(&is_sent)),
                ],
            ),
            Rule::new("mg ", [Step::Hang]),
        ];
        let server = FakeServer::ruled(rules(first));
        let workdir = Workdir::new("walk-end");
        let child = workdir
            .mcsnap(&["dump", "--to", "s", "--name", "a", &server.address()])
            .spawn();
        wait_until("the walk begins", || {
            let received = server.received().concat();
            String::from_utf8_lossy(&received).contains("metadump hash\r\n")
        });
        signal(&child, "TERM");
        if is_read {
            go_on.store(true, Ordering::SeqCst);
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143));
        go_on.store(true, Ordering::SeqCst);
        if is_read {
            wait_until("all is read", || is_sent.load(Ordering::SeqCst));
        }
    }
}
