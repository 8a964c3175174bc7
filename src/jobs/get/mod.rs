//! Looks a key up in a snapshot by the key indexes: which nodes had it, and its values.

mod report;
mod run;

pub use report::{Copy, CopyValue, LookupReport};
pub use run::{LookupOptions, look_up};
