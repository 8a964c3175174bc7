//! What networks and servers do between the program and its store, to real requests of
//! the real protocol.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use http::Request;

use crate::client::Item;
use crate::memcached::Memcached;
use crate::moto::Moto;
use crate::place::BUCKET;
use crate::proxy::{Fault, Kind, Proxy, Rule};
use crate::signals::signal;
use crate::workdir::{Run, Workdir};

/// A store behind a proxy, and a server to dump.
struct Scene {
    moto: Moto,
    proxy: Proxy,
    server: Memcached,
    workdir: Workdir,
}

impl Scene {
    fn new(name: &str) -> Self {
        let moto = Moto::start();
        let proxy = Proxy::start(moto.account().address());
        Self {
            proxy,
            moto,
            server: filled_for_parts(),
            workdir: Workdir::new(name),
        }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let account = self.moto.account().at(self.proxy.url());
        account
            .place(BUCKET)
            .set_up(self.workdir.mcsnap(arguments))
            .env("MCSNAP_STORE_PATIENCE", "3s")
    }

    /// Several segments, of several parts each.
    fn dump(&self, name: &str) -> Run {
        self.run(&["dump", "--to", &url("b"), "--compression=none"])
            .arg(format!("--name={name}"))
            .arg("--segment-size=12MiB")
            .arg(self.server.address())
    }

    fn assert_sound(&self, name: &str) {
        self.proxy.clear();
        let place = url(&format!("b/{name}"));
        self.run(&["verify", "--deep", &place]).succeeds();
        let keys = self.run(&["ls", "--keys", &place]).succeeds().stdout;
        assert_eq!(keys.iter().filter(|byte| **byte == b'\n').count(), 3000);
    }
}

/// Fills a server with 24 MB, so that segments go up in parts.
fn filled_for_parts() -> Memcached {
    let server = Memcached::start_with(&["-m", "256"]);
    let items = (0..3000_u32).map(|number| {
        let value = number.to_le_bytes().repeat(2000);
        Item::new(format!("key:{number}"), value)
    });
    server.client().load(items);
    server
}

fn url(path: &str) -> String {
    format!("s3://{BUCKET}/{path}")
}

fn text(run: Run, code: i32) -> String {
    String::from_utf8(run.exits(code).stderr).unwrap()
}

#[test]
fn what_passes_does_no_harm() {
    let scene = Scene::new("passing");
    let faults = [
        ("status-500", Rule::new(Fault::Status(500)).nth(0..2)),
        ("status-503", Rule::new(Fault::Status(503)).nth(3..6)),
        ("reset", Rule::new(Fault::ResetBefore).nth(4..6)),
        (
            "part-500",
            Rule::new(Fault::Status(500)).on(Kind::PutPart).nth(0..2),
        ),
        (
            "part-lost",
            Rule::new(Fault::LostReply(500)).on(Kind::PutPart).nth(0..1),
        ),
        (
            "complete-lost",
            Rule::new(Fault::LostReply(500))
                .on(Kind::CompleteUpload)
                .nth(0..1),
        ),
        (
            "complete-reset",
            Rule::new(Fault::ResetAfter)
                .on(Kind::CompleteUpload)
                .nth(0..1),
        ),
        (
            "root-lost",
            Rule::new(Fault::LostReply(500))
                .on(Kind::Create)
                .key("manifest.json")
                .nth(0..1),
        ),
        (
            "root-reset",
            Rule::new(Fault::ResetAfter)
                .on(Kind::Create)
                .key("manifest.json")
                .nth(0..1),
        ),
        (
            "root-reset-before",
            Rule::new(Fault::ResetBefore)
                .on(Kind::Create)
                .key("manifest.json")
                .nth(0..2),
        ),
        (
            "journal-lost",
            Rule::new(Fault::ResetAfter)
                .on(Kind::Create)
                .key("dump.json")
                .nth(0..1),
        ),
        (
            "lease-lost",
            Rule::new(Fault::LostReply(500))
                .on(Kind::Create)
                .key(".lease")
                .nth(0..1),
        ),
        (
            "probe-lost",
            Rule::new(Fault::ResetAfter)
                .on(Kind::Create)
                .key("probe")
                .nth(0..1),
        ),
    ];
    for (name, rule) in faults {
        let hits = scene.proxy.add(rule);
        let output = scene.dump(name).succeeds();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(hits.count() > 0, "{name} met nothing");
        assert!(!said.contains("keeps no two hosts"), "{name}: {said}");
        scene.assert_sound(name);
    }
    // Reads.
    let place = url("b/status-500");
    for (name, rule) in [
        ("cut", Rule::new(Fault::CutBody).on(Kind::Get).nth(0..3)),
        ("500", Rule::new(Fault::Status(500)).nth(1..4)),
        ("reset", Rule::new(Fault::ResetBefore).nth(1..3)),
    ] {
        let hits = scene.proxy.add(rule);
        scene.run(&["verify", "--deep", &place]).succeeds();
        assert!(hits.count() > 0, "{name} met nothing");
        scene.proxy.clear();
    }
}

#[test]
fn a_slow_line_that_moves_is_no_failure() {
    let scene = Scene::new("slow");
    // A part takes 20 s; no answer may take 12 s to begin after it was sent.
    let rate = Fault::Trickle(400 << 10);
    let hits = scene.proxy.add(Rule::new(rate).on(Kind::PutPart).nth(0..2));
    let said = String::from_utf8(scene.dump("n").succeeds().stderr).unwrap();
    assert_eq!(hits.count(), 2);
    assert!(!said.contains("no answer within"), "{said}");
    scene.assert_sound("n");
}

#[test]
fn an_old_list_hides_no_snapshot_from_a_second_dump() {
    let scene = Scene::new("stale");
    scene.dump("n").arg("--dry-run").succeeds();
    scene.run(&["ls", &url("b/n")]).exits(1);
    scene.dump("n").succeeds();
    // Lists are from now on as they were when there was nothing.
    let hits = scene.proxy.add(Rule::new(Fault::StaleList).on(Kind::List));
    // It finds nothing of its own there either, and publishes nothing.
    let said = text(scene.dump("n"), 1);
    assert!(hits.count() > 0 && said.contains("it is missing"), "{said}");
    scene.assert_sound("n");
}

#[test]
fn a_secret_is_in_no_log() {
    let scene = Scene::new("secret");
    let account = scene.moto.account();
    let output = scene.dump("n").arg("-vvv").arg("--log-file=log").succeeds();
    let log = std::fs::read_to_string(scene.workdir.join("log")).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &log;
    assert!(said.contains("s3://"), "{said}");
    for secret in [account.secret.as_str(), "Signature=", "AWS4-HMAC"] {
        assert!(!said.contains(secret), "{secret}");
    }
}

#[test]
fn a_server_that_is_silent_once_is_asked_again() {
    let scene = Scene::new("silent");
    scene.dump("n").succeeds();
    let hits = scene
        .proxy
        .add(Rule::new(Fault::Hang).on(Kind::Get).nth(0..1));
    let run = scene
        .run(&["ls", "--keys", &url("b/n")])
        .arg("--store-patience=1m");
    let said = String::from_utf8(run.succeeds().stderr).unwrap();
    assert_eq!(hits.count(), 1);
    assert!(said.contains("no answer within 12 s"), "{said}");
}

#[test]
fn what_lasts_is_one_clear_error_and_never_an_absent_snapshot() {
    let scene = Scene::new("lasting");
    scene.dump("n").succeeds();
    let place = url("b/n");
    let verbs: [&[&str]; 4] = [
        &["ls", &place],
        &["verify", "--deep", &place],
        &["get", &place, "key:7"],
        &["restore", "--to", "127.0.0.1:1", "--dry-run", &place],
    ];
    for (fault, words) in [
        (Fault::Status(403), "403"),
        (Fault::Status(500), "500"),
        (Fault::Status(503), "503"),
        (Fault::ResetBefore, ""),
        (Fault::CutBody, ""),
    ] {
        for verb in verbs {
            let is_read = |kind| matches!(kind, Kind::Get | Kind::Head | Kind::List);
            let hits = scene
                .proxy
                .add(Rule::new(fault).when(move |asked| is_read(asked.kind)));
            let said = text(scene.run(verb), 1);
            assert!(hits.count() > 0);
            assert!(said.contains(words), "{fault:?}, {verb:?}: {said}");
            assert!(!said.contains("not found"), "{fault:?}, {verb:?}: {said}");
            scene.proxy.clear();
        }
        scene.proxy.add(Rule::new(fault));
        let said = text(scene.dump("other"), 1);
        assert!(said.contains(&url("b")), "{fault:?}: {said}");
        scene.proxy.clear();
    }
    // Bytes that are others than those that were written.
    scene
        .proxy
        .add(Rule::new(Fault::FlipByte).on(Kind::Get).key("/segments/"));
    let said = scene.run(&["verify", "--deep", &place]).exits(3).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("MCS"), "{said}");
    scene.proxy.clear();
    // The name is free.
    scene.dump("other").succeeds();
    scene.assert_sound("other");
}

#[test]
fn what_goes_wrong_is_told_long_before_it_is_given_up() {
    let scene = Scene::new("told");
    scene.proxy.add(Rule::new(Fault::Hang));
    let mut child = scene.dump("n").arg("--store-patience=10m").spawn();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = lines
        .map_while(Result::ok)
        .find(|line| line.contains("no answer"));
    child.kill().unwrap();
    child.wait().unwrap();
    let told = told.unwrap();
    assert!(told.contains(&url("b")), "{told}");
}

#[test]
fn killed_at_any_request_a_dump_goes_on() {
    let scene = Scene::new("killed");
    let mut kinds = BTreeSet::new();
    for number in 0.. {
        let name = format!("n{number}");
        scene.proxy.forget();
        let hits = scene
            .proxy
            .add(Rule::new(Fault::Hang).nth(number..u64::MAX));
        let mut child = scene.dump(&name).arg("--resume").spawn();
        let ended = wait_until(|| hits.count() > 0 || child.try_wait().unwrap().is_some());
        assert!(ended, "request {number} did not come");
        let is_over = hits.count() == 0;
        child.kill().unwrap();
        child.wait().unwrap();
        let last = scene.proxy.seen().pop();
        scene.proxy.clear();
        if is_over {
            break;
        }
        kinds.extend(last.map(|seen| seen.asked.kind));
        // Of one that was killed after it had published, nothing is left to do.
        let again = scene.dump(&name).arg("--resume").run();
        let code = again.status.code();
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        let is_there = code == Some(2) && said.contains("already exists");
        assert!(code == Some(0) || is_there, "request {number}: {said}");
        scene.assert_sound(&name);
    }
    for kind in [
        Kind::Create,
        Kind::PutPart,
        Kind::CompleteUpload,
        Kind::RemoveMany,
    ] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[test]
fn a_dump_that_is_stopped_leaves_no_upload() {
    let scene = Scene::new("stopped");
    let mut child = scene.dump("n").arg("--items-per-second=1500").spawn();
    assert!(wait_until(|| scene.proxy.count(Kind::PutPart) > 0));
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let account = scene.moto.account();
    let uploads = Request::get(format!("/{BUCKET}?uploads="));
    let uploads = account.call(uploads.body(String::new()).unwrap());
    assert!(!uploads.contains("<UploadId>"), "{uploads}");
    scene.dump("n").arg("--resume").succeeds();
    scene.assert_sound("n");
}

#[test]
fn of_two_dumpers_of_one_name_one_is_kept_out() {
    let scene = Scene::new("racing");
    for round in 0..3 {
        let name = format!("n{round}");
        let children = [(); 2].map(|()| scene.dump(&name).spawn());
        let codes = children.map(|mut child| child.wait().unwrap().code().unwrap());
        let winners = codes.iter().filter(|code| **code == 0).count();
        assert_eq!(winners, 1, "{codes:?}");
        scene.assert_sound(&name);
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    let limit = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        if Instant::now() >= limit {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
