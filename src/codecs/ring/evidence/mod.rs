//! Finds the ring that a client uses from where its keys were found.
//!
//! It tries every named ring, then rings with other hashes, prefixes that are not hashed,
//! and nodes under other names, in another order, or with weights that their shares of
//! the keys suggest. A ring that places the keys where they were found is an explanation.
//! The more nodes and keys there are, the less likely an unrelated ring does so by
//! chance.

mod explanation;
mod guesses;
mod trial;

use crate::codecs::ring::evidence::guesses::{
    common_prefixes, guess_weights, node_forms, variations, with_part,
};
use crate::codecs::ring::evidence::trial::{Trial, place};
use crate::codecs::ring::preset::Preset;
use crate::codecs::ring::spec::RingSpec;
use crate::words::node::NodeSpec;

pub use explanation::{Explanation, NodeChange, Sighting, Sureness, count_by_node};

/// Finds the rings that explain where keys were found, best first. The result is empty if
/// no ring does, or if there are fewer than two nodes.
///
/// `populations` is the number of items on each node, from which weights are guessed.
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
    // Among several names of one ring, a client's default is likelier than a setting.
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
        let guesses = guess_weights(populations, nodes);
        trial.try_weights(&named, &guesses);
    }
    if !trial.is_explained() {
        trial.improve_weights();
    }
    // What fits only with reordered nodes may be another hash.
    if !trial.is_explained_as_given() {
        trial.try_all(&variations(), &forms);
    }
    if !trial.is_explained() {
        for prefix in common_prefixes(sightings) {
            trial.try_all(&with_part(&named, "prefix", &prefix), &forms);
        }
    }
    trial.into_explanations()
}

/// Returns how well one ring explains where keys were found, with the nodes as given;
/// `None` if it hashes nothing or cannot be built from these nodes.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::ring::placement::Ring;
    use crate::codecs::ring::routed_part::KeyPrefix;

    fn nodes(text: &str) -> Vec<NodeSpec> {
        text.split(' ').map(|node| node.parse().unwrap()).collect()
    }

    /// Returns keys where a client with that ring puts them, with nodes numbered in the
    /// investigator's order.
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
            // Four nodes, so that a virtual bucket without a map has all of them.
            let named = "10.0.0.1 10.0.0.2:11212 10.0.0.3 10.0.0.4";
            let prefix = match &rule.routed_part.prefix {
                KeyPrefix::Unhashed(prefix) => String::from_utf8(prefix.clone()).unwrap(),
                KeyPrefix::None | KeyPrefix::Hashed => String::new(),
            };
            // Where two rings differ least, by a 15-bit hash that is never 0, not every sample
            // can distinguish them.
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
        // All clients that would have the prefix are listed.
        let ring = "php-memcached,prefix=app1:";
        let found = best(&sightings(ring, NODES, NODES, "app1:", 400), NODES);
        assert!(
            found.same.contains(&ring.parse().unwrap()),
            "{}",
            found.ring
        );
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
    fn weights_are_found_however_the_shares_of_points_waver() {
        // The third node has 4.5 times as many keys as the first, not three times.
        let named = "127.0.0.1:34456 127.0.0.1:47979 127.0.0.1:57335";
        let theirs = "127.0.0.1:34456 127.0.0.1:47979*2 127.0.0.1:57335*3";
        let found = best(
            &sightings("ketama-weighted", theirs, named, "", 3_000),
            named,
        );
        assert_eq!(found.nodes, nodes(theirs));
        // Too many nodes to try all combinations of weights.
        let named: Vec<String> = (1..=14).map(|number| format!("10.0.0.{number}")).collect();
        let theirs = named.iter().zip([1, 2, 1, 4, 1, 1, 2, 1, 1, 3, 1, 1, 2, 4]);
        let theirs: Vec<String> = theirs
            .map(|(node, weight)| format!("{node}*{weight}"))
            .collect();
        let (named, theirs) = (named.join(" "), theirs.join(" "));
        for ring in ["ketama-weighted", "python-memcached"] {
            let found = best(&sightings(ring, &theirs, &named, "", 2_800), &named);
            assert_eq!(found.ring.to_string(), ring);
            assert_eq!(found.nodes, nodes(&theirs), "{ring}");
        }
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
        // The true ring is found even if nearly all its keys are on one node.
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
        // spymemcached's ring differs on other nodes.
        let spec = |name: &str| name.parse::<RingSpec>().unwrap();
        assert!(found[0].alike.contains(&spec("spymemcached:ketama")));
        assert!(found[0].same.contains(&spec("pylibmc:ketama-weighted")));
        assert!(!found[0].same.contains(&spec("spymemcached:ketama")));
    }

    #[test]
    fn one_key_that_speaks_against_a_ring_is_enough_where_nothing_strays() {
        // Enyim's ring differs for one of these keys.
        let named = "127.0.0.1:40731 127.0.0.1:43853 127.0.0.1:46559";
        let enyim: RingSpec = "enyim:ketama".parse().unwrap();
        let rings = |seen: &[Sighting]| -> Vec<String> {
            let found = explain(seen, &nodes(named), &[]);
            let rings = found.iter().map(|found| found.ring.to_string());
            rings.collect()
        };
        let key = |number: u32| format!("user:{number}:profile").into_bytes();
        let spec: RingSpec = "ketama-weighted".parse().unwrap();
        let ring = Ring::new(spec.rule().unwrap(), &nodes(named)).unwrap();
        let theirs = Ring::new(enyim.rule().unwrap(), &nodes(named)).unwrap();
        let seen: Vec<_> = (0..3_000)
            .map(|number| Sighting {
                key: key(number),
                node: ring.locate(&key(number)),
            })
            .collect();
        let differing: Vec<usize> = (0..seen.len())
            .filter(|&number| theirs.locate(&seen[number].key) != seen[number].node)
            .collect();
        assert_eq!(differing.len(), 1);
        assert_eq!(rings(&seen), ["ketama-weighted"]);
        // If other keys stray, this one may be a stray itself.
        let mut some_stray = seen.clone();
        for stray in some_stray.iter_mut().skip(1 + differing[0]).take(100) {
            stray.node = (stray.node + 1) % 3;
        }
        assert_eq!(rings(&some_stray), ["ketama-weighted", "enyim:ketama"]);
    }

    #[test]
    fn keys_that_a_ring_hashes_alike_are_one_piece_of_evidence() {
        // No ring explains this: an application keeps two caches.
        let named = "127.0.0.1:1 127.0.0.2:1";
        for (first, second) in [("sess", "cache"), ("a", "b"), ("user", "feed")] {
            let seen: Vec<_> = (0..2_000)
                .map(|number| {
                    let (node, name) = [(0, first), (1, second)][number % 2];
                    let key = format!("{name}:{number}").into_bytes();
                    Sighting { key, node }
                })
                .collect();
            let found = explain(&seen, &nodes(named), &[1_000, 1_000]);
            let is_certain = |one: &Explanation| one.sureness == Sureness::Certain;
            assert!(!found.iter().any(is_certain), "{first}");
        }
        // With many such parts, the ring is found as usual.
        let ring: RingSpec = "evcache:partial-key".parse().unwrap();
        let named = "10.0.0.1=10.0.0.1 10.0.0.2=10.0.0.2";
        let placed = Ring::new(ring.rule().unwrap(), &nodes(named)).unwrap();
        let seen: Vec<_> = (0..1_000)
            .map(|number| format!("user{}:{number}", number % 50).into_bytes())
            .map(|key| Sighting {
                node: placed.locate(&key),
                key,
            })
            .collect();
        assert_eq!(best(&seen, named).ring, ring);
    }

    #[test]
    fn an_order_that_a_few_keys_suggest_is_not_certain() {
        let theirs = "i h g f e d c b a";
        let given = "a b c d e f g h i";
        let all = sightings("gomemcache", theirs, given, "", 400);
        let one_each: Vec<Sighting> = (0..9)
            .map(|node| all.iter().find(|seen| seen.node == node).unwrap().clone())
            .collect();
        let found = explain(&one_each, &nodes(given), &[1; 9]);
        let is_certain = |one: &Explanation| one.sureness == Sureness::Certain;
        assert!(!found.iter().any(is_certain));
        assert_eq!(best(&all, given).nodes, nodes(theirs));
    }

    #[test]
    fn a_hash_that_needs_no_other_order_is_told_beside_one_that_does() {
        // With two nodes only the lowest bit counts, and it is the same in all FNVs.
        let ring = "libmemcached,hash=fnv1a-32";
        let named = "127.0.0.1:2 127.0.0.1:1";
        let seen = sightings(ring, named, named, "", 2_000);
        let found = explain(&seen, &nodes(named), &[1_000, 1_000]);
        let ring: RingSpec = ring.parse().unwrap();
        let mut told = found.iter().filter(|one| one.changes.is_empty());
        assert!(
            told.any(|one| one.ring == ring
                || one.same.contains(&ring)
                || one.alike.contains(&ring)),
            "not told"
        );
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
