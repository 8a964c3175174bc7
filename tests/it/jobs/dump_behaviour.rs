//! What a dump does to a server, and says of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::engines::source::WalkKind;
use mcsnap::jobs::dump::{DumpOptions, DumpPlan};
use mcsnap::ports::store::MemoryStore;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::progress::{Event, Progress};
use serde_json::Value;

use crate::harness::ageing_proxy::binary_set;
use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::held_dump::hold;
use crate::harness::memcached::Memcached;
use crate::harness::running_job::{segment_files, wait_until};
use crate::harness::workdir::Workdir;

fn dump_json(workdir: &Workdir, arguments: &[&str], code: i32) -> Value {
    let mut all = vec!["dump", "--to", "s", "--format", "json"];
    all.extend(arguments);
    serde_json::from_slice(&workdir.mcsnap(&all).exits(code).stdout).unwrap()
}

#[test]
fn reading_leaves_no_trace_on_the_server() {
    let server = Memcached::start();
    let mut client = server.client();
    client.load((0..1000).map(|at| Item::new(format!("key:{at}"), "v")));
    let before = client.keys();
    let workdir = Workdir::new("no-trace");
    dump_json(&workdir, &["--name", "a", &server.address()], 0);
    let after = client.keys();
    assert_eq!(
        before, after,
        "CAS, last access or the fetched mark has changed"
    );
    assert!(after.values().all(|fields| fields["fetch"] == "no"));
    assert_eq!(client.stats("")["get_expired"], "0");
}

#[test]
fn the_win_token_of_a_stale_item_is_given_back() {
    let server = Memcached::start();
    let mut client = server.client();
    for key in ["fresh", "stale", "taken"] {
        client.set(key, 5, 3600, b"value");
    }
    assert_eq!(client.command("md stale I"), "HD");
    assert_eq!(client.command("md taken I"), "HD");
    let (header, _) = client.mg(b"taken", "v").unwrap();
    assert!(header.contains(" W"), "{header}");
    let workdir = Workdir::new("win-token");
    let report = dump_json(&workdir, &["--name", "a", &server.address()], 0);
    assert_eq!(report["win_tokens_returned"], 1);
    // The next client is told to recache, as if nobody had asked before.
    let (header, _) = client.mg(b"stale", "v").unwrap();
    assert!(header.contains(" W") && header.contains(" X"), "{header}");
    let (header, _) = client.mg(b"taken", "v").unwrap();
    assert!(header.contains(" Z") && !header.contains(" W"), "{header}");

    // And the marks come back with the items.
    let target = Memcached::start();
    workdir
        .mcsnap(&["restore", "s/a", "--to", &target.address()])
        .succeeds();
    let mut client = target.client();
    let (header, value) = client.mg(b"stale", "f t v").unwrap();
    assert!(
        header.contains(" W") && header.contains(" X") && header.contains("f5"),
        "{header}"
    );
    assert_eq!(value, b"value");
    let (header, _) = client.mg(b"taken", "v").unwrap();
    assert!(header.contains(" X") && header.contains(" Z"), "{header}");
    let (header, _) = client.mg(b"fresh", "v").unwrap();
    assert!(!header.contains(" X"), "{header}");
}

#[test]
fn the_win_token_is_given_back_without_cas_too() {
    let server = Memcached::start_with(&["-C"]);
    let mut client = server.client();
    client.set("stale", 0, 3600, b"value");
    assert_eq!(client.command("md stale I"), "HD");
    let workdir = Workdir::new("win-token-no-cas");
    let report = dump_json(&workdir, &["--name", "a", &server.address()], 0);
    assert_eq!(report["win_tokens_returned"], 1);
    let (header, _) = client.mg(b"stale", "v").unwrap();
    assert!(header.contains(" W") && header.contains(" X"), "{header}");
}

#[test]
fn a_server_at_its_limit_of_connections_loses_nothing() {
    let server = Memcached::start_with(&["-c", "64"]);
    server
        .client()
        .load((0..20_000).map(|at| Item::new(format!("key:{at}"), "v")));
    // As many as it takes until the server refuses one; then three go.
    let mut idle = Vec::new();
    loop {
        let mut client = server.client();
        client.send(b"version\r\n");
        if client.is_closed() || !client.read_line().starts_with("VERSION") {
            break;
        }
        idle.push(client);
    }
    idle.truncate(idle.len() - 3);
    let workdir = Workdir::new("limit");
    let report = dump_json(&workdir, &["--name", "a", &server.address()], 0);
    assert_eq!(report["stored"], 20_000);
    assert_eq!(report["verdict"], "complete");
}

#[test]
fn a_key_that_no_command_can_carry_is_counted_as_refused() {
    // A real server holds such a key only if it came over the binary protocol.
    let long = "%20".repeat(187);
    let walk = format!("key={long} exp=-1 la=1 cas=1 fetch=no cls=1 size=300\nEND\r\n");
    let stats = "STAT pid 1\r\nSTAT uptime 10\r\nSTAT time 1700000000\r\n\
                 STAT version 1.6.18\r\nSTAT curr_items 1\r\nEND\r\n";
    let settings = "STAT item_size_max 1048576\r\nSTAT cas_enabled yes\r\nEND\r\n";
    let server = FakeServer::ruled([
        Rule::new("stats settings", [Step::reply(settings)]),
        Rule::new("stats", [Step::reply(stats)]),
        Rule::new(
            "lru_crawler metadump 0",
            [Step::reply("BADCLASS invalid class id\r\n")],
        ),
        Rule::new("lru_crawler metadump hash", [Step::reply(walk)]),
    ]);
    let workdir = Workdir::new("refused");
    let report = dump_json(&workdir, &["--name", "a", &server.address()], 3);
    assert_eq!(
        (&report["refused"], &report["stored"]),
        (&Value::from(1), &Value::from(0))
    );
    assert_eq!(report["verdict"], "lossy");
    let output = workdir.mcsnap(&["verify", "s/a"]).succeeds();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("MCS020 warning"), "{text}");
    // Whoever reads it is told, too.
    let told = "s/a is lossy: its dump lost 1 of 1 item";
    let to = server.address();
    for (arguments, code) in [
        (&["ls", "s/a"][..], 0),
        (&["get", "s/a", "key"], 4),
        (&["inspect", "s/a"], 0),
        (&["ring", "plan", "s/a", "--ring=modula", "--to", &to], 0),
    ] {
        let output = workdir.mcsnap(arguments).exits(code);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn a_long_key_with_a_nul_is_not_taken_for_what_lies_before_it() {
    let server = Memcached::start();
    let long = [b'x'; 200];
    let keys = [
        long.to_vec(),
        [&long[..], b"\0abc"].concat(),
        [b"\0", &long[..]].concat(),
    ];
    for (number, key) in (b'0'..).zip(&keys) {
        binary_set(&server.address(), key, &[number], 0, 0);
    }
    let workdir = Workdir::new("nul");
    let report = dump_json(&workdir, &["--name", "a", &server.address()], 0);
    assert_eq!(
        (&report["stored"], &report["vanished"]),
        (&3.into(), &0.into())
    );
    for (number, key) in (b'0'..).zip(&keys) {
        let key = String::from_utf8_lossy(key).replace('\0', "\\x00");
        let output = workdir.mcsnap(&["get", "--raw", "s/a", &key]).succeeds();
        assert_eq!(output.stdout, [number], "{key}");
    }
    // No text command brings them back before 1.6.45: the binary protocol does.
    let other = Memcached::start();
    let restore = ["restore", "s/a", "--format=json", "--to", &other.address()];
    let output = workdir.mcsnap(&restore).succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["stored"], &report["refused"]),
        (&3.into(), &0.into())
    );
    let listed: Vec<Vec<u8>> = other.client().keys().into_keys().collect();
    let mut wanted = keys.to_vec();
    wanted.sort();
    assert_eq!(listed, wanted);
}

#[test]
fn a_node_that_dies_midway_is_named_and_the_others_finish() {
    let value = |at: u64| vec![at.to_le_bytes()[0]; 500];
    let fill = |server: &Memcached| {
        server
            .client()
            .load((0..5000).map(|at| Item::new(format!("key:{at}"), value(at))));
    };
    for (flag, code) in [("--allow-partial", 3), ("--allow-partial=false", 1)] {
        let healthy = Memcached::start_with(&["-m", "256"]);
        let mut dying = Memcached::start_with(&["-m", "256"]);
        fill(&healthy);
        fill(&dying);
        let (first, second) = (healthy.address(), dying.address());
        let workdir = Workdir::new("dying");
        let run = workdir
            .mcsnap(&["dump", "--to", "s", "--name", "a", "--format", "json", flag])
            .arg("--segment-records=100")
            .arg("--compression=none")
            .arg(&first)
            .arg(&second);
        let (run, gate) = hold(run, &workdir, "n0001-*", 2);
        let child = run.spawn();
        wait_until("the second node is read", || {
            let files = segment_files(&workdir, "a");
            files.iter().any(|name| name.starts_with("n0001"))
        });
        dying.kill();
        gate.open();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        if code == 1 {
            assert!(errors.contains(&second), "{errors}");
            let advice = errors.lines().last().unwrap();
            let advice = advice.split_once("; pass --resume --name a to go on with ");
            let (records, rest) = advice.unwrap().1.split_once(" records of ").unwrap();
            let records: u64 = records.replace(',', "").parse().unwrap();
            assert!(records >= 5000, "{errors}");
            assert_eq!(
                rest,
                "2 servers, or --allow-partial for a snapshot of what other servers give"
            );
            continue;
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["verdict"], "partial");
        assert_eq!(report["nodes"][0]["stored"], 5000);
        assert_eq!(report["nodes"][0]["failure"], Value::Null);
        let dead = &report["nodes"][1];
        assert!(
            dead["failure"].as_str().unwrap().contains(&second),
            "{dead}"
        );
        let number = |name: &str| dead[name].as_u64().unwrap();
        let outcomes = [
            "stored",
            "vanished",
            "expired",
            "duplicate",
            "filtered",
            "refused",
            "failed",
            "missing",
        ];
        assert_eq!(
            number("listed"),
            outcomes.into_iter().map(number).sum::<u64>()
        );
        let output = workdir.mcsnap(&["verify", "s/a", "--deep"]).succeeds();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("the snapshot is partial"), "{text}");
    }
}

#[test]
fn an_unreachable_node_is_in_the_manifest_of_a_partial_snapshot() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("unreachable");
    let report = dump_json(
        &workdir,
        &[
            "--allow-partial",
            "--name",
            "a",
            &server.address(),
            "127.0.0.1:1",
        ],
        3,
    );
    assert_eq!(report["verdict"], "partial");
    assert_eq!(
        report["nodes"][1]["failure"],
        "127.0.0.1:1: cannot connect: Connection refused (os error 111)"
    );
    // Whoever restores it is told.
    let output = workdir
        .mcsnap(&["restore", "s/a", "--to", &server.address()])
        .succeeds();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("the dump lacked a server"), "{text}");
}

#[test]
fn settings_come_from_the_file_the_environment_and_the_flags() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("settings");
    let config = format!(
        "format: json\ndump:\n  nodes: [\"{}\"]\n  to: file\n  name: from-file\n  connections: 2\n",
        server.address()
    );
    std::fs::write(workdir.join("conf.yaml"), config).unwrap();
    let output = workdir
        .mcsnap(&["dump", "--to", "flag", "--dry-run"])
        .env("MCSNAP_CONFIG", "conf.yaml")
        .env("MCSNAP_DUMP_NAME", "from-environment")
        .env("MCSNAP_DUMP_TO", "environment")
        .succeeds();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&plan["to"], &plan["name"]),
        (&"flag".into(), &"from-environment".into())
    );
    assert_eq!(plan["connection_count"], 2);
    assert_eq!(plan["settings"]["to"]["origin"], "flag");
    assert_eq!(plan["settings"]["name"]["origin"], "environment");
    assert_eq!(plan["settings"]["connections"]["origin"], "file");
    assert!(
        !workdir.join("flag").exists(),
        "a dry run has written something"
    );
}

#[test]
fn progress_and_log_are_told_where_they_are_asked_for() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("progress");
    let output = workdir
        .mcsnap(&[
            "dump",
            "--to",
            "s",
            "--progress",
            "json",
            "--log-file",
            "log",
            &server.address(),
        ])
        .succeeds();
    let events: Vec<Value> = String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["started", "node_started", "node_finished", "finished"]
    );
    assert_eq!(events[3]["items"], 1);
    let log = || -> Vec<Value> {
        let log = std::fs::read_to_string(workdir.join("log")).unwrap();
        let lines = log.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    // What it came to, for who was not there.
    let lines = log();
    let report = &lines[lines.len() - 2]["report"];
    assert_eq!(report["schema"], "mcsnap.dump/1");
    assert_eq!(
        (&report["stored"], &report["verdict"]),
        (&1.into(), &"complete".into())
    );
    assert_eq!(lines[lines.len() - 1]["exit_code"], 0);
    let failing = ["dump", "--to", "s", "--log-file", "log", "127.0.0.1:1"];
    workdir.mcsnap(&failing).exits(1);
    let end = log().pop().unwrap();
    assert_eq!(
        (&end["level"], &end["exit_code"]),
        (&"error".into(), &1.into())
    );
    let message = end["error"].as_str().unwrap();
    assert!(
        message.starts_with("127.0.0.1:1: cannot connect"),
        "{message}"
    );
    let output = workdir
        .mcsnap(&["dump", "--to", "s", "-q", &server.address()])
        .succeeds();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn completions_and_manual_pages_are_made_at_run_time() {
    let workdir = Workdir::new("generated");
    let bash = workdir.mcsnap(&["completions", "bash"]).succeeds();
    assert!(String::from_utf8_lossy(&bash.stdout).contains("_mcsnap"));
    let page = workdir.mcsnap(&["man", "restore"]).succeeds();
    assert!(String::from_utf8_lossy(&page.stdout).contains("node\\-for\\-node"));
    let output = workdir.mcsnap(&["man", "nothing"]).exits(2);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "mcsnap: command \"nothing\": there is none of this name\n"
    );
}

#[test]
fn progress_tells_of_each_node() {
    let servers = [Memcached::start(), Memcached::start()];
    for (number, server) in servers.iter().enumerate() {
        let count = 1000 * (number + 1);
        let items = (0..count).map(|at| Item::new(format!("key:{at}"), "value"));
        server.client().load(items);
    }
    let [first, second] = [servers[0].address(), servers[1].address()];
    let workdir = Workdir::new("progress");
    let output = workdir
        .mcsnap(&["dump", "--to", "s", "--progress=json", &first, &second])
        .succeeds();
    let text = String::from_utf8(output.stderr).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (node, items) in [(&first, 1000), (&second, 2000)] {
        let of = |event: &str| {
            let mut found = events
                .iter()
                .filter(|other| other["event"] == event && other["node"] == **node);
            found.next().unwrap().clone()
        };
        assert_eq!(of("node_started")["items_total"], items);
        assert_eq!(of("node_finished")["items"], items);
        assert_eq!(of("node_finished")["failure"], Value::Null);
    }
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["items"]),
        (&"finished".into(), &3000.into())
    );
}

/// Panics when the first keys were fetched.
struct Panics;

impl Progress for Panics {
    fn event(&self, event: Event) {
        if matches!(event, Event::Advanced { .. }) {
            std::panic::resume_unwind(Box::new("told to"));
        }
    }
}

#[test]
fn a_fetcher_that_panics_ends_the_dump() {
    let server = Memcached::start();
    let items = (0..50_000).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
    for walk in [WalkKind::Hash, WalkKind::Slabs] {
        let options = DumpOptions {
            nodes: vec![server.address().parse().unwrap()],
            name: "a".to_owned(),
            segment_size_max: 1 << 20,
            segment_record_count_max: 100_000,
            compression: Compression::None,
            // The rest is fetched by nobody.
            connection_count: 1,
            parallel_node_count: 1,
            shard_bits: 1,
            spool_memory_max: 1 << 20,
            walk: Some(walk),
            ..DumpOptions::default()
        };
        let plan = DumpPlan::make(options, &Cancel::new()).unwrap();
        let (sender, ended) = mpsc::channel();
        // Not joined: one that hangs would hang the test, too.
        std::thread::spawn(move || {
            let run = AssertUnwindSafe(|| {
                let store = Arc::new(MemoryStore::new());
                plan.run(store, &Cancel::new(), &Panics).map(drop)
            });
            let _ = sender.send(catch_unwind(run).is_err());
        });
        assert_eq!(
            ended.recv_timeout(Duration::from_secs(60)),
            Ok(true),
            "{walk:?}"
        );
    }
}
