//! A key that several nodes of a snapshot have is restored from one of them, and
//! always from the same.

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::reports::run_json;
use crate::harness::workdir::Workdir;

const KEY_COUNT: usize = 3000;

fn key(at: usize) -> String {
    format!("key:{at}")
}

/// Two servers that have the same keys, with values that name the server.
fn twins() -> [Memcached; 2] {
    ["first", "second"].map(|name| {
        let server = Memcached::start();
        let items = (0..KEY_COUNT).map(|at| Item::new(key(at), format!("{name} {at}")));
        server.client().load(items);
        server
    })
}

fn dump(workdir: &Workdir, servers: &[Memcached], more: &[&str]) {
    let addresses: Vec<String> = servers.iter().map(Memcached::address).collect();
    let mut arguments = vec!["dump", "--to", "s", "--name", "a", "--segment-records=200"];
    arguments.extend(addresses.iter().map(String::as_str));
    arguments.extend(more);
    workdir.mcsnap(&arguments).succeeds();
}

/// Who of the two each value of a server names.
fn names(server: &Memcached) -> Vec<String> {
    let mut client = server.client();
    let values = (0..KEY_COUNT).map(|at| {
        let (_, value) = client.get(&key(at)).unwrap_or_else(|| panic!("{at}"));
        let value = String::from_utf8(value).unwrap();
        let (name, number) = value.split_once(' ').unwrap();
        assert_eq!(number, at.to_string());
        name.to_owned()
    });
    values.collect()
}

#[test]
fn without_a_ring_the_first_node_has_the_say() {
    let servers = twins();
    let workdir = Workdir::new("doubles");
    dump(&workdir, &servers, &[]);
    for mode in ["add", "set", "add", "set"] {
        let target = Memcached::start();
        let to = target.address();
        let arguments = ["restore", "s/a", "--mode", mode, "--to", &to];
        let plan = run_json(&workdir, &[&arguments[..], &["--dry-run"]].concat(), 0);
        assert_eq!(plan["duplicates"], KEY_COUNT);
        assert_eq!(plan["nodes"][0]["keys"], KEY_COUNT);
        let report = run_json(&workdir, &arguments, 0);
        assert_eq!(report["stored"], KEY_COUNT, "{report}");
        assert_eq!(report["existing"], 0);
        assert_eq!(report["duplicates"], KEY_COUNT);
        assert_eq!(report["unaccounted"], 0);
        assert!(names(&target).iter().all(|name| name == "first"), "{mode}");
    }
}

#[test]
fn where_the_ring_looks_is_the_value_that_counts() {
    let servers = twins();
    let workdir = Workdir::new("doubles-ring");
    let ring = "ketama";
    dump(&workdir, &servers, &["--ring", ring]);
    let to = servers.each_ref().map(Memcached::address).join(",");
    let target = Memcached::start();
    let report = run_json(&workdir, &["restore", "s/a", "--to", &target.address()], 0);
    assert_eq!(
        (&report["stored"], &report["duplicates"]),
        (&KEY_COUNT.into(), &KEY_COUNT.into())
    );
    // Asked of the program itself, by another way.
    let names = names(&target);
    let keys: Vec<String> = (0..KEY_COUNT).step_by(50).map(key).collect();
    let mut locate = vec!["ring", "locate", "--ring", ring, "--nodes", &to];
    locate.extend(keys.iter().map(String::as_str));
    let output = workdir.mcsnap(&locate).arg("--format=json").succeeds();
    let lines = String::from_utf8(output.stdout).unwrap();
    let located: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(located.len(), keys.len());
    let mut seen = [0, 0];
    for (at, place) in (0..KEY_COUNT).step_by(50).zip(located) {
        let index = usize::from(place["node"] == servers[1].address());
        assert_eq!(names[at], ["first", "second"][index], "{place}");
        seen[index] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0);
}

#[test]
fn only_the_nodes_that_are_named_are_restored() {
    let servers = twins();
    let workdir = Workdir::new("doubles-nodes");
    dump(&workdir, &servers, &[]);
    let second = servers[1].address();
    for ring in [&[][..], &["--ring", "node-for-node"]] {
        let target = Memcached::start();
        let to = target.address();
        let arguments = ["restore", "s/a", "--to", &to, "--nodes", &second];
        let report = run_json(&workdir, &[&arguments[..], ring].concat(), 0);
        assert_eq!(report["records"], KEY_COUNT);
        assert_eq!(
            (&report["stored"], &report["duplicates"]),
            (&KEY_COUNT.into(), &0.into())
        );
        assert!(names(&target).iter().all(|name| name == "second"));
    }
    let to = servers[0].address();
    let arguments = ["restore", "s/a", "--to", &to, "--nodes", "other:1"];
    let output = workdir.mcsnap(&arguments).exits(2);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("other:1"), "{stderr}");
}

/// Each of the two goes back where it was.
#[test]
fn node_for_node_no_record_is_a_double() {
    let servers = twins();
    let workdir = Workdir::new("doubles-node-for-node");
    dump(&workdir, &servers, &[]);
    let targets = [Memcached::start(), Memcached::start()];
    let to = targets.each_ref().map(Memcached::address).join(",");
    let arguments = ["restore", "s/a", "--to", &to, "--ring", "node-for-node"];
    let report = run_json(&workdir, &arguments, 0);
    assert_eq!(report["stored"], 2 * KEY_COUNT);
    assert_eq!(report["duplicates"], 0);
    for (target, name) in targets.iter().zip(["first", "second"]) {
        assert!(names(target).iter().all(|found| found == name));
    }
}
