//! Jobs of a process that may have few files and sockets open.

use std::process::Command;

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const KEY_COUNT: u64 = 20_000;
const NODE_COUNT: usize = 1000;

/// Runs the program with so many descriptors; returns its report, and stderr.
fn run(workdir: &Workdir, descriptors: usize, arguments: &[&str]) -> (Value, String) {
    let limited = format!("ulimit -n {descriptors} && exec \"$@\"");
    let output = Command::new("bash")
        .args(["-c", &limited, "bash", env!("CARGO_BIN_EXE_mcsnap")])
        .args(arguments)
        .args(["--format=json", "--wait-for-node=0s"])
        .current_dir(workdir.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    (serde_json::from_slice(&output.stdout).unwrap(), errors)
}

fn filled(key: &str) -> Memcached {
    let server = Memcached::start();
    let items = (0..KEY_COUNT).map(|at| Item::new(format!("{key}:{at}"), "value"));
    server.client().load(items);
    server
}

#[test]
fn a_thousand_nodes_are_filled_with_256_descriptors() {
    let source = filled("key");
    let workdir = Workdir::new("descriptors");
    let dump = ["dump", "--to=s", "--name=a", &source.address()];
    workdir.mcsnap(&dump).succeeds();
    // One server with a thousand addresses does for a thousand nodes.
    let more = vec!["127.0.0.1"; NODE_COUNT].join(",");
    let target = Memcached::start_with(&["-l", &more, "-c", "4096"]);
    let addresses = target.addresses();
    assert!(addresses.len() >= NODE_COUNT);
    let to = addresses[..NODE_COUNT].join(",");
    let restore = [
        "restore",
        "s/a",
        "--to",
        &to,
        "--ring=ketama",
        "--stop-on-evictions=0",
    ];
    let (report, errors) = run(&workdir, 256, &restore);
    assert_eq!(report["stored"], KEY_COUNT, "{errors}");
    assert_eq!(report["unaccounted"], 0);
    assert_eq!(report["nodes"].as_array().unwrap().len(), NODE_COUNT);
    assert!(errors.contains("the nodes are filled in turn"), "{errors}");
    assert_eq!(target.client().keys().len(), source.client().keys().len());
}

#[test]
fn nodes_are_dumped_a_few_at_a_time_where_descriptors_are_few() {
    let servers: Vec<Memcached> = (0..5).map(|at| filled(&format!("of{at}"))).collect();
    let addresses: Vec<String> = servers.iter().map(Memcached::address).collect();
    let workdir = Workdir::new("few-descriptors");
    let mut dump = vec!["dump", "--to=s", "--name=a"];
    dump.extend(addresses.iter().map(String::as_str));
    let (report, errors) = run(&workdir, 100, &dump);
    assert_eq!(report["records"], 5 * KEY_COUNT, "{errors}");
    assert_eq!(report["verdict"], "complete");
    assert!(
        errors.contains(" of 5 nodes are dumped at a time"),
        "{errors}"
    );
}
