//! A server's statistics and settings. protocol.txt, "Statistics".

use std::collections::BTreeMap;
use std::fmt;

use crate::codecs::protocol::reply::{check_connection, is_refusal};
use crate::codecs::protocol::text::{Step, parse_line, parse_u64};
use crate::words::error::{Error, Result};
use crate::words::units::UnixSecs;

/// A version of memcached, such as 1.6.18; each constant is the first version with a
/// feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion(pub u32, pub u32, pub u32);

impl ServerVersion {
    /// First with `gets`.
    pub const GETS: Self = Self(1, 2, 4);
    /// First whose `stats cachedump` reports when items expire; earlier ones report when
    /// they were last used.
    pub const LISTING_TELLS_EXPTIME: Self = Self(1, 2, 4);
    /// First that counts its seconds from 60 at its start instead of 0.
    pub const COUNTS_FROM_60: Self = Self(1, 4, 18);
    /// First with `lru_crawler metadump`.
    pub const METADUMP: Self = Self(1, 4, 31);
    /// First whose walk ends with `END`.
    pub const WALK_TERMINATOR: Self = Self(1, 5, 4);
    /// First with today's `mg`.
    pub const META_GET: Self = Self(1, 6, 0);
    /// First with `metadump hash`.
    pub const METADUMP_HASH: Self = Self(1, 6, 9);
    /// First with base64 keys and today's set syntax.
    pub const META_COMMANDS: Self = Self(1, 6, 10);
    /// First whose `md` compares a CAS; before, `C` always answers `EX`.
    pub const META_DELETE_COMPARES: Self = Self(1, 6, 13);
    /// First whose `EN` carries the opaque of the request.
    pub const MISS_TELLS_OPAQUE: Self = Self(1, 6, 18);
    /// First that can be built to accept client flags above 32 bits.
    pub const WIDE_CLIENT_FLAGS: Self = Self(1, 6, 22);
    /// First that accepts an explicit CAS (`E`).
    pub const EXPLICIT_CAS: Self = Self(1, 6, 27);
    /// First whose walk reports client flags, and so the exact length of values.
    pub const WALK_TELLS_FLAGS: Self = Self(1, 6, 24);
    /// First whose walk yields to a growing hash table instead of waiting for it while
    /// holding locks.
    pub const WALK_GIVES_WAY: Self = Self(1, 6, 28);
    /// First that survives the client of a walk disconnecting.
    pub const WALK_OUTLIVES_CLIENT: Self = Self(1, 6, 44);

    /// Parses the leading numbers of a version text; missing ones are 0.
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.split('.').map(|part| {
            let digits = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part.get(..digits)
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0)
        });
        let mut next = || numbers.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Names and values of a `stats` reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatTable(BTreeMap<String, String>);

impl StatTable {
    /// Most entries accepted from a server.
    const ENTRY_COUNT_MAX: usize = 10_000;

    /// Returns a value by name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns a value as a number; 0 if it is missing or not a number.
    pub fn number(&self, name: &str) -> u64 {
        self.get(name)
            .and_then(|text| parse_u64(text.as_bytes()))
            .unwrap_or(0)
    }
}

/// Adds the lines at the front of `bytes` to the table; done at `END`.
///
/// # Errors
///
/// - `Protocol`: the bytes are not a reply to `stats`.
/// - `Server`: the server refuses.
pub fn parse_stats(bytes: &[u8], table: &mut StatTable) -> Result<(Step<()>, usize)> {
    const WANTED: &str = "memcached statistics";
    let mut consumed: usize = 0;
    loop {
        let rest = bytes.get(consumed..).unwrap_or_default();
        let Step::Done(line, len) = parse_line(rest, WANTED)? else {
            return Ok((Step::Need, consumed));
        };
        consumed = consumed.saturating_add(len);
        if line == b"END" {
            return Ok((Step::Done((), consumed), consumed));
        }
        if is_refusal(line) {
            check_connection(line)?;
            let words = String::from_utf8_lossy(line).into_owned();
            return Err(Error::new(crate::words::error::ErrorKind::Server { words }));
        }
        let entry = line
            .strip_prefix(b"STAT ")
            .and_then(|entry| std::str::from_utf8(entry).ok());
        let Some(entry) = entry else {
            return Err(Error::protocol(WANTED, rest));
        };
        let (name, value) = entry.split_once(' ').unwrap_or((entry, ""));
        if table.0.len() >= StatTable::ENTRY_COUNT_MAX {
            return Err(Error::protocol(WANTED, rest));
        }
        table.0.insert(name.to_owned(), value.to_owned());
    }
}

/// Reads the item count of every slab class from a `stats items` table, by class. Classes
/// without items are left out.
pub fn slab_item_counts(table: &StatTable) -> BTreeMap<u8, u64> {
    let class_of = |name: &str| {
        let rest = name.strip_prefix("items:")?;
        rest.strip_suffix(":number")?.parse().ok()
    };
    let entries = table.0.iter();
    entries
        .filter_map(|(name, text)| Some((class_of(name)?, parse_u64(text.as_bytes())?)))
        .collect()
}

/// Reads from a `stats items` table how long ago the longest unused item of each slab
/// class was used, in seconds, by class.
pub fn slab_ages(table: &StatTable) -> BTreeMap<u8, u64> {
    let mut ages = BTreeMap::new();
    for (name, text) in &table.0 {
        let class = name.strip_prefix("items:").and_then(|rest| {
            let (class, name) = rest.split_once(':')?;
            let is_age = ["age", "age_hot", "age_warm"].contains(&name);
            class.parse().ok().filter(|_| is_age)
        });
        if let (Some(class), Some(age)) = (class, parse_u64(text.as_bytes())) {
            let oldest: &mut u64 = ages.entry(class).or_default();
            *oldest = age.max(*oldest);
        }
    }
    ages
}

/// The memory of a server's slab classes. `stats slabs`, protocol.txt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlabStats {
    /// Bytes of all pages, including those that no class has any more; `None` if the
    /// server does not report it.
    pub page_bytes: Option<u64>,
    /// The memory of each class that has a page.
    pub classes: BTreeMap<u8, SlabClassStats>,
}

/// The memory of one slab class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabClassStats {
    /// Size of a chunk in bytes.
    pub chunk_size: u64,
    /// Number of pages.
    pub pages: u64,
    /// Number of chunks in all pages.
    pub chunks: u64,
    /// Number of chunks without an item.
    pub free_chunks: u64,
}

impl SlabStats {
    /// Reads a `stats slabs` table.
    pub fn of(table: &StatTable) -> Self {
        let number = |text: &str| parse_u64(text.as_bytes());
        let mut slabs = Self {
            page_bytes: table.get("total_malloced").and_then(number),
            classes: BTreeMap::new(),
        };
        for (name, text) in &table.0 {
            let Some((class, name)) = name.split_once(':') else {
                continue;
            };
            let (Ok(class), Some(number)) = (class.parse(), number(text)) else {
                continue;
            };
            let class = slabs.classes.entry(class).or_default();
            match name {
                "chunk_size" => class.chunk_size = number,
                "total_pages" => class.pages = number,
                "total_chunks" => class.chunks = number,
                "free_chunks" | "free_chunks_end" => {
                    class.free_chunks = class.free_chunks.saturating_add(number);
                }
                _ => {}
            }
        }
        slabs
    }
}

/// Shows that the LRU crawler makes progress: both counters rise with each slab class
/// that it has finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrawlProgress {
    /// Number of crawls that were started.
    pub started: u64,
    /// Number of items that were examined.
    pub checked: u64,
}

/// The statistics that jobs need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// The version's text.
    pub version_text: String,
    /// The version.
    pub version: ServerVersion,
    /// Process id.
    pub pid: u64,
    /// Seconds since the server started.
    pub uptime: u64,
    /// The server's clock.
    pub time: UnixSecs,
    /// Number of items, including expired ones that still take memory.
    pub curr_items: u64,
    /// Bytes of the items counted by [`ServerStats::curr_items`], without the unused rest
    /// of their chunks.
    pub item_bytes: u64,
    /// Most bytes of all pages together; 0 if the server does not report it.
    pub memory_max: u64,
    /// Number of pages that no slab class has any more.
    pub free_pages: u64,
    /// Items ever stored, including replacements, since the start or the last `stats
    /// reset`.
    pub stored: u64,
    /// Connections ever made, including this one; 0 if the server does not count them.
    pub total_connections: u64,
    /// Bytes that its items take: keys, values and item metadata.
    pub bytes: u64,
    /// Bytes ever read from connections.
    pub bytes_read: u64,
    /// Items evicted for lack of memory, since the start.
    pub evictions: u64,
    /// Items that clients deleted, since the start or the last `stats reset`.
    pub deletes: u64,
    /// Calls of `flush_all`, since the start or the last `stats reset`.
    pub flushes: u64,
    /// Counters of what can remove items one by one.
    pub losses: LossCounters,
    /// Counters of everything that removes items.
    pub deaths: DeathCounters,
    /// Whether a crawl is running.
    pub is_crawler_running: bool,
    /// The crawler's progress.
    pub crawl_progress: CrawlProgress,
    /// Whether the hash table is growing.
    pub is_hash_expanding: bool,
    /// The hash table has 2^n buckets.
    pub hash_power_level: u64,
}

impl ServerStats {
    /// Reads a table of general statistics.
    pub fn of(table: &StatTable) -> Self {
        let version_text = table.get("version").unwrap_or_default().to_owned();
        Self {
            version: ServerVersion::parse(&version_text),
            version_text,
            pid: table.number("pid"),
            uptime: table.number("uptime"),
            time: UnixSecs(table.number("time")),
            curr_items: table.number("curr_items"),
            item_bytes: table.number("bytes"),
            memory_max: table.number("limit_maxbytes"),
            free_pages: table.number("slab_global_page_pool"),
            // The slab mover links each item that it moves anew, and so counts it again. It
            // tells how many once a page is done.
            stored: table
                .number("total_items")
                .saturating_sub(table.number("slab_reassign_rescues")),
            total_connections: table.number("total_connections"),
            bytes: table.number("bytes"),
            bytes_read: table.number("bytes_read"),
            evictions: table.number("evictions"),
            deletes: table.number("delete_hits"),
            flushes: table.number("cmd_flush"),
            losses: LossCounters::of(table),
            deaths: DeathCounters::of(table),
            is_crawler_running: table.number("lru_crawler_running") != 0,
            crawl_progress: CrawlProgress {
                started: table.number("lru_crawler_starts"),
                checked: table.number("crawler_items_checked"),
            },
            is_hash_expanding: table.number("hash_is_expanding") != 0,
            hash_power_level: table.number("hash_power_level"),
        }
    }

    /// Returns whether the hash table is about to grow, or a few more items will make it
    /// grow. It grows above one and a half times its number of buckets (`assoc.c`). For a
    /// table that may not grow, this can stay true forever.
    pub fn is_hash_about_to_expand(&self) -> bool {
        let buckets = 1_u64.checked_shl(u32::try_from(self.hash_power_level).unwrap_or(0));
        let threshold = buckets.unwrap_or(0).saturating_mul(3) / 2;
        // Within one percent, which a busy server can fill while a walk starts.
        let margin = threshold / 100;
        self.hash_power_level > 0 && self.curr_items.saturating_add(margin) > threshold
    }

    /// Returns when the server started, on its own clock.
    pub fn started_at(&self) -> UnixSecs {
        UnixSecs(self.time.0.saturating_sub(self.uptime))
    }
}

/// Commands that clients have sent, in the kinds that a job's own reads and stores are
/// counted as; since the start or the last `stats reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandCounts {
    /// Keys that were requested.
    pub gets: u64,
    /// Items that were sent to be stored.
    pub sets: u64,
    /// Touches, increments and decrements.
    pub others: u64,
}

impl CommandCounts {
    const OTHERS: [&str; 5] = [
        "cmd_touch",
        "incr_hits",
        "incr_misses",
        "decr_hits",
        "decr_misses",
    ];

    /// Reads a table of general statistics; `None` if it does not have the counters.
    pub fn of(table: &StatTable) -> Option<Self> {
        table.get("cmd_get")?;
        let others = Self::OTHERS.map(|name| table.number(name));
        Some(Self {
            gets: table.number("cmd_get"),
            sets: table.number("cmd_set"),
            others: others.into_iter().fold(0, u64::saturating_add),
        })
    }

    /// Returns the sum of both, kind by kind.
    pub fn plus(self, other: Self) -> Self {
        Self {
            gets: self.gets.saturating_add(other.gets),
            sets: self.sets.saturating_add(other.sets),
            others: self.others.saturating_add(other.others),
        }
    }

    /// Returns by how much this exceeds `other`, kind by kind; at least 0.
    pub fn beyond(self, other: Self) -> Self {
        Self {
            gets: self.gets.saturating_sub(other.gets),
            sets: self.sets.saturating_sub(other.sets),
            others: self.others.saturating_sub(other.others),
        }
    }
}

/// Counters of everything that removes single items from a server, or changes them so
/// that they may go before the time that a walk reported.
///
/// The server counts since its start or the last `stats reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossCounters([u64; Self::NAMES.len()]);

impl LossCounters {
    /// A set may bring a new TTL, and so may an increment by `ma`; a set whose value is
    /// too large removes the item.
    const NAMES: [&str; 12] = [
        "evictions",
        "delete_hits",
        "cmd_set",
        "touch_hits",
        "incr_hits",
        "decr_hits",
        "slab_reassign_evictions_nomem",
        "slab_reassign_busy_deletes",
        "extstore_objects_evicted",
        "extstore_compact_lost",
        "miss_from_extstore",
        "badcrc_from_extstore",
    ];

    fn of(table: &StatTable) -> Self {
        Self(Self::NAMES.map(|name| table.number(name)))
    }

    /// Returns how many items can have gone between this and a later moment; `None` if
    /// counters were reset in between.
    pub fn until(&self, later: &Self) -> Option<u64> {
        let mut pairs = self.0.iter().zip(later.0);
        pairs.try_fold(0_u64, |sum, (&before, after)| {
            Some(sum.saturating_add(after.checked_sub(before)?))
        })
    }

    /// Returns how many items can have gone since the counters began.
    pub fn sum(&self) -> u64 {
        self.0.iter().copied().fold(0, u64::saturating_add)
    }
}

/// Counters of everything that removes items from a server, as far as its version counts
/// it. The same item may be counted twice.
///
/// The server counts since its start or the last `stats reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeathCounters([u64; Self::NAMES.len()]);

impl DeathCounters {
    const NAMES: [&str; 9] = [
        "evictions",
        "delete_hits",
        "reclaimed",
        "crawler_reclaimed",
        "get_expired",
        "get_flushed",
        "slab_reassign_evictions_nomem",
        "slab_reassign_busy_deletes",
        "extstore_objects_evicted",
    ];

    fn of(table: &StatTable) -> Self {
        Self(Self::NAMES.map(|name| table.number(name)))
    }

    /// Returns the most items that can have gone between this and a later moment. If
    /// counters were reset in between, returns what they have counted since.
    pub fn until(&self, later: &Self) -> u64 {
        let pairs = self.0.iter().zip(later.0);
        pairs.fold(0, |sum, (&before, after)| {
            sum.saturating_add(after.checked_sub(before).unwrap_or(after))
        })
    }
}

/// The settings that jobs need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// Size of the largest item in bytes, including its header.
    pub item_size_max: u64,
    /// Size above which an item is stored in several chunks, in bytes, including its
    /// header.
    pub chunk_size_max: u64,
    /// Bytes of an item that fit in the smallest chunk, besides its header (`-n`).
    pub chunk_room_min: u64,
    /// Ratio between the chunk sizes of a slab class and the one before it, in millionths
    /// (`-f`).
    pub growth_millionths: u64,
    /// Whether items are evicted for new ones; otherwise a set is refused (`-M`).
    pub evicts: bool,
    /// Whether items have a CAS.
    pub has_cas: bool,
    /// Whether walks are allowed (`-X` forbids them); true if the server does not report
    /// it.
    pub is_dump_allowed: bool,
    /// Greatest client flags that it stores; greater ones are silently truncated.
    pub client_flags_max: u64,
    /// Whether the text protocol's port also speaks the binary protocol.
    pub has_binary_protocol: bool,
    /// Whether it was also started as a proxy, on some or all of its ports.
    pub is_proxy_enabled: bool,
    /// Whether the LRU crawler runs; `None` if the server does not report it.
    pub is_crawler_on: Option<bool>,
    /// Most items of a list that a crawl for expired ones examines; 0 for all.
    pub crawl_count_max: u64,
    /// Items set up to this time were flushed, or will be when it comes. In the server's
    /// own count of seconds; 0 if nothing was flushed; `None` if the server does not
    /// report it.
    pub flushed_until: Option<u64>,
}

impl ServerSettings {
    /// Versions before 1.4.2 have no option `-I` and do not report the size.
    const ITEM_SIZE_MAX: u64 = 1 << 20;
    /// memcached's default from 1.5.0 on.
    const CHUNK_SIZE_MAX: u64 = 512 << 10;
    /// memcached's default for `-n`.
    const CHUNK_ROOM_MIN: u64 = 48;
    /// memcached's default for `-f`.
    const GROWTH_MILLIONTHS: u64 = 1_250_000;

    /// Reads a table of settings.
    pub fn of(table: &StatTable) -> Self {
        let size = |name, default| match table.number(name) {
            0 => default,
            size => size,
        };
        Self {
            item_size_max: size("item_size_max", Self::ITEM_SIZE_MAX),
            chunk_size_max: size("slab_chunk_max", Self::CHUNK_SIZE_MAX),
            chunk_room_min: size("chunk_size", Self::CHUNK_ROOM_MIN),
            growth_millionths: table
                .get("growth_factor")
                .and_then(millionths)
                .unwrap_or(Self::GROWTH_MILLIONTHS),
            evicts: table.get("evictions") != Some("off"),
            has_cas: table.get("cas_enabled") != Some("no"),
            is_dump_allowed: table.get("dump_enabled") != Some("no"),
            client_flags_max: match table.number("client_flags_size") {
                8 => u64::MAX,
                _ => u32::MAX.into(),
            },
            has_binary_protocol: table.get("binding_protocol") == Some("auto-negotiate")
                && table.get("auth_enabled_ascii") != Some("yes"),
            is_proxy_enabled: table.get("proxy_enabled") == Some("yes"),
            is_crawler_on: table.get("lru_crawler").map(|text| text == "yes"),
            crawl_count_max: table.number("lru_crawler_tocrawl"),
            flushed_until: table
                .get("oldest")
                .and_then(|text| parse_u64(text.as_bytes())),
        }
    }
}

/// Parses a decimal number such as 1.25 into millionths; `None` if it is not such a
/// number.
fn millionths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{:0<6}", part.get(..6).unwrap_or(part));
    let whole = parse_u64(whole.as_bytes())?.checked_mul(1_000_000)?;
    whole.checked_add(parse_u64(digits.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_whatever_the_split() {
        let bytes = b"STAT pid 42\r\nSTAT version 1.6.18\r\nSTAT empty \r\nEND\r\n";
        for split in 0..bytes.len() {
            let mut table = StatTable::default();
            let (step, consumed) = parse_stats(&bytes[..split], &mut table).unwrap();
            assert_eq!(step, Step::Need);
            let (step, _) = parse_stats(&bytes[consumed..], &mut table).unwrap();
            assert!(matches!(step, Step::Done(..)));
            let stats = ServerStats::of(&table);
            assert_eq!((stats.pid, stats.version), (42, ServerVersion(1, 6, 18)));
        }
    }

    #[test]
    fn an_item_that_the_slab_mover_has_moved_is_stored_once() {
        // Seen of 1.6.18, with 60,000 items set and three pages moved.
        let bytes = b"STAT total_items 68191\r\nSTAT slab_reassign_rescues 8191\r\nEND\r\n";
        let mut table = StatTable::default();
        parse_stats(bytes, &mut table).unwrap();
        assert_eq!(ServerStats::of(&table).stored, 60_000);
        // Between the counters of a page that is half moved there can be any number.
        let bytes = b"STAT total_items 5\r\nSTAT slab_reassign_rescues 6\r\nEND\r\n";
        let mut table = StatTable::default();
        parse_stats(bytes, &mut table).unwrap();
        assert_eq!(ServerStats::of(&table).stored, 0);
    }

    #[test]
    fn items_are_counted_by_class() {
        let bytes = b"STAT items:1:number 3\r\nSTAT items:1:number_hot 1\r\n\
            STAT items:39:number 7\r\nSTAT items:x:number 1\r\nSTAT items:999:number 1\r\nEND\r\n";
        let mut table = StatTable::default();
        parse_stats(bytes, &mut table).unwrap();
        let counts: Vec<(u8, u64)> = slab_item_counts(&table).into_iter().collect();
        assert_eq!(counts, [(1, 3), (39, 7)]);
    }

    #[test]
    fn the_memory_of_a_server_is_read() {
        let bytes = b"STAT 12:chunk_size 1184\r\nSTAT 12:chunks_per_page 885\r\n\
            STAT 12:total_pages 64\r\nSTAT 12:total_chunks 56640\r\nSTAT 12:free_chunks 7\r\nSTAT 12:free_chunks_end 1\r\n\
            STAT x:total_pages 1\r\nSTAT 999:total_pages 1\r\nSTAT active_slabs 1\r\n\
            STAT total_malloced 67108864\r\nEND\r\n";
        let mut table = StatTable::default();
        parse_stats(bytes, &mut table).unwrap();
        let class = SlabClassStats {
            chunk_size: 1184,
            pages: 64,
            chunks: 56_640,
            free_chunks: 8,
        };
        let wanted = SlabStats {
            page_bytes: Some(67_108_864),
            classes: BTreeMap::from([(12, class)]),
        };
        assert_eq!(SlabStats::of(&table), wanted);
        let nothing = SlabStats::of(&StatTable::default());
        assert_eq!(nothing.page_bytes, None);
        for (text, wanted) in [
            ("1.25", Some(1_250_000)),
            ("2", Some(2_000_000)),
            ("1.0825551", Some(1_082_555)),
            ("", None),
            ("1.x", None),
            ("-1", None),
        ] {
            assert_eq!(millionths(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_oldest_item_of_a_class_is_in_any_of_its_lists() {
        let bytes = b"STAT items:1:number 3\r\nSTAT items:1:age_hot 2\r\n\
            STAT items:1:age_warm 70\r\nSTAT items:1:age 9\r\nSTAT items:7:age 4\r\nEND\r\n";
        let mut table = StatTable::default();
        parse_stats(bytes, &mut table).unwrap();
        assert_eq!(slab_ages(&table), BTreeMap::from([(1, 70), (7, 4)]));
    }

    #[test]
    fn another_protocol_is_shown_in_the_error() {
        let mut table = StatTable::default();
        let error = parse_stats(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut table).unwrap_err();
        assert_eq!(
            error.to_string(),
            "wanted memcached statistics, got \"HTTP/1.1 400 Bad Request\\x0d\\x0a\\x0d\\x0a\""
        );
    }

    #[test]
    fn a_hash_table_that_is_nearly_full_is_known() {
        let stats = |curr_items| ServerStats {
            curr_items,
            hash_power_level: 16,
            ..ServerStats::default()
        };
        assert!(!stats(90_000).is_hash_about_to_expand());
        assert!(stats(98_000).is_hash_about_to_expand());
        // Full, but the server has not noticed yet: it checks once a second.
        assert!(stats(99_000).is_hash_about_to_expand());
        assert!(!ServerStats::default().is_hash_about_to_expand());
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(ServerVersion::parse("1.6.9") < ServerVersion::META_COMMANDS);
        assert!(ServerVersion::parse("1.6.45") > ServerVersion::EXPLICIT_CAS);
        assert_eq!(
            ServerVersion::parse("1.4.5_4_gaa7839e"),
            ServerVersion(1, 4, 5)
        );
        assert_eq!(ServerVersion::parse("x"), ServerVersion(0, 0, 0));
    }
}
