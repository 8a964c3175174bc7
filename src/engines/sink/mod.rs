//! Writes items to live nodes, and finds which node owns which key.

mod load;
mod owner;
mod presence;
mod rebase;
mod ring_choice;
mod strategy;
mod tally;
mod text_keys;

pub use load::{LargeLoad, LoadOptions, Loader};
pub use owner::{OwnerDefaults, bind_owners};
pub use presence::{KeySample, Presence, look_for};
pub use rebase::rebase;
pub use ring_choice::{missing_ring, recorded_ring};
pub use strategy::{SetProtocol, Unheld, WriteStrategy};
pub use tally::LoadTally;
pub use text_keys::{NotText, TextCheck};
