//! Clients' own names of the hash functions they can be configured with.
//!
//! One name can mean several functions: twemproxy's `crc32` is 15 bits of what others
//! call CRC-32, and a Java client's FNV hashes UTF-16 units. A ring's text accepts the
//! name from the client's own configuration, and is written back with the function's only
//! name here ([`KeyHash::NAMES`]).

use crate::codecs::ring::hash::KeyHash;
use crate::codecs::ring::point_rule::PointHash;
use crate::codecs::ring::preset::Preset;

/// Function names of some clients that mean other functions elsewhere.
struct Dialect {
    /// Names of presets, or of all presets with this name before a colon.
    clients: &'static [&'static str],
    names: &'static [(&'static str, KeyHash)],
    /// Whether these are all the functions of the client.
    has_all: bool,
}

/// The first dialect that has both the preset and the name applies.
const DIALECTS: [Dialect; 6] = [
    // It keeps bits 16 to 30 of every hash, and its CRC-32 has only these 15 bits.
    Dialect {
        clients: &["xmemcached:php"],
        names: &[
            ("crc32", KeyHash::Zero),
            ("native", KeyHash::JavaString15),
            ("java-15", KeyHash::JavaString15),
            ("zero", KeyHash::Zero),
        ],
        has_all: true,
    },
    Dialect {
        clients: &["aws-elasticache-java"],
        names: &[("ketama", KeyHash::Sha384)],
        has_all: false,
    },
    Dialect {
        clients: &["spymemcached", "aws-elasticache-java", "xmemcached"],
        names: &[
            ("native", KeyHash::JavaString),
            ("ketama", KeyHash::Md5),
            ("crc32", KeyHash::Crc),
            ("fnv1-32", KeyHash::JavaFnv32),
            ("fnv1a-32", KeyHash::JavaFnv32a),
            ("fnv1-64", KeyHash::JavaFnv64),
            ("fnv1a-64", KeyHash::JavaFnv64a),
        ],
        has_all: false,
    },
    Dialect {
        clients: &["twemproxy"],
        names: &[
            ("crc32", KeyHash::Crc),
            ("crc32a", KeyHash::Crc32),
            ("murmur", KeyHash::Murmur2),
        ],
        has_all: false,
    },
    Dialect {
        clients: &[
            "modula",
            "ketama",
            "ketama-weighted",
            "libmemcached",
            "php-memcached",
            "pylibmc",
        ],
        names: &[
            ("default", KeyHash::OneAtATime),
            ("crc32", KeyHash::Crc),
            ("murmur", KeyHash::Murmur2),
        ],
        has_all: false,
    },
    Dialect {
        clients: &[],
        names: &[("crc32", KeyHash::Crc32)],
        has_all: false,
    },
];

impl Dialect {
    fn is_of(&self, preset: &Preset) -> bool {
        let client = preset.name.split(':').next().unwrap_or_default();
        self.clients.is_empty()
            || self.clients.contains(&client)
            || self.clients.contains(&preset.name)
    }
}

/// Returns the function with this name in a client's configuration, or else with this
/// general name. `FNV1A_64_HASH`, `fnv1a_64` and `fnv1a-64` are the same name.
pub(super) fn hash_called(preset: &Preset, name: &str) -> Option<KeyHash> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let name = name.strip_suffix("-hash").unwrap_or(&name);
    for dialect in DIALECTS.iter().filter(|dialect| dialect.is_of(preset)) {
        let called = dialect.names.iter().find(|(known, _)| *known == name);
        if called.is_some() || dialect.has_all {
            return called.map(|(_, hash)| *hash);
        }
    }
    KeyHash::from_name(name)
}

/// Lists the names that `hash=` accepts for a preset.
pub(super) fn hash_names(preset: &Preset) -> Vec<&'static str> {
    let mut dialects = DIALECTS.iter().filter(|dialect| dialect.is_of(preset));
    match dialects.find(|dialect| dialect.has_all) {
        Some(dialect) => dialect.names.iter().map(|(name, _)| *name).collect(),
        None => KeyHash::NAMES
            .iter()
            .map(|(name, _)| *name)
            .chain(["xxh3"])
            .collect(),
    }
}

/// Returns the hash for the labels of points when keys are hashed with `hash`; `None` if
/// the two are independent.
pub(super) fn point_hash_beside(preset: &Preset, hash: KeyHash) -> Option<PointHash> {
    // The Java clients take four points from a digest, and one from any other function.
    let (client, setting) = preset.name.split_once(':')?;
    let is_one_for_both = ["spymemcached", "aws-elasticache-java", "xmemcached"].contains(&client)
        && setting.starts_with("ketama");
    is_one_for_both.then_some(if hash == KeyHash::Md5 {
        PointHash::Md5
    } else if hash == KeyHash::Sha384 {
        PointHash::Sha384
    } else {
        PointHash::KeyHash
    })
}
