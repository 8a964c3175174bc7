//! Which node owns a key.
//!
//! A restore to other nodes must put every key where the clients will look for it, so a
//! ring here reproduces a client's rule to the last bit, including rounding errors. The
//! golden files in `testdata/routing` were made by the clients themselves.
//!
//! A [`RingRule`] consists of a part of the key ([`RoutedPart`]), a hash function
//! ([`KeyHash`]), a way to distribute hashes ([`Distribution`]) and names of nodes
//! ([`LabelRule`]). A [`Preset`] is the named rule of a client, and [`RingSpec`] is what
//! a user writes: a preset with some parts replaced.
//!
//! # Not here
//!
//! The behaviour of clients while a node is down: rings place keys as if all nodes were
//! up.

mod arcs;
mod buckets;
mod dialect;
mod evidence;
mod furc;
mod hash;
mod label;
mod order;
mod placement;
mod point_rule;
mod points;
mod preset;
mod rendezvous;
mod routed_part;
mod rule;
mod spec;
mod weights;
mod wide_points;

pub use evidence::{
    Explanation, NodeChange, Sighting, Sureness, count_by_node, explain, explain_by,
};
pub use hash::{CharSign, KeyHash};
pub use label::{LabelFormat, LabelRule, Numbering, SocketName};
pub use order::NodeOrder;
pub use placement::{NODE_COUNT_MAX, Placement, Ring};
pub use point_rule::{PointHash, PointRule, PointWeights, Search, Ties};
pub use preset::Preset;
pub use rendezvous::Score;
pub use routed_part::{KeyCut, KeyPrefix, RoutedPart};
pub use rule::{BucketWeights, Distribution, FurcWeights, RingRule};
pub use spec::RingSpec;
pub use weights::POINT_COUNT_MAX;
