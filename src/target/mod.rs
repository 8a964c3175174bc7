//! Items into live nodes.

mod load;
mod rebase;
mod route;

pub use load::{LargeLoad, LoadOptions, LoadTally, Loader};
pub use rebase::rebase;
pub use route::{Router, Shipment};
