//! What keeps a job from hurting the other clients of the servers it works on.
//!
//! One [`Brake`] serves a job. Of each node it makes a [`NodeBrake`], which every
//! batch passes on its way: it waits for the limits that a user has set, of the
//! job and of the node, and for the room that the node's other clients leave.
//! Walks never pass it: one that is not read at once holds locks in the server.
//!
//! Whether a server has other clients is told by its own counters: commands that
//! are not ours. Without any it is asked for whole batches over all connections.
//! Beside others little is on its way at a time, and how little is found by probes:
//! see [`Governor`](crate::codecs::throttle::Governor).

mod flow;
mod gate;
mod job;
mod node;
mod report;
mod shared;
mod watch;

pub(super) use flow::Flow;
pub use job::{Brake, BrakeOptions};
pub use node::{Asked, NodeBrake, Pass, Watched};
pub use report::BrakeReport;
