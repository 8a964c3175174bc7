//! A dump that was killed when it had sealed some of its segments.

use std::fs;

use crate::harness::client::Item;
use crate::harness::fault::{Call, Fault, Harm, was_killed};
use crate::harness::memcached::Memcached;
use crate::harness::running_job::segment_files;
use crate::harness::workdir::Workdir;

pub(crate) const KEY_COUNT: u32 = 4000;

/// Keys of one server, most of them with a TTL that is far away.
pub(crate) fn items(range: std::ops::Range<u32>, word: &str) -> Vec<Item> {
    let item = |at: u32| {
        let value = format!("{word} {at} {}", "v".repeat(700));
        let ttl = if at.is_multiple_of(3) { 0 } else { 86_400 };
        Item::new(format!("key:{at}"), value).ttl(ttl).flags(at)
    };
    range.map(item).collect()
}

/// Small segments, and many of them.
pub(crate) fn arguments<'a>(name: &'a str, address: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["dump", "--to", "s", "--name", name, "--segment-records=100"];
    arguments.extend(["--compression=none", "--progress=none", "--format=json"]);
    arguments.push(address);
    arguments.extend(more);
    arguments
}

/// The sealed segments of the dump.
pub(crate) fn sealed(workdir: &Workdir) -> Vec<String> {
    let mut files = segment_files(workdir, "a");
    files.retain(|file| file.ends_with(".mcs"));
    files.sort();
    files
}

/// A server of which a part is in sealed segments of a dump that was killed.
pub(crate) fn half_dumped(server_arguments: &[&str], more: &[&str]) -> (Memcached, Workdir, usize) {
    let server = Memcached::start_with(&[&["-m", "256"], server_arguments].concat());
    server.client().load(items(0..KEY_COUNT, "old"));
    let workdir = Workdir::new("compared");
    fs::create_dir(workdir.join("s")).unwrap();
    let address = server.address();
    // Of the files of some forty segments, and some others.
    let fault = Fault::at(&[Call::Create], 25, Harm::KillBefore);
    let run = workdir.mcsnap(&arguments("a", &address, more));
    let (output, _) = fault.run(run, &workdir.join("s"));
    assert!(was_killed(&output), "{output:?}");
    let count = sealed(&workdir).len();
    assert!(count >= 10, "{count} segments are too few to mean anything");
    assert!(!workdir.join("s/a/manifest.json").exists());
    (server, workdir, count)
}
