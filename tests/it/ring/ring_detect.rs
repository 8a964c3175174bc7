//! `mcsnap ring detect` and `dump --ring detect`: the ring is found in where real
//! servers have their keys.

use mcsnap::codecs::ring::{Placement, RingSpec};
use mcsnap::words::node::NodeSpec;
use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::reports::run_json;
use crate::harness::workdir::Workdir;

/// A cluster, and the names of its servers as a client has them.
struct Cluster {
    servers: Vec<Memcached>,
    nodes: Vec<String>,
}

impl Cluster {
    fn start(count: usize) -> Cluster {
        let mut servers: Vec<_> = (0..count).map(|_| Memcached::start()).collect();
        // A client that sorts its nodes leaves them so.
        servers.sort_by_key(Memcached::port);
        let nodes = servers.iter().map(Memcached::address).collect();
        Cluster { servers, nodes }
    }

    /// Writes keys as a client with this ring would, its nodes written so.
    fn fill(&self, ring: &str, nodes: &[String], keys: impl Iterator<Item = String>) {
        let spec: RingSpec = ring.parse().unwrap();
        let specs: Vec<NodeSpec> = nodes.iter().map(|node| node.parse().unwrap()).collect();
        let placement = Placement::new(&spec, &specs).unwrap();
        let mut items: Vec<Vec<Item>> = self.servers.iter().map(|_| Vec::new()).collect();
        for key in keys {
            let address = specs[placement.locate(key.as_bytes(), 0)].address();
            let server = self.nodes.iter().position(|node| *node == address).unwrap();
            items[server].push(Item::new(key, "value"));
        }
        for (server, items) in self.servers.iter().zip(items) {
            server.client().load(items);
        }
    }

    fn arguments<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        let nodes = self.nodes.iter().map(String::as_str);
        command.iter().copied().chain(nodes).collect()
    }
}

fn keys(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("user:{number}:profile"))
}

#[test]
fn the_ring_of_live_servers_is_found_and_recorded_and_proposed() {
    let cluster = Cluster::start(3);
    cluster.fill("dalli", &cluster.nodes, keys(3_000));
    let workdir = Workdir::new("ring-detect");
    let report = run_json(&workdir, &cluster.arguments(&["ring", "detect"]), 0);
    let best = &report["found"][0];
    assert_eq!(best["ring"], "dalli");
    assert_eq!(best["sure"], "certain");
    assert_eq!((&best["share"], &best["strays"]), (&1.0.into(), &0.into()));
    assert_eq!(report["found"].as_array().unwrap().len(), 1, "{report}");

    let dump = ["dump", "--to=s", "--name=a", "--ring=detect", "-q"];
    let output = workdir.mcsnap(&cluster.arguments(&dump)).succeeds();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains("ring      dalli\n"), "{output}");
    let output = workdir
        .mcsnap(&["restore", "s/a", "--to=127.0.0.1:1,127.0.0.1:2"])
        .exits(2);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "mcsnap: ring \"\": wanted the rule by which the client places keys on 2 nodes; the \
         snapshot records dalli: give --ring dalli\n"
    );
    let of_snapshot = run_json(&workdir, &["ring", "detect", "--snapshot=s/a"], 0);
    assert_eq!(of_snapshot["found"][0]["ring"], "dalli");

    let dump = ["dump", "--to=s", "--name=b", "--ring=detect", "-q"];
    let report = run_json(&workdir, &cluster.arguments(&dump), 0);
    assert_eq!(report["ring"], "dalli");
    let dump = ["dump", "--to=s", "--name=c", "-q"];
    let report = run_json(&workdir, &cluster.arguments(&dump), 0);
    assert_eq!(report.get("ring"), Some(&Value::Null));
}

#[test]
fn nodes_in_any_order_are_enough_where_a_ring_goes_by_their_order() {
    let cluster = Cluster::start(3);
    let theirs = [2, 1, 0].map(|index: usize| cluster.nodes[index].clone());
    cluster.fill("php-memcached", &theirs, keys(2_000));
    let workdir = Workdir::new("ring-order");
    let report = run_json(&workdir, &cluster.arguments(&["ring", "detect"]), 0);
    let best = &report["found"][0];
    let names = best["same_as"].as_array().unwrap();
    assert!(names.contains(&"php-memcached".into()), "{best}");
    assert_eq!(best["nodes"], serde_json::json!(theirs));
    assert_eq!(best["changes"][0], "the nodes in another order");

    // A record that would mislead is not made.
    let dump = [
        "dump",
        "--to=s",
        "--name=a",
        "--ring=detect",
        "--progress=none",
    ];
    let output = workdir.mcsnap(&cluster.arguments(&dump)).succeeds();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let wanted = format!(
        "no ring is recorded: modula explains where keys lie, but for the nodes written {}",
        theirs.join(",")
    );
    assert!(stderr.contains(&wanted), "{stderr}");
    assert!(!String::from_utf8(output.stdout).unwrap().contains("ring "));
}

#[test]
fn nodes_named_for_a_snapshot_are_its_nodes_by_address_whatever_the_order() {
    let cluster = Cluster::start(3);
    let theirs = [1, 2, 0].map(|index: usize| cluster.nodes[index].clone());
    cluster.fill("python-memcached", &theirs, keys(2_000));
    let workdir = Workdir::new("ring-detect-pairs");
    let dump = ["dump", "--to=s", "--name=a", "-q"];
    workdir.mcsnap(&cluster.arguments(&dump)).succeeds();

    let detect = ["ring", "detect", "--snapshot=s/a"];
    let asked = |nodes: &[String]| {
        let nodes = nodes.iter().map(String::as_str);
        let all: Vec<&str> = detect.into_iter().chain(nodes).collect();
        run_json(&workdir, &all, 0)
    };
    let (of_snapshot, live) = (asked(&theirs), {
        let nodes = theirs.iter().map(String::as_str);
        let all: Vec<&str> = ["ring", "detect"].into_iter().chain(nodes).collect();
        run_json(&workdir, &all, 0)
    });
    assert_eq!(of_snapshot["found"][0]["nodes"], serde_json::json!(theirs));
    assert_eq!(of_snapshot["found"][0]["changes"], serde_json::json!([]));
    for field in ["ring", "nodes", "sure", "strays"] {
        assert_eq!(of_snapshot["found"][0][field], live["found"][0][field]);
    }
    for (node, wanted) in of_snapshot["nodes"].as_array().unwrap().iter().zip(&theirs) {
        let index = cluster.nodes.iter().position(|node| node == wanted);
        let items = cluster.servers[index.unwrap()].client().stats("")["curr_items"].clone();
        assert_eq!(
            (&node["node"], node["items"].to_string()),
            (&wanted.as_str().into(), items)
        );
    }

    // By the names of the client, with the addresses that they stand for.
    let named: Vec<String> = [1, 2, 0]
        .map(|index: usize| format!("mc{index}:{}=127.0.0.1", cluster.servers[index].port()))
        .into();
    let by_name = asked(&named);
    assert_eq!(by_name["found"][0]["nodes"], serde_json::json!(named));

    let [a, b, c] = [0, 1, 2].map(|index: usize| cluster.nodes[index].clone());
    let port = cluster.servers[0].port();
    let all = format!("{a}, {b}, {c}");
    let how = "write NAME=IP for a node under another name, such as cache1:11211=10.0.0.1";
    for (nodes, message) in [
        (
            vec![format!("cache9:{port}"), b.clone(), c.clone()],
            format!("node \"cache9:{port}\": none of the snapshot's nodes {all}; {how}"),
        ),
        (
            vec![b.clone(), c.clone(), a.clone(), "127.0.0.1:1".to_owned()],
            format!("node \"127.0.0.1:1\": none of the snapshot's nodes {all}; {how}"),
        ),
        (
            vec![a.clone(), b.clone(), format!("mc0:{port}=127.0.0.1")],
            format!(
                "node \"mc0:{port}=127.0.0.1\": is the same node of the snapshot as \"{a}\" before \
                 it; name each of {all} once; {how}"
            ),
        ),
        (
            vec![a.clone(), c.clone()],
            format!(
                "node \"{b}\": not named; name all nodes of the snapshot, or none: {all}; {how}"
            ),
        ),
    ] {
        let all = detect.into_iter().chain(nodes.iter().map(String::as_str));
        let output = workdir.mcsnap(&all.collect::<Vec<_>>()).exits(2);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("mcsnap: {message}\n"), "{nodes:?}");
    }
}

#[test]
fn strays_are_named_with_where_they_belong() {
    let cluster = Cluster::start(2);
    cluster.fill("gomemcache", &cluster.nodes, keys(1_500));
    let spec: RingSpec = "gomemcache".parse().unwrap();
    let specs: Vec<NodeSpec> = cluster
        .nodes
        .iter()
        .map(|node| node.parse().unwrap())
        .collect();
    let owner = Placement::new(&spec, &specs).unwrap().locate(b"lost", 0);
    let other = 1 - owner;
    cluster.servers[other].client().set("lost", 0, 0, b"value");
    let workdir = Workdir::new("ring-strays");
    let detect = cluster.arguments(&["ring", "detect", "--sample=100000"]);
    let report = run_json(&workdir, &detect, 0);
    let best = &report["found"][0];
    assert_eq!(
        (&best["ring"], &best["strays"]),
        (&"gomemcache".into(), &1.into())
    );
    assert_eq!(
        best["stray_keys"],
        serde_json::json!([{
            "key": "lost",
            "on": cluster.nodes[other],
            "belongs_to": cluster.nodes[owner],
        }])
    );
    let text = workdir.mcsnap(&detect).succeeds();
    let text = String::from_utf8(text.stdout).unwrap();
    let stray = format!(
        "stray    on {}, belongs to {}: lost\n",
        cluster.nodes[other], cluster.nodes[owner]
    );
    assert!(text.contains(&stray), "{text}");
    let how = format!(
        "use      --ring gomemcache --to {}\n",
        cluster.nodes.join(",")
    );
    assert!(text.ends_with(&how), "{text}");
}

#[test]
fn rings_that_these_keys_cannot_tell_apart_are_all_recorded() {
    let cluster = Cluster::start(3);
    cluster.fill("spymemcached:ketama", &cluster.nodes, keys(3_000));
    let workdir = Workdir::new("ring-alike");
    let report = run_json(&workdir, &cluster.arguments(&["ring", "detect"]), 0);
    let best = &report["found"][0];
    let alike = best["alike_here"].as_array().unwrap();
    assert!(alike.contains(&"spymemcached:ketama".into()), "{best}");
    // Aliases are no other ring.
    let same = best["same_as"].as_array().unwrap();
    assert!(same.contains(&"php-memcached:ketama-compatible".into()));

    let dump = ["dump", "--to=s", "--name=a", "--ring=detect", "-q"];
    workdir.mcsnap(&cluster.arguments(&dump)).succeeds();
    let restore = ["restore", "s/a", "--to=127.0.0.1:1,127.0.0.1:2"];
    let output = workdir.mcsnap(&restore).exits(2);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let is_told = stderr.contains("the snapshot records ketama-weighted or spymemcached:ketama or")
        && stderr.ends_with(
            "which its keys could not tell apart: give --ring with that of your client\n",
        );
    assert!(is_told, "{stderr}");
    let plan = ["ring", "plan", "s/a", "--to=127.0.0.1:1,127.0.0.1:2"];
    let output = workdir.mcsnap(&plan).exits(2);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("could not tell apart"), "{stderr}");
}

#[test]
fn weights_that_nobody_gave_show_in_how_much_each_server_has() {
    let cluster = Cluster::start(3);
    let theirs = cluster.nodes.iter().zip(1..);
    let theirs: Vec<String> = theirs
        .map(|(node, weight)| format!("{node}*{weight}"))
        .collect();
    cluster.fill("ketama-weighted", &theirs, keys(9_000));
    let workdir = Workdir::new("ring-weights");
    let report = run_json(&workdir, &cluster.arguments(&["ring", "detect"]), 0);
    let best = &report["found"][0];
    assert_eq!(best["ring"], "ketama-weighted");
    let wanted: Vec<String> = theirs
        .iter()
        .map(|node| node.trim_end_matches("*1").to_owned())
        .collect();
    assert_eq!(best["nodes"], serde_json::json!(wanted));
}

#[test]
fn one_ring_can_be_asked_for_and_less_than_certain_is_no_success() {
    let cluster = Cluster::start(2);
    cluster.fill("dalli", &cluster.nodes, keys(1_000));
    let workdir = Workdir::new("ring-asked");
    let ask = |ring: &str, code| {
        let arguments = cluster.arguments(&["ring", "detect", "--ring", ring]);
        run_json(&workdir, &arguments, code)["found"][0].clone()
    };
    assert_eq!(ask("dalli", 0)["sure"], "certain");
    let other = ask("modula", 4);
    assert_eq!(other["sure"], "no");
    assert!(other["strays"].as_u64().unwrap() > 300, "{other}");
    // Of as many keys again a tenth is where no ring puts it.
    cluster.fill("modula", &cluster.nodes, keys(1_200).skip(1_000));
    let partly = ask("dalli", 3);
    assert_eq!(partly["sure"], "likely", "{partly}");
}

#[test]
fn a_dump_refuses_a_ring_that_its_nodes_cannot_make() {
    let cluster = Cluster::start(3);
    let workdir = Workdir::new("ring-refused-dump");
    let [a, b, c] = [0, 1, 2].map(|index: usize| cluster.nodes[index].as_str());
    let (ax, bx) = (format!("{a}@x"), format!("{b}@x"));
    for (arguments, message) in [
        (
            vec![
                "--ring=libmemcached:virtual-bucket,buckets=0:1:7:1",
                a,
                b,
                c,
            ],
            "virtual bucket \"7\": wanted the index of one of 3 nodes".to_owned(),
        ),
        (
            vec!["--ring=dalli", &ax, &bx],
            format!("node \"{bx}\": has the same label as node \"{ax}\" before it"),
        ),
        (
            vec!["--ring=evcache", "--dry-run", a, b],
            format!("node \"{b}\": has the same name in the ring as node \"{a}\" before it"),
        ),
    ] {
        let all = [&["dump", "--to=s", "--name=a"], &arguments[..]].concat();
        let output = workdir.mcsnap(&all).exits(2);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("mcsnap: {message}\n"), "{arguments:?}");
        assert!(!workdir.join("s/a").exists());
    }
    // The address that this one hashes, too, is that of the name.
    let names = [0, 1].map(|index: usize| format!("localhost:{}", cluster.servers[index].port()));
    let dump = ["dump", "--to=s", "--name=a", "--ring=spymemcached:ketama"];
    let all = [&dump[..], &[names[0].as_str(), names[1].as_str()]].concat();
    workdir.mcsnap(&all).succeeds();
}

#[test]
fn a_dump_warns_of_a_ring_that_the_keys_contradict_and_records_it() {
    let cluster = Cluster::start(2);
    cluster.fill("dalli", &cluster.nodes, keys(90));
    let workdir = Workdir::new("ring-contradicted");
    let dump = |name: &str, more: &[&str], code: i32| -> (Value, String) {
        let first = [
            "dump",
            "--to=s",
            "--name",
            name,
            "--format=json",
            "--progress=none",
        ];
        let all = cluster.arguments(&[&first, more].concat());
        let output = workdir.mcsnap(&all).exits(code);
        let report = serde_json::from_slice(&output.stdout).unwrap();
        (report, String::from_utf8(output.stderr).unwrap())
    };
    // Too few keys to say.
    assert_eq!(dump("few", &["--ring=modula"], 0).1, "");

    cluster.fill("dalli", &cluster.nodes, keys(1_500).skip(90));
    let detect = ["ring", "detect", "--ring=modula"];
    let strays = run_json(&workdir, &cluster.arguments(&detect), 4)["found"][0]["strays"].clone();
    let warning = format!(
        "{strays} of 1,500 keys lie elsewhere than modula puts them on these nodes, and it is \
         recorded all the same; `mcsnap ring detect` finds the ring"
    );
    let (report, stderr) = dump("wrong", &["--ring=modula"], 0);
    assert_eq!(report["ring"], "modula");
    assert!(stderr.ends_with(&format!("{warning}\n")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(dump("right", &["--ring=dalli"], 0).1, "");
    assert_eq!(dump("other", &["--ring=node-for-node"], 0).1, "");

    // What is wrong with a server the dump tells.
    let gone = Memcached::start().address();
    let (report, stderr) = dump("partial", &["--ring=modula", "--allow-partial", &gone], 3);
    assert_eq!(report["verdict"], "partial");
    assert!(!stderr.contains("elsewhere"), "{stderr}");
}

#[test]
fn a_cluster_that_no_ring_explains_is_told_so() {
    let cluster = Cluster::start(2);
    // Each key on both.
    for server in &cluster.servers {
        server
            .client()
            .load(keys(500).map(|key| Item::new(key, "value")));
    }
    let workdir = Workdir::new("ring-none");
    let report = run_json(&workdir, &cluster.arguments(&["ring", "detect"]), 4);
    assert_eq!(report["found"], serde_json::json!([]));
    let text = workdir
        .mcsnap(&cluster.arguments(&["ring", "detect"]))
        .exits(4);
    assert!(
        String::from_utf8(text.stdout)
            .unwrap()
            .contains("no ring explains")
    );

    let empty = Cluster::start(2);
    let text = workdir
        .mcsnap(&empty.arguments(&["ring", "detect"]))
        .exits(4);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("sampled  0 keys of 2 nodes: 0 0\n"), "{text}");
}

#[test]
fn what_no_ring_can_be_found_in_is_told_in_one_line() {
    let workdir = Workdir::new("ring-detect-refused");
    let server = Memcached::start();
    let address = server.address();
    std::fs::create_dir(workdir.join("d")).unwrap();
    let gone = Memcached::start().address();
    for (arguments, code, message) in [
        (
            vec![address.as_str()],
            2,
            format!(
                "nodes \"{address}\": a ring shows in where several nodes have their keys; name all \
                 nodes of the cluster"
            ),
        ),
        (
            vec!["d"],
            2,
            "node \"d\": a directory; for a snapshot pass --snapshot d".to_owned(),
        ),
        (
            vec!["--sample=0", &address],
            2,
            "sample \"0\": wanted a number from 1 to 100000".to_owned(),
        ),
        (
            vec![&address, &address],
            2,
            format!("node \"{address}\": is the same server as \"{address}\" before it"),
        ),
        (
            vec![&address, &gone],
            1,
            format!("{gone}: cannot connect: Connection refused (os error 111)"),
        ),
    ] {
        let all = [&["ring", "detect"], &arguments[..]].concat();
        let output = workdir.mcsnap(&all).exits(code);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("mcsnap: {message}\n"), "{arguments:?}");
    }
}
