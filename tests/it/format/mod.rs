//! The files, byte for byte.

pub(crate) mod agreement;
pub(crate) mod decoder_property;
pub(crate) mod forged_segments;
pub(crate) mod golden;
pub(crate) mod golden_corrupt;
pub(crate) mod golden_larger;
pub(crate) mod golden_newer;
pub(crate) mod golden_records;
pub(crate) mod golden_to_come;
pub(crate) mod golden_valid;
pub(crate) mod hostile;
pub(crate) mod independent_reader;
pub(crate) mod large_writer;
pub(crate) mod manifest_parts;
pub(crate) mod snapshot_property;
pub(crate) mod warm_file;
pub(crate) mod written_records;
