//! What reaches outside of the process: the network and the store of files.

pub mod net;
pub mod store;
