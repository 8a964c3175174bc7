//! A dump of a real server in each mode that it can be started in, by each walk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mcsnap::words::item::{Cas, Exptime};
use serde_json::Value;

use crate::harness::ageing_proxy::binary_set;
use crate::harness::client::{Client, Item};
use crate::harness::memcached::Memcached;
use crate::harness::reports::{assert_accounted, number};
use crate::harness::running_job::RaiseOnDrop;
use crate::harness::stored::{Stored, records};
use crate::harness::workdir::Workdir;

const LIMIT: Duration = Duration::from_secs(60);

const WALKS: [&str; 4] = ["hash", "slabs", "slabs:serial", "cachedump"];

fn start(arguments: &[&str]) -> Memcached {
    let server = Memcached::start_with(arguments);
    println!("memcached {} {arguments:?}", server.version());
    server
}

fn dump(workdir: &Workdir, name: &str, server: &Memcached, more: &[&str], code: i32) -> Value {
    let address = server.address();
    let mut arguments = vec!["dump", "--to", "s", "--format", "json", "--name", name];
    arguments.push(&address);
    arguments.extend(more);
    serde_json::from_slice(&workdir.mcsnap(&arguments).exits(code).stdout).unwrap()
}

fn stored(workdir: &Workdir, name: &str) -> BTreeMap<Vec<u8>, Stored> {
    records(&workdir.join(format!("s/{name}")))
}

/// A value that tells its key, of a length.
fn value(key: &str, len: usize) -> Vec<u8> {
    key.bytes().cycle().take(len).collect()
}

/// Items of many sizes, with flags and exptimes.
fn load_mixed(client: &mut Client, count: usize, len_max: usize) {
    client.load((0..count).map(|at| {
        let key = format!("mixed:{at}");
        let value = value(&key, at * 7919 % len_max);
        let ttl = if at % 2 == 0 { 0 } else { 3600 };
        let item = Item::new(key, value).ttl(ttl);
        item.flags(u32::try_from(at % 5).unwrap())
    }));
}

/// Every item of the server is in the snapshot as it is there.
fn assert_whole(client: &mut Client, records: &BTreeMap<Vec<u8>, Stored>) {
    let keys = client.keys();
    let fetched = client.fetch_all(keys.keys());
    assert_eq!(
        records.keys().collect::<Vec<_>>(),
        keys.keys().collect::<Vec<_>>()
    );
    for (key, record) in records {
        let item = &fetched[key];
        assert!(record.value == item.value, "{}", key.escape_ascii());
        assert_eq!(record.meta.client_flags, Some(item.flags.into()));
        assert_eq!(record.meta.exptime == Some(Exptime::Never), item.ttl == -1);
    }
}

#[test]
fn each_walk_gives_every_item_of_a_server_at_rest() {
    let server = start(&["-m", "256"]);
    let mut client = server.client();
    load_mixed(&mut client, 5000, 3000);
    let workdir = Workdir::new("each-walk");
    for walk in WALKS {
        let name = walk.replace(':', "-");
        // Of each class the listing shows the COLD list alone.
        let is_listing = walk == "cachedump";
        let code = if is_listing { 3 } else { 0 };
        let report = dump(&workdir, &name, &server, &["--walk", walk], code);
        assert_accounted(&report);
        let sum = number(&report, "stored") + number(&report, "unlisted");
        assert_eq!(sum, 5000, "{walk} {report}");
        let records = stored(&workdir, &name);
        if is_listing {
            assert!(number(&report, "unlisted") > 0);
            for (key, record) in records {
                let key = String::from_utf8(key).unwrap();
                assert_eq!(record.value, value(&key, record.value.len()));
            }
        } else {
            assert_whole(&mut client, &records);
        }
        let manifest_walk = report["nodes"][0]["walk"].as_str().unwrap();
        let wanted = match walk {
            "cachedump" => "cachedump".to_owned(),
            _ => format!("metadump-{name}"),
        };
        assert_eq!(manifest_walk, wanted);
    }
}

#[test]
fn a_server_without_cas_gives_items_without_one() {
    let server = start(&["-C"]);
    let mut client = server.client();
    load_mixed(&mut client, 1000, 500);
    let workdir = Workdir::new("no-cas");
    for walk in &WALKS[..3] {
        let name = walk.replace(':', "-");
        let report = dump(&workdir, &name, &server, &["--walk", walk], 0);
        assert_eq!(number(&report, "stored"), 1000);
        let records = stored(&workdir, &name);
        assert_whole(&mut client, &records);
        assert!(records.values().all(|record| record.meta.cas.is_none()));
    }
}

#[test]
fn a_server_that_forbids_listing_is_refused() {
    let server = start(&["-X"]);
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("forbidden");
    for more in [&[][..], &["--walk", "cachedump"], &["--dry-run"]] {
        let address = server.address();
        let mut arguments = vec!["dump", "--to", "s", "--name", "a", &address];
        arguments.extend(more);
        let output = workdir.mcsnap(&arguments).exits(2);
        let wanted = format!(
            "mcsnap: {address}: listing of keys is not supported: \
             the server was started with -X, which forbids it\n"
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), wanted);
    }
    assert!(!workdir.join("s/a").exists());
}

#[test]
fn a_crawler_that_is_off_is_on_for_the_dump_alone() {
    let server = start(&["-o", "no_lru_crawler"]);
    let mut client = server.client();
    load_mixed(&mut client, 1000, 500);
    assert_eq!(client.stats("settings")["lru_crawler"], "no");
    let workdir = Workdir::new("no-crawler");
    for walk in &WALKS[..3] {
        let name = walk.replace(':', "-");
        let plan = dump(&workdir, &name, &server, &["--walk", walk, "--dry-run"], 0);
        assert_eq!(plan["nodes"][0]["turns_crawler_on"], true);
        let report = dump(&workdir, &name, &server, &["--walk", walk], 0);
        assert_eq!(number(&report, "stored"), 1000);
        assert_eq!(client.stats("settings")["lru_crawler"], "no", "{walk}");
    }
    // The listing does without.
    let plan = dump(
        &workdir,
        "d",
        &server,
        &["--walk", "cachedump", "--dry-run"],
        0,
    );
    assert_eq!(plan["nodes"][0]["turns_crawler_on"], false);
}

#[test]
fn values_that_the_server_has_on_disk_come_with_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("extstore");
    let option = format!(
        "ext_page_size=8,ext_path={}:64m,ext_item_size=512,ext_item_age=1,ext_wbuf_size=2",
        path.display()
    );
    let server = start(&["-m", "64", "-o", &option]);
    let mut client = server.client();
    let count = 4000;
    client.load((0..count).map(|at| {
        let key = format!("large:{at}");
        let value = value(&key, 3000 + at % 5000);
        Item::new(key, value).flags(7).ttl(7200)
    }));
    // The server writes what has been in its COLD lists for a second.
    let deadline = Instant::now() + LIMIT;
    let on_disk = |client: &mut Client| -> usize {
        client.stats("")["extstore_objects_used"].parse().unwrap()
    };
    while on_disk(&mut client) < count {
        assert!(
            Instant::now() < deadline,
            "it writes {} to disk",
            on_disk(&mut client)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let workdir = Workdir::new("extstore");
    for walk in &WALKS[..3] {
        let before = server.client().stats("");
        let name = walk.replace(':', "-");
        let report = dump(&workdir, &name, &server, &["--walk", walk], 0);
        let records = stored(&workdir, &name);
        let after = server.client().stats("");
        let gets = |stats: &BTreeMap<String, String>| stats["get_extstore"].parse::<u64>().unwrap();
        println!(
            "{walk}: {} of {} values from disk",
            gets(&after) - gets(&before),
            records.len()
        );
        // Now and then the server takes one back into memory.
        assert!(gets(&after) - gets(&before) >= 3900);
        assert_accounted(&report);
        assert_eq!(records.len(), count, "{report}");
        for (key, record) in records {
            let key = String::from_utf8(key).unwrap();
            let at: usize = key.strip_prefix("large:").unwrap().parse().unwrap();
            assert!(record.value == value(&key, 3000 + at % 5000), "{key}");
            assert_eq!(record.meta.client_flags, Some(7));
        }
    }
}

#[test]
fn items_of_eight_mebibytes_come_whole() {
    let server = start(&["-I", "8m", "-m", "256"]);
    let mut client = server.client();
    load_mixed(&mut client, 200, 2000);
    // Up to what the server takes with key and header.
    for (at, len) in [1 << 20, (1 << 20) + 1, 5_000_000, (8 << 20) - 200]
        .into_iter()
        .enumerate()
    {
        let key = format!("huge:{at}");
        client.set(&key, 9, 0, &value(&key, len));
    }
    let workdir = Workdir::new("eight");
    for walk in &WALKS[..3] {
        let name = walk.replace(':', "-");
        let report = dump(&workdir, &name, &server, &["--walk", walk], 0);
        assert_eq!(number(&report, "stored"), 204);
        assert_whole(&mut client, &stored(&workdir, &name));
    }
}

#[test]
fn what_a_client_holds_all_the_time_is_told_where_lists_pass_it_over() {
    let server = start(&["-m", "256"]);
    let mut client = server.client();
    client.load((0..300).map(|at| {
        let key = format!("held:{at}");
        let value = value(&key, 100_000);
        Item::new(key, value)
    }));
    // Asks for all, and reads nothing: what does not fit the sockets is held.
    let keys: Vec<String> = (0..300).map(|at| format!("held:{at}")).collect();
    let mut holder = server.client();
    holder.send(format!("get {}\r\n", keys.join(" ")).as_bytes());
    let started = client.stats("");
    assert_ne!(started["curr_items"], "0");
    let workdir = Workdir::new("held");
    for walk in ["slabs", "slabs:serial"] {
        let name = walk.replace(':', "-");
        let report = dump(&workdir, &name, &server, &["--walk", walk], 3);
        let stored = stored(&workdir, &name).len();
        println!("{walk}: {stored} of 300");
        assert!(stored < 300, "nothing was held");
        assert_eq!(
            number(&report, "unlisted"),
            300 - u64::try_from(stored).unwrap()
        );
        assert_eq!(report["verdict"], "lossy");
    }
}

/// The server counts them, and no client can have them.
#[test]
fn items_that_have_expired_are_no_loss_where_lists_pass_them_over() {
    let server = start(&["-m", "256", "-o", "no_lru_maintainer"]);
    let mut client = server.client();
    let workdir = Workdir::new("expired");
    for (at, walk) in ["slabs", "slabs:serial"].into_iter().enumerate() {
        load_mixed(&mut client, 1000, 3000);
        client.load((0..5000).map(|at| {
            let key = format!("expiring:{at}");
            let value = value(&key, at * 7919 % 3000);
            Item::new(key, value)
        }));
        // No item is stored after the first of these has expired: it would take its place.
        let touches = (0..5000).map(|at| format!("touch expiring:{at} 1 noreply\r\n"));
        client.send(touches.collect::<String>().as_bytes());
        // More than the second that a TTL of 1 lasts, rounded up.
        (0..3).for_each(|_| client.wait_for_tick());
        assert_eq!(client.stats("")["curr_items"], "6000");
        let name = at.to_string();
        let report = dump(&workdir, &name, &server, &["--walk", walk], 0);
        assert_eq!(number(&report, "stored"), 1000);
        assert_eq!(number(&report, "unlisted"), 0);
        assert_eq!(report["verdict"], "complete");
    }
}

/// Both at once: only what is held is missing.
#[test]
fn what_is_held_is_told_from_what_has_expired() {
    let server = start(&["-m", "256", "-o", "no_lru_maintainer"]);
    let mut client = server.client();
    client.load((0..300).map(|at| Item::new(format!("held:{at}"), value("held", 100_000))));
    client.load((0..5000).map(|at| Item::new(format!("expiring:{at}"), "v").ttl(1)));
    let keys: Vec<String> = (0..300).map(|at| format!("held:{at}")).collect();
    let mut holder = server.client();
    holder.send(format!("get {}\r\n", keys.join(" ")).as_bytes());
    // More than the second that a TTL of 1 lasts, rounded up.
    (0..3).for_each(|_| client.wait_for_tick());
    let workdir = Workdir::new("held-and-expired");
    let report = dump(&workdir, "a", &server, &["--walk", "slabs"], 3);
    let stored = number(&report, "stored");
    assert!(stored < 300, "nothing was held");
    assert_eq!(number(&report, "unlisted"), 300 - stored);
}

/// The listing prints a key up to its first NUL.
#[test]
fn keys_that_a_listing_cuts_short_are_not_counted_as_shown() {
    // Without it all items are in the lists that are shown.
    let server = start(&["-o", "no_lru_maintainer"]);
    for key in [&b"a"[..], b"a\0b", b"a\0c", b"q\0z"] {
        binary_set(&server.address(), key, b"value", 0, 0);
    }
    let workdir = Workdir::new("cut-short");
    let report = dump(&workdir, "a", &server, &["--walk", "cachedump"], 3);
    assert_accounted(&report);
    // Two names were shown for four items, and only one of them is a key.
    assert_eq!(number(&report, "unlisted"), 2);
    assert_eq!(number(&report, "stored"), 1);
    assert_eq!(number(&report, "vanished"), 1);
    assert_eq!(report["verdict"], "lossy");
    let report = dump(&workdir, "b", &server, &["--walk", "hash"], 0);
    assert_eq!(number(&report, "stored"), 4);
}

/// The server turns its crawler off in the thread of a client, when the crawl that runs
/// is over: the first of several dumps must not ask for that under the others.
#[test]
fn of_several_dumps_the_last_one_turns_the_crawler_off() {
    let server = start(&["-o", "no_lru_crawler"]);
    load_mixed(&mut server.client(), 12_000, 100);
    let address = server.address();
    let workdir = Workdir::new("crawler-shared");
    for round in 0..4 {
        let names = [0, 1, 2].map(|number| format!("r{round}d{number}"));
        let dumps: Vec<_> = names
            .iter()
            .map(|name| {
                let arguments = [
                    "dump",
                    "--to",
                    "s",
                    "--format=json",
                    "--name",
                    name,
                    &address,
                ];
                workdir.mcsnap(&arguments).spawn()
            })
            .collect();
        for dump in dumps {
            let output = dump.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(number(&report, "stored"), 12_000);
            assert_eq!(report["verdict"], "complete");
        }
        assert_eq!(server.client().stats("settings")["lru_crawler"], "no");
    }
}

#[test]
fn a_tiny_server_that_evicts_all_the_time_is_dumped_with_every_line_accounted_for() {
    let server = start(&["-m", "2", "-o", "no_lru_crawler"]);
    let mut client = server.client();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let workdir = Workdir::new("tiny");
    std::thread::scope(|scope| {
        // Or a failure in here would wait for the writer for ever.
        let _end = RaiseOnDrop(&is_over);
        let evicting = scope.spawn(|| {
            let mut client = server.client();
            let mut at = 0;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                let key = format!("tiny:{at}");
                let reply = client.ms(key.as_bytes(), &value(&key, at % 400), "F0");
                // Of the few items none may be evicted that is just being read.
                let is_full = reply.starts_with("SERVER_ERROR out of memory");
                assert!(reply == "HD" || is_full, "{reply}");
                at += 1;
                // A server in use, not one at its limit.
                if at % 5 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let deadline = Instant::now() + LIMIT;
        while client.stats("")["evictions"] == "0" {
            assert!(Instant::now() < deadline, "nothing is evicted");
        }
        for walk in WALKS {
            let name = walk.replace(':', "-");
            let arguments = ["--walk", walk, "--max-missing=100", "--max-unsure=100"];
            let report = dump(&workdir, &name, &server, &arguments, 0);
            assert_accounted(&report);
            assert_eq!(number(&report, "failed") + number(&report, "missing"), 0);
            if walk == "hash" {
                assert_eq!(number(&report, "unlisted"), 0);
            }
            let records = stored(&workdir, &name);
            println!(
                "{walk}: {} stored, {} vanished, {} duplicate",
                records.len(),
                report["vanished"],
                report["duplicate"]
            );
            assert!(!records.is_empty());
            for (key, record) in records {
                let key = String::from_utf8(key).unwrap();
                let at: usize = key.strip_prefix("tiny:").unwrap().parse().unwrap();
                assert!(record.value == value(&key, at % 400), "{key}");
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        evicting.join().unwrap();
    });
}

#[test]
fn a_full_server_that_evicts_nothing_is_dumped_whole() {
    let server = start(&["-M", "-m", "2"]);
    let mut client = server.client();
    let mut count = 0;
    while client.ms(format!("full:{count}").as_bytes(), &[b'v'; 3000], "F3") == "HD" {
        count += 1;
        assert!(count < 10_000, "it takes everything");
    }
    let workdir = Workdir::new("full");
    for walk in &WALKS[..3] {
        let name = walk.replace(':', "-");
        let report = dump(&workdir, &name, &server, &["--walk", walk], 0);
        assert_eq!(number(&report, "stored"), count);
        assert_whole(&mut client, &stored(&workdir, &name));
    }
}

#[test]
fn a_server_with_all_its_slab_classes_in_use_is_dumped_whole() {
    let server = start(&["-f", "1.05", "-m", "256"]);
    let mut client = server.client();
    load_mixed(&mut client, 8000, 1200);
    let classes = client.stats("items");
    let classes = classes.keys().filter(|name| name.ends_with(":number"));
    assert!(classes.count() > 30);
    let workdir = Workdir::new("classes");
    for walk in &WALKS[..3] {
        let name = walk.replace(':', "-");
        let report = dump(&workdir, &name, &server, &["--walk", walk], 0);
        assert_eq!(number(&report, "stored"), 8000, "{walk} {report}");
        assert_whole(&mut client, &stored(&workdir, &name));
    }
}

#[test]
fn a_hash_table_of_any_size_is_walked() {
    let workdir = Workdir::new("hashpower");
    for (index, options) in [
        // Full for ever, which costs a wait before 1.6.28.
        &["-o", "hashpower=12,no_hashexpand", "-t", "1"][..],
        // 2^22 buckets for a few items: the walk says nothing for a while.
        &["-o", "hashpower=22"],
        &["-o", "hash_algorithm=murmur3", "-t", "1"],
    ]
    .into_iter()
    .enumerate()
    {
        let server = start(options);
        let mut client = server.client();
        load_mixed(&mut client, 10_000, 50);
        let name = format!("h{index}");
        let report = dump(&workdir, &name, &server, &[], 0);
        assert_eq!(number(&report, "stored"), 10_000);
        assert_eq!(report["nodes"][0]["walk"], "metadump-hash");
        assert_whole(&mut client, &stored(&workdir, &name));
    }
}

#[test]
fn the_cas_of_an_item_is_that_of_its_last_write() {
    let server = start(&["-t", "1"]);
    let mut client = server.client();
    for at in 0..50 {
        client.set("same", at, 0, at.to_string().as_bytes());
        client.set(&format!("other:{at}"), at, 0, b"x");
    }
    let keys = client.keys();
    let workdir = Workdir::new("cas");
    for walk in WALKS {
        let name = walk.replace(':', "-");
        dump(
            &workdir,
            &name,
            &server,
            &["--walk", walk, "--max-missing", "100"],
            0,
        );
        for (key, record) in stored(&workdir, &name) {
            let cas = keys[&key]["cas"].parse().unwrap();
            assert_eq!(record.meta.cas, Some(Cas(cas)), "{walk}");
        }
    }
}
