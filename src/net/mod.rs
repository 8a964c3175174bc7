//! Sockets to memcached.

mod connection;
mod server;

pub use connection::{Connection, NetOptions, Received};
pub use server::{ServerReport, ask_server};
