//! Rendezvous hashing: every node has a score for a key, and the highest score wins.

use std::borrow::Cow;

use crate::codecs::ring::furc::SEED;
use crate::codecs::ring::hash::{Murmur3End, Murmur3Start, md5_words, murmur64a};
use crate::codecs::ring::label::LabelRule;
use crate::codecs::ring::order::NumberedNode;
use crate::codecs::ring::weights::{check_any_weight, check_weights};
use crate::words::error::Result;

/// Most weights of all nodes together if each of them costs every look-up a digest.
const ELECTION_WEIGHT_MAX: u64 = 100_000;

/// Seed of the key's hash in mcrouter's scores.
const KEY_SEED: u64 = 2_718_281_828;

/// How a node's score for a key is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// MurmurHash3 of the text `name-key`, taking the low eight bits of each character:
    /// pymemcache with keys given as `str`. Among equal scores, the greater name wins.
    Murmur3Text,
    /// The same with `name-b'key'`: pymemcache with keys given as `bytes`, which it
    /// prints as Python does.
    Murmur3Bytes,
    /// mcrouter's Rendezvous. Among equal scores, the later node wins.
    Mcrouter,
    /// mcrouter's WeightedRendezvous. Among equal scores, the earlier node wins.
    McrouterWeighted,
    /// The first word of the MD5 of `name-i` and the key, for every i below the weight;
    /// the highest counts: xmemcached's election.
    Md5Election,
}

/// One node, ready for scoring.
#[derive(Debug)]
struct Candidate {
    owner: u16,
    name: String,
    name_hash: u64,
    /// `name-`, with the low eight bits of each character hashed.
    start: Murmur3Start,
    /// For weighted scores, the weight as a share of the highest weight.
    share: f64,
    weight: u32,
}

/// The nodes, and how they are scored.
#[derive(Debug)]
pub(super) struct Rendezvous {
    candidates: Vec<Candidate>,
    labels: LabelRule,
    score: Score,
}

impl Rendezvous {
    /// Computes the names of the nodes.
    ///
    /// # Errors
    ///
    /// - As for [`LabelRule::name`].
    /// - `InvalidInput`: a look-up would take too long with these weights.
    pub(super) fn new(nodes: &[NumberedNode<'_>], labels: LabelRule, score: Score) -> Result<Self> {
        if score == Score::Md5Election {
            let total = nodes.iter().map(|(_, node)| u64::from(node.weight)).sum();
            check_any_weight(total)?;
            check_weights("digests a key", total, ELECTION_WEIGHT_MAX)?;
        }
        let highest = nodes.iter().map(|(_, node)| node.weight).max();
        let highest = f64::from(highest.unwrap_or(1).max(1));
        let candidate = |&(owner, node): &NumberedNode<'_>| {
            let name = labels.name(node)?;
            Ok(Candidate {
                owner,
                name_hash: murmur64a(name.as_bytes(), SEED),
                start: Murmur3Start::new(&low_bytes(format!("{name}-").as_bytes())),
                name,
                share: f64::from(node.weight) / highest,
                weight: node.weight,
            })
        };
        let mut candidates = nodes.iter().map(candidate).collect::<Result<Vec<_>>>()?;
        // The later of equal scores wins below; after this sort, it has the greater name.
        if matches!(score, Score::Murmur3Text | Score::Murmur3Bytes) {
            candidates.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(Self {
            candidates,
            labels,
            score,
        })
    }

    /// Returns the number of the node that owns a key.
    pub(super) fn locate(&self, key: &[u8]) -> u16 {
        match self.score {
            Score::Murmur3Text => self.by_murmur3(&low_bytes(key)),
            Score::Murmur3Bytes => self.by_murmur3(&python_bytes(key)),
            Score::Mcrouter => {
                let key_hash = murmur64a(key, KEY_SEED);
                self.last_highest(|node| rounded(fold(node.name_hash, key_hash)))
            }
            Score::McrouterWeighted => {
                let key_hash = murmur64a(key, KEY_SEED);
                self.first_highest(|node| weighted(fold(node.name_hash, key_hash), node.share))
            }
            Score::Md5Election => {
                let mut text = Vec::new();
                self.first_highest(|node| {
                    let score = |number| {
                        text.clear();
                        text.extend_from_slice(self.labels.numbered(&node.name, number).as_bytes());
                        text.extend_from_slice(key);
                        md5_words(&text)[0]
                    };
                    // A node of weight 0 is not a candidate.
                    (0..node.weight).map(score).max()
                })
            }
        }
    }

    fn by_murmur3(&self, key: &[u8]) -> u16 {
        let end = Murmur3End::new(key);
        self.last_highest(|node| node.start.hash(&end))
    }

    fn first_highest<T: PartialOrd>(&self, mut score: impl FnMut(&Candidate) -> T) -> u16 {
        self.highest(&mut score, |new, best| new > best)
    }

    fn last_highest<T: PartialOrd>(&self, mut score: impl FnMut(&Candidate) -> T) -> u16 {
        self.highest(&mut score, |new, best| new >= best)
    }

    fn highest<T>(
        &self,
        score: &mut impl FnMut(&Candidate) -> T,
        wins: impl Fn(&T, &T) -> bool,
    ) -> u16 {
        let mut best: Option<(T, u16)> = None;
        for candidate in &self.candidates {
            let new = score(candidate);
            if best.as_ref().is_none_or(|(best, _)| wins(&new, best)) {
                best = Some((new, candidate.owner));
            }
        }
        best.map_or(0, |(_, owner)| owner)
    }
}

/// Returns the low eight bits of each character, as pymemcache's `ord(c) & 0xff` does. A
/// key that is not UTF-8 was not given as text; its bytes are used unchanged.
fn low_bytes(key: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(key) {
        Ok(text) if !text.is_ascii() => text
            .chars()
            .map(|c| u32::from(c).to_le_bytes()[0])
            .collect(),
        Ok(_) | Err(_) => key.into(),
    }
}

/// Formats bytes as Python prints them.
fn python_bytes(key: &[u8]) -> Vec<u8> {
    let quote = if key.contains(&b'\'') && !key.contains(&b'"') {
        b'"'
    } else {
        b'\''
    };
    let mut text = vec![b'b', quote];
    for &byte in key {
        match byte {
            b'\\' => text.extend_from_slice(br"\\"),
            b'\n' => text.extend_from_slice(br"\n"),
            b'\r' => text.extend_from_slice(br"\r"),
            b'\t' => text.extend_from_slice(br"\t"),
            _ if byte == quote => text.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => text.push(byte),
            _ => text.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    text.push(quote);
    text
}

/// Folds two hashes into one: `Hash128to64` of CityHash.
fn fold(upper: u64, lower: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9ddf_ea08_eb38_2d69;
    let mut a = (lower ^ upper).wrapping_mul(MULTIPLIER);
    a ^= a >> 47;
    let mut b = (upper ^ a).wrapping_mul(MULTIPLIER);
    b ^= b >> 47;
    b.wrapping_mul(MULTIPLIER)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "mcrouter keeps its scores in a double, and ties come of it"
)]
fn rounded(score: u64) -> f64 {
    score as f64
}

#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn weighted(score: u64, share: f64) -> f64 {
    const MASK: u64 = (1 << 53) - 1;
    let unit = (score & MASK) as f64 / (1_u64 << 53) as f64;
    share * (1.0 / -unit.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_printed_as_python_does() {
        let text = |key: &[u8]| String::from_utf8(python_bytes(key)).unwrap();
        assert_eq!(text(b"ab"), "b'ab'");
        assert_eq!(text(b"a'b"), "b\"a'b\"");
        assert_eq!(text(b"a'b\""), "b'a\\'b\"'");
        assert_eq!(text(b"\\\t\x00\xff"), "b'\\\\\\t\\x00\\xff'");
    }
}
