//! Sockets to memcached.

mod connection;
mod server;

pub use connection::{Connection, NetOptions, Prompt, Received, try_count_max};
pub use server::{ServerReport, ask_server, ask_slab_item_counts};
