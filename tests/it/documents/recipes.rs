//! README's recipes, run as they are written but for names of hosts and places.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::{PROGRAM, Workdir, clear_settings};

const README: &str = include_str!("../../../README.md");

/// Returns the blocks of code of a section, each with what it is of.
fn blocks(section: &str) -> Vec<(&'static str, &'static str)> {
    let start = format!("\n## {section}\n");
    let (_, rest) = README.split_once(&start).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let mut parts = section.split("\n```");
    let mut found = Vec::new();
    parts.next();
    while let Some(block) = parts.next() {
        found.push(block.split_once('\n').unwrap());
        parts.next();
    }
    found
}

fn block(section: &str, starts: &str) -> &'static str {
    let blocks = blocks(section);
    let mut found = blocks.iter().filter(|(_, text)| text.starts_with(starts));
    let block = found
        .next()
        .unwrap_or_else(|| panic!("no block {starts} in {section}"));
    assert!(found.next().is_none(), "two blocks {starts}");
    block.1
}

/// Puts the servers and places of a test into a recipe.
#[derive(Debug)]
struct Here<'a> {
    workdir: &'a Workdir,
    nodes: Vec<String>,
}

impl Here<'_> {
    fn fit(&self, text: &str) -> String {
        let path = |name: &str| self.workdir.join(name).display().to_string();
        let mut text = text
            .replace("/usr/local/bin/mcsnap", PROGRAM)
            .replace("/etc/mcsnap.yaml", &path("mcsnap.yaml"))
            .replace("/var/log/mcsnap/night.log", &path("night.log"))
            .replace("/backup", &path("backup"));
        for (at, node) in self.nodes.iter().enumerate() {
            text = text.replace(&format!("cache{}:11211", at + 1), node);
        }
        text
    }

    /// Runs a line with what cron gives its jobs.
    fn run_by_cron(&self, line: &str) -> Output {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", line])
            .current_dir("/")
            .env_clear()
            .env("HOME", self.workdir.path())
            .env("LOGNAME", "mcsnap")
            .env("SHELL", "/bin/sh")
            .env("PATH", "/usr/bin:/bin");
        command.output().unwrap()
    }
}

fn loaded(count: u32) -> Memcached {
    let server = Memcached::start();
    let port = server.port();
    let items = (0..count).map(|at| Item::new(format!("{port}:{at}"), "value"));
    server.client().load(items);
    server
}

#[test]
fn every_night_works_as_written() {
    let servers = [loaded(50), loaded(60), loaded(70)];
    let workdir = Workdir::new("every-night");
    let here = Here {
        workdir: &workdir,
        nodes: servers.iter().map(Memcached::address).collect(),
    };
    let section = "Every night";
    let config = here.fit(block(section, "log-file:"));
    fs::write(workdir.join("mcsnap.yaml"), config).unwrap();
    fs::create_dir(workdir.join("backup")).unwrap();

    // The units are what systemd takes.
    let service = block(section, "[Unit]\nDescription=Snapshot of the cache\n");
    let timer = block(
        section,
        "[Unit]\nDescription=Snapshot of the cache, every night\n",
    );
    // The user is not on this machine.
    let service = here.fit(service).replace("User=mcsnap", "User=root");
    fs::write(workdir.join("mcsnap-night.service"), &service).unwrap();
    fs::write(workdir.join("mcsnap-night.timer"), timer).unwrap();
    let verified = workdir
        .run_of("systemd-analyze")
        .arg("verify")
        .arg(workdir.join("mcsnap-night.timer"))
        .arg(workdir.join("mcsnap-night.service"))
        .succeeds();
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(!said.contains("mcsnap-night"), "{said}");

    // What systemd runs, where no terminal and hardly a variable is.
    let line = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let line = line.replace("%%", "%");
    let output = here.run_by_cron(&line);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let snapshots = |workdir: &Workdir| {
        let entries = fs::read_dir(workdir.join("backup")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let names = snapshots(&workdir);
    assert!(
        names.len() == 1 && names[0].starts_with("night-20"),
        "{names:?}"
    );
    // Again in the same night: code 2, and the snapshot is as it was. The line of cron
    // is that of systemd.
    let cron = block(section, "0 2 * * * mcsnap ");
    let cron = here.fit(cron.strip_prefix("0 2 * * * mcsnap ").unwrap());
    let cron = cron.trim_end().replace("\\%", "%");
    assert_eq!(cron, line);
    assert_eq!(here.run_by_cron(&cron).status.code(), Some(2));
    assert_eq!(snapshots(&workdir), names);

    // The alert is content with tonight's, and not with one of last week.
    let alert = here.fit(block(section, "mcsnap verify"));
    let alert = alert.trim_end().replacen("mcsnap", PROGRAM, 1);
    let output = here.run_by_cron(&alert);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let last_week = alert.replace("now -", "now + 7 * 86400 -");
    assert_eq!(here.run_by_cron(&last_week).status.code(), Some(1));
}

#[test]
fn a_resize_is_warmed_as_written() {
    let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let workdir = Workdir::new("resize");
    let here = Here {
        workdir: &workdir,
        nodes: servers.iter().map(Memcached::address).collect(),
    };
    let run = |line: &str| {
        let line = here.fit(line);
        let mut command = Command::new("/bin/sh");
        clear_settings(&mut command).args(["-c", &line.replace("mcsnap ", &format!("{PROGRAM} "))]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // Keys where the client puts them: those of a snapshot of one node, restored.
    let source = loaded(2000);
    let from = source.address();
    run(&format!(
        "mcsnap dump {from} --to {0} --name fill",
        "/backup"
    ));
    run("mcsnap restore /backup/fill --to cache1:11211,cache2:11211 --ring ketama-weighted");

    let blocks = blocks("Warm after a resize");
    let [(_, first), (_, second)] = blocks[..] else {
        panic!("{} blocks", blocks.len());
    };
    let detected = run(first.lines().next().unwrap());
    assert!(detected.contains("ketama-weighted"), "{detected}");
    run(first.lines().nth(1).unwrap());
    let [plan, restore, count] = second.lines().collect::<Vec<_>>()[..] else {
        panic!("{second}");
    };
    assert!(run(plan).contains("ketama-weighted, 3 nodes"));
    let items = |server: &Memcached| server.client().stats("")["curr_items"].clone();
    let before = [items(&servers[0]), items(&servers[1])];
    // One that is set there meanwhile stays.
    let report: Value = serde_json::from_str(&run(&format!("{restore} --format json"))).unwrap();
    let wanted = run(count).trim().to_owned();
    assert_eq!(report["stored"].to_string(), wanted);
    assert_eq!(items(&servers[2]), wanted);
    assert!(wanted.parse::<u32>().unwrap() > 300, "{wanted}");
    assert_eq!([items(&servers[0]), items(&servers[1])], before);
}
