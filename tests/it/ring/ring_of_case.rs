//! Which ring a golden case is about: the client's options, as a user of mcsnap
//! would write them after `--ring`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a case asks for.
pub(crate) struct Setup {
    /// The value of `--ring`.
    pub(crate) ring: String,
    /// Whether the client was told the weights in time.
    pub(crate) weights: Weights,
    /// What the client made of the servers' hosts.
    pub(crate) names: Names,
    /// Names that the client was given for its servers.
    pub(crate) labels: Vec<String>,
    /// What the client puts before the keys of the key file.
    pub(crate) prefix: String,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Weights {
    Counted,
    /// The client was not told them, or chose its distribution after it got
    /// the nodes, which makes libmemcached's CONSISTENT forget them.
    Ignored,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Names {
    AsTyped,
    /// It asked the resolver for the name of an address.
    LookedUp,
}

impl Setup {
    fn of(ring: impl Into<String>) -> Self {
        Self {
            ring: ring.into(),
            weights: Weights::Counted,
            names: Names::AsTyped,
            labels: Vec::new(),
            prefix: String::new(),
        }
    }

    fn looked_up(self) -> Self {
        Self {
            names: Names::LookedUp,
            ..self
        }
    }

    fn with(mut self, part: &str, value: &str) -> Self {
        let value = value.replace('%', "%25").replace(',', "%2C");
        self.ring = format!("{},{part}={value}", self.ring);
        self
    }

    fn with_hash(self, hash: Option<&str>) -> Self {
        match hash {
            Some(hash) => self.with("hash", hash),
            None => self,
        }
    }

    fn with_prefix(
        mut self,
        prefix: Option<&str>,
        is_hashed: Option<bool>,
    ) -> Result<Self, String> {
        self = match (prefix, is_hashed) {
            (None, None) => return Ok(self),
            (Some(prefix), Some(false)) => self.with("prefix", prefix),
            (Some(_), Some(true)) => self.with("hashed-prefix", "yes"),
            (None, Some(_)) | (Some(_), None) => return Err("half of a prefix rule".into()),
        };
        self.prefix = prefix.unwrap_or_default().into();
        Ok(self)
    }
}

/// Returns the ring of a case, or why there is none.
pub(crate) fn setup(
    (client, version): (&str, &str),
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
        "php-memcache" => php_memcache(&decode(options)?),
        "dalli" => nothing_but_notes(options).map(|()| Setup::of("dalli")),
        "memjs" => nothing_but_notes(options).map(|()| Setup::of("memjs")),
        "perl-cache-memcached" => {
            nothing_but_notes(options).map(|()| Setup::of("perl-cache-memcached"))
        }
        "go-jump-dskit" => nothing_but_notes(options).map(|()| Setup::of("grafana")),
        "gomemcache" => decode::<GoOptions>(options).map(|_| Setup::of("gomemcache")),
        "perl-cache-memcached-fast" => perl_fast(&decode(options)?),
        // Hashes were never 0 up to release 1.59.
        "python-memcached" if version == "1.59" => {
            python_memcached("python-memcached:1.59", &decode(options)?)
        }
        "python-memcached" => python_memcached("python-memcached", &decode(options)?),
        "python-binary-memcached" => {
            nothing_but_notes(options).map(|()| Setup::of("python-binary-memcached"))
        }
        "pymemcache" => pymemcache(&decode(options)?),
        "node-memcached" => node_memcached(&decode(options)?),
        "spymemcached" | "aws-elasticache-java" | "spymemcached-e2e" => {
            spymemcached(client, distribution, &decode(options)?)
        }
        "evcache" => evcache(&decode(options)?),
        "xmemcached" => xmemcached(distribution, &decode(options)?),
        "enyim" => enyim(&decode(options)?),
        "mcrouter" => mcrouter(&decode(options)?),
        "twemproxy" | "nutcracker-debian-e2e" => twemproxy(distribution, decode(options)?),
        "memcached-proxy" => proxy(distribution, &decode(options)?),
        _ => Err(format!("no ring for client {client}")),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(options: &Value) -> Result<T, String> {
    T::deserialize(options).map_err(|e| format!("no ring for this: {e}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notes {
    #[serde(rename = "note")]
    _note: Option<String>,
}

fn nothing_but_notes(options: &Value) -> Result<(), String> {
    decode::<Notes>(options).map(|_| ())
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
    let mut setup = match distribution {
        "virtual_bucket" => virtual_buckets(options, node_count)?,
        _ => Setup::of(libmemcached_ring(distribution)?),
    };
    if let Some(hash) = options.hash.as_ref().or(options.hash_set_after.as_ref()) {
        setup = setup.with("hash", libmemcached_hash(client, hash));
    }
    if client == "libmemcached-arm64" {
        setup = setup.with("char", "unsigned");
    }
    if options.sort_hosts {
        setup = setup.with("order", "host-port");
    }
    setup.weights = match (options.weights_passed, &options.order, distribution) {
        (Some(false), _, _) | (_, Some(Order::ServersFirst), "consistent") => Weights::Ignored,
        (_, None | Some(Order::DistributionFirst | Order::ServersFirst), _) => Weights::Counted,
    };
    setup.with_prefix(options.prefix_key.as_deref(), options.hash_with_prefix_key)
}

fn virtual_buckets(options: &LibmemcachedOptions, node_count: usize) -> Result<Setup, String> {
    let setup = Setup::of("libmemcached:virtual-bucket");
    match (options.buckets, options.host_map.as_deref()) {
        (Some(count), Some("(i*7+3)%n")) => {
            let map: Vec<_> = (0..count)
                .map(|i| ((i * 7 + 3) % node_count).to_string())
                .collect();
            Ok(setup.with("buckets", &map.join(":")))
        }
        (None, None) => Ok(setup),
        (count, map) => Err(format!("no ring for {count:?} buckets mapped by {map:?}")),
    }
}

fn libmemcached_ring(distribution: &str) -> Result<&'static str, String> {
    match distribution {
        "modula" => Ok("libmemcached"),
        "consistent" | "ketama" => Ok("libmemcached:consistent"),
        "ketama_weighted" => Ok("libmemcached:ketama-weighted"),
        "ketama_spy_unweighted_flag" => Ok("libmemcached:ketama-spy"),
        "ketama_spy_weighted_flag" => Ok("libmemcached:ketama-spy-weighted"),
        _ => Err(format!("no ring for distribution {distribution}")),
    }
}

/// The name of a hash function, as a user would write that of the client.
fn libmemcached_hash<'a>(client: &str, name: &'a str) -> &'a str {
    match name {
        // Until 1.1.0, MURMUR3 chose the older function.
        "murmur3" if client == "libmemcached-1.0.18" => "murmur",
        _ => name,
    }
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
    let mut setup = Setup::of(match (behaviors.distribution.as_deref(), is_weighted) {
        (Some("consistent"), false) => "pylibmc:ketama",
        (Some("consistent ketama spy"), false) => "libmemcached:ketama-spy",
        (Some("consistent ketama spy"), true) => "libmemcached:ketama-spy-weighted",
        (None, true) => "pylibmc:ketama-weighted",
        (None, false) if behaviors.ketama.is_some() => "pylibmc:ketama",
        (None, false) => "pylibmc",
        (Some(other), _) => return Err(format!("no ring for distribution {other}")),
    });
    if let Some(hash) = &behaviors.hash
        && !is_weighted
    {
        setup = setup.with("hash", hash);
    }
    if behaviors.sort_hosts.is_some() {
        setup = setup.with("order", "host-port");
    }
    Ok(setup)
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
    let mut setup = Setup::of(match distribution {
        "modula" => "php-memcached",
        "consistent" => "php-memcached:consistent",
        "ketama_weighted" => "php-memcached:ketama-compatible",
        _ => return Err(format!("no ring for distribution {distribution}")),
    });
    if let Some(hash) = options.hash.as_ref().or(options.hash_set_after.as_ref()) {
        setup = setup.with("hash", hash);
    }
    let calls = options.options.as_deref().unwrap_or_default();
    setup.weights = match calls {
        "DISTRIBUTION_CONSISTENT after addServers with weights" => Weights::Ignored,
        _ if calls.ends_with(", no weights") => Weights::Ignored,
        _ => Weights::Counted,
    };
    setup.with_prefix(options.prefix_key.as_deref(), options.hash_with_prefix_key)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhpMemcacheOptions {
    hash_strategy: String,
    hash_function: String,
}

fn php_memcache(options: &PhpMemcacheOptions) -> Result<Setup, String> {
    match (
        options.hash_strategy.as_str(),
        options.hash_function.as_str(),
    ) {
        ("consistent", "crc32") => Ok(Setup::of("php-memcache")),
        ("consistent", "fnv") => Ok(Setup::of("php-memcache:consistent-fnv")),
        ("standard", "crc32") => Ok(Setup::of("php-memcache:standard")),
        ("standard", "fnv") => Ok(Setup::of("php-memcache:standard-fnv")),
        other => Err(format!("no ring for {other:?}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoOptions {
    #[serde(rename = "weights")]
    _weights: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PerlFastOptions {
    ketama_points: u32,
}

fn perl_fast(options: &PerlFastOptions) -> Result<Setup, String> {
    Ok(match options.ketama_points {
        0 => Setup::of("perl-cache-memcached-fast"),
        150 => Setup::of("perl-cache-memcached-fast:ketama-150"),
        points => {
            Setup::of("perl-cache-memcached-fast:ketama-150").with("points", &points.to_string())
        }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashOptions {
    hash: String,
}

fn python_memcached(ring: &str, options: &HashOptions) -> Result<Setup, String> {
    match options.hash.as_str() {
        "cmemcache_hash" => Ok(Setup::of(ring)),
        "old (full crc32)" => Ok(Setup::of("python-memcached:old-hash")),
        other => Err(format!("no ring for hash {other}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PymemcacheOptions {
    hasher: String,
    key_type: String,
    #[serde(rename = "note")]
    _note: Option<String>,
}

fn pymemcache(options: &PymemcacheOptions) -> Result<Setup, String> {
    match (options.hasher.as_str(), options.key_type.as_str()) {
        ("RendezvousHash", "str") => Ok(Setup::of("pymemcache")),
        ("RendezvousHash", "bytes") => Ok(Setup::of("pymemcache:bytes-keys")),
        other => Err(format!("no ring for {other:?}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeMemcachedOptions {
    compatibility: Option<String>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

fn node_memcached(options: &NodeMemcachedOptions) -> Result<Setup, String> {
    match options.compatibility.as_deref() {
        None => Ok(Setup::of("node-memcached")),
        Some("hash_ring") => Ok(Setup::of("node-memcached:hash-ring")),
        Some("") => Ok(Setup::of("node-memcached").with("label", "host-port")),
        Some(other) => Err(format!("no ring for compatibility {other}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JavaOptions {
    hash: String,
    node_key_format: Option<String>,
    #[serde(default)]
    weighted: bool,
    #[serde(rename = "factory")]
    _factory: Option<String>,
}

fn spymemcached(client: &str, distribution: &str, options: &JavaOptions) -> Result<Setup, String> {
    let base = match client {
        "aws-elasticache-java" => "aws-elasticache-java",
        _ => "spymemcached",
    };
    let mut setup = match (distribution, options.node_key_format.as_deref()) {
        ("array_mod", None) => Setup::of(base),
        ("ketama", Some("SPYMEMCACHED")) => Setup::of(format!("{base}:ketama")),
        ("ketama", Some("LIBMEMCACHED")) => Setup::of(format!("{base}:ketama-libmemcached")),
        other => return Err(format!("no ring for {other:?}")),
    };
    // End to end, the client resolves what it was given.
    if client == "spymemcached-e2e" && options.node_key_format.as_deref() == Some("LIBMEMCACHED") {
        setup = setup.looked_up();
    }
    let own = match distribution {
        "ketama" => "KETAMA_HASH",
        _ => "NATIVE_HASH",
    };
    setup = setup.with_hash((options.hash != own).then_some(&options.hash));
    if options.weighted {
        setup = setup.with("weights", "f32");
    }
    Ok(setup)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvcacheOptions {
    bucket_size: u32,
    #[serde(default)]
    hash_on_partial_key: bool,
    hash_delimiter: Option<String>,
}

fn evcache(options: &EvcacheOptions) -> Result<Setup, String> {
    let mut setup = match (options.hash_on_partial_key, &options.hash_delimiter) {
        (false, None) => Setup::of("evcache"),
        (true, Some(delimiter)) => Setup::of("evcache:partial-key").with("stop", delimiter),
        other => return Err(format!("no ring for {other:?}")),
    };
    if options.bucket_size != 160 {
        setup = setup.with("points", &options.bucket_size.to_string());
    }
    Ok(setup)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct XmemcachedOptions {
    hash: Option<String>,
    resolve: Option<bool>,
    reps: Option<u32>,
    #[serde(rename = "cwNginxUpstreamConsistent")]
    _nginx: Option<bool>,
    #[serde(rename = "pool_size")]
    _pool_size: Option<u32>,
}

fn xmemcached(distribution: &str, options: &XmemcachedOptions) -> Result<Setup, String> {
    let ring = match distribution {
        "xm_array_mod" => "xmemcached",
        "xm_ketama" => "xmemcached:ketama",
        "xm_ketama_nginx" => "xmemcached:ketama-nginx",
        "xm_ketama_gwhalin" => "xmemcached:ketama-gwhalin",
        "xm_libmemcached" => "xmemcached:libmemcached",
        "xm_election" => "xmemcached:election",
        "xm_php" => "xmemcached:php",
        _ => return Err(format!("no ring for distribution {distribution}")),
    };
    let hash = match options.hash.as_deref() {
        None | Some("NATIVE_HASH" | "KETAMA_HASH" | "ONE_AT_A_TIME") => None,
        Some(hash) => Some(hash),
    };
    let mut setup = Setup::of(ring).with_hash(hash);
    if options.resolve != Some(false) {
        setup = setup.looked_up();
    }
    if let Some(count) = options.reps.filter(|&count| count != 100) {
        setup = setup.with("points", &count.to_string());
    }
    Ok(setup)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnyimOptions {
    package: String,
    locator: String,
}

fn enyim(options: &EnyimOptions) -> Result<Setup, String> {
    match (options.package.as_str(), options.locator.as_str()) {
        ("EnyimMemcached", "DefaultNodeLocator") => Ok(Setup::of("enyim")),
        ("EnyimMemcached", "KetamaNodeLocator") => Ok(Setup::of("enyim:ketama")),
        ("EnyimMemcachedCore", "DefaultNodeLocator") => Ok(Setup::of("enyim-core")),
        ("EnyimMemcachedCore", "LegacyNodeLocator") => Ok(Setup::of("enyim-core:legacy")),
        other => Err(format!("no ring for {other:?}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct McrouterOptions {
    hash_func: String,
    hash_stop: Option<String>,
    salt: Option<String>,
    tags: Option<String>,
    weights: Option<String>,
}

fn mcrouter(options: &McrouterOptions) -> Result<Setup, String> {
    let mut setup = Setup::of(match options.hash_func.as_str() {
        "Ch3" => "mcrouter",
        "Crc32" => "mcrouter:crc32",
        "Rendezvous" => "mcrouter:rendezvous",
        "WeightedRendezvous" => "mcrouter:weighted-rendezvous",
        "WeightedCh3" => "mcrouter:weighted-ch3",
        other => return Err(format!("no ring for {other}")),
    });
    let known = options.hash_stop.as_deref() == Some("|#| applied")
        && options
            .tags
            .as_deref()
            .is_none_or(|tags| tags == "host:port")
        && options
            .weights
            .as_deref()
            .is_none_or(|weights| weights == "weight/max(weight)");
    if !known {
        return Err("no ring for these keys, tags or weights".into());
    }
    if let Some(salt) = &options.salt {
        setup = setup.with("salt", salt);
    }
    Ok(setup)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TwemproxyOptions {
    hash: String,
    hash_tag: Option<String>,
    #[serde(default)]
    server_names: Vec<String>,
}

fn twemproxy(distribution: &str, options: TwemproxyOptions) -> Result<Setup, String> {
    let ring = match distribution {
        "ketama" => "twemproxy",
        "modula" => "twemproxy:modula",
        _ => return Err(format!("no ring for distribution {distribution}")),
    };
    let hash = options.hash.as_str();
    let mut setup = Setup::of(ring).with_hash((hash != "fnv1a_64").then_some(hash));
    if let Some(tag) = &options.hash_tag {
        setup = setup.with("tag", tag);
    }
    setup.labels = options.server_names;
    Ok(setup)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyOptions {
    #[serde(rename = "pool_options")]
    _pool_options: String,
    #[serde(rename = "proxy")]
    _proxy: Option<String>,
    seed: Option<String>,
    filter: Option<String>,
    filter_conf: Option<String>,
    hash: Option<String>,
    #[serde(rename = "omode")]
    _omode: Option<String>,
    obuckets: Option<u32>,
}

fn proxy(distribution: &str, options: &ProxyOptions) -> Result<Setup, String> {
    let (ring, own_hash) = match distribution {
        "jump_xxh3" => ("memcached-proxy", "xxh3"),
        "jump_ketama_hash" => ("memcached-proxy:jump-ketama", "md5"),
        "ring_default" => ("memcached-proxy:ring", "xxh3"),
        "ring_ketama" => ("memcached-proxy:ring-ketama", "xxh3"),
        "ring_twemproxy" => ("memcached-proxy:ring-twemproxy", "md5"),
        "ring_evcache" => ("memcached-proxy:ring-evcache", "md5"),
        _ => return Err(format!("no ring for distribution {distribution}")),
    };
    let hash = match options.hash.as_deref() {
        None | Some("dist_ring_hash.hash (md5 first 4 bytes LE)") => own_hash,
        Some("xxh3") => "xxh3",
        Some("md5") => "md5",
        Some(other) => return Err(format!("no ring for hash {other}")),
    };
    let mut setup = Setup::of(ring).with_hash((hash != own_hash).then_some(hash));
    if let Some(seed) = &options.seed {
        setup = setup.with("seed", seed);
    }
    match (options.filter.as_deref(), &options.filter_conf) {
        (None, None) => {}
        (Some("stop"), Some(stop)) => setup = setup.with("stop", stop),
        (Some("tags"), Some(tag)) => setup = setup.with("tag", tag),
        other => return Err(format!("no ring for filter {other:?}")),
    }
    if let Some(count) = options.obuckets.filter(|&count| count != 160) {
        setup = setup.with("points", &count.to_string());
    }
    Ok(setup)
}
