//! One key in a snapshot, by the key indexes: which nodes had it, and what.

mod report;
mod run;

pub use report::{Copy, CopyValue, LookupReport};
pub use run::{LookupOptions, look_up};
