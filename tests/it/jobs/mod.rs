//! What a person asks for.

pub(crate) mod dump_behaviour;
pub(crate) mod few_descriptors;
pub(crate) mod inspect_behaviour;
pub(crate) mod large_values;
pub(crate) mod look_behaviour;
pub(crate) mod memory_limit;
pub(crate) mod naming;
pub(crate) mod pump;
pub(crate) mod repack;
pub(crate) mod restore_behaviour;
pub(crate) mod restore_clocks;
pub(crate) mod restore_doubles;
pub(crate) mod restore_kept;
pub(crate) mod restore_memory;
pub(crate) mod restore_old;
pub(crate) mod restore_targets;
pub(crate) mod resume;
pub(crate) mod resume_anew;
pub(crate) mod resume_compares;
pub(crate) mod resume_failures;
pub(crate) mod round_trip;
pub(crate) mod select_behaviour;
pub(crate) mod transfer;
pub(crate) mod transfer_program;
pub(crate) mod verifications;
