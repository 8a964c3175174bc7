//! A ring as the user specifies it: a preset with some parts replaced.

use std::fmt;
use std::str::FromStr;

use crate::codecs::ring::dialect::{hash_called, hash_names, point_hash_beside};
use crate::codecs::ring::hash::{CharSign, KeyHash};
use crate::codecs::ring::label::{LabelFormat, SocketName};
use crate::codecs::ring::order::NodeOrder;
use crate::codecs::ring::point_rule::{PointHash, PointRule, PointWeights, Search, Ties};
use crate::codecs::ring::preset::Preset;
use crate::codecs::ring::routed_part::{KeyCut, KeyPrefix};
use crate::codecs::ring::rule::{BucketWeights, Distribution, FurcWeights, RingRule};
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// Most points that a text may request for a node of average weight.
const NODE_POINT_COUNT_MAX: u32 = 10_000;

/// Most virtual buckets that a text may request.
const BUCKET_COUNT_MAX: usize = 65_536;

/// Longest prefix, stop or salt, in bytes; the same as for a key.
const AFFIX_LEN_MAX: usize = crate::words::item::KEY_LEN_MAX;

/// The separator between rings in a record. A ring's text has no spaces.
const OR: &str = " or ";

/// The value of `--ring`: `NAME[,PART=VALUE]...`.
///
/// The name is that of a [`Preset`], and each part replaces one of its rule. In a value,
/// a comma, a slash or a byte that cannot be typed is written as `%XX`.
///
/// # Examples
///
/// ```
/// use mcsnap::codecs::ring::{CharSign, RingSpec};
///
/// let spec: RingSpec = "php-memcached:consistent,prefix=app1:,char=unsigned".parse()?;
/// assert_eq!(spec.rule().map(|rule| rule.char_sign), Some(CharSign::Unsigned));
/// # Ok::<(), mcsnap::words::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RingSpec {
    preset: &'static Preset,
    /// The replaced parts, in the order of [`PARTS`].
    parts: Vec<(Part, String)>,
    rule: Option<RingRule>,
}

impl PartialEq for RingSpec {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for RingSpec {}

/// A part of a rule that a text can replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Hash,
    Seed,
    Char,
    Prefix,
    HashedPrefix,
    Route,
    Tag,
    Stop,
    Salt,
    Order,
    Label,
    Socket,
    Weights,
    FullWeight,
    Points,
    PointHash,
    Search,
    Ties,
    Buckets,
}

/// Every part: its name, its values, and its meaning.
const PARTS: [(&str, Part, &str); 19] = [
    (
        "hash",
        Part::Hash,
        "what hashes keys; also as the client calls it: FNV1A_64_HASH",
    ),
    ("seed", Part::Seed, "the text that seeds XXH3"),
    ("char", Part::Char, "signed (x86) or unsigned (ARM)"),
    ("prefix", Part::Prefix, "begins keys and is not hashed"),
    (
        "hashed-prefix",
        Part::HashedPrefix,
        "yes: libmemcached's HASH_WITH_PREFIX_KEY",
    ),
    (
        "route",
        Part::Route,
        "skipped: a leading /region/cluster/ is not hashed",
    ),
    (
        "tag",
        Part::Tag,
        "two characters; what is between them is hashed",
    ),
    ("stop", Part::Stop, "what is before it is hashed"),
    ("salt", Part::Salt, "is hashed after the key"),
    ("order", Part::Order, "how the client orders its nodes"),
    ("label", Part::Label, "what nodes are called"),
    (
        "socket",
        Part::Socket,
        "what nodes that are sockets are called",
    ),
    ("weights", Part::Weights, "what weights do"),
    (
        "full-weight",
        Part::FullWeight,
        "the weight that stands for mcrouter's 1.0",
    ),
    ("points", Part::Points, "points of a node of average weight"),
    ("point-hash", Part::PointHash, "what makes points of labels"),
    ("search", Part::Search, "which point has a hash"),
    ("ties", Part::Ties, "which node has a point of several"),
    (
        "buckets",
        Part::Buckets,
        "the node of each virtual bucket: 0:1:...",
    ),
];

impl Part {
    fn name(self) -> &'static str {
        let mut parts = PARTS.iter();
        let found = parts.find(|(_, part, _)| *part == self);
        found.map_or("", |(name, _, _)| name)
    }
}

impl RingSpec {
    /// Returns the ring of an unchanged preset.
    pub fn of(preset: &'static Preset) -> Self {
        Self {
            preset,
            parts: Vec::new(),
            rule: preset.rule(),
        }
    }

    /// Returns the preset that it is based on.
    pub fn preset(&self) -> &'static Preset {
        self.preset
    }

    /// Returns the prefix as written, if it is set.
    pub(super) fn prefix(&self) -> Option<&str> {
        let mut parts = self.parts.iter();
        parts.find_map(|(part, value)| (*part == Part::Prefix).then_some(value.as_str()))
    }

    /// Returns the rule; `None` if there is nothing to hash.
    pub fn rule(&self) -> Option<&RingRule> {
        self.rule.as_ref()
    }

    /// Returns a warning if the nodes have weights or labels that this ring ignores.
    /// Labels are fine on a ring that ignores the names of nodes altogether.
    pub fn warning_of(&self, nodes: &[NodeSpec]) -> Option<String> {
        let rule = self.rule()?;
        if nodes.len() > 1
            && !rule.distribution.uses_weights()
            && let Some(weighted) = nodes.iter().find(|node| node.weight != 1)
        {
            let told = format!("ring {self} ignores weights, such as that of {weighted}");
            return Some(told);
        }
        if rule.uses_names()
            && !rule.uses_labels()
            && let Some(labelled) = nodes.iter().find(|node| node.label.is_some())
        {
            let told = format!("ring {self} ignores labels, such as that of {labelled}");
            return Some(told);
        }
        None
    }

    /// Returns whether it is `node-for-node`.
    pub fn is_node_for_node(&self) -> bool {
        self.rule.is_none()
    }

    /// Replaces one part.
    ///
    /// # Errors
    /// - `InvalidInput`: there is no such part, it does not accept the value, or the ring
    ///   has no use for it.
    pub fn with(mut self, part: &str, value: &str) -> Result<Self> {
        let invalid =
            |reason: String| Error::invalid_input("ring", format!("{part}={value}"), reason);
        let found = PARTS.iter().find(|(name, ..)| *name == part);
        let Some(&(_, known, _)) = found else {
            let names = PARTS.map(|(name, ..)| name).join(", ");
            return Err(invalid(format!("wanted one of the parts {names}")));
        };
        if self.rule.is_none() {
            return Err(invalid(format!("{} has no parts", self.preset.name)));
        }
        let refused = |refusal: Refusal| match refusal {
            Refusal::Value(wanted) => invalid(format!("wanted {wanted}")),
            Refusal::Part(why) => invalid(format!("{} {why}", self.preset.name)),
        };
        let value = if known == Part::Hash {
            let hash = choose_hash(self.preset, value).map_err(refused)?;
            hash.name().to_owned()
        } else {
            value.to_owned()
        };
        self.parts.retain(|(part, _)| *part != known);
        self.parts.push((known, value));
        // Each part builds on those before it in the list, so that the order in
        // which they were written means nothing.
        let place = |part: Part| PARTS.iter().position(|(_, listed, _)| *listed == part);
        self.parts.sort_by_key(|(part, _)| place(*part));
        self.rule = rule_of(self.preset, &self.parts).map_err(refused)?;
        Ok(self)
    }

    /// Writes rings for a record: one ring, or several that could not be distinguished,
    /// with `or` between them. `None` for an empty list.
    pub fn to_record(rings: &[Self]) -> Option<String> {
        let texts: Vec<String> = rings.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(OR))
    }

    /// Parses what [`RingSpec::to_record`] has written.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: one of them is not a ring.
    pub fn from_record(text: &str) -> Result<Vec<Self>> {
        text.split(OR).map(str::parse).collect()
    }

    /// Lists the parts that a text can replace: their names, accepted values, and
    /// meanings.
    pub fn parts() -> Vec<(&'static str, String, &'static str)> {
        let values = |part| match part {
            Part::Hash => format!("{}, xxh3", names(&KeyHash::NAMES)),
            Part::Char => names(&SIGNS),
            Part::HashedPrefix => "yes".to_owned(),
            Part::Route => "skipped".to_owned(),
            Part::Order => names(&NodeOrder::NAMES),
            Part::Label => names(&LabelFormat::NAMES),
            Part::Socket => names(&SocketName::NAMES),
            Part::Weights => {
                let buckets = names(&BucketWeights::NAMES);
                format!(
                    "of buckets {buckets}; of points {}",
                    names(&PointWeights::NAMES)
                )
            }
            Part::FullWeight => format!("1 to {}", u32::MAX),
            Part::Points => format!("1 to {NODE_POINT_COUNT_MAX}"),
            Part::PointHash => format!("{}, or a hash of keys", names(&PointHash::NAMES)),
            Part::Search => names(&Search::NAMES),
            Part::Ties => names(&Ties::NAMES),
            Part::Tag => "XY".to_owned(),
            Part::Buckets => "N:N:...".to_owned(),
            Part::Seed | Part::Prefix | Part::Stop | Part::Salt => "TEXT".to_owned(),
        };
        PARTS
            .iter()
            .map(|&(name, part, about)| (name, values(part), about))
            .collect()
    }
}

/// Why a part cannot be set.
enum Refusal {
    /// The part accepts other values.
    Value(String),
    /// The ring has no use for the part.
    Part(&'static str),
}

const SIGNS: [(&str, CharSign); 2] = [
    ("signed", CharSign::Signed),
    ("unsigned", CharSign::Unsigned),
];

fn names<T>(table: &[(&'static str, T)]) -> String {
    let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn choose<T: Copy>(table: &[(&'static str, T)], value: &str) -> std::result::Result<T, Refusal> {
    let found = table.iter().find(|(name, _)| *name == value);
    found
        .map(|(_, chosen)| *chosen)
        .ok_or_else(|| Refusal::Value(format!("one of {}", names(table))))
}

fn choose_hash(preset: &Preset, value: &str) -> std::result::Result<KeyHash, Refusal> {
    let wanted = || Refusal::Value(format!("one of {}", hash_names(preset).join(", ")));
    hash_called(preset, value).ok_or_else(wanted)
}

/// Makes the rule of a preset with these parts replaced.
fn rule_of(
    preset: &Preset,
    parts: &[(Part, String)],
) -> std::result::Result<Option<RingRule>, Refusal> {
    let has = |wanted: Part| parts.iter().any(|(part, _)| *part == wanted);
    if has(Part::Prefix) && has(Part::HashedPrefix) {
        return Err(Refusal::Part(
            "hashes its prefix or does not; give one of the two",
        ));
    }
    if has(Part::Tag) && has(Part::Stop) {
        return Err(Refusal::Part(
            "cuts keys at a tag or a stop; give one of the two",
        ));
    }
    let Some(mut rule) = preset.rule() else {
        return Ok(None);
    };
    for (part, value) in parts {
        set(preset, &mut rule, *part, value)?;
    }
    if let Some(points) = rule.distribution.points_mut() {
        check_points(points)?;
    }
    Ok(Some(rule))
}

fn set(
    preset: &Preset,
    rule: &mut RingRule,
    part: Part,
    value: &str,
) -> std::result::Result<(), Refusal> {
    const NO_POINTS: Refusal = Refusal::Part("is no ring of points");
    match part {
        Part::Hash if !rule.uses_key_hash() => {
            return Err(Refusal::Part("has a hash of its own"));
        }
        Part::Hash => {
            let hash = choose_hash(preset, value)?;
            rule.key_hash = hash;
            if let Some(points) = rule.distribution.points_mut() {
                points.hash = point_hash_beside(preset, hash).unwrap_or(points.hash);
            }
        }
        Part::Seed => {
            let KeyHash::Xxh3 { seed } = &mut rule.key_hash else {
                return Err(Refusal::Part("does not hash keys with xxh3"));
            };
            *seed = xxhash_rust::xxh3::xxh3_64(&affix(value)?);
        }
        Part::Char => rule.char_sign = choose(&SIGNS, value)?,
        Part::Prefix => rule.routed_part.prefix = KeyPrefix::Unhashed(affix(value)?),
        Part::HashedPrefix => {
            choose(&[("yes", ())], value)?;
            rule.routed_part.prefix = KeyPrefix::Hashed;
        }
        Part::Route => {
            choose(&[("skipped", ())], value)?;
            rule.routed_part.skips_route = true;
        }
        Part::Tag => {
            let (open, close) = parse_tag(value)?;
            // memcached's built-in proxy hashes the content of an empty tag, which is nothing.
            rule.routed_part.cut = KeyCut::Tag {
                open,
                close,
                may_be_empty: preset.name.starts_with("memcached-proxy"),
            };
        }
        Part::Stop => {
            let may_be_empty = match &rule.routed_part.cut {
                KeyCut::Before { may_be_empty, .. } => *may_be_empty,
                KeyCut::None | KeyCut::Tag { .. } => true,
            };
            rule.routed_part.cut = KeyCut::Before {
                stop: affix(value)?,
                may_be_empty,
            };
        }
        Part::Salt => rule.routed_part.salt = affix(value)?,
        Part::Order => rule.node_order = choose(&NodeOrder::NAMES, value)?,
        Part::Label | Part::Socket if !rule.uses_labels() => {
            return Err(Refusal::Part("does not go by the names of nodes"));
        }
        Part::Label => rule.labels.format = choose(&LabelFormat::NAMES, value)?,
        Part::Socket => rule.labels.socket = choose(&SocketName::NAMES, value)?,
        Part::Weights => set_weights(&mut rule.distribution, value)?,
        Part::FullWeight => {
            let Distribution::Furc(FurcWeights::PartOf { full }) = &mut rule.distribution else {
                return Err(Refusal::Part("does not weigh as mcrouter's WeightedCh3"));
            };
            let wanted = || Refusal::Value(format!("a number from 1 to {}", u32::MAX));
            let weight = value.parse().ok().filter(|&weight| weight > 0);
            *full = Some(weight.ok_or_else(wanted)?);
        }
        Part::Points => {
            let points = rule.distribution.points_mut().ok_or(NO_POINTS)?;
            let count = value.parse().ok();
            let count = count.filter(|count| (1..=NODE_POINT_COUNT_MAX).contains(count));
            let wanted = || Refusal::Value(format!("a number from 1 to {NODE_POINT_COUNT_MAX}"));
            points.count = count.ok_or_else(wanted)?;
        }
        Part::PointHash => {
            let points = rule.distribution.points_mut().ok_or(NO_POINTS)?;
            points.hash = match choose(&PointHash::NAMES, value) {
                Ok(hash) => hash,
                Err(_) => PointHash::Own(choose_hash(preset, value)?),
            };
        }
        Part::Search => {
            let points = rule.distribution.points_mut().ok_or(NO_POINTS)?;
            points.search = choose(&Search::NAMES, value)?;
        }
        Part::Ties => {
            let points = rule.distribution.points_mut().ok_or(NO_POINTS)?;
            points.ties = choose(&Ties::NAMES, value)?;
        }
        Part::Buckets => {
            let Distribution::VirtualBucket { buckets } = &mut rule.distribution else {
                return Err(Refusal::Part("has no virtual buckets"));
            };
            *buckets = Some(parse_buckets(value)?);
        }
    }
    Ok(())
}

/// Parses what opens and closes a tag.
fn parse_tag(value: &str) -> std::result::Result<(u8, u8), Refusal> {
    let pair = affix(value)?;
    let [open, close] = *pair.as_slice() else {
        return Err(Refusal::Value("two characters, such as {}".to_owned()));
    };
    if !pair.is_ascii() {
        return Err(Refusal::Value(
            "two ASCII characters, such as {}".to_owned(),
        ));
    }
    Ok((open, close))
}

fn set_weights(distribution: &mut Distribution, value: &str) -> std::result::Result<(), Refusal> {
    if let Distribution::Modula(weights) = distribution {
        *weights = choose(&BucketWeights::NAMES, value)?;
    } else if let Some(points) = distribution.points_mut() {
        points.weights = choose(&PointWeights::NAMES, value)?;
    } else {
        return Err(Refusal::Part("has its own way with weights"));
    }
    Ok(())
}

/// Parses the node of each virtual bucket.
fn parse_buckets(value: &str) -> std::result::Result<Vec<usize>, Refusal> {
    let parsed: Option<Vec<usize>> = value
        .split(':')
        .take(BUCKET_COUNT_MAX + 1)
        .map(|number| number.parse().ok())
        .collect();
    let parsed = parsed.filter(|parsed| parsed.len() <= BUCKET_COUNT_MAX);
    parsed.ok_or_else(|| {
        Refusal::Value(format!(
            "at most {BUCKET_COUNT_MAX} numbers of nodes from 0 on with colons between"
        ))
    })
}

/// Each label of a digest yields four points, so a count below four yields no label.
fn check_points(points: &PointRule) -> std::result::Result<(), Refusal> {
    if points.label_count() == 0 {
        return Err(Refusal::Value(
            "at least 4 points where labels have 4".to_owned(),
        ));
    }
    Ok(())
}

/// Parses bytes that may be written as `%XX`.
fn affix(value: &str) -> std::result::Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut pieces = value.split('%');
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        // `from_str_radix` would also accept a plus sign.
        let digits = piece.get(..2);
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let wanted = || Refusal::Value("two hexadecimal digits after each %".to_owned());
        bytes.push(byte.ok_or_else(wanted)?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    if bytes.is_empty() || bytes.len() > AFFIX_LEN_MAX {
        return Err(Refusal::Value(format!("1 to {AFFIX_LEN_MAX} bytes")));
    }
    Ok(bytes)
}

impl fmt::Display for RingSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.preset.name)?;
        for (part, value) in &self.parts {
            write!(f, ",{}={value}", part.name())?;
        }
        Ok(())
    }
}

impl FromStr for RingSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let preset = Preset::find(name).ok_or_else(|| unknown_name(name))?;
        parts.try_fold(Self::of(preset), |spec, part| {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                Error::invalid_input("ring", part, "wanted PART=VALUE, such as hash=md5")
            })?;
            spec.with(name, value)
        })
    }
}

/// Names the presets with a similar name, or else where to find them.
fn unknown_name(name: &str) -> Error {
    const LETTERS: usize = 3;
    let lower = name.to_ascii_lowercase();
    let start = lower.get(..LETTERS).unwrap_or(&lower);
    let close = |preset: &&Preset| start.len() >= 3 && preset.name.starts_with(start);
    let close: Vec<_> = Preset::ALL
        .iter()
        .filter(close)
        .map(|preset| preset.name)
        .collect();
    let wanted = if close.is_empty() {
        "wanted the name of a ring, such as modula, ketama-weighted or dalli; `mcsnap ring list` \
         shows all"
            .to_owned()
    } else {
        format!(
            "there is {}; `mcsnap ring list` shows all",
            close.join(", ")
        )
    };
    Error::invalid_input("ring", name, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> RingSpec {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> String {
        text.parse::<RingSpec>().unwrap_err().to_string()
    }

    #[test]
    fn every_name_is_read_and_written_back() {
        for preset in Preset::ALL {
            assert_eq!(spec(preset.name).to_string(), preset.name);
            assert_eq!(
                spec(preset.name).rule().is_none(),
                preset.name == "node-for-node"
            );
        }
    }

    #[test]
    fn names_are_unique_and_fit_a_table() {
        let mut names: Vec<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Preset::ALL.len());
        for preset in Preset::ALL {
            assert!(
                preset.name.len() <= 40 && preset.about.len() <= 80,
                "{preset:?}"
            );
            assert!(preset.client.len() <= 60, "{preset:?}");
        }
    }

    #[test]
    fn parts_replace_those_of_the_preset_and_are_written_back() {
        for (text, same) in [
            ("modula,hash=md5,hash=crc", "modula,hash=crc"),
            (
                "ketama,ties=last,search=enyim,points=160",
                "ketama,points=160,search=enyim,ties=last",
            ),
            (
                "memcached-proxy:ring,seed=a,hash=xxh3",
                "memcached-proxy:ring,hash=xxh3,seed=a",
            ),
            ("modula,prefix=a%2Cb%2f", "modula,prefix=a%2Cb%2f"),
            (
                "memcached-proxy,seed=abc,tag={}",
                "memcached-proxy,seed=abc,tag={}",
            ),
        ] {
            assert_eq!(spec(text).to_string(), same);
            assert_eq!(spec(same), spec(text));
        }
        let rule = spec("modula,prefix=a%2Cb%2f").rule().unwrap().clone();
        let prefix = KeyPrefix::Unhashed(b"a,b/".to_vec());
        assert_eq!(rule.routed_part.prefix, prefix);
        let buckets = spec("libmemcached:virtual-bucket,buckets=0:1:1:0");
        let map = Distribution::VirtualBucket {
            buckets: Some(vec![0, 1, 1, 0]),
        };
        assert_eq!(buckets.rule().unwrap().distribution, map);
    }

    #[test]
    fn a_hash_is_what_the_client_calls_so() {
        for (text, same) in [
            ("twemproxy,hash=crc32", "twemproxy,hash=crc"),
            (
                "twemproxy:modula,hash=crc32a",
                "twemproxy:modula,hash=crc32-whole",
            ),
            (
                "twemproxy,hash=one_at_a_time",
                "twemproxy,hash=one-at-a-time",
            ),
            ("gomemcache,hash=crc32", "gomemcache,hash=crc32-whole"),
            ("php-memcached,hash=MURMUR", "php-memcached,hash=murmur2"),
            (
                "spymemcached,hash=FNV1A_64_HASH",
                "spymemcached,hash=java-fnv1a-64",
            ),
            ("xmemcached,hash=CRC32_HASH", "xmemcached,hash=crc"),
            ("xmemcached:php,hash=CRC32_HASH", "xmemcached:php,hash=zero"),
            (
                "aws-elasticache-java:ketama,hash=KETAMA_HASH",
                "aws-elasticache-java:ketama,hash=sha384",
            ),
        ] {
            assert_eq!(spec(text).to_string(), same);
            assert_eq!(spec(same).rule(), spec(text).rule());
            assert_eq!(spec(same).to_string(), same);
        }
        // A Java client hashes labels as it hashes keys.
        assert_eq!(
            spec("spymemcached:ketama,hash=fnv1_64").rule(),
            spec("spymemcached:ketama,hash=java-fnv1-64,point-hash=key-hash").rule(),
        );
        assert_eq!(
            spec("spymemcached:ketama,hash=md5").rule(),
            spec("spymemcached:ketama").rule()
        );
        assert_eq!(
            refusal("xmemcached:php,hash=fnv1a-32"),
            "ring \"hash=fnv1a-32\": wanted one of crc32, native, java-15, zero"
        );
    }

    #[test]
    fn every_value_that_the_list_of_parts_names_is_taken() {
        for (part, values, _) in RingSpec::parts() {
            for value in values
                .split([',', ';'])
                .flat_map(|text| text.split("points "))
            {
                let value = value.trim().trim_start_matches("of buckets ");
                let is_name = value
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                let is_number = value.parse::<u32>().is_ok();
                if !is_name || is_number || ["", "of"].contains(&value) {
                    continue;
                }
                let bases = ["modula", "ketama", "memcached-proxy"];
                let is_taken = |base: &&str| spec(base).with(part, value).is_ok();
                assert!(bases.iter().any(is_taken), "{part}={value}");
            }
        }
    }

    #[test]
    fn weights_that_change_nothing_are_told() {
        let warning = |ring: &str, nodes: &[&str]| {
            let nodes: Vec<NodeSpec> = nodes.iter().map(|text| text.parse().unwrap()).collect();
            spec(ring).warning_of(&nodes)
        };
        assert_eq!(
            warning("modula,hash=md5", &["a", "b:1*3", "c*2"]).unwrap(),
            "ring modula,hash=md5 ignores weights, such as that of b:1*3"
        );
        assert_eq!(
            warning("nginx:consistent", &["a@x", "b*2"]).unwrap(),
            "ring nginx:consistent ignores labels, such as that of a:11211@x"
        );
        assert_eq!(warning("modula", &["a@x", "b"]), None);
        assert_eq!(warning("modula", &["b*3"]), None);
        assert_eq!(warning("ketama", &["a", "b*3"]), None);
        assert_eq!(warning("node-for-node", &["a", "b*3"]), None);
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_like_it() {
        assert_eq!(
            refusal("rendezvous"),
            "ring \"rendezvous\": wanted the name of a ring, such as modula, ketama-weighted or \
             dalli; `mcsnap ring list` shows all"
        );
        assert_eq!(
            refusal("ketama2"),
            "ring \"ketama2\": there is ketama, ketama-weighted; `mcsnap ring list` shows all"
        );
        assert_eq!(
            refusal("Dalli-5"),
            "ring \"Dalli-5\": there is dalli; `mcsnap ring list` shows all"
        );
        assert!(refusal("").contains("wanted the name of a ring"));
        assert!(refusal("modula ").contains("there is modula"));
    }

    #[test]
    fn a_part_that_the_ring_has_no_use_for_is_refused() {
        for (text, message) in [
            (
                "modula,points=160",
                "ring \"points=160\": modula is no ring of points",
            ),
            (
                "modula,buckets=1",
                "ring \"buckets=1\": modula has no virtual buckets",
            ),
            (
                "modula,seed=a",
                "ring \"seed=a\": modula does not hash keys with xxh3",
            ),
            (
                "grafana,weights=ignored",
                "ring \"weights=ignored\": grafana has its own way with weights",
            ),
            (
                "node-for-node,hash=md5",
                "ring \"hash=md5\": node-for-node has no parts",
            ),
            (
                "pymemcache,hash=md5",
                "ring \"hash=md5\": pymemcache has a hash of its own",
            ),
            (
                "memcached-proxy,seed=a,hash=md5",
                "ring \"hash=md5\": memcached-proxy does not hash keys with xxh3",
            ),
            (
                "nginx:consistent,label=host-port",
                "ring \"label=host-port\": nginx:consistent does not go by the names of nodes",
            ),
            (
                "modula,prefix=a,hashed-prefix=yes",
                "ring \"hashed-prefix=yes\": modula hashes its prefix or does not; give one of \
                 the two",
            ),
            (
                "modula,md5",
                "ring \"md5\": wanted PART=VALUE, such as hash=md5",
            ),
            (
                "modula,char=maybe",
                "ring \"char=maybe\": wanted one of signed, unsigned",
            ),
            (
                "ketama,points=0",
                "ring \"points=0\": wanted a number from 1 to 10000",
            ),
            (
                "modula,tag={",
                "ring \"tag={\": wanted two characters, such as {}",
            ),
            ("modula,prefix=", "ring \"prefix=\": wanted 1 to 250 bytes"),
            (
                "modula,prefix=%4",
                "ring \"prefix=%4\": wanted two hexadecimal digits after each %",
            ),
            (
                "modula,prefix=%+A",
                "ring \"prefix=%+A\": wanted two hexadecimal digits after each %",
            ),
            (
                "modula,prefix=%\u{e9}",
                "ring \"prefix=%\u{e9}\": wanted two hexadecimal digits after each %",
            ),
        ] {
            assert_eq!(refusal(text), message);
        }
        assert!(
            refusal("modula,colour=red")
                .starts_with("ring \"colour=red\": wanted one of the parts hash, seed,")
        );
    }
}
