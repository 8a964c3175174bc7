//! With `--format json` every failure is an object on stdout.

use serde_json::Value;

use crate::harness::memcached::Memcached;
use crate::harness::workdir::{Run, Workdir};

/// Nothing listens there.
const NOBODY: &str = "127.0.0.1:1";

/// Runs a command that fails; returns its report, which agrees with the exit code and
/// with what stderr says.
fn failure(run: Run, schema: &str, code: i32) -> Value {
    let output = run.exits(code);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let shown = String::from_utf8_lossy(&output.stdout);
        panic!("{error}: {schema}: \"{shown}\"")
    });
    assert_eq!(report["schema"], schema, "{report}");
    assert_eq!(report["verdict"], "failed", "{report}");
    assert_eq!(report["exit_code"], code, "{report}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let error = report["error"].as_str().unwrap();
    assert!(!error.is_empty() && said.contains(error), "{error}: {said}");
    for name in ["run_id", "host", "version", "started_at", "finished_at"] {
        assert!(report[name].is_string(), "{name}: {report}");
    }
    for name in ["pid", "elapsed_ms"] {
        assert!(report[name].is_u64(), "{name}: {report}");
    }
    report
}

#[test]
fn every_command_reports_its_failure() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let address = server.address();
    let workdir = Workdir::new("failures");
    let dump = ["dump", "--to", "s", "--name=a", &address];
    workdir.mcsnap(&dump).succeeds();
    let cases: [(&[&str], &str, i32, &str); 19] = [
        (&["dump", "--to", "t", NOBODY], "dump", 1, "io"),
        (
            &["dump", "--to", "s", "--name=a", &address],
            "dump",
            2,
            "already-exists",
        ),
        (&["dump", &address], "dump", 2, "usage"),
        (
            &["dump", "--to", "t", "--shards=3", &address],
            "dump",
            2,
            "invalid-input",
        ),
        (&["restore", "s/a", "--to", NOBODY], "restore", 1, "io"),
        (
            &["restore", "s/b", "--to", NOBODY],
            "restore",
            1,
            "not-found",
        ),
        (&["verify", "s/b"], "verify", 1, "not-found"),
        (&["inspect", "s/b"], "inspect", 1, "not-found"),
        (&["ls", "s/b"], "ls", 1, "not-found"),
        (&["get", "s/b", "key"], "get", 1, "not-found"),
        (&["salvage", "s/b", "--to", "t"], "salvage", 1, "not-found"),
        (&["push", "s/b", "--to", "t"], "push", 1, "not-found"),
        (&["push", "s/a", "--to", "s"], "push", 2, "invalid-input"),
        (&["pull", "s/a"], "pull", 2, "usage"),
        (
            &["ring", "detect", NOBODY, "127.0.0.1:2"],
            "ring-detect",
            1,
            "io",
        ),
        (
            &["ring", "plan", "s/b", "--to", NOBODY],
            "ring-plan",
            1,
            "not-found",
        ),
        (
            &["ring", "locate", "k", "--ring=modula"],
            "ring-locate",
            2,
            "usage",
        ),
        (&["man", "nothing"], "man", 2, "usage"),
        (
            &["verify", "s/a", "--threads=0"],
            "verify",
            2,
            "invalid-input",
        ),
    ];
    for (arguments, command, code, kind) in cases {
        let schema = format!("mcsnap.{command}/1");
        let run = workdir.mcsnap(arguments).arg("--format=json");
        let report = failure(run, &schema, code);
        assert_eq!(report["kind"], kind, "{arguments:?}: {report}");
        if arguments.contains(&NOBODY) && kind == "io" {
            assert_eq!(report["node"], NOBODY, "{report}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_reported_as_far_as_the_form_is_known() {
    let workdir = Workdir::new("nonsense");
    let json = |arguments: &[&str]| workdir.mcsnap(arguments).arg("--format=json");
    let report = failure(json(&["dump", "--nope"]), "mcsnap.dump/1", 2);
    assert_eq!(report["kind"], "usage");
    failure(json(&["ring", "plan", "--nope"]), "mcsnap.ring-plan/1", 2);
    failure(json(&["dumb"]), "mcsnap.error/1", 2);
    let by_variable = |arguments: &[&str]| workdir.mcsnap(arguments).env("MCSNAP_FORMAT", "json");
    failure(by_variable(&["verify", "--nope"]), "mcsnap.verify/1", 2);
    failure(by_variable(&["verify"]), "mcsnap.verify/1", 2);
    let misspelled = by_variable(&["verify", "s"]).env("MCSNAP_VERIFY_DEAP", "1");
    let report = failure(misspelled, "mcsnap.verify/1", 2);
    let error = report["error"].as_str().unwrap();
    assert!(
        error.contains("did you mean MCSNAP_VERIFY_DEEP?"),
        "{error}"
    );
    std::fs::write(workdir.join("c.yaml"), "format: json\n").unwrap();
    let by_file = ["verify", "--nope", "--config=c.yaml"];
    failure(workdir.mcsnap(&by_file), "mcsnap.verify/1", 2);
    let wrong_file = ["verify", "s", "--config=absent", "--format=json"];
    failure(workdir.mcsnap(&wrong_file), "mcsnap.verify/1", 2);
    // Help is no failure, and text is text.
    let help = workdir
        .mcsnap(&["dump", "--help", "--format=json"])
        .succeeds();
    assert!(!help.stdout.starts_with(b"{"));
    let text = workdir.mcsnap(&["verify", "--nope"]).exits(2);
    assert!(text.stdout.is_empty());
}

#[test]
fn a_report_begins_with_the_run_and_counts_the_planning() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("runs-of");
    let dump = [
        "dump",
        "--to",
        "s",
        "--name=a",
        "--format=json",
        &server.address(),
    ];
    let reports = [
        workdir.mcsnap(&dump).succeeds(),
        workdir
            .mcsnap(&["verify", "s/a", "--format=json"])
            .succeeds(),
        workdir
            .mcsnap(&["inspect", "s/a", "--format=json"])
            .succeeds(),
        workdir
            .mcsnap(&["get", "s/a", "key", "--format=json"])
            .succeeds(),
    ];
    let mut ids = Vec::new();
    for output in reports {
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |name: &str| report[name].as_str().unwrap().to_owned();
        assert!(text("started_at") <= text("finished_at"), "{report}");
        assert!(text("finished_at").ends_with('Z') && !text("host").is_empty());
        assert!(report["elapsed_ms"].is_u64());
        ids.push(text("run_id"));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}
