//! What is known of a node before its dump.

use crate::engines::source::SourceNode;
use crate::words::node::NodeSpec;

/// What is known of a node before its dump.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The node.
    pub node: NodeSpec,
    /// What the node reported and how it is read, or why it is not dumped.
    pub source: Result<SourceNode, String>,
}
