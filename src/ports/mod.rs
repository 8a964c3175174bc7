//! What reaches outside of the process: the network, the store of files, the host.

pub mod host;
pub mod net;
pub mod store;
