//! Copies a published snapshot from one place to another, byte for byte.
//!
//! # Invariants
//!
//! - The manifest is published last, and only if there is none. Until then the copy is no
//!   snapshot.
//! - Every object is checked twice: as it is read, against what the manifest says, and as
//!   it is read back.
//! - Nothing is removed but objects without a manifest that have the names of ours.

mod copied_object;
mod destination;
mod options;
mod original;
mod plan;
mod report;
mod run;

pub use options::{Direction, TransferOptions};
pub use original::{LeftOut, Original};
pub use plan::{TransferPlan, plan_transfer};
pub use report::TransferReport;
pub use run::transfer;
