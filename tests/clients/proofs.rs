//! The proofs, for each client of the table.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use crate::agents::{Agent, Found};
use crate::cases::{CASES, Case};
use crate::client::Item;
use crate::detection::check_detection;
use crate::items::{Keys, items};
use crate::memcached::Memcached;
use crate::workdir::{Run, Workdir};

/// Weights of nodes. Of seven equal nodes, libmemcached and node-memcached do not
/// give the same number of points to each.
const EQUAL: [&[u32]; 3] = [&[1; 3], &[1; 5], &[1; 7]];
const WEIGHTED: [&[u32]; 2] = [&[1, 2, 3], &[3, 1, 1, 5, 2]];

/// Servers, and what they are called in the same words to all.
struct Nodes {
    servers: Vec<Memcached>,
    names: Vec<String>,
}

impl Nodes {
    fn start(weights: &[u32]) -> Nodes {
        let servers: Vec<_> = weights.iter().map(|_| Memcached::start()).collect();
        let name = |(server, weight): (&Memcached, &u32)| match weight {
            1 => server.address(),
            _ => format!("{}*{weight}", server.address()),
        };
        let names = servers.iter().zip(weights).map(name).collect();
        Nodes { servers, names }
    }

    fn counts(&self) -> Vec<usize> {
        let count = |server: &Memcached| server.client().stats("")["curr_items"].parse().unwrap();
        self.servers.iter().map(count).collect()
    }
}

/// A snapshot `s/all` of items from one server.
fn make_snapshot(workdir: &Workdir, items: &[Item]) {
    let server = Memcached::start();
    server.client().load(items.iter().cloned());
    workdir
        .mcsnap(&["dump", "--to", "s", "--name=all", "-q", &server.address()])
        .succeeds();
}

fn restore(workdir: &Workdir, snapshot: &str, nodes: &Nodes, ring: &str) {
    workdir
        .mcsnap(&[
            "restore",
            snapshot,
            "-q",
            "--ring",
            ring,
            "--to",
            &nodes.names.join(","),
        ])
        .succeeds();
}

/// Tells past the capture of the test runner what ran.
fn tell(version: &str, case: &Case, what: &str) {
    let Case { mode, ring, .. } = case;
    writeln!(io::stderr(), "{version}, mode {mode}, ring {ring}: {what}").unwrap();
}

fn all_found(items: &[Item]) -> Found {
    Found {
        equal: items.len(),
        ..Found::default()
    }
}

/// Checks the cases of one client, each in a folder of its own, and tells of each.
fn for_each_case(agent: Agent, check: fn(&Workdir, &Case) -> String) {
    let mut failures = Vec::new();
    let cases = CASES.iter().filter(|case| case.agent == agent);
    for case in cases {
        let outcome = std::panic::catch_unwind(|| {
            let workdir = Workdir::new(&case.ring.replace([':', ','], "-"));
            // First, because it fails in plain words where the client is missing.
            let version = agent.version(&workdir);
            tell(&version, case, &check(&workdir, case));
        });
        if outcome.is_err() {
            failures.push(case.ring);
        }
    }
    // What went wrong has been printed by each.
    assert!(failures.is_empty(), "failed: {failures:?}");
}

fn restored_keys_are_found(workdir: &Workdir, case: &Case) -> String {
    let items = items(case.keys, case.prefix);
    make_snapshot(workdir, &items);
    let mut counts = Vec::new();
    let weighted = WEIGHTED.iter().filter(|_| case.has_weights);
    for weights in EQUAL.iter().chain(weighted) {
        let nodes = Nodes::start(weights);
        restore(workdir, "s/all", &nodes, case.ring);
        let found = case.agent.read(workdir, case.mode, &items, &nodes.names);
        assert_eq!(found, all_found(&items), "of {:?}", nodes.names);
        counts.push(nodes.counts());
    }
    format!("found all of {} on {counts:?}", items.len())
}

fn written_keys_are_detected(workdir: &Workdir, case: &Case) -> String {
    // Parts of a ring, such as a prefix, are not guessed.
    if case.ring.contains(',') {
        return "not to be detected".to_owned();
    }
    let nodes = write(workdir, case, &items(case.keys, case.prefix));
    check_detection(workdir, &nodes.names, case.ring);
    "detected".to_owned()
}

fn written_keys_come_back(workdir: &Workdir, case: &Case) -> String {
    let items = items(case.keys, case.prefix);
    let nodes = write(workdir, case, &items);
    let dump = workdir.mcsnap(&["dump", "--to", "s", "--name=all", "-q"]);
    let addresses = nodes.servers.iter().map(Memcached::address);
    addresses.fold(dump, Run::arg).succeeds();
    for server in &nodes.servers {
        server.client().flush_all();
    }
    restore(workdir, "s/all", &nodes, "node-for-node");
    let found = case.agent.read(workdir, case.mode, &items, &nodes.names);
    assert_eq!(found, all_found(&items), "of {:?}", nodes.names);
    format!("found again all of {}", items.len())
}

/// New nodes that the client has filled, none of which is empty.
fn write(workdir: &Workdir, case: &Case, items: &[Item]) -> Nodes {
    let nodes = Nodes::start(EQUAL[0]);
    let written = case.agent.write(workdir, case.mode, items, &nodes.names);
    assert_eq!(written.stored, items.len(), "{written:?}");
    let counts = nodes.counts();
    assert_eq!(counts.iter().sum::<usize>(), items.len(), "{counts:?}");
    assert!(
        counts.iter().all(|count| *count > items.len() / 20),
        "{counts:?}"
    );
    nodes
}

/// The tests of each client, in a module of its name.
macro_rules! prove {
    ($($module:ident: $agent:ident,)*) => {
        $(mod $module {
            use crate::agents::Agent;

            #[test]
            fn finds_what_was_restored() {
                super::for_each_case(Agent::$agent, super::restored_keys_are_found);
            }

            #[test]
            fn is_detected_by_what_it_wrote() {
                super::for_each_case(Agent::$agent, super::written_keys_are_detected);
            }

            #[test]
            fn finds_what_it_wrote_again() {
                super::for_each_case(Agent::$agent, super::written_keys_come_back);
            }
        })*

        #[test]
        fn every_client_of_the_table_is_tried() {
            let tried = [$(Agent::$agent),*];
            assert!(CASES.iter().all(|case| tried.contains(&case.agent)));
            let names = BTreeSet::from_iter(CASES.iter().map(|case| case.ring));
            assert_eq!(names.len(), CASES.len());
        }
    };
}

prove! {
    cache_memcached: CacheMemcached,
    cache_memcached_fast: CacheMemcachedFast,
    dalli: Dalli,
    gomemcache: Gomemcache,
    libmemcached: Libmemcached,
    memcached_proxy: MemcachedProxy,
    memjs: Memjs,
    node_memcached: NodeMemcached,
    nutcracker: Nutcracker,
    php_memcache: PhpMemcache,
    php_memcached: PhpMemcached,
    php_session: PhpSession,
    pylibmc: Pylibmc,
    pymemcache: Pymemcache,
    python_binary_memcached: PythonBinaryMemcached,
    python_memcached: PythonMemcached,
    python_memcached_1_59: PythonMemcached159,
    spymemcached: Spymemcached,
}

/// A server as a client has it, and as mcsnap has it, where the two are not the same.
type Names = fn(&Memcached) -> [String; 2];

/// Rings hash what the client calls a node: its name, or its name and its address.
#[test]
fn a_node_has_the_name_that_the_client_gives_it() {
    let host: Names = |server| {
        let name = format!("localhost:{}", server.port());
        [name.clone(), name]
    };
    let resolved: Names = |server| {
        let name = format!("localhost:{}", server.port());
        [name.clone(), format!("{name}=127.0.0.1")]
    };
    let socket: Names = |server| {
        let path = server.address().replace("unix:", "");
        [path, server.address()]
    };
    let socket_with_port: Names = |server| {
        let path = server.address().replace("unix:", "");
        [format!("{path}:0"), server.address()]
    };
    let ketama = "ketama-compatible";
    let php = "php-memcached:ketama-compatible";
    // addServers says that a socket has port 0, addServer that it has the default.
    let php_list = "php-memcached:ketama-compatible,socket=path-0";
    let pylibmc = "pylibmc:ketama-weighted";
    let cases = [
        ("spymemcached:ketama", "ketama", resolved, false),
        ("node-memcached", "default", host, false),
        ("dalli", "default", host, false),
        ("dalli", "default", socket, true),
        ("twemproxy", "ketama", host, false),
        ("twemproxy", "ketama", socket, true),
        (php, "ketama-compatible-one-by-one", socket_with_port, true),
        (php_list, ketama, socket_with_port, true),
        (pylibmc, "ketama-weighted", socket_with_port, true),
        ("pymemcache", "default", host, false),
        ("pymemcache", "default", socket_with_port, true),
    ];
    for (ring, mode, names, is_socket) in cases {
        let client = ring.split(',').next().unwrap();
        let case = CASES.iter().find(|case| case.ring == client).unwrap();
        let case = &Case {
            mode,
            ring,
            ..*case
        };
        let workdir = Workdir::new("names");
        let version = case.agent.version(&workdir);
        let items = items(case.keys, case.prefix);
        make_snapshot(&workdir, &items);
        let listen = |number| match is_socket {
            true => workdir.join(format!("{number}.sock")).display().to_string(),
            false => "127.0.0.1".to_owned(),
        };
        let start = |number| Memcached::start_at(&listen(number), &[], &[]);
        let servers: Vec<_> = (0..3).map(start).collect();
        let [clients, ours] = [0, 1].map(|which| {
            let name = |server| names(server)[which].clone();
            servers.iter().map(name).collect::<Vec<_>>()
        });
        let nodes = Nodes {
            servers,
            names: ours,
        };
        restore(&workdir, "s/all", &nodes, ring);
        let found = case.agent.read(&workdir, case.mode, &items, &clients);
        assert_eq!(found, all_found(&items), "of {clients:?}");
        let what = format!("found all of {} on {}", items.len(), clients[0]);
        tell(&version, case, &what);
    }
}

/// The proofs above can fail: a client does not find keys that are elsewhere.
#[test]
fn a_wrong_ring_makes_a_client_miss() {
    let workdir = Workdir::new("wrong-ring");
    let items = items(Keys::Bytes, "");
    make_snapshot(&workdir, &items);
    for (mode, wrong) in [
        ("ketama-weighted", "modula"),
        ("default", "ketama-weighted"),
    ] {
        let nodes = Nodes::start(EQUAL[0]);
        restore(&workdir, "s/all", &nodes, wrong);
        let found = Agent::Libmemcached.read(&workdir, mode, &items, &nodes.names);
        // Two of three, but for chance.
        assert!(
            found.missing > items.len() / 2,
            "{mode} of {wrong}: {found:?}"
        );
        assert_eq!(found.equal + found.missing, items.len(), "{found:?}");
        assert_eq!(found.first.len(), 5, "{found:?}");
    }
}

/// Nor is a wrong value taken for a right one, whatever the language.
#[test]
fn every_agent_tells_what_is_wrong() {
    let workdir = Workdir::new("told");
    let nodes = Nodes::start(EQUAL[0]);
    let item = |key, value| Item::new(key, value);
    let stored = [item("good", "value"), item("other", "value")];
    let wanted = [
        item("good", "value"),
        item("other", "another value"),
        item("absent", "value"),
    ];
    for Case { agent, mode, .. } in CASES.iter().filter(|case| case.prefix.is_empty()) {
        nodes
            .servers
            .iter()
            .for_each(|server| server.client().flush_all());
        agent.write(&workdir, mode, &stored, &nodes.names);
        let found = agent.read(&workdir, mode, &wanted, &nodes.names);
        let expected = Found {
            equal: 1,
            different: 1,
            missing: 1,
            first: ["other", "absent"].map(hex).into(),
        };
        assert_eq!(found, expected, "{agent:?}");
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
