//! Items into live nodes, and which of them owns which.

mod load;
mod owner;
mod rebase;
mod ring_choice;
mod route;
mod text_keys;

pub use load::{LargeLoad, LoadOptions, LoadTally, Loader};
pub use owner::{OwnerDefaults, bind_owners};
pub use rebase::rebase;
pub use ring_choice::{missing_ring, recorded_ring};
pub use route::{Router, Shipment};
pub use text_keys::{NotText, TextCheck};
