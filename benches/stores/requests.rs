//! The requests of each command, as the proxy of the store tests counts them in front of the
//! store, and what they cost where each takes longer.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use comfy_table::Table;
use mcsnap::ports::store::Store as _;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::cost::{Asked, measure};
use crate::items::key;
use crate::object_server::url;
use crate::order::order;
use crate::place::{BUCKET, S3Account};
use crate::proxy::{Kind, Proxy, Seen};
use crate::scene::{FRESH, NAME, Scene, program};
use crate::statistics::Spread;
use crate::table::markdown;

/// Where the snapshot is that is looked into.
const ASKED: &str = "asked";

/// Round trips of a look-up whose node is known.
const DEPTH_MAX: u64 = 5;
/// How much longer a dump may take where each request does.
const DUMP_RATIO_MAX: f64 = 1.10;

/// A command of the program, and what its exit code must be.
struct Verb {
    name: &'static str,
    words: Vec<String>,
    code: i32,
}

/// A request, as it is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Request {
    kind: String,
    object: String,
    range: Option<String>,
    status: Option<u16>,
    sent: u64,
    received: u64,
    began_s: f64,
    ended_s: f64,
}

/// The requests of a command that are alike.
#[derive(Debug, Default, Serialize)]
struct Group {
    kind: String,
    object: String,
    count: u64,
    sent: u64,
    received: u64,
}

/// What the runs of one command came to.
#[derive(Debug, Serialize)]
pub(crate) struct VerbResult {
    verb: &'static str,
    /// How many requests each run made.
    requests: Spread,
    by_kind: BTreeMap<String, u64>,
    groups: Vec<Group>,
    sent: u64,
    received: u64,
    /// The most requests that followed each other, each after the end of the one before,
    /// where each takes longer.
    depth: u64,
    wall_s: Spread,
    delayed_wall_s: Spread,
    /// The whole time in round trips, where each takes longer.
    round_trips: Spread,
    /// How much longer it took, in round trips.
    added_round_trips: Spread,
    delayed_to_undelayed: Spread,
    /// None if nothing is asked of the command.
    is_met: Option<bool>,
    /// Those of one run, in the order in which they came.
    list: Vec<Request>,
}

/// One run.
struct Run {
    wall_s: f64,
    list: Vec<Request>,
}

/// What each command is measured by.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    segments: usize,
    delay_ms: u64,
    pub(crate) verbs: Vec<VerbResult>,
}

/// Measures all commands.
pub(crate) fn run(scene: &Scene, arguments: &Arguments) -> Results {
    let proxy = Proxy::start(scene.store.account().address());
    let account = scene.store.account().at(proxy.url());
    let mut dump = dump(scene, ASKED, scene.store.account());
    measure(&mut dump, Asked::default(), 0);
    let place = scene.store.account().place(BUCKET);
    let segments = place.store(ASKED).list(&format!("{NAME}/segments"));
    let segments = segments.unwrap().len();
    let verbs = verbs(scene);
    let delays = [Duration::ZERO, Duration::from_millis(arguments.delay)];
    let mut runs: Vec<[Vec<Run>; 2]> = verbs.iter().map(|_| Default::default()).collect();
    for round in 0..arguments.rounds {
        for at in order(round, verbs.len()) {
            for delayed in order(round, delays.len()) {
                let run = run_verb(scene, &verbs[at], &proxy, &account, delays[delayed]);
                runs[at][delayed].push(run);
            }
        }
        eprintln!("requests: round {} of {}", round + 1, arguments.rounds);
    }
    scene.store.remove(ASKED);
    let verbs = verbs.iter().zip(runs);
    Results {
        segments,
        delay_ms: arguments.delay,
        verbs: verbs
            .map(|(verb, runs)| result(verb.name, runs, arguments.delay))
            .collect(),
    }
}

/// A dump whose snapshot has four segments and more.
fn dump(scene: &Scene, prefix: &str, account: &S3Account) -> Command {
    let mut command = program("dump", account);
    let segment_size = (scene.items * 2_200 / 10).max(1 << 20);
    command.arg(scene.source.address());
    command.args(["--to", &url(prefix), "--name", NAME]);
    command.args(["--segment-size", &segment_size.to_string()]);
    command
}

fn verbs(scene: &Scene) -> Vec<Verb> {
    let (node, key) = (scene.source.address(), key(scene.items / 2));
    let place = url(&format!("{ASKED}/{NAME}"));
    let verb = |name, words: &[&str], code| Verb {
        name,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        code,
    };
    let to = scene.sink.address();
    vec![
        verb("dump", &["dump"], 0),
        verb("restore", &["restore", &place, "--to", &to], 0),
        verb(
            "get KEY --nodes",
            &["get", &place, &key, "--nodes", &node],
            0,
        ),
        verb("get KEY", &["get", &place, &key], 0),
        verb(
            "get absent --nodes",
            &["get", &place, "absent", "--nodes", &node],
            4,
        ),
        verb("get absent", &["get", &place, "absent"], 4),
        verb("inspect", &["inspect", &place], 0),
        verb("inspect --exact", &["inspect", &place, "--exact"], 0),
        verb("verify", &["verify", &place], 0),
        verb("verify --data", &["verify", &place, "--data"], 0),
        verb("verify --deep", &["verify", &place, "--deep"], 0),
        verb("ls --keys", &["ls", &place, "--keys"], 0),
    ]
}

fn run_verb(
    scene: &Scene,
    verb: &Verb,
    proxy: &Proxy,
    account: &S3Account,
    delay: Duration,
) -> Run {
    let is_dump = verb.name == "dump";
    let mut command = match is_dump {
        true => dump(scene, FRESH, account),
        false => {
            let mut command = program(&verb.words[0], account);
            command.args(&verb.words[1..]);
            command
        }
    };
    if verb.name == "restore" {
        scene.sink.flush();
    }
    scene.come_to_rest();
    proxy.set_delay(delay);
    proxy.forget();
    let start = Instant::now();
    let cost = measure(&mut command, Asked::default(), verb.code);
    let list = proxy.seen().iter().map(|seen| told(seen, start)).collect();
    if is_dump {
        scene.store.remove(FRESH);
    }
    Run {
        wall_s: cost.wall_s,
        list,
    }
}

fn told(seen: &Seen, start: Instant) -> Request {
    let at = |moment: Instant| moment.duration_since(start).as_secs_f64();
    Request {
        kind: format!("{:?}", seen.asked.kind),
        object: object(seen),
        range: seen.asked.range.clone(),
        status: seen.status,
        sent: seen.asked.body_len,
        received: seen.answer_len,
        began_s: at(seen.began),
        ended_s: at(seen.ended.unwrap_or_else(Instant::now)),
    }
}

/// What a request is about, without what chance chose.
fn object(seen: &Seen) -> String {
    if seen.asked.kind == Kind::List {
        let query = seen.asked.target.split(['?', '&']);
        let mut prefixes = query.filter_map(|pair| pair.strip_prefix("prefix="));
        return prefixes.next().unwrap_or_default().replace("%2F", "/");
    }
    let key = &seen.asked.key;
    let below = key.split_once('/').map_or(key.as_str(), |(_, below)| below);
    if below.starts_with(".mcsnap-probe-") {
        return ".mcsnap-probe-*".to_owned();
    }
    let below = match below.split_once('/') {
        Some((NAME, below)) => below,
        _ => below,
    };
    match below.split_once('/') {
        Some((folder, _)) => format!("{folder}/*"),
        None => below.to_owned(),
    }
}

fn result(verb: &'static str, runs: [Vec<Run>; 2], delay_ms: u64) -> VerbResult {
    let [undelayed, delayed] = &runs;
    let delay = delay_ms as f64 / 1000.0;
    let walls = |runs: &[Run]| Spread::of(runs.iter().map(|run| run.wall_s));
    let pairs = || undelayed.iter().zip(delayed);
    let counts = runs.iter().flatten().map(|run| run.list.len() as f64);
    let depth = delayed.iter().map(|run| depth(&run.list)).max().unwrap();
    let ratio = Spread::of(pairs().map(|(one, other)| other.wall_s / one.wall_s));
    let list = undelayed[0].list.clone();
    let mut by_kind = BTreeMap::new();
    for request in &list {
        *by_kind.entry(request.kind.clone()).or_default() += 1;
    }
    let is_met = match verb {
        "get KEY --nodes" => Some(depth <= DEPTH_MAX),
        "dump" => Some(ratio.median <= DUMP_RATIO_MAX),
        _ => None,
    };
    let added = pairs().map(|(one, other)| (other.wall_s - one.wall_s) / delay);
    VerbResult {
        verb,
        requests: Spread::of(counts),
        by_kind,
        groups: groups(&list),
        sent: list.iter().map(|request| request.sent).sum(),
        received: list.iter().map(|request| request.received).sum(),
        depth,
        wall_s: walls(undelayed),
        delayed_wall_s: walls(delayed),
        round_trips: Spread::of(delayed.iter().map(|run| run.wall_s / delay)),
        added_round_trips: Spread::of(added),
        delayed_to_undelayed: ratio,
        is_met,
        list,
    }
}

/// Puts requests together that are alike, in the order in which the first of each came.
fn groups(list: &[Request]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for request in list {
        let (kind, object) = (&request.kind, &request.object);
        let found = groups
            .iter()
            .position(|group| (&group.kind, &group.object) == (kind, object));
        let at = found.unwrap_or_else(|| {
            groups.push(Group {
                kind: kind.clone(),
                object: object.clone(),
                ..Group::default()
            });
            groups.len() - 1
        });
        groups[at].count += 1;
        groups[at].sent += request.sent;
        groups[at].received += request.received;
    }
    groups
}

/// How many requests followed each other: the most of which none began before the one
/// before it had ended. The one that ends first is always a good one to begin with.
fn depth(list: &[Request]) -> u64 {
    let mut list: Vec<&Request> = list.iter().collect();
    list.sort_by(|one, other| one.ended_s.total_cmp(&other.ended_s));
    let (mut depth, mut end) = (0, 0.0);
    for request in list {
        if request.began_s >= end {
            depth += 1;
            end = request.ended_s;
        }
    }
    depth
}

impl Results {
    /// What the tables are about.
    pub(crate) fn headline(&self) -> String {
        format!(
            "requests: a snapshot of 1 node and {} segments; {} ms more for each request",
            self.segments, self.delay_ms
        )
    }

    /// Shows counts and times.
    pub(crate) fn table(&self) -> Table {
        let longer = format!("s, +{} ms", self.delay_ms);
        let mut table = markdown(&[
            "command",
            "bar",
            "requests",
            "depth",
            "KB sent",
            "KB received",
            "s",
            &longer,
            "ratio",
            "round trips",
            "added",
        ]);
        for of_verb in &self.verbs {
            let bar = match (of_verb.verb, of_verb.is_met) {
                (_, None) => "-".to_owned(),
                ("dump", Some(is_met)) => format!("ratio <= 1.10: {}", said(is_met)),
                (_, Some(is_met)) => format!("depth <= {DEPTH_MAX}: {}", said(is_met)),
            };
            table.add_row([
                of_verb.verb.to_owned(),
                bar,
                of_verb.requests.to_string(),
                of_verb.depth.to_string(),
                format!("{:.1}", of_verb.sent as f64 / 1000.0),
                format!("{:.1}", of_verb.received as f64 / 1000.0),
                of_verb.wall_s.to_string(),
                of_verb.delayed_wall_s.to_string(),
                of_verb.delayed_to_undelayed.to_string(),
                of_verb.round_trips.to_string(),
                of_verb.added_round_trips.to_string(),
            ]);
        }
        table
    }

    /// Shows of what the requests of each command were.
    pub(crate) fn table_of_groups(&self) -> Table {
        let mut table = markdown(&["command", "request", "count", "bytes sent", "received"]);
        for of_verb in &self.verbs {
            for group in &of_verb.groups {
                table.add_row([
                    of_verb.verb.to_owned(),
                    format!("{} {}", group.kind, group.object),
                    group.count.to_string(),
                    group.sent.to_string(),
                    group.received.to_string(),
                ]);
            }
        }
        table
    }

    /// Shows each request.
    pub(crate) fn table_of_requests(&self) -> Table {
        let mut table = markdown(&[
            "command", "request", "range", "status", "sent", "received", "from s", "to s",
        ]);
        for of_verb in &self.verbs {
            for request in &of_verb.list {
                table.add_row([
                    of_verb.verb.to_owned(),
                    format!("{} {}", request.kind, request.object),
                    request.range.clone().unwrap_or_default(),
                    request
                        .status
                        .map_or("-".to_owned(), |status| status.to_string()),
                    request.sent.to_string(),
                    request.received.to_string(),
                    format!("{:.3}", request.began_s),
                    format!("{:.3}", request.ended_s),
                ]);
            }
        }
        table
    }
}

fn said(is_met: bool) -> &'static str {
    if is_met { "met" } else { "NOT met" }
}
