//! Everything that reaches outside the process: the network, the store of files, the host
//! and its threads.

pub mod control_group;
pub mod host;
pub mod machine;
pub mod net;
pub mod pace;
pub mod store;
pub mod threads;
