//! Rings place every key where the real clients placed it.
//!
//! The golden files are in `testdata/routing`; `MCSNAP_VECTORS` names another
//! directory of the same shape. Options that this test does not know fail it:
//! a case is never left out.

use std::env;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use mcsnap::codecs::ring::{Ring, RingSpec};
use mcsnap::words::node::NodeSpec;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ring::ring_of_case::{Names, Setup, Weights, decode, setup};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    client: String,
    client_version: String,
    cases: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    distribution: String,
    options: Value,
    #[serde(rename = "list")]
    _list: String,
    servers: Vec<Server>,
    placement: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TieCase {
    client: String,
    client_version: String,
    distribution: String,
    options: Value,
    servers: Vec<Server>,
    keys: Vec<PlacedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlacedKey {
    key: String,
    server_index: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    host: String,
    port: u16,
    weight: u32,
    ip: Option<IpAddr>,
}

impl Server {
    /// The node as a user of that client would write it down.
    fn to_node(&self, setup: &Setup) -> NodeSpec {
        // Java looks up the name of an address.
        let is_looked_up = setup.names == Names::LookedUp && self.host == "127.0.0.1";
        let (host, ip) = if is_looked_up {
            ("localhost", self.host.parse().ok())
        } else {
            (self.host.as_str(), self.ip)
        };
        NodeSpec {
            weight: if setup.weights == Weights::Counted {
                self.weight
            } else {
                1
            },
            ip,
            // The port of a socket is none.
            ..NodeSpec::new(host, if self.port == 0 { 11211 } else { self.port })
        }
    }
}

#[test]
fn every_key_is_placed_as_the_clients_placed_it() {
    let directory = directory();
    let keys = read::<KeyFile>(&directory.join("keys.json")).keys;
    let mut tally = Tally::default();
    for path in case_files(&directory) {
        // A file of ties is a list: each of its cases names its client and
        // brings its own keys.
        if let Value::Array(cases) = read(&path) {
            for case in &cases {
                tally.check(&name(&path, case), || check_tie_case(case));
            }
            continue;
        }
        let file: CaseFile = read(&path);
        for case in &file.cases {
            tally.check(&name(&path, case), || {
                check_case((&file.client, &file.client_version), case, &keys)
            });
        }
    }
    tally.finish();
}

fn check_case(client: (&str, &str), case: &Value, keys: &[String]) -> Result<usize, String> {
    let case: Case = decode(case)?;
    let setup = setup(
        client,
        &case.distribution,
        &case.options,
        case.servers.len(),
    )?;
    let placed = keys.iter().map(String::as_str);
    check_placement(&setup, &case.servers, placed.zip(indexes(&case, keys)?))
}

fn check_tie_case(case: &Value) -> Result<usize, String> {
    let case: TieCase = decode(case)?;
    let setup = setup(
        (&case.client, &case.client_version),
        &case.distribution,
        &case.options,
        case.servers.len(),
    )?;
    let placed = case.keys.iter();
    let placed = placed.map(|placed| (placed.key.as_str(), Some(placed.server_index)));
    check_placement(&setup, &case.servers, placed)
}

fn name(path: &Path, case: &Value) -> String {
    let [distribution, options, list] = ["distribution", "options", "list"].map(|key| &case[key]);
    format!("{}: {distribution} {options} on {list}", path.display())
}

fn directory() -> PathBuf {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/routing");
    env::var_os("MCSNAP_VECTORS").map_or_else(ours, PathBuf::from)
}

/// Every JSON file but those that hold no cases.
fn case_files(directory: &Path) -> Vec<PathBuf> {
    const OTHERS: [&str; 2] = ["keys.json", "server_lists.json"];
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter(|path| !OTHERS.iter().any(|other| path.ends_with(other)))
        .collect();
    paths.sort();
    paths
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The index for each key; `None` where the client refused the key.
fn indexes(case: &Case, keys: &[String]) -> Result<Vec<Option<usize>>, String> {
    const DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if case.placement.len() != keys.len() {
        let count = case.placement.len();
        return Err(format!("{count} placements of {} keys", keys.len()));
    }
    let index = |digit| match DIGITS.find(digit) {
        None if digit == '-' => Ok(None),
        None => Err(format!("placement {digit:?} is no digit")),
        index => Ok(index),
    };
    case.placement.chars().map(index).collect()
}

/// Returns how many keys were checked, or what was wrong.
fn check_placement<'a>(
    setup: &Setup,
    servers: &[Server],
    placed: impl Iterator<Item = (&'a str, Option<usize>)>,
) -> Result<usize, String> {
    let mut nodes: Vec<_> = servers.iter().map(|server| server.to_node(setup)).collect();
    for (node, label) in nodes.iter_mut().zip(&setup.labels) {
        node.label = Some(label.clone());
    }
    let spec: RingSpec = setup.ring.parse().map_err(|e| format!("{e}"))?;
    let rule = spec.rule().ok_or("node-for-node")?;
    let ring = Ring::new(rule, &nodes).map_err(|e| e.to_string())?;
    let (mut checked, mut wrong) = (0, Vec::new());
    for (key, index) in placed {
        let Some(index) = index else { continue };
        let stored = format!("{}{key}", setup.prefix);
        let found = ring.locate(stored.as_bytes());
        checked += 1;
        if found != index {
            wrong.push(format!("{stored:?} is on {index}, not on {found}"));
        }
    }
    match wrong.first() {
        None => Ok(checked),
        Some(first) => Err(format!("{} of {checked} keys wrong: {first}", wrong.len())),
    }
}

#[derive(Default)]
struct Tally {
    case_count: usize,
    placement_count: usize,
    failures: Vec<String>,
}

impl Tally {
    fn check(&mut self, name: &str, case: impl FnOnce() -> Result<usize, String>) {
        self.case_count += 1;
        match case() {
            Ok(count) => self.placement_count += count,
            Err(failure) => self.failures.push(format!("{name}: {failure}")),
        }
    }

    fn finish(self) {
        println!(
            "{} cases, {} placements",
            self.case_count, self.placement_count
        );
        assert!(
            self.placement_count > 0 || !self.failures.is_empty(),
            "nothing was checked"
        );
        assert!(
            self.failures.is_empty(),
            "{} of {} cases failed:\n{}",
            self.failures.len(),
            self.case_count,
            self.failures.join("\n")
        );
    }
}
