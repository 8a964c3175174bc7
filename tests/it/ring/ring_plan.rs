//! `mcsnap ring plan`: what it tells is what the rings do, and what a restore then
//! does.

use std::collections::BTreeMap;

use mcsnap::codecs::ring::{Placement, RingSpec};
use mcsnap::words::node::NodeSpec;
use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const KEY_COUNT: usize = 6000;

/// Three servers that a client with `ketama-weighted` has filled, dumped to
/// `s/a`.
struct Filled {
    workdir: Workdir,
    /// The three, with labels, so that other servers can stand for them on a ring.
    nodes: Vec<String>,
    /// Keys and the lengths of their values.
    items: Vec<(String, usize)>,
    _servers: Vec<Memcached>,
}

impl Filled {
    fn new(name: &str) -> Self {
        let servers: Vec<Memcached> = (0..3).map(|_| Memcached::start()).collect();
        let nodes = labelled(&servers);
        let items: Vec<(String, usize)> = (0..KEY_COUNT)
            .map(|number| (format!("user:{number}"), number % 700))
            .collect();
        let place = placement("ketama-weighted", &nodes);
        for (index, server) in servers.iter().enumerate() {
            let own = items.iter().filter(|(key, _)| place(key) == index);
            let own = own.map(|(key, len)| Item::new(key.as_str(), vec![b'v'; *len]));
            server.client().load(own);
        }
        let workdir = Workdir::new(name);
        let addresses: Vec<String> = servers.iter().map(Memcached::address).collect();
        let mut arguments = vec!["dump", "--to", "s", "--name", "a"];
        arguments.extend(["--ring", "ketama-weighted"]);
        arguments.extend(addresses.iter().map(String::as_str));
        workdir.mcsnap(&arguments).succeeds();
        Self {
            workdir,
            nodes,
            items,
            _servers: servers,
        }
    }

    fn plan(&self, arguments: &[&str]) -> Value {
        let all = [&["ring", "plan", "s/a", "--format", "json"], arguments].concat();
        let output = self.workdir.mcsnap(&all).succeeds();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Counts keys and bytes by the two nodes that rings put them on.
    fn expected(
        &self,
        from: impl Fn(&str) -> usize,
        to: impl Fn(&str) -> usize,
    ) -> BTreeMap<(usize, usize), (u64, u64)> {
        let mut flows = BTreeMap::new();
        for (key, len) in &self.items {
            let flow = flows.entry((from(key), to(key))).or_insert((0, 0));
            flow.0 += 1;
            flow.1 += u64::try_from(key.len() + len).unwrap();
        }
        flows
    }
}

fn labelled(servers: &[Memcached]) -> Vec<String> {
    let label = |(number, server): (usize, &Memcached)| format!("{}@mc{number}", server.address());
    servers.iter().enumerate().map(label).collect()
}

fn placement(ring: &str, nodes: &[String]) -> impl Fn(&str) -> usize + use<> {
    let spec: RingSpec = ring.parse().unwrap();
    let nodes: Vec<NodeSpec> = nodes.iter().map(|node| node.parse().unwrap()).collect();
    let ring = Placement::new(&spec, &nodes).unwrap();
    move |key: &str| ring.locate(key.as_bytes(), 0)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn flows(plan: &Value) -> BTreeMap<(usize, usize), (u64, u64)> {
    let index = |value: &Value| usize::try_from(number(value)).unwrap();
    let flows = plan["flows"].as_array().unwrap().iter();
    flows
        .map(|flow| {
            let amount = (number(&flow["keys"]), number(&flow["bytes"]));
            ((index(&flow["from"]), index(&flow["to"])), amount)
        })
        .collect()
}

/// The sums of a plan are those of its flows, which are those of the rings.
fn check(plan: &Value, expected: &BTreeMap<(usize, usize), (u64, u64)>) {
    assert_eq!(flows(plan), *expected);
    let sum = |is_counted: &dyn Fn(usize, usize) -> bool| {
        let counted = expected
            .iter()
            .filter(|((from, to), _)| is_counted(*from, *to));
        counted.fold((0, 0), |sum, (_, amount)| {
            (sum.0 + amount.0, sum.1 + amount.1)
        })
    };
    let amount = |value: &Value| (number(&value["keys"]), number(&value["bytes"]));
    // In these tests node i of the one list is node i of the other, or none is.
    let stays = |from: usize, to: usize| from == to && plan["from"][from]["is_in_to"] == true;
    assert_eq!(amount(&plan["total"]), sum(&|_, _| true));
    assert_eq!(amount(&plan["moving"]), sum(&|from, to| !stays(from, to)));
    for (index, node) in plan["from"].as_array().unwrap().iter().enumerate() {
        assert_eq!(amount(node), sum(&|from, _| from == index));
        let leaving = sum(&|from, to| from == index && !stays(from, to));
        assert_eq!(amount(&node["leaving"]), leaving);
    }
    for (index, node) in plan["to"].as_array().unwrap().iter().enumerate() {
        assert_eq!(amount(node), sum(&|_, to| to == index));
        let coming = sum(&|from, to| to == index && !stays(from, to));
        assert_eq!(amount(&node["coming"]), coming);
    }
}

#[test]
fn a_plan_counts_what_the_rings_place_and_a_restore_does_the_same() {
    let filled = Filled::new("ring-plan");
    let added = Memcached::start();
    let mut four = filled.nodes.clone();
    four.push(format!("{}@mc3", added.address()));
    let to = four.join(",");
    let now = placement("ketama-weighted", &filled.nodes);

    // The ring that the snapshot records.
    let plan = filled.plan(&["--to", &to]);
    assert_eq!(plan["schema"], "mcsnap.ring-plan/1");
    assert_eq!(plan["to_ring"], "ketama-weighted");
    assert_eq!(plan["from_ring"], Value::Null);
    let ketama = placement("ketama-weighted", &four);
    check(&plan, &filled.expected(&now, &ketama));
    assert_eq!(number(&plan["total"]["keys"]), 6000);
    let moving = plan["moving"]["keys_percent"].as_f64().unwrap();
    assert!((15.0..35.0).contains(&moving), "{moving}");
    // Of a consistent ring nothing goes from one old node to another.
    for ((from, to), (keys, _)) in flows(&plan) {
        assert!(from == to || to == 3, "{keys} keys from {from} to {to}");
    }
    let most = plan["to"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| number(&node["keys"]))
        .max();
    let fullest = plan["fullest_to_average"]["keys"].as_f64().unwrap();
    assert!((fullest - f64::from(u32::try_from(most.unwrap()).unwrap()) / 1500.0).abs() < 1e-3);

    let plan = filled.plan(&["--to", &to, "--ring", "modula"]);
    check(&plan, &filled.expected(&now, placement("modula", &four)));
    let moving = plan["moving"]["keys_percent"].as_f64().unwrap();
    assert!((70.0..80.0).contains(&moving), "{moving}");

    // Servers at other addresses: all moves, to where a restore puts it.
    let fresh: Vec<Memcached> = (0..4).map(|_| Memcached::start()).collect();
    let to = labelled(&fresh).join(",");
    let plan = filled.plan(&["--to", &to]);
    check(&plan, &filled.expected(&now, &ketama));
    assert_eq!(plan["moving"]["keys"], 6000);
    let ring = "ketama-weighted";
    let restore = ["restore", "s/a", "--ring", ring, "--to", to.as_str()];
    filled.workdir.mcsnap(&restore).succeeds();
    for (server, node) in fresh.iter().zip(plan["to"].as_array().unwrap()) {
        assert_eq!(
            server.client().stats("")["curr_items"],
            node["keys"].to_string()
        );
    }
}

#[test]
fn from_one_list_to_another_it_does_not_matter_where_keys_were_dumped() {
    let filled = Filled::new("ring-plan-from");
    let three = ["a", "b", "c"].map(str::to_owned);
    let four = ["a", "b:11211", "c", "d*2"].map(str::to_owned);
    let (from, to) = (three.join(","), four.join(","));
    let modula = filled.plan(&["--from", &from, "--from-ring", "modula", "--to", &to]);
    let old = placement("modula", &three);
    check(&modula, &filled.expected(&old, placement("modula", &four)));
    assert_eq!(
        (&modula["from_ring"], &modula["to_ring"]),
        (&"modula".into(), &"modula".into())
    );
    let moving = modula["moving"]["keys_percent"].as_f64().unwrap();
    assert!((70.0..80.0).contains(&moving), "{moving}");
    // To the same list nothing moves; to another ring on it, some does.
    let same = filled.plan(&["--from", &from, "--to", &from]);
    assert_eq!(
        (&same["from_ring"], &same["moving"]["keys"]),
        (&"ketama-weighted".into(), &0.into())
    );
    let other = filled.plan(&["--from", &from, "--to", &from, "--ring", "dalli"]);
    let ketama = placement("ketama-weighted", &three);
    check(&other, &filled.expected(ketama, placement("dalli", &three)));
    // Of some keys.
    let some = filled.plan(&["--from", &from, "--to", &to, "--select", "glob=user:1??"]);
    assert_eq!(
        (&some["total"]["keys"], &some["filtered"]),
        (&100.into(), &5900.into())
    );
    let owned = filled.plan(&["--to", &from, "--select", "owner=b"]);
    assert_eq!(owned["total"]["keys"], owned["to"][1]["keys"]);
    assert!(number(&owned["total"]["keys"]) > 0);
}

#[test]
fn a_node_under_another_name_is_the_same_by_the_address_that_it_stands_for() {
    let filled = Filled::new("ring-plan-names");
    // The labels keep the ring as it is.
    let named: Vec<String> = (0..3)
        .map(|number: usize| {
            let (host, rest) = filled.nodes[number].split_once(':').unwrap();
            let (port, label) = rest.split_once('@').unwrap();
            format!("cache{number}:{port}={host}@{label}")
        })
        .collect();
    let to = named.join(",");
    let plan = filled.plan(&["--to", &to]);
    let now = placement("ketama-weighted", &filled.nodes);
    check(&plan, &filled.expected(&now, &now));
    assert_eq!(plan["moving"]["keys"], 0);
    let from = filled.nodes.join(",");
    let plan = filled.plan(&["--from", &to, "--to", &from]);
    assert_eq!(plan["moving"]["keys"], 0);
}

#[test]
fn of_too_many_pairs_of_nodes_the_flows_are_left_out_and_the_sums_told() {
    let filled = Filled::new("ring-plan-many");
    let nodes = |ports: std::ops::RangeInclusive<u16>| -> Vec<String> {
        ports.map(|port| format!("a:{port}")).collect()
    };
    let (old, new) = (nodes(1..=1024), nodes(1..=1025));
    let (from, to) = (old.join(","), new.join(","));
    let plan = filled.plan(&["--from", &from, "--from-ring", "modula", "--to", &to]);
    assert_eq!(plan["flows"], Value::Null);
    let expected = filled.expected(placement("modula", &old), placement("modula", &new));
    let moving = expected.iter().filter(|((from, to), _)| from != to);
    let keys: u64 = moving.map(|(_, (keys, _))| keys).sum();
    assert_eq!(
        (&plan["total"]["keys"], &plan["moving"]["keys"]),
        (&6000.into(), &keys.into())
    );
    let least = filled.plan(&["--from", &from, "--from-ring", "modula", "--to", &from]);
    assert_eq!(
        (&least["moving"]["keys"], least["flows"].is_array()),
        (&0.into(), true)
    );
}

#[test]
fn a_text_fits_80_columns_whatever_the_nodes() {
    let filled = Filled::new("ring-plan-text");
    let long: Vec<String> = (0..30)
        .map(|at| format!("a-host-with-a-long-name-{at}.and.its.domain.example:11211*3@label-{at}"))
        .collect();
    let ten: Vec<String> = (0..10).map(|at| format!("mc{at}")).collect();
    for to in [&long, &ten, &filled.nodes] {
        let run = ["ring", "plan", "s/a", "--to", &to.join(",")];
        let output = filled.workdir.mcsnap(&run).succeeds();
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains("\nkeys      6,000, "), "{text}");
        let heading = "% of all keys, by the numbers of the nodes that have and get them\n";
        assert_eq!(text.contains(heading), to.len() <= 10, "{text}");
        assert_eq!(text.contains("11 others"), to.len() == 30, "{text}");
    }
}

#[test]
fn what_is_damaged_is_told_as_a_listing_tells_it() {
    let filled = Filled::new("ring-plan-damage");
    let directory = filled.workdir.join("s/a/segments");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    std::fs::remove_file(&files[0]).unwrap();
    let length = std::fs::metadata(&files[1]).unwrap().len();
    let cut = std::fs::OpenOptions::new()
        .write(true)
        .open(&files[1])
        .unwrap();
    cut.set_len(length - 1).unwrap();
    let listed = filled.workdir.mcsnap(&["ls", "s/a", "--keys"]).exits(3);
    let run = [
        "ring",
        "plan",
        "s/a",
        "--to",
        "a,b,c,d",
        "--format=json",
        "-q",
    ];
    let planned = filled.workdir.mcsnap(&run).exits(3);
    assert_eq!(
        String::from_utf8(planned.stderr).unwrap(),
        String::from_utf8(listed.stderr).unwrap()
    );
    let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(plan["findings"].as_array().unwrap().len(), 2);
    let keys = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(number(&plan["total"]["keys"]), u64::try_from(keys).unwrap());
    assert_eq!(
        number(&plan["unreadable"]) + number(&plan["total"]["keys"]),
        6000
    );
}

#[test]
fn weights_that_a_ring_ignores_are_told_once() {
    let filled = Filled::new("ring-plan-weights");
    let nodes: Vec<String> = filled
        .nodes
        .iter()
        .map(|node| node.replace('@', "*3@"))
        .collect();
    let to = nodes.join(",");
    let warnings = |arguments: &[&str]| {
        let output = filled.workdir.mcsnap(arguments).arg(&to).succeeds();
        let text = String::from_utf8(output.stderr).unwrap();
        let lines = text.lines().filter(|line| line.contains(" WARN "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let told = format!("ring modula ignores weights, such as that of {}", nodes[0]);
    for arguments in [
        &["ring", "plan", "s/a", "--ring", "modula", "--to"][..],
        &["restore", "s/a", "--dry-run", "--ring", "modula", "--to"],
    ] {
        let warnings = warnings(arguments);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with(&told), "{warnings:?}");
    }
    assert!(warnings(&["ring", "plan", "s/a", "--to"]).is_empty());
}

#[test]
fn what_is_no_plan_is_told_in_one_line() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("ring-plan-refused");
    let dump = ["dump", "--to", "s", "--name", "a", &server.address()];
    workdir.mcsnap(&dump).succeeds();
    for (arguments, message) in [
        (
            &[][..],
            "which snapshot? pass its directory, or DIR/latest for the newest complete one",
        ),
        (
            &["s/a"],
            "no nodes; pass --to with all nodes of the new ring",
        ),
        (
            &["s/a", "--to", "a,b"],
            "ring \"\": wanted the rule by which the client places keys on 2 nodes; `mcsnap ring \
             detect` on the snapshot finds it, and `mcsnap ring list` shows those of all clients",
        ),
        (
            &["s/a", "--to", "a,b", "--ring", "modula", "--from", "c,d,e"],
            "from-ring \"\": wanted the rule by which the client places keys on 3 nodes; `mcsnap \
             ring detect` on the snapshot finds it, and `mcsnap ring list` shows those of all \
             clients",
        ),
        (
            &["s/a", "--to", "a,b", "--from-ring", "modula"],
            "from-ring \"modula\": of which nodes? give --from with all nodes of that ring",
        ),
        (
            &["s/a", "--to", "a,b", "--ring", "node-for-node"],
            "ring \"node-for-node\": no key says where it belongs; name a client's ring",
        ),
        (
            &[
                "s/a",
                "--to",
                "a",
                "--from",
                "b",
                "--from-ring",
                "node-for-node",
            ],
            "from-ring \"node-for-node\": no key says where it belongs; name a client's ring",
        ),
        (
            &["s/a", "--to", "a,b", "--ring", "dali"],
            "ring \"dali\": there is dalli; `mcsnap ring list` shows all",
        ),
        (
            &["s/a", "--to", "a@x,b@x", "--ring", "dalli"],
            "node \"b:11211@x\": has the same label as node \"a:11211@x\" before it",
        ),
        (
            &[
                "s/a", "--to", "a,b", "--ring", "dalli", "--select", "owner=c",
            ],
            "owner \"c:11211\": c:11211 is not a node of the ring",
        ),
        (
            &["s/a", "--to", "a", "--threads", "0"],
            "threads \"0\": wanted a number from 1 to 1024",
        ),
    ] {
        let all = [&["ring", "plan"], arguments].concat();
        let done = workdir.mcsnap(&all).exits(2);
        let stderr = String::from_utf8(done.stderr).unwrap();
        assert_eq!(stderr, format!("mcsnap: {message}\n"), "{arguments:?}");
    }
    // One node holds every key, whatever the ring.
    workdir
        .mcsnap(&["ring", "plan", "s/a", "--to", "a"])
        .succeeds();
}
