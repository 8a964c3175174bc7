//! Furc: the key's hash descends a tree of bits (mcrouter's Ch3).

use crate::codecs::ring::hash::{murmur64a, spooky32};

/// Seed of mcrouter's Murmur hashes.
pub(super) const SEED: u64 = 4_193_360_111;

/// Seed of the hash that applies weights.
const WEIGHT_SEED: u32 = 0xface_2014;

/// How often a key that falls beyond the last node is hashed again.
const TRIES_MAX: usize = 32;

/// How many nodes a key is offered to by weight before the last of them takes it.
const OFFERS_MAX: u32 = 32;

/// Bits that one step consumes: the number of levels of the deepest tree.
const BITS_PER_STEP: usize = 23;

/// Words of bits that are enough for most keys.
const WORDS_OFTEN: usize = 16;

/// Node numbers in the client's order, and their weights.
#[derive(Debug)]
pub(super) struct Furc {
    owners: Vec<u16>,
    /// For each node, the hash below which it takes a key; `None` if weights are ignored.
    thresholds: Option<Vec<u64>>,
}

impl Furc {
    /// Makes the tree of equal nodes.
    pub(super) fn equal(owners: Vec<u16>) -> Self {
        Self {
            owners,
            thresholds: None,
        }
    }

    /// Makes the tree of weighted nodes. The weight `full`, or else the highest weight,
    /// stands for 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounds where the C++ source does; the result is at most 2^32 - 1"
    )]
    pub(super) fn weighted(nodes: impl Iterator<Item = (u16, u32)>, full: Option<u32>) -> Self {
        let (owners, weights): (Vec<_>, Vec<_>) = nodes.unzip();
        let full = full.or_else(|| weights.iter().copied().max()).unwrap_or(1);
        let full = f64::from(full.max(1));
        let part = |weight: u32| (f64::from(weight) / full).min(1.0);
        let threshold = |&weight: &u32| (part(weight) * f64::from(u32::MAX)) as u64;
        Self {
            owners,
            thresholds: Some(weights.iter().map(threshold).collect()),
        }
    }

    /// Returns the number of the node that owns a key.
    pub(super) fn locate(&self, key: &[u8]) -> u16 {
        let index = match &self.thresholds {
            None => furc(key, self.owners.len()),
            Some(thresholds) => weigh(key, thresholds),
        };
        self.owners[index % self.owners.len()]
    }
}

/// Offers a key, with a growing suffix, to one node after another.
fn weigh(key: &[u8], thresholds: &[u64]) -> usize {
    let mut salted = key.to_vec();
    let mut index = 0;
    for offer in 0..OFFERS_MAX {
        index = furc(&salted, thresholds.len());
        if u64::from(spooky32(&salted, WEIGHT_SEED)) < thresholds[index] {
            return index;
        }
        salted.truncate(key.len());
        // The decimal digits of the number, last digit first.
        salted.extend(offer.to_string().bytes().rev());
    }
    index
}

/// `furc_hash` of mcrouter's lib/fbi/hash.c: returns an index below `count`.
fn furc(key: &[u8], count: usize) -> usize {
    if count <= 1 {
        return 0;
    }
    let mut bits = Bits::new(key);
    let mut depth = usize::try_from(usize::BITS - (count - 1).leading_zeros()).unwrap_or(0);
    let mut at = depth;
    for _ in 0..TRIES_MAX {
        while !bits.get(at) {
            depth -= 1;
            if depth == 0 {
                return 0;
            }
            at = depth;
        }
        at += BITS_PER_STEP;
        let mut number = 1;
        for _ in 0..depth - 1 {
            number = number << 1 | usize::from(bits.get(at));
            at += BITS_PER_STEP;
        }
        if number < count {
            return number;
        }
    }
    0
}

/// The bits of a key's hash, extended by further hashing as long as more are requested.
struct Bits {
    words: Vec<u64>,
}

impl Bits {
    fn new(key: &[u8]) -> Self {
        let mut words = Vec::with_capacity(WORDS_OFTEN);
        words.push(murmur64a(key, SEED));
        Self { words }
    }

    fn get(&mut self, index: usize) -> bool {
        let word = index / 64;
        while self.words.len() <= word {
            let last = self.words.last().copied().unwrap_or_default();
            self.words.push(murmur64a(&last.to_le_bytes(), SEED));
        }
        self.words[word] >> (index % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_node_and_few_move_when_one_is_added() {
        let keys: Vec<_> = (0..2_000).map(|i| format!("key:{i}")).collect();
        for count in [1, 2, 3, 7, 64, 65, 1_000] {
            let mut moved = 0;
            for key in &keys {
                let index = furc(key.as_bytes(), count);
                let grown = furc(key.as_bytes(), count + 1);
                assert!(index < count);
                assert!(grown == index || grown == count);
                moved += usize::from(grown != index);
            }
            assert!(
                moved * count < 2 * keys.len() + 20 * count,
                "{moved} of {count}"
            );
        }
    }

    #[test]
    fn a_node_of_half_the_weight_gets_half_the_keys_of_another() {
        let ring = Furc::weighted([(0, 2), (1, 1)].into_iter(), None);
        let keys = (0..6_000).map(|i| format!("key:{i}"));
        let second = keys.filter(|key| ring.locate(key.as_bytes()) == 1).count();
        assert!((1_800..2_200).contains(&second), "{second}");
    }

    #[test]
    fn weights_can_be_parts_of_one_that_no_node_has() {
        // From a second implementation, which agrees with mcrouter's placements in the golden
        // files.
        for (weights, owners) in [
            (
                [50, 50, 50],
                "0012220111212021120211202120212222010121011222022222001122220222",
            ),
            (
                [50, 25, 50],
                "0022220111222022220212202220212222020121001222022222000122220222",
            ),
            (
                [90, 90, 10],
                "0011100111012101101001101101211110100101111010022000010101000021",
            ),
        ] {
            let nodes = (0..).zip(weights);
            let ring = Furc::weighted(nodes, Some(100));
            let keys = (0..64).map(|number| format!("user:{number}"));
            let located = keys.map(|key| ring.locate(key.as_bytes()).to_string());
            assert_eq!(located.collect::<String>(), owners, "{weights:?}");
        }
    }
}
