//! Tries rings on keys: where each one places them, and how that compares with chance and
//! with the others.

use std::collections::{HashMap, HashSet};

use crate::codecs::ring::evidence::explanation::{
    Explanation, NodeChange, Sighting, Sureness, count_by_node,
};
use crate::codecs::ring::evidence::guesses::{
    NodeForm, WEIGHT_MAX, permutations, reduce_weights, variations,
};
use crate::codecs::ring::order::NodeOrder;
use crate::codecs::ring::placement::{Ring, check_names};
use crate::codecs::ring::preset::Preset;
use crate::codecs::ring::routed_part::KeyPrefix;
use crate::codecs::ring::rule::{Distribution, RingRule};
use crate::codecs::ring::spec::RingSpec;
use crate::words::node::NodeSpec;
use crate::words::units::{to_f64, to_u64};

/// Most explanations to report.
const EXPLANATION_COUNT_MAX: usize = 5;

/// One ring with its nodes, after a trial.
pub(super) struct Candidate {
    ring: RingSpec,
    form: NodeForm,
    agreeing: u64,
    /// Fraction of the keys that chance would place right.
    by_chance: f64,
    /// Number of independent keys: keys of which the ring hashes the same part are always
    /// together, and count as one.
    independent: u64,
    /// The node where it places each key, by the given order of nodes.
    placed: Vec<u16>,
    /// For reordered nodes, the index of each in the given order.
    order: Option<Vec<usize>>,
    /// How many changes it needs.
    effort: usize,
}

/// All rings that were tried and are better than chance.
pub(super) struct Trial<'a> {
    sightings: &'a [Sighting],
    nodes: &'a [NodeSpec],
    found: Vec<u64>,
    pub(super) has_non_ascii: bool,
    candidates: Vec<Candidate>,
    tried: u64,
}

impl<'a> Trial<'a> {
    pub(super) fn new(sightings: &'a [Sighting], nodes: &'a [NodeSpec]) -> Self {
        Self {
            sightings,
            nodes,
            found: count_by_node(sightings.iter().map(|sighting| sighting.node), nodes.len()),
            has_non_ascii: sightings.iter().any(|sighting| !sighting.key.is_ascii()),
            candidates: Vec::new(),
            tried: 0,
        }
    }

    /// Tries rings with all forms of the nodes.
    pub(super) fn try_all(&mut self, rings: &[RingSpec], forms: &[NodeForm]) {
        for (ring, rule) in distinct(rings) {
            for (nodes, changes) in forms {
                let matters = changes.iter().all(|change| match change {
                    NodeChange::Order => true,
                    NodeChange::WeightsIgnored | NodeChange::WeightsGuessed => {
                        rule.distribution.uses_weights()
                    }
                    NodeChange::NamedByAddress | NodeChange::NamedLocalhost => {
                        rule.distribution.uses_names() || rule.node_order != NodeOrder::AsGiven
                    }
                });
                if matters {
                    self.try_one(ring, rule, nodes, changes);
                }
            }
        }
    }

    /// Tries every order of a few nodes with weights: the keys show which node has a
    /// bucket only if each node has one bucket.
    pub(super) fn try_orders(&mut self, rings: &[RingSpec]) {
        const NODE_COUNT_MAX: usize = 5;
        let is_equal = self.nodes.iter().all(|node| node.weight == 1);
        if is_equal || self.nodes.len() > NODE_COUNT_MAX {
            return;
        }
        let orders = permutations(self.nodes.len());
        for (ring, rule) in distinct(rings) {
            if !(goes_by_order(rule) && rule.distribution.uses_weights()) {
                continue;
            }
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

    /// Tries rings with guessed weights: all guesses on few keys, since some rings are
    /// slow, and the best ones on all keys.
    pub(super) fn try_weights(&mut self, rings: &[RingSpec], guesses: &[Vec<NodeSpec>]) {
        const FEW: usize = 500;
        const BEST_COUNT: usize = 12;
        /// Guesses to try for a ring of points, where similar weights place most keys alike.
        const GUESS_COUNT_MAX: usize = 24;
        let few = self.sightings.len().div_ceil(FEW).max(1);
        let few: Vec<Sighting> = self.sightings.iter().step_by(few).cloned().collect();
        let mut tried = Vec::new();
        for (ring, rule) in distinct(rings) {
            if !rule.distribution.uses_weights() {
                continue;
            }
            let step = match goes_by_order(rule) {
                true => 1,
                false => guesses.len().div_ceil(GUESS_COUNT_MAX).max(1),
            };
            for nodes in guesses.iter().step_by(step) {
                self.tried += 1;
                if let Some(placed) = place(rule, nodes, &few) {
                    tried.push((count_agreeing(&few, &placed), ring, rule, nodes));
                }
            }
        }
        // The sort is stable: among equal ones, the least weights come first.
        tried.sort_by_key(|&(agreeing, ..)| std::cmp::Reverse(agreeing));
        for (_, ring, rule, nodes) in tried.into_iter().take(BEST_COUNT) {
            self.try_one(ring, rule, nodes, &[NodeChange::WeightsGuessed]);
        }
    }

    /// Takes the best guesses of weights, and changes the weight of one node after
    /// another as long as more keys agree.
    pub(super) fn improve_weights(&mut self) {
        const START_COUNT_MAX: usize = 6;
        const ROUND_COUNT_MAX: usize = 8;
        let guessed = self.candidates.iter();
        let guessed = guessed.filter(|one| one.form.1.contains(&NodeChange::WeightsGuessed));
        let mut guessed: Vec<&Candidate> = guessed.collect();
        guessed.sort_by_key(|one| std::cmp::Reverse(one.agreeing));
        let start = |one: &&Candidate| (one.ring.clone(), one.form.clone(), one.agreeing);
        let starts: Vec<_> = guessed.iter().take(START_COUNT_MAX).map(start).collect();
        for (ring, (mut nodes, changes), mut agreeing) in starts {
            let Some(rule) = ring.rule() else { continue };
            let mut best = None;
            for _ in 0..ROUND_COUNT_MAX {
                let before = agreeing;
                for (index, by) in (0..nodes.len()).flat_map(|index| [(index, 1), (index, -1)]) {
                    let mut changed = nodes.clone();
                    if let Some(node) = changed.get_mut(index) {
                        let weight = node.weight.saturating_add_signed(by);
                        node.weight = weight.clamp(1, WEIGHT_MAX);
                    }
                    let Some(placed) = place(rule, &changed, self.sightings) else {
                        continue;
                    };
                    let count = count_agreeing(self.sightings, &placed);
                    if count > agreeing {
                        (agreeing, nodes, best) = (count, changed, Some(placed));
                    }
                }
                if agreeing == before {
                    break;
                }
            }
            if let Some(placed) = best {
                let reduced = reduce_weights(&nodes);
                if place(rule, &reduced, self.sightings).as_ref() == Some(&placed) {
                    nodes = reduced;
                }
                self.keep(&ring, (nodes, changes), placed, None);
                if self.is_explained() {
                    break;
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
        // A ring that needs unknown addresses cannot be tried, and two nodes with one name do
        // not make a ring.
        let Some(placed) = place(rule, nodes, self.sightings) else {
            return;
        };
        let is_equal = nodes.iter().all(|node| node.weight == 1);
        let may_reorder = goes_by_order(rule) && (is_equal || !rule.distribution.uses_weights());
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

    pub(super) fn candidate(
        &self,
        ring: &RingSpec,
        form: NodeForm,
        placed: Vec<u16>,
        order: Option<Vec<usize>>,
    ) -> Candidate {
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
            agreeing: count_agreeing(self.sightings, &placed),
            by_chance: self.by_chance(&placed),
            independent: self.count_independent(ring),
            placed,
            order,
        }
    }

    fn count_independent(&self, ring: &RingSpec) -> u64 {
        let routed_part = ring.rule().map(|rule| &rule.routed_part);
        let Some(routed_part) = routed_part.filter(|part| part.cuts()) else {
            return to_u64(self.sightings.len());
        };
        let hashed = self.sightings.iter();
        let hashed: HashSet<_> = hashed
            .map(|sighting| routed_part.of(&sighting.key))
            .collect();
        to_u64(hashed.len())
    }

    fn by_chance(&self, placed: &[u16]) -> f64 {
        let placed = placed.iter().map(|&node| usize::from(node));
        let placed = count_by_node(placed, self.nodes.len());
        let total = to_f64(to_u64(self.sightings.len()));
        let shares = self.found.iter().zip(&placed);
        shares
            .map(|(&found, &placed)| to_f64(found) / total * (to_f64(placed) / total))
            .sum()
    }

    /// Returns how certain a ring is; `None` if it is no better than chance.
    pub(super) fn judge(&self, candidate: &Candidate) -> Option<Sureness> {
        /// Required evidence against chance in powers of ten: one in a million.
        const EVIDENCE_MIN: f64 = 6.0;
        let total = to_f64(to_u64(self.sightings.len()));
        let share = to_f64(candidate.agreeing) / total;
        let chance = candidate.by_chance.clamp(1e-9, 1.0 - 1e-9);
        if share <= chance {
            return None;
        }
        // The powers of ten by which an unrelated ring with these shares is less likely to
        // place so many keys right (the divergence of the two shares), in any of all trials.
        let term = |part: f64, of: f64| match part > 0.0 {
            true => part * (part / of).log10(),
            false => 0.0,
        };
        let divergence = term(share, chance) + term(1.0 - share, 1.0 - chance);
        // An order of the nodes that was derived from the keys is one of all orders.
        let orders = match &candidate.order {
            Some(order) => (1..=order.len()).map(|n| to_f64(to_u64(n)).log10()).sum(),
            None => 0.0,
        };
        let trials = to_f64(self.tried.max(1)).log10() + orders;
        let evidence = to_f64(candidate.independent) * divergence - trials;
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

    /// Returns whether the keys that two rings place differently favour the first one,
    /// beyond what chance and a few strays can do.
    fn beats(&self, one: &Candidate, other: &Candidate) -> bool {
        /// Powers of ten by which the other one must be less likely.
        const EVIDENCE_MIN: f64 = 3.0;
        let (mut for_one, mut for_other) = (0_u64, 0_u64);
        let (mut alike, mut strays) = (0_u64, 0_u64);
        let placed = one.placed.iter().zip(&other.placed);
        for (sighting, (&one, &other)) in self.sightings.iter().zip(placed) {
            let (is_of_one, is_of_other) = (
                sighting.node == usize::from(one),
                sighting.node == usize::from(other),
            );
            if one != other {
                for_one += u64::from(is_of_one);
                for_other += u64::from(is_of_other);
            } else {
                alike += 1;
                strays += u64::from(!is_of_one);
            }
        }
        if for_other == 0 {
            // If the other ring were right, each of these keys would be a stray, and exactly
            // here: as likely as strays are where the two rings agree (by the rule of succession,
            // since having seen none does not mean that there are none).
            let stray_share = to_f64(strays + 1) / to_f64(alike + 2);
            return -to_f64(for_one) * stray_share.log10() >= EVIDENCE_MIN;
        }
        // Keys that favour both come from two clients, or are random.
        to_f64(for_one) - to_f64(for_other) >= 3.0 * to_f64(for_one + for_other).sqrt()
    }

    pub(super) fn is_explained(&self) -> bool {
        let mut candidates = self.candidates.iter();
        candidates.any(|candidate| self.is_certain(candidate))
    }

    /// Returns whether some ring explains the keys without changes to the nodes.
    pub(super) fn is_explained_as_given(&self) -> bool {
        let mut as_given = self.candidates.iter().filter(|one| one.form.1.is_empty());
        as_given.any(|candidate| self.is_certain(candidate))
    }

    fn is_certain(&self, candidate: &Candidate) -> bool {
        self.judge(candidate) == Some(Sureness::Certain)
    }

    pub(super) fn into_explanations(mut self) -> Vec<Explanation> {
        let mut candidates = std::mem::take(&mut self.candidates);
        // The sort is stable: equal ones stay in the order of presets.
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
            // Keys do not show whether a client sorts its nodes or was given them sorted.
            let has_order = candidate.order.is_some();
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
        // An explanation that is less certain than the best one, but better than chance, is
        // noise: rings of one family share many points.
        if let Some(best) = explanations.first().map(|best| best.sureness) {
            explanations.retain(|explanation| explanation.sureness == best);
        }
        explanations
    }

    pub(super) fn explanation(&self, candidate: Candidate, sureness: Sureness) -> Explanation {
        let strays = self.sightings.iter().zip(&candidate.placed);
        let strays = strays.map(|(sighting, &placed)| {
            let wanted = usize::from(placed);
            (sighting.node != wanted).then_some(wanted)
        });
        let (nodes, changes) = candidate.form;
        let has_sockets = nodes.iter().any(|node| node.socket_path().is_some());
        let (mut same, mut alike) = (Vec::new(), Vec::new());
        let named = Preset::ALL.iter().map(RingSpec::of);
        let named = named.map(|spec| match candidate.ring.prefix() {
            Some(prefix) => spec.clone().with("prefix", prefix).unwrap_or(spec),
            None => spec,
        });
        // Of the variations, keep only those that are not named rings.
        let named: Vec<RingSpec> = named.collect();
        let is_new = |spec: &RingSpec| {
            let rule = spec.rule();
            let is_same = |known: &RingSpec| {
                let rules = known.rule().zip(rule);
                rules.is_some_and(|(known, rule)| known.is_same_ring(rule, true))
            };
            !named.iter().any(is_same)
        };
        let others: Vec<RingSpec> = variations().into_iter().filter(is_new).collect();
        for spec in named.into_iter().chain(others) {
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
            by_chance: candidate.by_chance,
            sureness,
        }
    }
}

/// Counts the keys that were found where a ring places them.
fn count_agreeing(sightings: &[Sighting], placed: &[u16]) -> u64 {
    let agreeing = sightings.iter().zip(placed);
    let agreeing = agreeing.filter(|(sighting, placed)| sighting.node == usize::from(**placed));
    to_u64(agreeing.count())
}

/// Returns each distinct rule with the first of its names.
fn distinct(rings: &[RingSpec]) -> Vec<(&RingSpec, &RingRule)> {
    let mut distinct: Vec<(&RingSpec, &RingRule)> = Vec::new();
    for ring in rings {
        if let Some(rule) = ring.rule()
            && distinct.iter().all(|(_, known)| *known != rule)
        {
            distinct.push((ring, rule));
        }
    }
    distinct
}

/// Returns whether a node is identified only by its position in the list.
fn goes_by_order(rule: &RingRule) -> bool {
    !rule.distribution.uses_names() && rule.node_order == NodeOrder::AsGiven
}

/// Converts node numbers from another order to the given order.
fn reorder(placed: Vec<u16>, order: &[usize]) -> Vec<u16> {
    let numbers: Vec<u16> = order
        .iter()
        .map(|&index| u16::try_from(index).unwrap_or_default())
        .collect();
    let number = |slot: u16| numbers.get(usize::from(slot)).copied().unwrap_or_default();
    placed.into_iter().map(number).collect()
}

/// Returns the node of each key; `None` if no such ring can be built from the nodes, or
/// two of them have the same name on it.
pub(super) fn place(
    rule: &RingRule,
    nodes: &[NodeSpec],
    sightings: &[Sighting],
) -> Option<Vec<u16>> {
    check_names(rule, nodes).ok()?;
    // An unhashed prefix that no key has changes nothing.
    if let KeyPrefix::Unhashed(prefix) = &rule.routed_part.prefix
        && !sightings
            .iter()
            .any(|sighting| sighting.key.starts_with(prefix))
    {
        return None;
    }
    // Without its map, it only covers all nodes if their number is a power of two.
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

/// Finds the order of the nodes that matches slots: for each slot, the index of the node
/// with most of its keys. `None` if that is the given order, or if a node would get two
/// slots.
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
