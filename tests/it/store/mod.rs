//! Where snapshots lie: whatever fails there, there is a whole one or none.

pub(crate) mod crash;
pub(crate) mod cut_segment;
pub(crate) mod file_modes;
pub(crate) mod full_disk;
pub(crate) mod no_exclusion;
pub(crate) mod obligations;
pub(crate) mod store_suite;
pub(crate) mod system_faults;
pub(crate) mod two_runs;
