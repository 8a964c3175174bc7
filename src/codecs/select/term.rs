//! One condition on one attribute of an item.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codecs::select::candidate::{Candidate, Needs};
use crate::codecs::select::owner::Owner;
use crate::codecs::select::pattern::{KeyPattern, Syntax};
use crate::codecs::select::quantity::{Quantity, Test};
use crate::words::item::escape_bytes;

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    /// The key equals this.
    Key(Vec<u8>),
    /// The key starts with this.
    Prefix(Vec<u8>),
    /// The key matches a glob or a regex.
    Pattern(KeyPattern),
    /// A number meets a condition.
    Number(Quantity, Test),
    /// The key belongs to a sample of all keys.
    Sample(Share),
    /// The key belongs to a node.
    Owner(Owner),
}

/// Whether a `None` of a candidate may still be filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// More may be reported later.
    SoFar,
    /// Nothing more will be reported.
    ForGood,
}

/// A share of all keys in millionths, 0 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share(u32);

/// Seed of the sampling hash. It differs from 0, the seed by which keys are distributed
/// over shards, so that a sample takes the same share of each shard.
const SAMPLE_SEED: u64 = 0x6d63_736e_6170_0001;

impl Share {
    const WHOLE: u32 = 1_000_000;
    /// Millionths in a percent.
    const PERCENT: u32 = 10_000;

    /// Parses a percentage with up to four decimals.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (percents, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(percents) || !is_number(decimals) || decimals.len() > 4 {
            return None;
        }
        let decimals: u32 = format!("{decimals:0<4}").parse().ok()?;
        let percents: u32 = percents.parse().ok()?;
        let share = percents.checked_mul(Self::PERCENT)?.checked_add(decimals)?;
        (share <= Self::WHOLE).then_some(Self(share))
    }

    /// Returns whether a key is in the sample. A larger sample contains every smaller
    /// one.
    fn has(self, key: &[u8]) -> bool {
        let hash = u128::from(xxh3_64_with_seed(key, SAMPLE_SEED));
        // Computes the hash as a fraction of its range, in millionths.
        hash.saturating_mul(Self::WHOLE.into()) >> 64 < u128::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percents, rest) = (self.0 / Self::PERCENT, self.0 % Self::PERCENT);
        write!(f, "{percents}")?;
        if rest > 0 {
            let decimals = format!("{rest:04}");
            write!(f, ".{}", decimals.trim_end_matches('0'))?;
        }
        f.write_str("%")
    }
}

impl Term {
    /// Returns whether the term holds; `None` if what is known does not decide.
    pub(super) fn holds(&self, candidate: &Candidate<'_>, missing: Missing) -> Option<bool> {
        let key = candidate.key;
        match self {
            Self::Key(wanted) => Some(key == wanted),
            Self::Prefix(start) => Some(key.starts_with(start)),
            Self::Pattern(pattern) => Some(pattern.matches(key)),
            Self::Number(quantity, test) => {
                let held = quantity.test(*test, candidate);
                let is_open = missing == Missing::SoFar && *test == Test::Unknown;
                // What is reported now will not become unknown.
                held.filter(|&held| !(is_open && held))
            }
            Self::Sample(share) => Some(share.has(key)),
            Self::Owner(owner) => owner.owns(key),
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Number(quantity, _) => quantity.needs(),
            Self::Owner(_) => Needs {
                owner: true,
                ..Needs::default()
            },
            Self::Key(_) | Self::Prefix(_) | Self::Pattern(_) | Self::Sample(_) => Needs::default(),
        }
    }

    /// Returns whether the opposite can be written with `!=`.
    pub(super) fn is_equality(&self) -> bool {
        match self {
            Self::Number(_, test) => test.is_equality(),
            Self::Key(_)
            | Self::Prefix(_)
            | Self::Pattern(_)
            | Self::Sample(_)
            | Self::Owner(_) => true,
        }
    }

    /// Writes the term, or its opposite with `!=` if that is
    /// [possible](Term::is_equality).
    pub(super) fn write(&self, is_negated: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = if is_negated { "!=" } else { "=" };
        match self {
            Self::Key(key) => write!(f, "key{equal}{}", Quoted(&escape_bytes(key))),
            Self::Prefix(start) => write!(f, "prefix{equal}{}", Quoted(&escape_bytes(start))),
            Self::Pattern(pattern) => {
                let name = match pattern.syntax() {
                    Syntax::Glob => "glob",
                    Syntax::Regex => "regex",
                };
                write!(f, "{name}{equal}{}", Quoted(pattern.text()))
            }
            Self::Number(quantity, test) => {
                f.write_str(quantity.name())?;
                quantity.write_test(*test, is_negated, f)
            }
            Self::Sample(share) => write!(f, "sample{equal}{share}"),
            Self::Owner(owner) => write!(f, "owner{equal}{}", Quoted(&owner.to_string())),
        }
    }
}

/// Writes a value, in quotes if it would otherwise end too early.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |letter: char| !letter.is_whitespace() && !"()'\"".contains(letter);
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact_to_a_millionth() {
        for (text, share) in [
            ("0%", Some(0)),
            ("5%", Some(50_000)),
            ("0.0001%", Some(1)),
            ("12.34%", Some(123_400)),
            ("100%", Some(1_000_000)),
            ("100.0001%", None),
            ("5", None),
            ("%", None),
            (".5%", None),
            ("5.%", None),
            ("-5%", None),
            ("0.00001%", None),
            ("99999999999%", None),
        ] {
            assert_eq!(Share::parse(text), share.map(Share), "{text}");
        }
        for share in (0..=1_000_000).step_by(7).map(Share) {
            assert_eq!(Share::parse(&share.to_string()), Some(share));
        }
    }

    #[test]
    fn a_sample_has_its_share_of_every_shard_and_of_a_greater_sample() {
        const KEYS: u32 = 200_000;
        let shares = [Share(10_000), Share(50_000), Share(500_000)];
        let mut counts = [[0_u32; 4]; 3];
        let mut sizes = [0_u32; 4];
        for number in 0..KEYS {
            let key = format!("user:{number}").into_bytes();
            // As in `shard_of`: the top bits of the hash with seed 0.
            let shard = usize::try_from(xxh3_64_with_seed(&key, 0) >> 62).unwrap();
            sizes[shard] += 1;
            let has = shares.map(|share| share.has(&key));
            assert!(has.is_sorted(), "{has:?}");
            for (count, has) in counts.iter_mut().zip(has) {
                count[shard] += u32::from(has);
            }
        }
        for (counts, Share(share)) in counts.iter().zip(shares) {
            for (count, size) in counts.iter().zip(sizes) {
                let wanted = f64::from(size) * f64::from(share) / 1e6;
                // Five standard deviations.
                let spread = 5.0 * wanted.sqrt();
                assert!(
                    (f64::from(*count) - wanted).abs() < spread,
                    "{count} of {size}"
                );
            }
        }
        assert!(Share(1_000_000).has(b"any") && !Share(0).has(b"any"));
    }

    #[test]
    fn the_sample_is_the_same_for_ever() {
        let sample: Vec<u32> = (0..100)
            .filter(|number| Share(50_000).has(format!("key:{number}").as_bytes()))
            .collect();
        assert_eq!(sample, [54, 63, 82, 86]);
    }
}
