//! Chooses how a server is read, from what the server reports about itself.

use std::fmt;
use std::str::FromStr;

use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::reply::check_connection;
use crate::codecs::protocol::request::METADUMP_PROBE;
use crate::codecs::protocol::stats::ServerVersion;
use crate::codecs::protocol::text::{Step, parse_line};
use crate::ports::net::{Connection, Received, ServerReport};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

/// How a server's keys are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalkKind {
    /// `lru_crawler metadump hash`: the hash table, bucket by bucket. The only walk that
    /// misses nothing on a server in use.
    Hash,
    /// `lru_crawler metadump all`: the LRU lists of all slab classes in one crawl,
    /// repeated until nothing new appears.
    Slabs,
    /// As [`WalkKind::Slabs`], with one crawl for each slab class.
    SlabsSerial,
    /// `stats cachedump` for each slab class. It needs no crawler, and lists at most 2
    /// MiB of keys of a class.
    Cachedump,
}

impl WalkKind {
    /// All kinds, the best first.
    pub const ALL: [Self; 4] = [Self::Hash, Self::Slabs, Self::SlabsSerial, Self::Cachedump];

    /// Returns the name for `--walk`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Slabs => "slabs",
            Self::SlabsSerial => "slabs:serial",
            Self::Cachedump => "cachedump",
        }
    }

    /// Returns the name in a manifest; see FORMAT.md 5.12.
    pub fn manifest_name(self) -> &'static str {
        match self {
            Self::Hash => "metadump-hash",
            Self::Slabs => "metadump-slabs",
            Self::SlabsSerial => "metadump-slabs-serial",
            Self::Cachedump => "cachedump",
        }
    }

    /// Reports whether the walk needs the server's LRU crawler.
    pub fn needs_crawler(self) -> bool {
        self != Self::Cachedump
    }

    /// Reports whether the walk can list a key twice.
    pub fn can_repeat(self) -> bool {
        self != Self::Hash
    }

    fn least_version(self) -> ServerVersion {
        match self {
            Self::Hash => ServerVersion::METADUMP_HASH,
            Self::Slabs | Self::SlabsSerial => ServerVersion::METADUMP,
            Self::Cachedump => ServerVersion::default(),
        }
    }
}

impl fmt::Display for WalkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WalkKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        let allowed = "wanted hash, slabs, slabs:serial or cachedump";
        known.ok_or_else(|| Error::invalid_input("walk", text, allowed))
    }
}

/// A server's answer to a request for its crawler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crawler {
    /// It runs, or could run.
    On,
    /// It is off and can be turned on.
    Off,
    /// The server does not know the command: it is too old, or a service without one.
    None,
    /// The server was started with `-X`.
    Forbidden,
}

/// Finds out about the crawler by requesting a walk that no server does.
///
/// # Errors
///
/// - Those of [`Connection::exchange`].
pub fn probe_crawler(connection: &mut Connection) -> Result<Crawler> {
    let mut crawler = Crawler::None;
    connection.exchange_short("crawler", METADUMP_PROBE, |bytes| {
        let Step::Done(line, len) = parse_line(bytes, "a reply of the crawler")? else {
            return Ok(Received::More(0));
        };
        check_connection(line)?;
        crawler = match line {
            _ if line.starts_with(b"CLIENT_ERROR lru crawler disabled") => Crawler::Off,
            _ if line.starts_with(b"ERROR metadump not allowed") => Crawler::Forbidden,
            // The server looks at the class only if it has a crawler.
            _ if line.starts_with(b"BADCLASS") || line.starts_with(b"BUSY") => Crawler::On,
            _ => Crawler::None,
        };
        Ok(Received::Done(len))
    })?;
    Ok(crawler)
}

/// The commands that read a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProtocol {
    /// `mg`, which leaves no trace and reports the TTL.
    Meta(KeyForm),
    /// `gets`, or `get` on a server that does not know `gets`.
    Classic {
        /// Whether it is `gets`.
        with_cas: bool,
    },
    /// The binary protocol, which can carry every key.
    Binary,
}

/// How a server is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadStrategy {
    /// The server's version, or the earliest version that has its features.
    pub version: ServerVersion,
    /// How its keys are listed.
    pub walk: WalkKind,
    /// The crawler is off: it is turned on for the walk and off again afterwards.
    pub turns_crawler_on: bool,
    /// Values are read by `mg`; otherwise by `gets` or `get`.
    pub has_meta_get: bool,
    /// The server knows `gets`.
    pub has_gets: bool,
    /// `mg` takes keys in base64.
    pub has_base64_keys: bool,
    /// The binary protocol can read keys that the text protocol cannot carry.
    pub has_binary_protocol: bool,
}

impl ReadStrategy {
    /// For tests: that of a server with meta commands, which can all there is. In this
    /// version a mark compares no CAS, so the CAS is read first.
    #[cfg(test)]
    pub(crate) const OF_META_COMMANDS: Self = Self {
        version: ServerVersion::META_COMMANDS,
        walk: WalkKind::Hash,
        turns_crawler_on: false,
        has_meta_get: true,
        has_gets: true,
        has_base64_keys: true,
        has_binary_protocol: true,
    };

    /// Chooses a strategy; `walk` is the kind of walk that the caller wants, if any.
    ///
    /// # Errors
    ///
    /// - `Unsupported`: the server does not list its keys, or not by this walk.
    pub fn choose(
        node: &NodeSpec,
        server: &ServerReport,
        crawler: Crawler,
        walk: Option<WalkKind>,
    ) -> Result<Self> {
        let refuse = |field, found: String, supported: String| {
            let kind = ErrorKind::Unsupported {
                field,
                found,
                supported,
            };
            Err(Error::new(kind).at(Location::node(node.address())))
        };
        let version = server.stats.version;
        if !server.settings.is_dump_allowed || crawler == Crawler::Forbidden {
            let advice = "the server was started with -X, which forbids it";
            return refuse("listing of", "keys".to_owned(), advice.to_owned());
        }
        let has_crawler = matches!(crawler, Crawler::On | Crawler::Off);
        let walk = match walk {
            None => {
                let can = |kind: &WalkKind| {
                    version >= kind.least_version() && (has_crawler || !kind.needs_crawler())
                };
                let best = WalkKind::ALL.into_iter().find(can);
                best.unwrap_or(WalkKind::Cachedump)
            }
            Some(kind) if version < kind.least_version() => {
                let found = format!("{kind} on memcached {}", server.stats.version_text);
                let least = kind.least_version();
                return refuse(
                    "walk",
                    found,
                    format!("it needs memcached {least} or later"),
                );
            }
            Some(kind) if kind.needs_crawler() && !has_crawler => {
                let advice = "the server has no LRU crawler; use --walk cachedump";
                return refuse("walk", kind.to_string(), advice.to_owned());
            }
            Some(kind) => kind,
        };
        Ok(Self {
            version,
            walk,
            turns_crawler_on: walk.needs_crawler() && crawler == Crawler::Off,
            has_meta_get: version >= ServerVersion::META_GET,
            has_gets: version >= ServerVersion::GETS,
            has_base64_keys: version >= ServerVersion::META_COMMANDS,
            has_binary_protocol: server.settings.has_binary_protocol,
        })
    }

    /// Returns the commands that read a key, or `None` if no command of this server can
    /// carry the key.
    pub fn protocol_for(&self, key: &[u8]) -> Option<KeyProtocol> {
        let text = if self.has_meta_get {
            KeyProtocol::Meta(KeyForm::Text)
        } else {
            KeyProtocol::Classic {
                with_cas: self.has_gets,
            }
        };
        match KeyForm::of(key) {
            Some(KeyForm::Text) => Some(text),
            Some(KeyForm::Base64) if self.has_meta_get && self.has_base64_keys => {
                Some(KeyProtocol::Meta(KeyForm::Base64))
            }
            _ if self.has_binary_protocol => Some(KeyProtocol::Binary),
            _ => KeyForm::is_text(key).then_some(text),
        }
    }

    /// Describes how values are read, for display.
    pub fn read_name(&self) -> &'static str {
        let has_binary = self.has_binary_protocol;
        match (self.has_meta_get, self.has_base64_keys) {
            (true, true) => "meta get",
            (true, false) if has_binary => "meta get, odd keys by the binary protocol",
            (true, false) => "meta get",
            (false, _) if !self.has_gets => "get",
            (false, _) if has_binary => "gets, odd keys by the binary protocol",
            (false, _) => "gets",
        }
    }

    /// Returns what listings of such a server are known to leave out without any sign of
    /// it.
    pub fn known_gap(&self) -> Option<&'static str> {
        let is_walked_by_class = matches!(self.walk, WalkKind::Slabs | WalkKind::SlabsSerial);
        let has_bug = [ServerVersion(1, 5, 5), ServerVersion(1, 5, 6)].contains(&self.version);
        (is_walked_by_class && has_bug)
            .then_some("memcached 1.5.5 and 1.5.6 leave out the newest item of each LRU list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::stats::{ServerSettings, ServerStats};

    fn server(version: &str) -> ServerReport {
        ServerReport {
            stats: ServerStats {
                version_text: version.to_owned(),
                version: ServerVersion::parse(version),
                ..ServerStats::default()
            },
            settings: ServerSettings {
                is_dump_allowed: true,
                has_binary_protocol: true,
                ..ServerSettings::default()
            },
            clock_offset: 0,
            is_proxy: false,
        }
    }

    fn choose(version: &str, crawler: Crawler, walk: Option<WalkKind>) -> Result<ReadStrategy> {
        let node: NodeSpec = "a:1".parse().unwrap();
        ReadStrategy::choose(&node, &server(version), crawler, walk)
    }

    #[test]
    fn the_best_walk_of_each_version_is_chosen() {
        for (version, crawler, walk, turns_on) in [
            ("1.6.45", Crawler::On, WalkKind::Hash, false),
            ("1.6.9", Crawler::On, WalkKind::Hash, false),
            ("1.6.9", Crawler::Off, WalkKind::Hash, true),
            ("1.6.45", Crawler::None, WalkKind::Cachedump, false),
            ("1.6.8", Crawler::On, WalkKind::Slabs, false),
            ("1.4.31", Crawler::Off, WalkKind::Slabs, true),
            ("1.4.30", Crawler::None, WalkKind::Cachedump, false),
            ("1.2.0", Crawler::None, WalkKind::Cachedump, false),
        ] {
            let chosen = choose(version, crawler, None).unwrap();
            assert_eq!(
                (chosen.walk, chosen.turns_crawler_on),
                (walk, turns_on),
                "{version} {crawler:?}"
            );
        }
    }

    #[test]
    fn a_walk_that_the_server_cannot_do_is_refused_with_advice() {
        let refusal = |version, crawler, walk| {
            let error = choose(version, crawler, walk).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            refusal("1.6.8", Crawler::On, Some(WalkKind::Hash)),
            "a:1: walk hash on memcached 1.6.8 is not supported: it needs memcached 1.6.9 or later"
        );
        assert_eq!(
            refusal("1.6.20", Crawler::None, Some(WalkKind::Slabs)),
            "a:1: walk slabs is not supported: the server has no LRU crawler; use --walk cachedump"
        );
        assert_eq!(
            refusal("1.6.20", Crawler::Forbidden, Some(WalkKind::Cachedump)),
            "a:1: listing of keys is not supported: the server was started with -X, which forbids it"
        );
    }

    #[test]
    fn a_key_is_carried_by_what_the_version_has() {
        let strategy = |version| choose(version, Crawler::On, None).unwrap();
        let (new, middle, old) = (strategy("1.6.18"), strategy("1.6.9"), strategy("1.5.6"));
        let long_odd = [b' '; 200];
        for (key, of_new, of_middle, of_old) in [
            (
                &b"user:1"[..],
                KeyProtocol::Meta(KeyForm::Text),
                KeyProtocol::Meta(KeyForm::Text),
                KeyProtocol::Classic { with_cas: true },
            ),
            (
                b"a b",
                KeyProtocol::Meta(KeyForm::Base64),
                KeyProtocol::Binary,
                KeyProtocol::Binary,
            ),
            (
                &long_odd,
                KeyProtocol::Binary,
                KeyProtocol::Binary,
                KeyProtocol::Binary,
            ),
        ] {
            assert_eq!(new.protocol_for(key), Some(of_new));
            assert_eq!(middle.protocol_for(key), Some(of_middle));
            assert_eq!(old.protocol_for(key), Some(of_old));
        }
        let text_only = ReadStrategy {
            has_binary_protocol: false,
            ..old
        };
        assert_eq!(text_only.protocol_for(b"a b"), None);
        // Odd, but without a character that ends a word or a line.
        let classic = KeyProtocol::Classic { with_cas: true };
        assert_eq!(text_only.protocol_for(b"a\tb"), Some(classic));
        let oldest = KeyProtocol::Classic { with_cas: false };
        assert_eq!(strategy("1.2.3").protocol_for(b"a"), Some(oldest));
    }
}
