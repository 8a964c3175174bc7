//! Lists the keys of a snapshot with their metadata, from the key sections only.

mod report;
mod run;

pub use report::ListingReport;
pub use run::{ListedRecord, ListingOptions, list};
