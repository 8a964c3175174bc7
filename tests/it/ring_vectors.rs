//! Rings place every key where the real clients placed it.
//!
//! The golden files are in `testdata/routing`; `MCSNAP_VECTORS` names another
//! directory of the same shape. Options that this test does not know fail it:
//! a case is never left out.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use mcsnap::node::NodeSpec;
use mcsnap::ring::{
    CharSign, Distribution, KeyHash, KeyPrefix, LabelFormat, NodeOrder, PointRule, Ring, RingRule,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    client: String,
    #[serde(rename = "client_version")]
    _client_version: String,
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
    #[serde(rename = "client_version")]
    _client_version: String,
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
}

impl Server {
    fn to_node(&self) -> NodeSpec {
        NodeSpec {
            weight: self.weight,
            ..NodeSpec::new(self.host.as_str(), self.port)
        }
    }
}

/// What a case asks for, in the library's words.
struct Setup {
    rule: RingRule,
    /// Whether the weights had a say.
    weights: Weights,
    /// What the client puts before the keys of the key file.
    prefix: String,
}

enum Weights {
    Counted,
    /// The client was not told them, or chose its distribution after it got
    /// the nodes, which makes libmemcached's CONSISTENT forget them.
    Ignored,
}

impl Setup {
    fn with_prefix(
        mut rule: RingRule,
        weights: Weights,
        prefix: Option<&str>,
        is_hashed: Option<bool>,
    ) -> Result<Self, String> {
        rule.key_prefix = match (prefix, is_hashed) {
            (None, None) => KeyPrefix::None,
            (Some(prefix), Some(false)) => KeyPrefix::Unhashed(prefix.into()),
            (Some(_), Some(true)) => KeyPrefix::Hashed,
            (None, Some(_)) | (Some(_), None) => return Err("half of a prefix rule".into()),
        };
        Ok(Self {
            rule,
            weights,
            prefix: prefix.unwrap_or_default().into(),
        })
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
            tally.check(&name(&path, case), || check_case(&file.client, case, &keys));
        }
    }
    tally.finish();
}

fn check_case(client: &str, case: &Value, keys: &[String]) -> Result<usize, String> {
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
        &case.client,
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
    let mut nodes: Vec<_> = servers.iter().map(Server::to_node).collect();
    if matches!(setup.weights, Weights::Ignored) {
        nodes.iter_mut().for_each(|node| node.weight = 1);
    }
    let ring = Ring::new(&setup.rule, &nodes).map_err(|e| e.to_string())?;
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

fn setup(
    client: &str,
    distribution: &str,
    options: &Value,
    node_count: usize,
) -> Result<Setup, String> {
    match client {
        "libmemcached" | "libmemcached-1.0.18" | "libmemcached-arm64" => {
            libmemcached(client, distribution, &decode(options)?, node_count)
        }
        "pylibmc" => pylibmc(&decode::<PylibmcOptions>(options)?.behaviors),
        "php-memcached" => php_memcached(distribution, &decode(options)?),
        _ => Err(format!("no ring for client {client}")),
    }
}

fn decode<T: DeserializeOwned>(options: &Value) -> Result<T, String> {
    T::deserialize(options).map_err(|e| format!("no ring for this: {e}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LibmemcachedOptions {
    hash: Option<String>,
    hash_set_after: Option<String>,
    weights_passed: Option<bool>,
    order: Option<Order>,
    #[serde(default)]
    sort_hosts: bool,
    buckets: Option<usize>,
    host_map: Option<String>,
    prefix_key: Option<String>,
    hash_with_prefix_key: Option<bool>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    DistributionFirst,
    ServersFirst,
}

fn libmemcached(
    client: &str,
    distribution: &str,
    options: &LibmemcachedOptions,
    node_count: usize,
) -> Result<Setup, String> {
    let mut rule = match distribution {
        "virtual_bucket" => RingRule {
            distribution: virtual_buckets(options, node_count)?,
            ..RingRule::default()
        },
        _ => rule_of(distribution)?,
    };
    if let Some(hash) = options.hash.as_ref().or(options.hash_set_after.as_ref()) {
        rule.key_hash = key_hash(client, hash)?;
    }
    if client == "libmemcached-arm64" {
        rule.char_sign = CharSign::Unsigned;
    }
    if options.sort_hosts {
        rule.node_order = NodeOrder::ByHostAndPort;
    }
    let weights = match (options.weights_passed, &options.order, distribution) {
        (Some(false), _, _) | (_, Some(Order::ServersFirst), "consistent") => Weights::Ignored,
        (_, None | Some(Order::DistributionFirst | Order::ServersFirst), _) => Weights::Counted,
    };
    let prefix = options.prefix_key.as_deref();
    Setup::with_prefix(rule, weights, prefix, options.hash_with_prefix_key)
}

fn virtual_buckets(
    options: &LibmemcachedOptions,
    node_count: usize,
) -> Result<Distribution, String> {
    let buckets = match (options.buckets, options.host_map.as_deref()) {
        (Some(count), Some("(i*7+3)%n")) => {
            Some((0..count).map(|i| (i * 7 + 3) % node_count).collect())
        }
        (None, None) => None,
        (count, map) => return Err(format!("no ring for {count:?} buckets mapped by {map:?}")),
    };
    Ok(Distribution::VirtualBucket { buckets })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PylibmcOptions {
    behaviors: Behaviors,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviors {
    hash: Option<String>,
    distribution: Option<String>,
    ketama: Option<Value>,
    ketama_weighted: Option<Value>,
    #[serde(rename = "_sort_hosts")]
    sort_hosts: Option<Value>,
    #[serde(rename = "tcp_nodelay")]
    _tcp_nodelay: Option<Value>,
}

/// pylibmc sets the hash first, then `ketama_weighted`, and `distribution`
/// last, whatever the order in which they are written.
fn pylibmc(behaviors: &Behaviors) -> Result<Setup, String> {
    let is_weighted = behaviors.ketama_weighted.is_some();
    let distribution = match (behaviors.distribution.as_deref(), is_weighted) {
        (Some("consistent"), false) => "consistent",
        (Some("consistent ketama spy"), false) => "ketama_spy_unweighted_flag",
        (Some("consistent ketama spy"), true) => "ketama_spy_weighted_flag",
        (None, true) => "ketama_weighted",
        (None, false) if behaviors.ketama.is_some() => "ketama",
        (None, false) => "modula",
        (Some(other), _) => return Err(format!("no ring for distribution {other}")),
    };
    let mut rule = rule_of(distribution)?;
    if let Some(hash) = &behaviors.hash
        && !is_weighted
    {
        rule.key_hash = key_hash("pylibmc", hash)?;
    }
    if behaviors.sort_hosts.is_some() {
        rule.node_order = NodeOrder::ByHostAndPort;
    }
    Setup::with_prefix(rule, Weights::Counted, None, None)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhpOptions {
    /// The calls that were made, in words.
    options: Option<String>,
    hash: Option<String>,
    hash_set_after: Option<String>,
    prefix_key: Option<String>,
    hash_with_prefix_key: Option<bool>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

fn php_memcached(distribution: &str, options: &PhpOptions) -> Result<Setup, String> {
    let mut rule = rule_of(distribution)?;
    if let Some(hash) = options.hash.as_ref().or(options.hash_set_after.as_ref()) {
        rule.key_hash = key_hash("php-memcached", hash)?;
    }
    let calls = options.options.as_deref().unwrap_or_default();
    let weights = match calls {
        "DISTRIBUTION_CONSISTENT after addServers with weights" => Weights::Ignored,
        _ if calls.ends_with(", no weights") => Weights::Ignored,
        _ => Weights::Counted,
    };
    let prefix = options.prefix_key.as_deref();
    Setup::with_prefix(rule, weights, prefix, options.hash_with_prefix_key)
}

fn rule_of(distribution: &str) -> Result<RingRule, String> {
    let spy = |points| Distribution::Ketama {
        points,
        format: LabelFormat::SlashAndPort,
    };
    match distribution {
        "modula" => Ok(RingRule::default()),
        "consistent" | "ketama" => Ok(RingRule::ketama()),
        "ketama_weighted" => Ok(RingRule::ketama_weighted()),
        "ketama_spy_unweighted_flag" => Ok(RingRule {
            distribution: spy(PointRule::Equal),
            ..RingRule::ketama()
        }),
        "ketama_spy_weighted_flag" => Ok(RingRule {
            distribution: spy(PointRule::Weighted),
            ..RingRule::ketama_weighted()
        }),
        _ => Err(format!("no ring for distribution {distribution}")),
    }
}

fn key_hash(client: &str, name: &str) -> Result<KeyHash, String> {
    match name {
        "default" => Ok(KeyHash::OneAtATime),
        "md5" => Ok(KeyHash::Md5),
        "crc" => Ok(KeyHash::Crc),
        "fnv1_32" => Ok(KeyHash::Fnv32),
        "fnv1a_32" => Ok(KeyHash::Fnv32a),
        "fnv1_64" => Ok(KeyHash::Fnv64),
        "fnv1a_64" => Ok(KeyHash::Fnv64a),
        "murmur" => Ok(KeyHash::Murmur2),
        // Until 1.1.0, MURMUR3 chose the older function.
        "murmur3" if client == "libmemcached-1.0.18" => Ok(KeyHash::Murmur2),
        "murmur3" => Ok(KeyHash::Murmur3),
        "jenkins" => Ok(KeyHash::Jenkins),
        "hsieh" => Ok(KeyHash::Hsieh),
        _ => Err(format!("no ring for hash {name}")),
    }
}
