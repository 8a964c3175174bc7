//! What keeps a job from hurting the other clients of the servers it works on.
//!
//! One [`Brake`] serves a job. It makes a [`NodeBrake`] for each node, which every batch
//! passes: the batch waits for the limits that the user has set for the job and for the
//! node, and for the room that the node's other clients leave. Walks never pass it,
//! because a walk that is not read at once holds locks in the server.
//!
//! The server's own counters show whether it has other clients: they count commands that
//! are not ours. Without other clients, the job sends whole batches over all connections.
//! With other clients, little is in flight at a time, and probes determine how little:
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
