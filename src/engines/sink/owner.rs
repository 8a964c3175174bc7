//! Finds which keys the owners in a selection have, by the client's ring.

use std::sync::Arc;

use crate::codecs::ring::{Placement, RingSpec};
use crate::codecs::select::{OwnerAnswer, OwnerQuestion, Selection};
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// Defaults for `owner` terms without a ring or nodes of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnerDefaults<'a> {
    /// How the client places keys.
    pub ring: Option<&'a RingSpec>,
    /// All nodes of the ring, in the order of the client's configuration; empty if their
    /// labels and weights are not known.
    pub nodes: &'a [NodeSpec],
}

/// Gives each `owner` term its ring.
///
/// # Errors
///
/// - `InvalidInput`: a term has no ring or no nodes and there is no default, the nodes
///   make no ring, or an owner is not one of them.
pub fn bind_owners(selection: &Selection, defaults: OwnerDefaults<'_>) -> Result<Selection> {
    let mut answer = |question: &OwnerQuestion<'_>| answer(question, defaults);
    selection.clone().bind(&mut answer)
}

fn answer(question: &OwnerQuestion<'_>, defaults: OwnerDefaults<'_>) -> Result<OwnerAnswer> {
    let owners: Vec<String> = question.owners.iter().map(NodeSpec::address).collect();
    let invalid = |reason: String| Error::invalid_input("owner", owners.join(","), reason);
    let form = "owner=OWNER,.../RING/NODE,...";
    let spec = match (question.ring, defaults.ring) {
        (Some(name), _) => name.parse()?,
        (None, Some(spec)) => spec.clone(),
        (None, None) => {
            return Err(invalid(format!("of which ring? write {form}")));
        }
    };
    let nodes = question.nodes.unwrap_or(defaults.nodes);
    if nodes.is_empty() {
        return Err(invalid(format!("of which nodes? write {form}")));
    }
    let ring = match Placement::new(&spec, nodes)? {
        Placement::Ring(ring) => ring,
        Placement::NodeForNode => {
            let reason = "node-for-node is no ring: no key says where it belongs";
            return Err(invalid(reason.to_owned()));
        }
    };
    let is_owner: Vec<bool> = nodes
        .iter()
        .map(|node| owners.contains(&node.address()))
        .collect();
    for owner in &owners {
        if !nodes.iter().any(|node| node.address() == *owner) {
            return Err(invalid(format!("{owner} is not a node of the ring")));
        }
    }
    Ok(OwnerAnswer {
        ring: spec.to_string(),
        nodes: nodes.to_vec(),
        owns: Arc::new(move |key| is_owner.get(ring.locate(key)) == Some(&true)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::ring::{Ring, RingRule};
    use crate::codecs::select::{Candidate, Judgement};
    use crate::words::item::ItemMeta;
    use crate::words::units::UnixSecs;

    fn nodes(texts: &[&str]) -> Vec<NodeSpec> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn bind(text: &str, ring: Option<&str>, all: &[&str]) -> Result<Selection> {
        let ring: Option<RingSpec> = ring.map(|ring| ring.parse().unwrap());
        let defaults = OwnerDefaults {
            ring: ring.as_ref(),
            nodes: &nodes(all),
        };
        bind_owners(&Selection::parse(text)?, defaults)
    }

    fn keeps(selection: &Selection, key: &[u8]) -> bool {
        let candidate = Candidate::new(key, None, &ItemMeta::default(), UnixSecs(0));
        let judgement = selection.judge(&candidate);
        assert_ne!(judgement, Judgement::Unknown);
        judgement.keeps()
    }

    #[test]
    fn keys_are_kept_where_the_client_looks_for_them() {
        let all = ["a:1", "b:1*3", "c:1"];
        let rule = RingRule::ketama_weighted();
        let ring = Ring::new(&rule, &nodes(&all)).unwrap();
        let spelled = bind("owner=b:1,c:1/ketama-weighted/a:1,b:1*3,c:1", None, &[]).unwrap();
        let short = bind("owner=b:1,c:1", Some("ketama-weighted"), &all).unwrap();
        let half = bind("owner=b:1,c:1/ketama-weighted", None, &all).unwrap();
        let other = bind("owner!=a:1", Some("ketama-weighted"), &all).unwrap();
        // The text form of the short term spells everything out.
        assert_eq!(short, spelled);
        let again = bind(&short.to_string(), None, &[]).unwrap();
        for number in 0..1000 {
            let key = format!("user:{number}").into_bytes();
            let wanted = ring.locate(&key) != 0;
            for selection in [&spelled, &short, &half, &other, &again] {
                assert_eq!(keeps(selection, &key), wanted, "{selection} of {number}");
            }
        }
    }

    #[test]
    fn an_owner_without_its_ring_is_refused_with_what_to_write() {
        let modula = Some("modula");
        for (text, ring, all, message) in [
            (
                "owner=a:1",
                None,
                &["a:1"][..],
                "owner \"a:1\": of which ring? write owner=OWNER,.../RING/NODE,...",
            ),
            (
                "owner=a:1/modula",
                None,
                &[],
                "owner \"a:1\": of which nodes? write owner=OWNER,.../RING/NODE,...",
            ),
            (
                "not owner=c",
                modula,
                &["a:1", "b:1"],
                "owner \"c:11211\": c:11211 is not a node of the ring",
            ),
            (
                "owner=a:1/modulo/a:1",
                None,
                &[],
                "ring \"modulo\": there is modula; `mcsnap ring list` shows all",
            ),
            (
                "owner=a:1/node-for-node/a:1,b:1",
                None,
                &[],
                "owner \"a:1\": node-for-node is no ring: no key says where it belongs",
            ),
            (
                "owner=a:1/ketama/a:1,a:1",
                None,
                &[],
                "node \"a:1\": has the same address as node \"a:1\" before it",
            ),
        ] {
            let error = bind(text, ring, all).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
