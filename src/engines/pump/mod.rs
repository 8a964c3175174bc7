//! Items on their way from those who have them to those who want them.
//!
//! A job that moves items is a combination: some threads read, and push what they
//! have into [`Outlet`]s; others own a [`Sink`] each, and take what comes. In between
//! are queues, one for each place that items go to (a shard, a node), whose memory is
//! bounded whatever the number of queues and threads. [`pump`] does the rest: it starts
//! the threads of the sinks, ends them, and finds out which error was the cause.

mod batch;
mod condition;
mod load;
mod options;
mod outlet;
mod queues;
mod run;
mod streamed;

pub use batch::{ItemBatch, LargeItem};
pub use load::Load;
pub use options::PumpOptions;
pub use outlet::{ItemSink, Outlet};
pub use queues::Queues;
pub use run::{Pumped, Sink, Taken, pump};
