//! Which ring a client uses, by where its keys were found.
//!
//! Every ring that has a name is tried, then rings with other hashes, prefixes
//! that are not hashed, nodes under their other names, in another order, with
//! weights that their shares of the keys suggest. What places the keys where
//! they were found is an explanation; the more nodes and keys, the less an
//! unrelated ring can do so by chance.

use std::collections::{HashMap, HashSet};

use crate::node::NodeSpec;
use crate::ring::label::LabelRule;
use crate::ring::order::NodeOrder;
use crate::ring::placement::Ring;
use crate::ring::preset::Preset;
use crate::ring::routed_part::KeyPrefix;
use crate::ring::rule::{Distribution, RingRule};
use crate::ring::spec::RingSpec;
use crate::units::{to_f64, to_u64};

/// A key, and the index of the node that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The key as it is stored.
    pub key: Vec<u8>,
    /// Its node, in the list of nodes.
    pub node: usize,
}

/// How sure it is that a ring is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sureness {
    /// It explains no more keys than chance would.
    No,
    /// It explains more keys than chance would, but many it does not.
    Partly,
    /// It explains nine keys of ten, and chance would not.
    Likely,
    /// It explains 999 keys of 1,000, and chance would not.
    Certain,
}

impl Sureness {
    /// Its word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Partly => "partly",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// A ring that places keys where they were found.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The ring.
    pub ring: RingSpec,
    /// Its nodes, as they have to be written for it: perhaps in another order,
    /// with other weights, or under other names than given.
    pub nodes: Vec<NodeSpec>,
    /// What differs from the nodes that were given.
    pub changes: Vec<NodeChange>,
    /// Other names of this ring: they place every key as it does, whatever the
    /// nodes.
    pub same: Vec<RingSpec>,
    /// Other rings that place every key that was seen as this one does, but may not
    /// on nodes of other numbers, names, ports or weights.
    pub alike: Vec<RingSpec>,
    /// Keys where it places them.
    pub agreeing: u64,
    /// Share of the keys that a ring of the same shares, but unrelated, would
    /// place right: 0 to 1.
    pub by_chance: f64,
    /// How sure it is.
    pub sureness: Sureness,
    /// For each sighting, in their order, whether it is elsewhere.
    strays: Vec<Option<usize>>,
}

impl Explanation {
    /// Returns the keys that lie elsewhere: the index of each sighting, and the
    /// index (in the list that was given) of the node where it should be.
    pub fn strays(&self) -> impl Iterator<Item = (usize, usize)> {
        let strays = self.strays.iter().enumerate();
        strays.filter_map(|(sighting, wanted)| wanted.map(|node| (sighting, node)))
    }
}

/// What was changed of the nodes that were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// They are in another order.
    Order,
    /// They have no weights.
    WeightsIgnored,
    /// They have weights that fit their shares of the keys.
    WeightsGuessed,
    /// They are named by their addresses.
    NamedByAddress,
    /// Those of this host are named `localhost`.
    NamedLocalhost,
}

/// Explanations that are told, at most.
const EXPLANATION_COUNT_MAX: usize = 5;

/// Most prefixes that are tried as unhashed.
const PREFIX_COUNT_MAX: usize = 4;

/// Weights that are guessed, at most.
const WEIGHT_MAX: u32 = 32;

/// Finds the rings that explain where keys were found, the best first; none where
/// no ring does, or where there are not two nodes to choose from.
///
/// `populations` says how many items each node has; weights are guessed from it.
pub fn explain(
    sightings: &[Sighting],
    nodes: &[NodeSpec],
    populations: &[u64],
) -> Vec<Explanation> {
    if nodes.len() < 2 || sightings.is_empty() {
        return Vec::new();
    }
    let mut trial = Trial::new(sightings, nodes);
    let mut named: Vec<RingSpec> = Preset::ALL
        .iter()
        .map(RingSpec::of)
        .filter(|spec| spec.rule().is_some())
        .collect();
    // Of several names for one ring, a client's default is likelier than a setting.
    named.sort_by_key(|spec| spec.preset().name.contains(':'));
    let forms = node_forms(nodes);
    trial.try_all(&named, &forms);
    if trial.has_non_ascii {
        trial.try_all(&with_part(&named, "char", "unsigned"), &forms);
    }
    if !trial.is_explained() {
        trial.try_orders(&named);
    }
    if !trial.is_explained() {
        let guesses = guess_weights(populations, nodes).into_iter();
        let forms: Vec<_> = guesses
            .map(|weighted| (weighted, vec![NodeChange::WeightsGuessed]))
            .collect();
        trial.try_all(&named, &forms);
    }
    if !trial.is_explained() {
        trial.try_all(&variations(), &forms);
    }
    if !trial.is_explained() {
        for prefix in common_prefixes(sightings) {
            trial.try_all(&with_part(&named, "prefix", &prefix), &forms);
        }
    }
    trial.into_explanations()
}

/// Says how well one ring explains where keys were found, the nodes as they are
/// given; none where it is no ring or these nodes make none.
pub fn explain_by(
    ring: &RingSpec,
    sightings: &[Sighting],
    nodes: &[NodeSpec],
) -> Option<Explanation> {
    let trial = Trial::new(sightings, nodes);
    let placed = place(ring.rule()?, nodes, sightings)?;
    let candidate = trial.candidate(ring, (nodes.to_vec(), Vec::new()), placed, None);
    let sureness = trial.judge(&candidate).unwrap_or(Sureness::No);
    Some(trial.explanation(candidate, sureness))
}

/// Nodes as they may have to be written, and what was changed of them.
type NodeForm = (Vec<NodeSpec>, Vec<NodeChange>);

/// The nodes as given, first, and under the other names that a client may have
/// for them.
fn node_forms(nodes: &[NodeSpec]) -> Vec<NodeForm> {
    let mut forms = vec![(nodes.to_vec(), Vec::new())];
    let by_address = |node: &NodeSpec| NodeSpec {
        host: node
            .ip
            .map_or_else(|| node.host.clone(), |ip| ip.to_string()),
        ..node.clone()
    };
    let as_localhost = |node: &NodeSpec| {
        let literal: Option<std::net::IpAddr> = node.host.parse().ok();
        match literal.filter(std::net::IpAddr::is_loopback) {
            Some(ip) => NodeSpec {
                host: "localhost".to_owned(),
                ip: Some(ip),
                ..node.clone()
            },
            None => node.clone(),
        }
    };
    let mut add = |changed: Vec<NodeSpec>, changes: &[NodeChange]| {
        if forms.iter().all(|(known, _)| *known != changed) {
            forms.push((changed, changes.to_vec()));
        }
    };
    add(
        nodes.iter().map(by_address).collect(),
        &[NodeChange::NamedByAddress],
    );
    add(
        nodes.iter().map(as_localhost).collect(),
        &[NodeChange::NamedLocalhost],
    );
    let without_weight = |node: &NodeSpec| NodeSpec {
        weight: 1,
        ..node.clone()
    };
    add(
        nodes.iter().map(without_weight).collect(),
        &[NodeChange::WeightsIgnored],
    );
    forms
}

fn with_part(specs: &[RingSpec], part: &str, value: &str) -> Vec<RingSpec> {
    let specs = specs.iter().cloned();
    specs
        .filter_map(|spec| spec.with(part, value).ok())
        .collect()
}

/// Rings that clients are often told to use without a name of their own.
fn variations() -> Vec<RingSpec> {
    const HASHES: [&str; 12] = [
        "one-at-a-time",
        "md5",
        "crc",
        "crc32",
        "crc16",
        "fnv1-32",
        "fnv1a-32",
        "fnv1-64",
        "fnv1a-64",
        "murmur2",
        "murmur3",
        "jenkins",
    ];
    const HASHED_FREELY: [&str; 6] = [
        "libmemcached",
        "libmemcached:consistent",
        "libmemcached:ketama-weighted",
        "twemproxy",
        "twemproxy:modula",
        "memcached-proxy:ring-ketama",
    ];
    const OTHERS: [&str; 17] = [
        "twemproxy,tag={}",
        "twemproxy:modula,tag={}",
        "memcached-proxy,tag={}",
        "memcached-proxy,stop=|#|",
        "memcached-proxy:ring,points=100",
        "evcache,points=800",
        "evcache,points=320",
        "perl-cache-memcached-fast:ketama-150,points=160",
        "perl-cache-memcached-fast:ketama-150,points=100",
        "spymemcached:ketama,weights=f32",
        "spymemcached:ketama-libmemcached,weights=f32",
        "aws-elasticache-java:ketama,weights=f32",
        "spymemcached,hash=crc",
        "spymemcached,hash=java-fnv1-64",
        "spymemcached,hash=md5",
        "xmemcached,hash=crc",
        "mcrouter,route=skipped",
    ];
    let hashed = HASHED_FREELY.iter().flat_map(|name| {
        HASHES
            .iter()
            .filter_map(move |hash| format!("{name},hash={hash}").parse().ok())
    });
    let others = OTHERS.iter().filter_map(|text| text.parse().ok());
    hashed.chain(others).collect()
}

/// Returns what all keys begin with, up to each of its delimiters, the longest
/// first; written as a ring's text has it.
fn common_prefixes(sightings: &[Sighting]) -> Vec<String> {
    let mut keys = sightings.iter().map(|sighting| sighting.key.as_slice());
    let Some(first) = keys.next() else {
        return Vec::new();
    };
    let common = keys.fold(first, |common, key| {
        let len = common.iter().zip(key).take_while(|(a, b)| a == b).count();
        &common[..len]
    });
    let is_delimiter = |byte: &u8| !byte.is_ascii_alphanumeric();
    let ends = (1..=common.len()).rev();
    let ends = ends.filter(|&end| is_delimiter(&common[end - 1]));
    let text = |prefix: &[u8]| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":._-".contains(&byte);
        let escape = |&byte: &u8| match byte {
            _ if is_plain(byte) => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        prefix.iter().map(escape).collect::<String>()
    };
    ends.take(PREFIX_COUNT_MAX)
        .map(|end| text(&common[..end]))
        .collect()
}

/// Returns the nodes with weights in whole numbers that fit how many items they
/// have, the likeliest first; none where those are even, or as given.
///
/// Shares of a ring of points waver by some tenths, so that of few nodes each
/// weight is tried rounded both ways, by one and by half the least share.
fn guess_weights(populations: &[u64], nodes: &[NodeSpec]) -> Vec<Vec<NodeSpec>> {
    const NODE_COUNT_MAX: usize = 5;
    let least = populations.iter().copied().min().unwrap_or(0);
    if least == 0 || populations.len() != nodes.len() {
        return Vec::new();
    }
    let mut guesses: Vec<Vec<u32>> = Vec::new();
    for scale in [1, 2] {
        let ratio = |count: u64| to_f64(count.saturating_mul(scale)) / to_f64(least);
        let choices = populations.iter().map(|&count| {
            let nearest = whole(ratio(count));
            let other = if f64::from(nearest) <= ratio(count) {
                nearest.saturating_add(1)
            } else {
                nearest.saturating_sub(1).max(1)
            };
            [nearest, other]
        });
        let choices: Vec<[u32; 2]> = choices.collect();
        if choices.iter().any(|&[nearest, _]| nearest > WEIGHT_MAX) {
            continue;
        }
        let ways = if nodes.len() <= NODE_COUNT_MAX { 2 } else { 1 };
        let mut some = vec![Vec::new()];
        for choice in &choices {
            let longer = choice.iter().take(ways).flat_map(|&weight| {
                let longer = |guess: &Vec<u32>| guess.iter().copied().chain([weight]).collect();
                some.iter().map(longer).collect::<Vec<Vec<u32>>>()
            });
            some = longer.collect();
        }
        guesses.extend(some);
    }
    let is_new = |guess: &Vec<u32>| {
        guess.iter().any(|weight| Some(weight) != guess.first())
            && guess
                .iter()
                .zip(nodes)
                .any(|(&weight, node)| weight != node.weight)
    };
    guesses.retain(is_new);
    let mut known = HashSet::new();
    guesses.retain(|guess| known.insert(guess.clone()));
    let weighted = |guess: Vec<u32>| {
        let nodes = nodes.iter().zip(guess);
        let weighted = nodes.map(|(node, weight)| NodeSpec {
            weight,
            ..node.clone()
        });
        weighted.collect()
    };
    guesses.into_iter().map(weighted).collect()
}

/// The nearest whole number from 1 on.
fn whole(number: f64) -> u32 {
    let is_within = |whole: &u32| f64::from(*whole) <= number.round();
    (1..=WEIGHT_MAX + 1)
        .take_while(is_within)
        .last()
        .unwrap_or(1)
}

fn count_by_node(found: impl Iterator<Item = usize>, node_count: usize) -> Vec<u64> {
    let mut counts = vec![0_u64; node_count];
    for node in found {
        if let Some(count) = counts.get_mut(node) {
            *count += 1;
        }
    }
    counts
}

/// One ring with its nodes, tried.
struct Candidate {
    ring: RingSpec,
    form: NodeForm,
    agreeing: u64,
    /// Where it places each key, by the order of the nodes given.
    placed: Vec<u16>,
    /// Of nodes in another order, the index of each in the order given.
    order: Option<Vec<usize>>,
    /// How many things had to be changed for it.
    effort: usize,
}

/// All rings that were tried and are better than chance.
struct Trial<'a> {
    sightings: &'a [Sighting],
    nodes: &'a [NodeSpec],
    found: Vec<u64>,
    has_non_ascii: bool,
    candidates: Vec<Candidate>,
    tried: u64,
}

impl<'a> Trial<'a> {
    fn new(sightings: &'a [Sighting], nodes: &'a [NodeSpec]) -> Self {
        Self {
            sightings,
            nodes,
            found: count_by_node(sightings.iter().map(|sighting| sighting.node), nodes.len()),
            has_non_ascii: sightings.iter().any(|sighting| !sighting.key.is_ascii()),
            candidates: Vec::new(),
            tried: 0,
        }
    }

    /// Tries rings with nodes in all their forms.
    fn try_all(&mut self, rings: &[RingSpec], forms: &[NodeForm]) {
        // Presets of several names are one rule, and are tried once.
        let mut done: Vec<(&RingRule, &NodeForm)> = Vec::new();
        for ring in rings {
            let Some(rule) = ring.rule() else { continue };
            for form in forms {
                let (nodes, changes) = form;
                let matters = changes.iter().all(|change| match change {
                    NodeChange::Order => true,
                    NodeChange::WeightsIgnored | NodeChange::WeightsGuessed => {
                        rule.distribution.uses_weights()
                    }
                    NodeChange::NamedByAddress | NodeChange::NamedLocalhost => {
                        rule.distribution.uses_names() || rule.node_order != NodeOrder::AsGiven
                    }
                });
                let is_done = |(known, known_form): &(&RingRule, &NodeForm)| {
                    *known == rule && std::ptr::eq(*known_form, form)
                };
                if !matters || done.iter().any(is_done) {
                    continue;
                }
                done.push((rule, form));
                self.try_one(ring, rule, nodes, changes);
            }
        }
    }

    /// Tries every order of a few nodes with weights: which bucket is whose shows
    /// only where each node has one.
    fn try_orders(&mut self, rings: &[RingSpec]) {
        const NODE_COUNT_MAX: usize = 5;
        let is_equal = self.nodes.iter().all(|node| node.weight == 1);
        if is_equal || self.nodes.len() > NODE_COUNT_MAX {
            return;
        }
        let orders = permutations(self.nodes.len());
        let mut done: Vec<&RingRule> = Vec::new();
        for ring in rings {
            let Some(rule) = ring.rule() else { continue };
            let goes_by_order = !rule.distribution.uses_names()
                && rule.distribution.uses_weights()
                && rule.node_order == NodeOrder::AsGiven;
            if !goes_by_order || done.contains(&rule) {
                continue;
            }
            done.push(rule);
            for order in orders.iter().skip(1) {
                let nodes = order
                    .iter()
                    .filter_map(|&index| self.nodes.get(index).cloned());
                let nodes: Vec<NodeSpec> = nodes.collect();
                if let Some(placed) = place(rule, &nodes, self.sightings) {
                    let placed = reorder(placed, order);
                    let form = (nodes, vec![NodeChange::Order]);
                    self.keep(ring, form, placed, Some(order.clone()));
                }
            }
        }
    }

    fn try_one(
        &mut self,
        ring: &RingSpec,
        rule: &RingRule,
        nodes: &[NodeSpec],
        changes: &[NodeChange],
    ) {
        // What needs addresses that nobody gave cannot be tried, and two nodes of
        // one name make no ring.
        let Some(placed) = place(rule, nodes, self.sightings) else {
            return;
        };
        let is_equal = nodes.iter().all(|node| node.weight == 1);
        let may_reorder = !rule.distribution.uses_names()
            && rule.node_order == NodeOrder::AsGiven
            && (is_equal || !rule.distribution.uses_weights());
        self.keep(
            ring,
            (nodes.to_vec(), changes.to_vec()),
            placed.clone(),
            None,
        );
        if may_reorder && let Some(order) = find_order(&placed, self.sightings, nodes.len()) {
            let reordered = order.iter().filter_map(|&index| nodes.get(index).cloned());
            let form = (
                reordered.collect(),
                changes.iter().copied().chain([NodeChange::Order]).collect(),
            );
            self.keep(ring, form, reorder(placed, &order), Some(order));
        }
    }

    /// Keeps a ring that is better than chance.
    fn keep(
        &mut self,
        ring: &RingSpec,
        form: NodeForm,
        placed: Vec<u16>,
        order: Option<Vec<usize>>,
    ) {
        self.tried += 1;
        let candidate = self.candidate(ring, form, placed, order);
        if self.judge(&candidate).is_some() {
            self.candidates.push(candidate);
        }
    }

    fn candidate(
        &self,
        ring: &RingSpec,
        form: NodeForm,
        placed: Vec<u16>,
        order: Option<Vec<usize>>,
    ) -> Candidate {
        let agreeing = self.sightings.iter().zip(&placed);
        let agreeing = agreeing
            .filter(|(sighting, placed)| sighting.node == usize::from(**placed))
            .count();
        let sorts = ring
            .rule()
            .is_some_and(|rule| rule.node_order == NodeOrder::ByHostAndPort);
        let is_setting = ring.preset().name.contains(':');
        let parts = ring.to_string().matches(',').count();
        Candidate {
            // A client that sorts its nodes is rarer than a list in another order.
            effort: 2 * (form.1.len() + parts) + usize::from(is_setting) + 2 * usize::from(sorts),
            ring: ring.clone(),
            form,
            agreeing: to_u64(agreeing),
            placed,
            order,
        }
    }

    fn by_chance(&self, candidate: &Candidate) -> f64 {
        let placed = candidate.placed.iter().map(|&node| usize::from(node));
        let placed = count_by_node(placed, self.nodes.len());
        let total = to_f64(to_u64(self.sightings.len()));
        let shares = self.found.iter().zip(&placed);
        shares
            .map(|(&found, &placed)| to_f64(found) / total * (to_f64(placed) / total))
            .sum()
    }

    /// Says how sure a ring is; none where it is no better than chance.
    fn judge(&self, candidate: &Candidate) -> Option<Sureness> {
        /// Powers of ten against chance: one in a million.
        const EVIDENCE_MIN: f64 = 6.0;
        let total = to_f64(to_u64(self.sightings.len()));
        let share = to_f64(candidate.agreeing) / total;
        let chance = self.by_chance(candidate).clamp(1e-9, 1.0 - 1e-9);
        if share <= chance {
            return None;
        }
        // By how many powers of ten a ring of these shares, but unrelated, is
        // unlikelier to place so many keys right (the divergence of the two
        // shares), in any of all trials.
        let term = |part: f64, of: f64| match part > 0.0 {
            true => part * (part / of).log10(),
            false => 0.0,
        };
        let divergence = term(share, chance) + term(1.0 - share, 1.0 - chance);
        let evidence = total * divergence - to_f64(self.tried.max(1)).log10();
        if evidence < EVIDENCE_MIN {
            None
        } else if share >= 0.999 {
            Some(Sureness::Certain)
        } else if share >= 0.9 {
            Some(Sureness::Likely)
        } else {
            Some(Sureness::Partly)
        }
    }

    /// Says whether the keys that two rings place differently speak for the first
    /// one, beyond what chance and a few strays do.
    fn beats(&self, one: &Candidate, other: &Candidate) -> bool {
        let (mut for_one, mut for_other) = (0_u64, 0_u64);
        let placed = one.placed.iter().zip(&other.placed);
        for (sighting, (&one, &other)) in self.sightings.iter().zip(placed) {
            if one != other {
                for_one += u64::from(sighting.node == usize::from(one));
                for_other += u64::from(sighting.node == usize::from(other));
            }
        }
        // Two strays just where two rings differ are more than chance.
        let least = if for_other == 0 {
            2.0
        } else {
            3.0 * to_f64(for_one + for_other).sqrt()
        };
        to_f64(for_one) - to_f64(for_other) >= least
    }

    fn is_explained(&self) -> bool {
        let mut candidates = self.candidates.iter();
        candidates.any(|candidate| self.judge(candidate) == Some(Sureness::Certain))
    }

    fn into_explanations(mut self) -> Vec<Explanation> {
        let mut candidates = std::mem::take(&mut self.candidates);
        // Stable: of equal ones the order of the list of presets stays.
        candidates.sort_by_key(|candidate| (u64::MAX - candidate.agreeing, candidate.effort));
        let Some(best) = candidates.first() else {
            return Vec::new();
        };
        let is_beaten = |one: &Candidate| one.placed != best.placed && self.beats(best, one);
        let is_beaten: Vec<bool> = candidates.iter().map(is_beaten).collect();
        let mut explanations: Vec<Explanation> = Vec::new();
        let mut known = HashMap::<(Vec<u16>, bool), usize>::new();
        for (candidate, is_beaten) in candidates.into_iter().zip(is_beaten) {
            let Some(sureness) = self.judge(&candidate).filter(|_| !is_beaten) else {
                continue;
            };
            // Whether a client sorts its nodes or was given them so cannot be seen.
            let has_order = candidate.form.1.contains(&NodeChange::Order);
            let earlier = known.get(&(candidate.placed.clone(), has_order));
            if let Some(earlier) = earlier.and_then(|&number| explanations.get_mut(number)) {
                let is_known = earlier.ring == candidate.ring
                    || earlier.same.contains(&candidate.ring)
                    || earlier.alike.contains(&candidate.ring);
                if earlier.nodes == candidate.form.0 && !is_known {
                    earlier.alike.push(candidate.ring);
                }
            } else if explanations.len() < EXPLANATION_COUNT_MAX {
                let number = explanations.len();
                known.insert((candidate.placed.clone(), has_order), number);
                explanations.push(self.explanation(candidate, sureness));
            }
        }
        // What is told beside a surer one only because it is better than chance is
        // noise: rings of one family share many points.
        if let Some(best) = explanations.first().map(|best| best.sureness) {
            explanations.retain(|explanation| explanation.sureness == best);
        }
        explanations
    }

    fn explanation(&self, candidate: Candidate, sureness: Sureness) -> Explanation {
        let by_chance = self.by_chance(&candidate);
        let strays = self.sightings.iter().zip(&candidate.placed);
        let strays = strays.map(|(sighting, &placed)| {
            let wanted = usize::from(placed);
            (sighting.node != wanted).then_some(wanted)
        });
        let (nodes, changes) = candidate.form;
        let has_sockets = nodes.iter().any(|node| node.socket_path().is_some());
        let (mut same, mut alike) = (Vec::new(), Vec::new());
        for spec in Preset::ALL.iter().map(RingSpec::of) {
            let (Some(rule), Some(own)) = (spec.rule(), candidate.ring.rule()) else {
                continue;
            };
            if spec == candidate.ring {
                continue;
            }
            if rule.is_same_ring(own, has_sockets) {
                same.push(spec);
                continue;
            }
            let placed = place(rule, &nodes, self.sightings);
            let placed = match &candidate.order {
                Some(order) => placed.map(|placed| reorder(placed, order)),
                None => placed,
            };
            if placed.as_ref() == Some(&candidate.placed) {
                alike.push(spec);
            }
        }
        Explanation {
            strays: strays.collect(),
            ring: candidate.ring,
            nodes,
            changes,
            same,
            alike,
            agreeing: candidate.agreeing,
            by_chance,
            sureness,
        }
    }
}

/// Returns all orders of some indexes, that of the indexes first.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..count {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            let unused = (0..count).filter(|index| !order.contains(index));
            unused.map(|index| order.iter().copied().chain([index]).collect::<Vec<_>>())
        });
        orders = longer.collect();
    }
    orders
}

/// Returns the nodes by the order given, of those by another order.
fn reorder(placed: Vec<u16>, order: &[usize]) -> Vec<u16> {
    let numbers: Vec<u16> = order
        .iter()
        .map(|&index| u16::try_from(index).unwrap_or_default())
        .collect();
    let number = |slot: u16| numbers.get(usize::from(slot)).copied().unwrap_or_default();
    placed.into_iter().map(number).collect()
}

/// Returns the node of each key; none where the nodes make no such ring, or two
/// of them have one name on it.
fn place(rule: &RingRule, nodes: &[NodeSpec], sightings: &[Sighting]) -> Option<Vec<u16>> {
    if rule.distribution.uses_names() && has_shared_names(rule.labels, nodes) {
        return None;
    }
    // An unhashed prefix that no key has changes nothing.
    if let KeyPrefix::Unhashed(prefix) = &rule.routed_part.prefix
        && !sightings
            .iter()
            .any(|sighting| sighting.key.starts_with(prefix))
    {
        return None;
    }
    // Without its map it is only a ring for a power of two.
    if matches!(
        rule.distribution,
        Distribution::VirtualBucket { buckets: None }
    ) && !nodes.len().is_power_of_two()
    {
        return None;
    }
    let ring = Ring::new(rule, nodes).ok()?;
    let node = |sighting: &Sighting| u16::try_from(ring.locate(&sighting.key)).ok();
    sightings.iter().map(node).collect()
}

fn has_shared_names(labels: LabelRule, nodes: &[NodeSpec]) -> bool {
    let mut names: Vec<_> = nodes
        .iter()
        .filter_map(|node| labels.name(node).ok())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    names.len() != count
}

/// Finds the order of the nodes in which slots are theirs: the index of the node
/// that has most keys of each slot. None where that is the order given, or two
/// slots would be of one node.
fn find_order(placed: &[u16], sightings: &[Sighting], node_count: usize) -> Option<Vec<usize>> {
    let mut counts = HashMap::<(u16, usize), u64>::new();
    for (&slot, sighting) in placed.iter().zip(sightings) {
        *counts.entry((slot, sighting.node)).or_default() += 1;
    }
    let mut best = vec![(0_u64, None); node_count];
    for ((slot, node), count) in counts {
        if let Some(known) = best.get_mut(usize::from(slot))
            && (count, std::cmp::Reverse(node))
                > (known.0, std::cmp::Reverse(known.1.unwrap_or(usize::MAX)))
        {
            *known = (count, Some(node));
        }
    }
    let order: Option<Vec<usize>> = best.into_iter().map(|(_, node)| node).collect();
    let order = order?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    let is_permutation = sorted.iter().copied().eq(0..node_count);
    let is_changed = !order.iter().copied().eq(0..node_count);
    (is_permutation && is_changed).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str) -> Vec<NodeSpec> {
        text.split(' ').map(|node| node.parse().unwrap()).collect()
    }

    /// Keys where a client with that ring puts them, each found by the order in
    /// which the investigator names the nodes.
    fn sightings(
        ring: &str,
        clients: &str,
        named: &str,
        prefix: &str,
        count: u32,
    ) -> Vec<Sighting> {
        let spec: RingSpec = ring.parse().unwrap();
        let theirs = nodes(clients);
        let addresses: Vec<_> = nodes(named).iter().map(NodeSpec::address).collect();
        let placed = Ring::new(spec.rule().unwrap(), &theirs).unwrap();
        (0..count)
            .map(|number| {
                let key = format!("{prefix}user{number}:profile").into_bytes();
                let address = theirs[placed.locate(&key)].address();
                let node = addresses
                    .iter()
                    .position(|known| *known == address)
                    .unwrap();
                Sighting { key, node }
            })
            .collect()
    }

    fn best(sightings: &[Sighting], named: &str) -> Explanation {
        let nodes = nodes(named);
        let found = sightings.iter().map(|sighting| sighting.node);
        let populations = count_by_node(found, nodes.len());
        let mut found = explain(sightings, &nodes, &populations);
        assert!(!found.is_empty(), "no explanation");
        found.remove(0)
    }

    const NODES: &str = "10.0.0.1 10.0.0.2:11212 10.0.0.3";

    #[test]
    fn every_named_ring_is_found_by_its_own_keys() {
        for preset in Preset::ALL {
            let Some(rule) = preset.rule() else { continue };
            // Four, so that a virtual bucket without a map has all of them.
            let named = "10.0.0.1 10.0.0.2:11212 10.0.0.3 10.0.0.4";
            let prefix = match &rule.routed_part.prefix {
                KeyPrefix::Unhashed(prefix) => String::from_utf8(prefix.clone()).unwrap(),
                KeyPrefix::None | KeyPrefix::Hashed => String::new(),
            };
            // By the least difference of two rings, a hash of 15 bits that is never
            // 0, not every sample can tell them apart.
            let seen = sightings(preset.name, named, named, &prefix, 300);
            let found = explain(&seen, &nodes(named), &[]);
            let found = found.first().unwrap_or_else(|| panic!("{}", preset.name));
            let spec = RingSpec::of(preset);
            assert!(
                found.ring == spec || found.same.contains(&spec) || found.alike.contains(&spec),
                "{}: {}, {:?}",
                preset.name,
                found.ring,
                found.same
            );
            assert_eq!((found.agreeing, found.sureness), (300, Sureness::Certain));
        }
    }

    #[test]
    fn nodes_named_in_another_order_are_put_in_the_clients() {
        let theirs = "c b a";
        for ring in ["modula", "mcrouter", "memcached-proxy"] {
            let found = best(&sightings(ring, theirs, "a b c", "", 400), "a b c");
            assert_eq!(found.nodes, nodes(theirs), "{ring}");
            assert_eq!(found.changes, [NodeChange::Order], "{ring}");
            assert_eq!(found.strays().count(), 0);
        }
    }

    #[test]
    fn a_prefix_that_the_client_does_not_hash_is_found() {
        let ring = "dalli,prefix=app1:,char=signed";
        let found = best(&sightings(ring, NODES, NODES, "app1:", 400), NODES);
        assert_eq!(found.ring.to_string(), "dalli,prefix=app1:");
    }

    #[test]
    fn other_hashes_and_other_names_are_tried() {
        let seen = sightings("twemproxy,hash=murmur2", NODES, NODES, "", 400);
        let found = best(&seen, NODES);
        assert_eq!(found.ring.to_string(), "twemproxy,hash=murmur2");
        let (theirs, named) = (
            "localhost:1=127.0.0.1 localhost:2=127.0.0.1",
            "127.0.0.1:1 127.0.0.1:2",
        );
        let mut seen = sightings("xmemcached:ketama", theirs, theirs, "", 400);
        let found = best(&seen, named);
        assert!(found.alike.contains(&"xmemcached:ketama".parse().unwrap()));
        assert_eq!(found.changes, [NodeChange::NamedLocalhost]);
        assert_eq!(found.nodes, nodes(theirs));
        seen.truncate(10);
        assert!(explain(&seen, &nodes(named), &[]).len() < 2);
    }

    #[test]
    fn weights_that_were_not_given_are_guessed_from_the_shares() {
        let found = best(
            &sightings("ketama-weighted", "a b*2 c*3", "a b c", "", 2000),
            "a b c",
        );
        assert_eq!(found.ring.to_string(), "ketama-weighted");
        assert_eq!(found.nodes, nodes("a b*2 c*3"));
        let wrong = best(
            &sightings("gomemcache", "a b*2 c*3", "a b c", "", 2000),
            "a b*5 c",
        );
        assert_eq!(wrong.ring.to_string(), "gomemcache");
        assert_eq!(wrong.nodes, nodes("a b*2 c*3"));
    }

    #[test]
    fn strays_are_counted_and_named_with_where_they_belong() {
        let mut seen = sightings("dalli", NODES, NODES, "", 1000);
        let wanted = seen[17].node;
        seen[17].node = (wanted + 1) % 3;
        let found = best(&seen, NODES);
        assert_eq!((found.agreeing, found.sureness), (999, Sureness::Certain));
        assert_eq!(found.strays().collect::<Vec<_>>(), [(17, wanted)]);
    }

    #[test]
    fn keys_at_random_and_a_single_node_are_explained_by_no_ring() {
        let mut state = 1_u32;
        let mut at_random = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            usize::try_from(state >> 28).unwrap() % 3
        };
        let seen: Vec<_> = (0..2_000)
            .map(|number| Sighting {
                key: format!("key:{number}").into_bytes(),
                node: at_random(),
            })
            .collect();
        assert!(explain(&seen, &nodes(NODES), &[]).is_empty());
        let seen = sightings("modula", "a", "a", "", 10);
        assert!(explain(&seen, &nodes("a"), &[]).is_empty());
    }

    #[test]
    fn a_few_keys_make_no_ring_certain() {
        let seen = sightings("dalli", NODES, NODES, "", 8);
        let found = explain(&seen, &nodes(NODES), &[]);
        assert!(found.iter().all(|found| found.sureness < Sureness::Certain));
    }

    #[test]
    fn what_chance_does_is_no_explanation() {
        // A node that has just started: nearly all keys are on the other.
        let seen: Vec<_> = (0..1_040)
            .map(|number| Sighting {
                key: format!("key:{number}").into_bytes(),
                node: usize::from(number % 26 == 0),
            })
            .collect();
        let found = explain(&seen, &nodes("127.0.0.1:1 127.0.0.1:2"), &[100_000, 40]);
        assert!(found.is_empty(), "{found:?}");
        // The true ring is found where it has nearly all on one node, too.
        let named = "a*20 b";
        let seen = sightings("dalli", named, named, "", 3_000);
        let found = explain(&seen, &nodes(named), &[]);
        assert_eq!(found[0].ring.to_string(), "dalli", "{found:?}");
    }

    #[test]
    fn a_ring_against_which_keys_speak_is_not_told_beside_one_that_has_them_all() {
        let named = "10.0.0.1:11411 10.0.0.2:11411 10.0.0.3:11411";
        let found = explain(
            &sightings("ketama-weighted", named, named, "", 3_000),
            &nodes(named),
            &[],
        );
        let rings: Vec<_> = found.iter().map(|found| found.ring.to_string()).collect();
        assert_eq!(rings, ["ketama-weighted"]);
        // spymemcached's ring is another one elsewhere.
        let spec = |name: &str| name.parse::<RingSpec>().unwrap();
        assert!(found[0].alike.contains(&spec("spymemcached:ketama")));
        assert!(found[0].same.contains(&spec("pylibmc:ketama-weighted")));
        assert!(!found[0].same.contains(&spec("spymemcached:ketama")));
    }

    #[test]
    fn nodes_with_weights_in_another_order_are_put_in_the_clients() {
        let theirs = "a:1 b:1*2 c:1";
        let found = best(
            &sightings("gomemcache", theirs, "b:1 a:1 c:1", "", 600),
            "b:1*2 a:1 c:1",
        );
        assert_eq!(
            (found.ring.to_string(), found.nodes),
            ("gomemcache".to_owned(), nodes(theirs))
        );
    }

    #[test]
    fn a_list_in_another_order_is_likelier_than_a_client_that_sorts() {
        let theirs = "a:1 b:1 c:1";
        let found = best(
            &sightings("modula", theirs, "c:1 a:1 b:1", "", 600),
            "c:1 a:1 b:1",
        );
        assert_eq!(found.ring.to_string(), "modula");
        assert_eq!(found.nodes, nodes(theirs));
    }

    #[test]
    fn one_ring_can_be_asked_for_by_itself() {
        let seen = sightings("dalli", NODES, NODES, "", 600);
        let by = |ring: &str| explain_by(&ring.parse().unwrap(), &seen, &nodes(NODES)).unwrap();
        assert_eq!(by("dalli").sureness, Sureness::Certain);
        assert_eq!(by("modula").sureness, Sureness::No);
    }
}
