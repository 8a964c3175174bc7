//! Servers of every version and mood, and the ways to them.

pub(crate) mod brake;
pub(crate) mod first_contact;
pub(crate) mod flushed;
pub(crate) mod live_mutation;
pub(crate) mod misbehaving_server;
pub(crate) mod old_server;
pub(crate) mod proxies;
pub(crate) mod server_modes;
pub(crate) mod slow_server;
pub(crate) mod stuck_crawl;
pub(crate) mod talkative_server;
pub(crate) mod tls_silence;
pub(crate) mod waiting_node;
pub(crate) mod walk_calls;
pub(crate) mod walk_room;
pub(crate) mod walk_under_load;
pub(crate) mod ways_in;
