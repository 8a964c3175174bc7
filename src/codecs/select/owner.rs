//! Selects keys by the node that owns them; the rings themselves are implemented
//! elsewhere.

use std::fmt;
use std::sync::Arc;

use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// The question of an `owner` term, for a caller that can build rings.
#[derive(Clone, Copy, Debug)]
pub struct OwnerQuestion<'a> {
    /// The nodes whose keys are kept.
    pub owners: &'a [NodeSpec],
    /// The ring's name, if the term gives one.
    pub ring: Option<&'a str>,
    /// All nodes of the ring, if the term gives them.
    pub nodes: Option<&'a [NodeSpec]>,
}

/// Returns whether one of the owners has a key.
pub type Owns = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// The answer for an `owner` term.
#[derive(Clone)]
pub struct OwnerAnswer {
    /// The ring's name.
    pub ring: String,
    /// All its nodes, in the order of the client's configuration.
    pub nodes: Vec<NodeSpec>,
    /// Returns whether one of the owners has a key.
    pub owns: Owns,
}

impl fmt::Debug for OwnerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OwnerAnswer");
        let shown = shown.field("ring", &self.ring);
        shown.field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// The value of an `owner` term, `OWNER,.../RING/NODE,...`; ring and nodes may be
/// omitted.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    owners: Vec<NodeSpec>,
    ring: Option<String>,
    nodes: Option<Vec<NodeSpec>>,
    owns: Option<OwnerAnswer>,
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Owner {
    /// Parses the value of a term.
    ///
    /// # Errors
    ///
    /// - A description of what is wrong with it.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut parts = text.splitn(3, '/');
        let owners = parse_nodes(parts.next().unwrap_or_default())?;
        let ring = parts.next().map(str::to_owned);
        if ring.as_ref().is_some_and(String::is_empty) {
            return Err("wanted the name of a ring after the first /".to_owned());
        }
        let nodes = parts.next().map(parse_nodes).transpose()?;
        Ok(Self {
            ring,
            nodes,
            ..Self::of(&owners)
        })
    }

    /// Makes the term for these owners, without a ring yet.
    pub(super) fn of(owners: &[NodeSpec]) -> Self {
        // An owner is identified by its address.
        let bare = |node: &NodeSpec| NodeSpec::new(node.host.clone(), node.port);
        Self {
            owners: owners.iter().map(bare).collect(),
            ring: None,
            nodes: None,
            owns: None,
        }
    }

    /// Returns whether one of the owners has a key; `None` until a ring is bound.
    pub(super) fn owns(&self, key: &[u8]) -> Option<bool> {
        self.owns.as_ref().map(|answer| (answer.owns)(key))
    }

    /// Resolves the term.
    ///
    /// # Errors
    ///
    /// - Any error of `answer`.
    /// - `InvalidInput`: the name of a node cannot be written here.
    pub(super) fn bind(
        &mut self,
        answer: &mut dyn FnMut(&OwnerQuestion<'_>) -> Result<OwnerAnswer>,
    ) -> Result<()> {
        let answer = answer(&OwnerQuestion {
            owners: &self.owners,
            ring: self.ring.as_deref(),
            nodes: self.nodes.as_deref(),
        })?;
        for node in &answer.nodes {
            let text = node.to_string();
            let is_read_back = parse_nodes(&text).is_ok_and(|nodes| nodes == [node.clone()]);
            if !is_read_back {
                let allowed = "its label cannot be written in a selection";
                return Err(Error::invalid_input("node", text, allowed));
            }
        }
        self.ring = Some(answer.ring.clone());
        self.nodes = Some(answer.nodes.clone());
        self.owns = Some(answer);
        Ok(())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_nodes(&self.owners, f)?;
        if let Some(ring) = &self.ring {
            write!(f, "/{ring}")?;
        }
        if let Some(nodes) = &self.nodes {
            f.write_str("/")?;
            write_nodes(nodes, f)?;
        }
        Ok(())
    }
}

/// Most letters of a bad node that a message shows.
const SHOWN_MAX: usize = 60;

fn parse_nodes(text: &str) -> std::result::Result<Vec<NodeSpec>, String> {
    text.split(',')
        .map(|text| {
            let node = text.parse::<NodeSpec>();
            node.map_err(|_| {
                let shown: String = text.chars().take(SHOWN_MAX).collect();
                format!("wanted a node such as 10.0.0.1:11211, not \"{shown}\"")
            })
        })
        .collect()
}

fn write_nodes(nodes: &[NodeSpec], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (number, node) in nodes.iter().enumerate() {
        let separator = if number > 0 { "," } else { "" };
        write!(f, "{separator}{node}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_with_or_without_its_ring() {
        for (text, written) in [
            ("a", "a:11211"),
            ("a:1,[::1]:2", "a:1,[::1]:2"),
            ("a:1*3@x", "a:1"),
            ("a:1/ketama", "a:1/ketama"),
            ("a:1/r/a:1*2@l/m,b", "a:1/r/a:1*2@l/m,b:11211"),
        ] {
            let owner = Owner::parse(text).unwrap();
            assert_eq!(owner.to_string(), written);
            assert_eq!(Owner::parse(written).unwrap(), owner);
            assert_eq!(owner.owns(b"k"), None);
        }
        for (text, reason) in [
            ("", "wanted a node such as 10.0.0.1:11211, not \"\""),
            ("a:1,", "wanted a node such as 10.0.0.1:11211, not \"\""),
            ("a:1//a:1", "wanted the name of a ring after the first /"),
            ("a:1/r/", "wanted a node such as 10.0.0.1:11211, not \"\""),
        ] {
            assert_eq!(Owner::parse(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn a_node_that_could_not_be_written_is_refused() {
        let mut owner = Owner::parse("a:1").unwrap();
        let mut answer = |label: &str| {
            let mut node = NodeSpec::new("a", 1);
            node.label = Some(label.to_owned());
            owner.bind(&mut |question| {
                Ok(OwnerAnswer {
                    ring: question.ring.unwrap_or("modula").to_owned(),
                    nodes: vec![node.clone()],
                    owns: Arc::new(|_| true),
                })
            })
        };
        assert_eq!(
            answer("x,y").unwrap_err().to_string(),
            "node \"a:1@x,y\": its label cannot be written in a selection"
        );
        answer("x/y").unwrap();
        assert_eq!(owner.to_string(), "a:1/modula/a:1@x/y");
        assert_eq!(owner.owns(b"k"), Some(true));
    }
}
