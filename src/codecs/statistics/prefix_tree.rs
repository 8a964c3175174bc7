//! Finds the heavy prefixes of keys in bounded memory, with a bound of the error.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

use crate::codecs::statistics::key_prefix::{
    KEY_DELIMITERS, prefix_end, prefix_of, push_without_numbers,
};
use crate::codecs::statistics::recent_prefixes::RecentPrefixes;
use crate::codecs::statistics::tally::Tally;
use crate::words::units::to_u64;

/// Records by the start of their keys. A record is counted in one row, of the longest
/// prefix that has one; the count of a prefix is the sum of the rows that start with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixRows {
    /// The most bytes of items ([`Tally::item_bytes`]) that the count of a prefix with a
    /// row lacks; 0 if all are exact.
    pub missed_max: u64,
    /// The most bytes of items that the count of any other prefix lacks.
    pub unlisted_max: u64,
    /// Records whose keys have no prefix.
    pub none: Tally,
    /// The prefixes, in the order of their bytes.
    pub rows: Vec<(Vec<u8>, Tally)>,
}

/// Counts records by the longest prefix of their keys, up to the third delimiter. When
/// the table is full, its lightest prefixes become part of the next shorter ones.
#[derive(Debug)]
pub struct PrefixTree {
    nodes: HashMap<u64, Node, BuildHasherDefault<SameHash>>,
    missed_max: u64,
    none: Tally,
    recent: RecentPrefixes,
    name: Vec<u8>,
}

/// Bytes of items that the counts of prefixes lack, by the hash of the prefix.
type Lost = HashMap<u64, u64, BuildHasherDefault<SameHash>>;

#[derive(Clone, Debug)]
struct Node {
    name: Box<[u8]>,
    tally: Tally,
}

/// Whether a prefix has a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Yes,
    No,
    /// Another prefix with the same hash has.
    Other,
}

impl PrefixTree {
    /// The greatest depth of a prefix.
    pub const DEPTH_MAX: usize = 3;
    /// The most rows that [`PrefixTree::finish`] returns.
    pub const ROW_COUNT_MAX: usize = 64;
    /// The most bytes of their names.
    pub const NAMES_LEN_MAX: usize = 2048;
    /// Nodes held in memory.
    const NODE_COUNT_MAX: usize = 512;
    /// Nodes that stay when the table is full.
    const NODE_COUNT_KEPT: usize = 384;

    /// Creates an empty table.
    pub fn new() -> Self {
        Self {
            nodes: HashMap::default(),
            missed_max: 0,
            none: Tally::default(),
            recent: RecentPrefixes::new(),
            name: Vec::new(),
        }
    }

    /// Adds a record.
    pub fn add(&mut self, key: &[u8], tally: &Tally) {
        if let Some(hash) = self.recent.find(key)
            && let Some(node) = self.nodes.get_mut(&hash)
        {
            node.tally.count(tally);
            return;
        }
        self.add_unknown(key, tally);
    }

    /// Adds a record whose prefix did not come lately. Apart, so that the others do not pay
    /// for the registers that this takes.
    #[inline(never)]
    fn add_unknown(&mut self, key: &[u8], tally: &Tally) {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        if push_prefix(&mut name, key) {
            self.add_prefix(key, &name, tally);
        } else {
            self.none.count(tally);
        }
        self.name = name;
    }

    fn add_prefix(&mut self, key: &[u8], name: &[u8], tally: &Tally) {
        let hash = xxh3_64(name);
        match self.add_known(hash, name, tally) {
            Known::Yes => {
                let is_deepest = depth_of(name) >= Self::DEPTH_MAX;
                self.recent.remember(key, name, hash, is_deepest);
            }
            Known::Other => {}
            Known::No => {
                if self.nodes.len() >= Self::NODE_COUNT_MAX {
                    let lost = self.fold_to(Self::NODE_COUNT_KEPT, usize::MAX);
                    let most = lost.into_values().max().unwrap_or(0);
                    self.missed_max = self.missed_max.saturating_add(most);
                    self.recent.clear();
                }
                self.add_named(name, tally);
            }
        }
    }

    fn add_named(&mut self, name: &[u8], tally: &Tally) {
        let hash = xxh3_64(name);
        if self.add_known(hash, name, tally) == Known::No {
            let node = Node {
                name: name.into(),
                tally: *tally,
            };
            self.nodes.insert(hash, node);
        }
    }

    /// Adds to a prefix that has a node.
    fn add_known(&mut self, hash: u64, name: &[u8], tally: &Tally) -> Known {
        let Some(node) = self.nodes.get_mut(&hash) else {
            return Known::No;
        };
        if *node.name == *name {
            node.tally.count(tally);
            return Known::Yes;
        }
        // Nobody has seen that yet.
        self.missed_max = self.missed_max.saturating_add(tally.item_bytes);
        Known::Other
    }

    /// Moves the lightest nodes into those above them, and drops those of depth 1, until
    /// at most so many are left, with at most so many bytes of names. Returns the bytes
    /// of items that the count of each such prefix now lacks, by its hash.
    fn fold_to(&mut self, count: usize, names_len: usize) -> Lost {
        let mut lost = Lost::default();
        while !self.nodes.is_empty() {
            let len: usize = self.nodes.values().map(|node| node.name.len()).sum();
            let excess = self.nodes.len().saturating_sub(count);
            let excess = excess.max(usize::from(len > names_len));
            let Some(last) = excess.checked_sub(1) else {
                break;
            };
            let weights = self.nodes.iter();
            let mut lightest: Vec<_> = weights
                .map(|(hash, node)| (node.tally.item_bytes, *hash))
                .collect();
            // The lightest come before the last of them, in any order.
            let (_, &mut (limit, _), _) = lightest.select_nth_unstable(last);
            lightest.truncate(excess);
            lost.reserve(excess);
            let depth_of_hash = |hash: &u64| self.nodes.get(hash).map(|node| depth_of(&node.name));
            let mut folded: Vec<_> = lightest
                .iter()
                .map(|(_, hash)| (depth_of_hash(hash), *hash))
                .collect();
            // A prefix comes after the longer ones, which may make it heavier.
            folded.sort_unstable_by(|one, two| two.cmp(one));
            for (_, hash) in folded {
                self.fold(hash, limit, &mut lost);
            }
        }
        lost
    }

    fn fold(&mut self, hash: u64, limit: u64, lost: &mut Lost) {
        let Some(node) = self.nodes.get(&hash) else {
            return;
        };
        if node.tally.item_bytes > limit {
            return;
        }
        if let Some(node) = self.nodes.remove(&hash) {
            let sum = lost.entry(hash).or_insert(0);
            *sum = sum.saturating_add(node.tally.item_bytes);
            if let Some(above) = parent_of(&node.name) {
                self.add_named(above, &node.tally);
            }
        }
    }

    /// Returns the heaviest prefixes.
    pub fn finish(mut self) -> PrefixRows {
        let lost = self.fold_to(Self::ROW_COUNT_MAX, Self::NAMES_LEN_MAX);
        // A prefix comes back when a longer one is moved into it.
        let listed = lost
            .iter()
            .filter(|(hash, _)| self.nodes.contains_key(hash));
        let listed = listed.map(|(_, lost)| *lost).max().unwrap_or(0);
        let most = lost.values().copied().max().unwrap_or(0);
        let rows = self.nodes.into_values();
        let mut rows: Vec<_> = rows
            .map(|node| (node.name.into_vec(), node.tally))
            .collect();
        rows.sort_by(|one, two| one.0.cmp(&two.0));
        PrefixRows {
            missed_max: self.missed_max.saturating_add(listed),
            unlisted_max: self.missed_max.saturating_add(most),
            none: self.none,
            rows,
        }
    }
}

impl Default for PrefixTree {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes the longest prefix of a key, up to the third delimiter; returns whether there is
/// one.
pub(super) fn push_prefix(name: &mut Vec<u8>, key: &[u8]) -> bool {
    let delimiters = KEY_DELIMITERS.as_bytes();
    let Some((prefix, delimiter)) = prefix_of(key, delimiters, PrefixTree::DEPTH_MAX) else {
        return false;
    };
    push_without_numbers(name, prefix, delimiter);
    true
}

/// Returns the number of delimiters in a prefix, those in a row counted as one.
fn depth_of(name: &[u8]) -> usize {
    let delimiter = name.last().copied().unwrap_or_default();
    let depths = 1..PrefixTree::DEPTH_MAX;
    let is_shorter =
        |&depth: &usize| prefix_end(name, delimiter, depth).is_some_and(|end| end < name.len());
    depths.take_while(is_shorter).count().saturating_add(1)
}

/// Returns the next shorter prefix of a prefix; `None` at depth 1.
pub(super) fn parent_of(name: &[u8]) -> Option<&[u8]> {
    let delimiter = name.last().copied()?;
    let depth = depth_of(name).checked_sub(1).filter(|&depth| depth > 0)?;
    name.get(..prefix_end(name, delimiter, depth)?)
}

/// Takes a number that is a hash already.
#[derive(Clone, Copy, Debug, Default)]
struct SameHash(u64);

impl Hasher for SameHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // No other type is hashed; it would still have a hash.
        self.0 = self.0.wrapping_add(to_u64(bytes.len()));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn weighing(item_bytes: u64) -> Tally {
        Tally {
            records: 1,
            item_bytes,
            ..Tally::default()
        }
    }

    fn counted(keys: &[(String, u64)]) -> PrefixRows {
        let mut tree = PrefixTree::new();
        for (key, weight) in keys {
            tree.add(key.as_bytes(), &weighing(*weight));
        }
        tree.finish()
    }

    #[test]
    fn few_prefixes_are_exact() {
        let keys = [
            "user:1:mail",
            "user:22:name",
            "page/7/x",
            ":1:view:5",
            ":1:view:6",
            "a:b:c:d:e",
            "x",
        ];
        let rows = counted(&keys.map(|key| (key.to_owned(), 100)));
        assert_eq!((rows.missed_max, rows.unlisted_max), (0, 0));
        assert_eq!(rows.none.records, 1);
        let told: Vec<_> = rows
            .rows
            .iter()
            .map(|(name, tally)| (std::str::from_utf8(name).unwrap(), tally.records))
            .collect();
        let wanted = [
            (":1:view:", 2),
            ("a:b:c:", 1),
            ("page/#/", 1),
            ("user:#:", 2),
        ];
        assert_eq!(told, wanted);
    }

    /// Sums up what each prefix really has, at every depth.
    fn truth(keys: &[(String, u64)]) -> BTreeMap<Vec<u8>, u64> {
        let mut sums = BTreeMap::new();
        for (key, weight) in keys {
            let mut name = Vec::new();
            push_prefix(&mut name, key.as_bytes());
            let mut next = Some(name.as_slice()).filter(|name| !name.is_empty());
            while let Some(name) = next {
                *sums.entry(name.to_vec()).or_default() += weight;
                next = parent_of(name);
            }
        }
        sums
    }

    #[test]
    fn of_too_many_prefixes_the_heavy_ones_are_kept_and_the_bounds_hold() {
        let word = |number: u64| -> String {
            let letters = [26 * 26, 26, 1].map(|unit| number / unit % 26);
            letters
                .iter()
                .map(|&letter| char::from(b'a' + u8::try_from(letter).unwrap()))
                .collect()
        };
        let mut keys = Vec::new();
        for number in 0..20_000_u64 {
            let spread = number * 7919 % 17_576;
            keys.push((format!("k{}:x", word(spread)), 70 + number % 50));
            keys.push((format!("user:{}:x", word(spread)), 70));
            keys.push((format!("app:{}:{}:x", word(number % 3), word(spread)), 90));
            keys.push((format!("heavy{}:{}:x", number % 5, word(1)), 400));
        }
        let rows = counted(&keys);
        assert!(rows.rows.len() <= PrefixTree::ROW_COUNT_MAX);
        let sums = truth(&keys);
        for name in [
            "user:",
            "app:",
            "app:aaa:",
            "app:aac:",
            "heavy#:",
            "heavy#:aab:",
        ] {
            let is_told = rows
                .rows
                .iter()
                .any(|(row, _)| row.starts_with(name.as_bytes()));
            assert!(is_told, "{name}");
        }
        for (name, sum) in &sums {
            let below = rows.rows.iter().filter(|(row, _)| row.starts_with(name));
            let told: u64 = below.map(|(_, tally)| tally.item_bytes).sum();
            let is_listed = rows.rows.iter().any(|(row, _)| row == name);
            let most = if is_listed {
                rows.missed_max
            } else {
                rows.unlisted_max
            };
            assert!(
                (told..=told + most).contains(sum),
                "{name:?} {told} {sum} {most}"
            );
        }
        let all: u64 = keys.iter().map(|(_, weight)| weight).sum();
        assert!(rows.unlisted_max < all / 100, "{}", rows.unlisted_max);
    }

    #[test]
    fn long_names_leave_room_for_few() {
        let keys: Vec<_> = (0..200)
            .map(|number: u64| {
                let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
                let name = letter
                    .to_string()
                    .repeat(100 + usize::try_from(number).unwrap() % 100);
                (format!("{name}:x"), 100 + number)
            })
            .collect();
        let rows = counted(&keys);
        let len: usize = rows.rows.iter().map(|(name, _)| name.len()).sum();
        assert!((1500..=PrefixTree::NAMES_LEN_MAX).contains(&len), "{len}");
        assert!(rows.unlisted_max > rows.missed_max);
    }
}
