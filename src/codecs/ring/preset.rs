//! Rings by the names of the clients that have them.
//!
//! The distributions were derived from the sources of the versions named here, and most
//! are checked against the behaviour of those clients: `testdata/routing`.

use crate::codecs::ring::hash::{CharSign, KeyHash};
use crate::codecs::ring::label::{LabelFormat, LabelRule, Numbering, SocketName};
use crate::codecs::ring::order::NodeOrder;
use crate::codecs::ring::point_rule::{PointHash, PointRule, PointWeights, Search, Ties};
use crate::codecs::ring::rendezvous::Score;
use crate::codecs::ring::routed_part::{KeyCut, KeyPrefix, RoutedPart};
use crate::codecs::ring::rule::{BucketWeights, Distribution, FurcWeights, RingRule};

/// A named ring.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The value of `--ring`: the client, and its setting after a colon.
    pub name: &'static str,
    /// The client and versions that it stands for.
    pub client: &'static str,
    /// How to select it in the client, and what it is.
    pub about: &'static str,
    rule: Option<fn() -> RingRule>,
}

impl Preset {
    /// Every preset, in the order of lists.
    pub const ALL: &'static [Self] = PRESETS;

    /// Returns the preset with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Returns the rule; `None` for `node-for-node`, which hashes nothing.
    pub fn rule(&self) -> Option<RingRule> {
        self.rule.map(|rule| rule())
    }
}

const fn preset(
    name: &'static str,
    client: &'static str,
    about: &'static str,
    rule: fn() -> RingRule,
) -> Preset {
    Preset {
        name,
        client,
        about,
        rule: Some(rule),
    }
}

const LIBMEMCACHED: &str = "libmemcached 0.40 to 1.1";
const PHP_MEMCACHED: &str = "php-memcached 2 and 3 (PECL memcached)";
const PYLIBMC: &str = "pylibmc 1.5 and 1.6";
const PHP_MEMCACHE: &str = "PECL memcache 2 to 8";
const SPYMEMCACHED: &str = "spymemcached 2.7 to 2.12";
const AWS_JAVA: &str = "ElastiCache cluster client for Java since 1.2.0";
const XMEMCACHED: &str = "xmemcached 2.4";
const MCROUTER: &str = "mcrouter";
const TWEMPROXY: &str = "twemproxy (nutcracker) 0.4 and 0.5";
const PROXY: &str = "memcached's own proxy 1.6.23 on";

const PRESETS: &[Preset] = &[
    preset(
        "modula",
        LIBMEMCACHED,
        "the default: one-at-a-time hash modulo the number of nodes",
        RingRule::default,
    ),
    preset(
        "ketama",
        LIBMEMCACHED,
        "DISTRIBUTION_CONSISTENT: 100 points a node",
        RingRule::ketama,
    ),
    preset(
        "ketama-weighted",
        LIBMEMCACHED,
        "KETAMA_WEIGHTED: 160 MD5 points a node, by weight",
        RingRule::ketama_weighted,
    ),
    preset(
        "libmemcached",
        LIBMEMCACHED,
        "the default",
        RingRule::default,
    ),
    preset(
        "libmemcached:consistent",
        LIBMEMCACHED,
        "DISTRIBUTION_CONSISTENT or _KETAMA",
        RingRule::ketama,
    ),
    preset(
        "libmemcached:ketama-weighted",
        LIBMEMCACHED,
        "BEHAVIOR_KETAMA_WEIGHTED",
        RingRule::ketama_weighted,
    ),
    preset(
        "libmemcached:ketama-spy",
        LIBMEMCACHED,
        "DISTRIBUTION_CONSISTENT_KETAMA_SPY",
        || with_format(RingRule::ketama(), LabelFormat::SlashHostPort),
    ),
    preset(
        "libmemcached:ketama-spy-weighted",
        LIBMEMCACHED,
        "the same with KETAMA_WEIGHTED",
        || with_format(RingRule::ketama_weighted(), LabelFormat::SlashHostPort),
    ),
    preset(
        "libmemcached:sort-hosts",
        LIBMEMCACHED,
        "modula with BEHAVIOR_SORT_HOSTS",
        || RingRule {
            node_order: NodeOrder::ByHostAndPort,
            ..RingRule::default()
        },
    ),
    preset(
        "libmemcached:virtual-bucket",
        LIBMEMCACHED,
        "DISTRIBUTION_VIRTUAL_BUCKET; give the map with buckets=0:1:...",
        || RingRule {
            distribution: Distribution::VirtualBucket { buckets: None },
            ..RingRule::default()
        },
    ),
    preset(
        "php-memcached",
        PHP_MEMCACHED,
        "the default; Laravel",
        RingRule::default,
    ),
    preset(
        "php-memcached:consistent",
        PHP_MEMCACHED,
        "OPT_DISTRIBUTION = DISTRIBUTION_CONSISTENT",
        RingRule::ketama,
    ),
    preset(
        "php-memcached:ketama-compatible",
        PHP_MEMCACHED,
        "OPT_LIBKETAMA_COMPATIBLE; Symfony, MediaWiki",
        RingRule::ketama_weighted,
    ),
    preset(
        "php-memcached:ketama-then-consistent",
        PHP_MEMCACHED,
        "OPT_LIBKETAMA_COMPATIBLE and after it DISTRIBUTION_CONSISTENT",
        || RingRule {
            key_hash: KeyHash::Md5,
            ..RingRule::ketama()
        },
    ),
    preset(
        "php-memcached:session",
        PHP_MEMCACHED,
        "the session handler with its default prefix",
        || RingRule {
            routed_part: unhashed(b"memc.sess.key."),
            ..RingRule::ketama()
        },
    ),
    preset(
        "pylibmc",
        PYLIBMC,
        "the default; Django's PyLibMCCache",
        || pylibmc(RingRule::default()),
    ),
    preset(
        "pylibmc:ketama",
        PYLIBMC,
        "behaviors ketama, or distribution: consistent",
        || pylibmc(RingRule::ketama()),
    ),
    preset(
        "pylibmc:ketama-weighted",
        PYLIBMC,
        "behavior ketama_weighted",
        || pylibmc(RingRule::ketama_weighted()),
    ),
    preset(
        "php-memcache",
        PHP_MEMCACHE,
        "the default: hash_strategy consistent; WordPress",
        || php_memcache(KeyHash::Crc32),
    ),
    preset(
        "php-memcache:consistent-fnv",
        PHP_MEMCACHE,
        "hash_function fnv",
        || php_memcache(KeyHash::Fnv32a),
    ),
    preset(
        "php-memcache:standard",
        PHP_MEMCACHE,
        "hash_strategy standard, the default of 2.2",
        || repeated(KeyHash::CrcOrOne),
    ),
    preset(
        "php-memcache:standard-fnv",
        PHP_MEMCACHE,
        "hash_strategy standard, hash_function fnv",
        || repeated(KeyHash::Fnv15OrOne),
    ),
    preset("dalli", "Dalli 2.7 to 5; Rails", "the only one", || {
        RingRule {
            distribution: Distribution::Points(PointRule {
                hash: PointHash::Sha1,
                count: 160,
                weights: PointWeights::ShareProduct64,
                search: Search::AtOrBefore,
                ties: Ties::Last,
            }),
            key_hash: KeyHash::Crc32,
            labels: LabelRule {
                format: LabelFormat::HostPort,
                numbering: Numbering::Colon,
                ..LabelRule::default()
            },
            ..RingRule::default()
        }
    }),
    preset(
        "python-memcached",
        "python-memcached since 1.60",
        "the default",
        || repeated(KeyHash::Crc),
    ),
    preset(
        "python-memcached:1.59",
        "python-memcached up to 1.59",
        "the default; of 32768 hashes it has no 0",
        || repeated(KeyHash::CrcOrOne),
    ),
    preset(
        "python-memcached:old-hash",
        "python-memcached",
        "useOldServerHashFunction",
        || repeated(KeyHash::Crc32),
    ),
    preset(
        "pymemcache",
        "pymemcache 1 to 4; Django's PyMemcacheCache",
        "HashClient with keys as str",
        || pymemcache(Score::Murmur3Text),
    ),
    preset(
        "pymemcache:bytes-keys",
        "pymemcache 1 to 4",
        "HashClient with keys as bytes",
        || pymemcache(Score::Murmur3Bytes),
    ),
    preset(
        "python-binary-memcached",
        "python-binary-memcached up to 0.33",
        "DistributedClient; give host:port_user_password as labels if it has a user",
        || RingRule {
            distribution: Distribution::WidePoints,
            labels: LabelRule {
                format: LabelFormat::HostPortNoUser,
                socket: SocketName::PathNoUser,
                ..LabelRule::default()
            },
            ..RingRule::default()
        },
    ),
    preset(
        "perl-cache-memcached",
        "Cache::Memcached 1.30",
        "the only one",
        || repeated(KeyHash::Crc),
    ),
    preset(
        "perl-cache-memcached-fast",
        "Cache::Memcached::Fast 0.28",
        "the default",
        || repeated(KeyHash::Crc),
    ),
    preset(
        "perl-cache-memcached-fast:ketama-150",
        "Cache::Memcached::Fast 0.28",
        "ketama_points => 150; points=N for others",
        || crc32_ring(150),
    ),
    preset(
        "gomemcache",
        "gomemcache; most programs in Go",
        "ServerList",
        || repeated(KeyHash::Crc32),
    ),
    preset(
        "grafana",
        "dskit, of Mimir, Loki and Tempo; Thanos, Cortex",
        "MemcachedJumpHashSelector, the default",
        || RingRule {
            distribution: Distribution::Jump,
            key_hash: KeyHash::Xxh64,
            node_order: NodeOrder::Natural,
            ..RingRule::default()
        },
    ),
    preset(
        "spymemcached",
        SPYMEMCACHED,
        "DefaultConnectionFactory",
        || RingRule {
            key_hash: KeyHash::JavaString,
            ..RingRule::default()
        },
    ),
    preset(
        "spymemcached:ketama",
        SPYMEMCACHED,
        "KetamaConnectionFactory; weights=f32 if it has a map of weights",
        || spymemcached(LabelFormat::HostIpPort, PointHash::Md5, KeyHash::Md5),
    ),
    preset(
        "spymemcached:ketama-libmemcached",
        SPYMEMCACHED,
        "KetamaConnectionFactory with node keys of LIBMEMCACHED",
        || spymemcached(LabelFormat::PortUnlessDefault, PointHash::Md5, KeyHash::Md5),
    ),
    preset(
        "aws-elasticache-java",
        AWS_JAVA,
        "DefaultConnectionFactory",
        || RingRule {
            key_hash: KeyHash::JavaString,
            ..RingRule::default()
        },
    ),
    preset(
        "aws-elasticache-java:ketama",
        AWS_JAVA,
        "KetamaConnectionFactory; before 1.2.0 see spymemcached:ketama",
        || spymemcached(LabelFormat::HostIpPort, PointHash::Sha384, KeyHash::Sha384),
    ),
    preset(
        "aws-elasticache-java:ketama-libmemcached",
        AWS_JAVA,
        "the same with node keys of LIBMEMCACHED",
        || {
            let format = LabelFormat::PortUnlessDefault;
            spymemcached(format, PointHash::Sha384, KeyHash::Sha384)
        },
    ),
    preset(
        "evcache",
        "EVCache 4 and 5",
        "bucket size 160; points=N for others",
        evcache,
    ),
    preset(
        "evcache:partial-key",
        "EVCache 4 and 5",
        "hash.on.partial.key: what lies before the first :",
        || RingRule {
            routed_part: RoutedPart {
                cut: KeyCut::Before {
                    stop: b":".to_vec(),
                    may_be_empty: false,
                },
                ..RoutedPart::default()
            },
            ..evcache()
        },
    ),
    preset(
        "xmemcached",
        XMEMCACHED,
        "ArrayMemcachedSessionLocator, the default",
        || repeated(KeyHash::JavaString),
    ),
    preset(
        "xmemcached:ketama",
        XMEMCACHED,
        "KetamaMemcachedSessionLocator",
        || xmemcached(LabelFormat::JavaAddress),
    ),
    preset(
        "xmemcached:ketama-nginx",
        XMEMCACHED,
        "KetamaMemcachedSessionLocator with cwNginxUpstreamConsistent",
        || xmemcached(LabelFormat::IpPortUnlessDefault),
    ),
    preset(
        "xmemcached:ketama-gwhalin",
        XMEMCACHED,
        "KetamaMemcachedSessionLocator in the manner of gwhalin's client",
        || xmemcached(LabelFormat::HostPort),
    ),
    preset(
        "xmemcached:libmemcached",
        XMEMCACHED,
        "LibmemcachedMemcachedSessionLocator",
        || RingRule {
            distribution: Distribution::Points(PointRule {
                weights: PointWeights::Ignored,
                ..PointRule::CONSISTENT
            }),
            char_sign: CharSign::Unsigned,
            ..RingRule::default()
        },
    ),
    preset(
        "xmemcached:election",
        XMEMCACHED,
        "ElectionMemcachedSessionLocator",
        || RingRule {
            distribution: Distribution::Rendezvous(Score::Md5Election),
            labels: LabelRule::of(LabelFormat::JavaAddress),
            ..RingRule::default()
        },
    ),
    preset(
        "xmemcached:php",
        XMEMCACHED,
        "PHPMemcacheSessionLocator; with CRC32_HASH all is on the first: hash=zero",
        || RingRule {
            key_hash: KeyHash::JavaString15,
            ..RingRule::default()
        },
    ),
    preset(
        "enyim",
        "Enyim Memcached 2; ElastiCache client for .NET",
        "DefaultNodeLocator, the default",
        || {
            enyim(
                PointHash::EnyimFnv32a,
                KeyHash::EnyimFnv32a,
                Numbering::Dash,
            )
        },
    ),
    preset(
        "enyim:ketama",
        "Enyim Memcached 2",
        "KetamaNodeLocator",
        || RingRule {
            distribution: Distribution::Points(PointRule {
                weights: PointWeights::Ignored,
                search: Search::AtOrAfterButLastBelow,
                ties: Ties::Last,
                ..PointRule::KETAMA
            }),
            key_hash: KeyHash::Md5,
            labels: LabelRule::of(LabelFormat::IpPort),
            ..RingRule::default()
        },
    ),
    preset(
        "enyim-core",
        "EnyimMemcachedCore",
        "DefaultNodeLocator, the default",
        || {
            let hash = KeyHash::BytesFnv32a;
            enyim_core(enyim(PointHash::Own(hash), hash, Numbering::Before))
        },
    ),
    preset(
        "enyim-core:legacy",
        "EnyimMemcachedCore",
        "LegacyNodeLocator",
        || {
            let hash = KeyHash::EnyimFnv32a;
            enyim_core(enyim(PointHash::EnyimFnv32a, hash, Numbering::Dash))
        },
    ),
    preset(
        "node-memcached",
        "memcached 2.2 of npm",
        "the default",
        || node_memcached(PointHash::Md5, LabelFormat::PortUnlessDefault),
    ),
    preset(
        "node-memcached:hash-ring",
        "memcached 2.2 of npm",
        "compatibility: hash_ring",
        || node_memcached(PointHash::Md5Three, LabelFormat::HostPort),
    ),
    preset("memjs", "memjs 1.3 of npm", "the only one", || RingRule {
        key_hash: KeyHash::JavaStringAbsolute,
        ..RingRule::default()
    }),
    preset(
        "mcrouter",
        MCROUTER,
        "Ch3, the default; salt=TEXT, route=skipped with keep_routing_prefix",
        || mcrouter(Distribution::Furc(FurcWeights::Ignored)),
    ),
    preset(
        "mcrouter:weighted-ch3",
        MCROUTER,
        "WeightedCh3; full-weight=100 if *100 stands for 1.0, not the heaviest",
        || mcrouter(Distribution::Furc(FurcWeights::PartOf { full: None })),
    ),
    preset("mcrouter:crc32", MCROUTER, "Crc32", || RingRule {
        key_hash: KeyHash::Crc31,
        ..mcrouter(Distribution::default())
    }),
    preset(
        "mcrouter:rendezvous",
        MCROUTER,
        "Rendezvous; give the tags as labels unless they are host:port",
        || mcrouter(Distribution::Rendezvous(Score::Mcrouter)),
    ),
    preset(
        "mcrouter:weighted-rendezvous",
        MCROUTER,
        "WeightedRendezvous",
        || mcrouter(Distribution::Rendezvous(Score::McrouterWeighted)),
    ),
    preset(
        "twemproxy",
        TWEMPROXY,
        "ketama with fnv1a_64, the default; hash= and tag= as in nutcracker.yml",
        || twemproxy(Distribution::Points(PointRule::KETAMA)),
    ),
    preset(
        "twemproxy:modula",
        TWEMPROXY,
        "distribution: modula",
        || twemproxy(Distribution::Modula(BucketWeights::Repeat)),
    ),
    preset(
        "memcached-proxy",
        PROXY,
        "the default: jump hash; seed=TEXT, stop=TEXT, tag=XY for its options",
        || {
            proxy(
                Distribution::Jump,
                LabelFormat::HostPort,
                KeyHash::Xxh3 { seed: 0 },
            )
        },
    ),
    preset(
        "memcached-proxy:jump-ketama",
        PROXY,
        "jump hash with mcp.dist_ring_hash.hash",
        || proxy(Distribution::Jump, LabelFormat::HostPort, KeyHash::Md5),
    ),
    preset(
        "memcached-proxy:ring",
        PROXY,
        "dist_ring_hash; points=N for its obuckets",
        || {
            let points = PointRule {
                hash: PointHash::Own(KeyHash::Xxh3 { seed: 0 }),
                ..PROXY_POINTS
            };
            let hash = KeyHash::Xxh3 { seed: 0 };
            proxy(Distribution::Points(points), LabelFormat::HostPort, hash)
        },
    ),
    preset(
        "memcached-proxy:ring-ketama",
        PROXY,
        "dist_ring_hash with omode ketama; hash=md5 if set so",
        || {
            let points = Distribution::Points(PROXY_POINTS);
            proxy(points, LabelFormat::HostPort, KeyHash::Xxh3 { seed: 0 })
        },
    ),
    preset(
        "memcached-proxy:ring-twemproxy",
        PROXY,
        "dist_ring_hash with omode twemproxy and its own hash",
        || {
            let points = Distribution::Points(PROXY_POINTS);
            proxy(points, LabelFormat::PortUnlessDefault, KeyHash::Md5)
        },
    ),
    preset(
        "memcached-proxy:ring-evcache",
        PROXY,
        "dist_ring_hash with omode evcache and its own hash",
        || {
            let points = Distribution::Points(PROXY_POINTS);
            proxy(points, LabelFormat::HostSlashHostPort, KeyHash::Md5)
        },
    ),
    preset(
        "nginx",
        "nginx, upstream hash",
        "hash $key; weights count",
        || repeated(KeyHash::Crc),
    ),
    preset(
        "nginx:consistent",
        "nginx, upstream hash",
        "hash $key consistent",
        || crc32_ring(160),
    ),
    Preset {
        name: "node-for-node",
        client: "none",
        about: "node i of the snapshot goes to node i given; nothing is hashed",
        rule: None,
    },
];

fn with_format(rule: RingRule, format: LabelFormat) -> RingRule {
    RingRule {
        labels: LabelRule::of(format),
        ..rule
    }
}

fn unhashed(prefix: &[u8]) -> RoutedPart {
    RoutedPart {
        prefix: KeyPrefix::Unhashed(prefix.to_vec()),
        ..RoutedPart::default()
    }
}

/// A hash modulo the number of buckets, where a node has as many buckets as its weight.
fn repeated(key_hash: KeyHash) -> RingRule {
    RingRule {
        distribution: Distribution::Modula(BucketWeights::Repeat),
        key_hash,
        ..RingRule::default()
    }
}

fn pylibmc(rule: RingRule) -> RingRule {
    RingRule {
        labels: LabelRule {
            socket: SocketName::PathAndZero,
            ..rule.labels
        },
        ..rule
    }
}

fn pymemcache(score: Score) -> RingRule {
    RingRule {
        distribution: Distribution::Rendezvous(score),
        labels: LabelRule::of(LabelFormat::HostPort),
        ..RingRule::default()
    }
}

fn php_memcache(key_hash: KeyHash) -> RingRule {
    RingRule {
        distribution: Distribution::Slots {
            points: PointRule {
                hash: PointHash::KeyHash,
                count: 160,
                weights: PointWeights::Multiply,
                search: Search::AtOrAfter,
                ties: Ties::First,
            },
            count: 1024,
        },
        key_hash,
        labels: LabelRule {
            format: LabelFormat::BracketsHostPort,
            socket: SocketName::UriAndZero,
            ..LabelRule::default()
        },
        ..RingRule::default()
    }
}

fn crc32_ring(count: u32) -> RingRule {
    RingRule {
        distribution: Distribution::Points(PointRule {
            hash: PointHash::Crc32Chain,
            count,
            weights: PointWeights::Multiply,
            search: Search::AtOrAfter,
            ties: Ties::First,
        }),
        key_hash: KeyHash::Crc32,
        ..RingRule::default()
    }
}

fn spymemcached(format: LabelFormat, hash: PointHash, key_hash: KeyHash) -> RingRule {
    RingRule {
        distribution: Distribution::Points(PointRule {
            hash,
            weights: PointWeights::Ignored,
            ties: Ties::Last,
            ..PointRule::KETAMA
        }),
        key_hash,
        labels: LabelRule::of(format),
        ..RingRule::default()
    }
}

fn evcache() -> RingRule {
    RingRule {
        distribution: Distribution::Points(PointRule {
            weights: PointWeights::Ignored,
            ties: Ties::Last,
            ..PointRule::KETAMA
        }),
        key_hash: KeyHash::Md5,
        labels: LabelRule::of(LabelFormat::HostIpDefaultPort),
        ..RingRule::default()
    }
}

fn xmemcached(format: LabelFormat) -> RingRule {
    RingRule {
        distribution: Distribution::Points(PointRule {
            weights: PointWeights::Multiply,
            ties: Ties::ByPoint,
            ..PointRule::KETAMA
        }),
        key_hash: KeyHash::Md5,
        labels: LabelRule::of(format),
        ..RingRule::default()
    }
}

fn enyim(hash: PointHash, key_hash: KeyHash, numbering: Numbering) -> RingRule {
    RingRule {
        distribution: Distribution::Points(PointRule {
            hash,
            count: 100,
            weights: PointWeights::Ignored,
            search: Search::AtOrAfterButLastBelow,
            ties: Ties::Last,
        }),
        key_hash,
        labels: LabelRule {
            format: LabelFormat::IpPort,
            numbering,
            ..LabelRule::default()
        },
        ..RingRule::default()
    }
}

fn enyim_core(rule: RingRule) -> RingRule {
    RingRule {
        labels: LabelRule {
            format: LabelFormat::DotNetEndPoint,
            ..rule.labels
        },
        ..rule
    }
}

fn node_memcached(hash: PointHash, format: LabelFormat) -> RingRule {
    RingRule {
        distribution: Distribution::Points(PointRule {
            hash,
            weights: PointWeights::Share64,
            ..PointRule::KETAMA
        }),
        key_hash: KeyHash::Md5,
        labels: LabelRule::of(format),
        ..RingRule::default()
    }
}

fn mcrouter(distribution: Distribution) -> RingRule {
    RingRule {
        distribution,
        // A leading route is hashed if it is part of the stored key. By default mcrouter does
        // not store routes, so a stored key that begins like one has no route.
        routed_part: RoutedPart {
            cut: KeyCut::Before {
                stop: b"|#|".to_vec(),
                may_be_empty: true,
            },
            ..RoutedPart::default()
        },
        labels: LabelRule::of(LabelFormat::HostPort),
        ..RingRule::default()
    }
}

fn twemproxy(distribution: Distribution) -> RingRule {
    RingRule {
        distribution,
        key_hash: KeyHash::Fnv64a,
        node_order: NodeOrder::ByNameLength,
        labels: LabelRule {
            socket: SocketName::PathAndColon,
            ..LabelRule::default()
        },
        ..RingRule::default()
    }
}

/// `obuckets` of memcached's proxy.
const PROXY_POINTS: PointRule = PointRule {
    weights: PointWeights::Ignored,
    ..PointRule::KETAMA
};

fn proxy(distribution: Distribution, format: LabelFormat, key_hash: KeyHash) -> RingRule {
    RingRule {
        distribution,
        key_hash,
        labels: LabelRule::of(format),
        ..RingRule::default()
    }
}
