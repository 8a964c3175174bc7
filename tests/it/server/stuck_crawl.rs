//! A walk that its client does not read keeps the server's crawler, and whoever
//! asks for another one then takes a thread of the server with all its clients.

use std::time::{Duration, Instant};

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// Far longer than the busy timeout of the test, and far less than a dump takes
/// that waits for the answer to a walk.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn no_walk_is_asked_for_while_another_is_stuck() {
    let server = Memcached::start_with(&["-m", "512", "-t", "4"]);
    let mut client = server.client();
    // More lines than the sockets hold.
    client.load((0..300_000).map(|at| Item::new(format!("{at:0200}"), "v")));
    let mut stuck = server.client();
    stuck.send(b"lru_crawler metadump all\r\n");
    assert!(stuck.answers_within(SOON));
    // It runs on as long as its lines are not read.
    let workdir = Workdir::new("stuck-crawl");
    let address = server.address();
    let started = Instant::now();
    let output = workdir
        .mcsnap(&["dump", "--to=s", "--name=a", "--progress=none"])
        .arg("--busy-timeout=3s")
        .arg(&address)
        .exits(1);
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
    assert_eq!(client.stats("")["lru_crawler_running"], "1");
    let wanted = format!(
        "mcsnap: {address}: server is already running an LRU crawl; retry later; pass a longer \
         --busy-timeout to wait for it\n"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), wanted);
    // Each thread of the server still answers.
    let mut others: Vec<_> = (0..8).map(|_| server.client()).collect();
    for other in &mut others {
        other.send(b"version\r\n");
        assert!(other.answers_within(SOON), "a thread of the server hangs");
    }
}
