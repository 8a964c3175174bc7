//! What the tests are made of: servers, the program, snapshots, and harm to them.

pub(crate) mod ageing_proxy;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod client_tests;
pub(crate) mod decoder_checks;
pub(crate) mod fake_server;
pub(crate) mod fault;
pub(crate) mod fault_arena;
pub(crate) mod forge;
pub(crate) mod forge_manifest;
pub(crate) mod forge_recipe;
pub(crate) mod forge_tests;
pub(crate) mod forge_warm_file;
pub(crate) mod held_dump;
pub(crate) mod made_pieces;
pub(crate) mod memcached;
pub(crate) mod memory_peak;
pub(crate) mod mounted;
pub(crate) mod reports;
pub(crate) mod running_job;
pub(crate) mod signals;
pub(crate) mod sound_segments;
pub(crate) mod stored;
pub(crate) mod unfinished_dump;
pub(crate) mod workdir;
