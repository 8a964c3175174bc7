//! Which node owns a key.
//!
//! A restore to other nodes must put every key where the clients will look
//! for it, so a ring here is a client's rule to the last bit, rounding errors
//! included. The golden files in `testdata/routing` were made by the clients
//! themselves.
//!
//! A rule is a hash function ([`KeyHash`]), a way to share out hashes
//! ([`Distribution`]) and, for a ring of points, names of nodes
//! ([`LabelFormat`]). [`RingSpec`] names the combinations that users ask for.
//!
//! # Not here
//!
//! What clients do when a node is down: rings place keys for all nodes up.

mod hash;
mod label;
mod modula;
mod placement;
mod points;
mod spec;

pub use hash::{CharSign, KeyHash};
pub use label::LabelFormat;
pub use placement::{NODE_COUNT_MAX, Placement, Ring};
pub use spec::{Distribution, KeyPrefix, NodeOrder, PointRule, RingRule, RingSpec};
