//! Tests of the library and the program from outside.

#[cfg(test)]
mod ageing_proxy;
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod brake;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod circles;
#[cfg(test)]
mod client;
#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod cut_segment;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod decoder_checks;
#[cfg(test)]
mod decoder_property;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod dump_behaviour;
#[cfg(test)]
mod dump_report;
#[cfg(test)]
mod event_log;
#[cfg(test)]
mod failure_reports;
#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod fault_arena;
#[cfg(test)]
mod few_descriptors;
#[cfg(test)]
mod file_modes;
#[cfg(test)]
mod first_contact;
#[cfg(test)]
mod flushed;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod forge_manifest;
#[cfg(test)]
mod forge_recipe;
#[cfg(test)]
mod forge_tests;
#[cfg(test)]
mod forge_warm_file;
#[cfg(test)]
mod forged_segments;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_corrupt;
#[cfg(test)]
mod golden_valid;
#[cfg(test)]
mod held_signals;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod independent_reader;
#[cfg(test)]
mod inspect_behaviour;
#[cfg(test)]
mod large_damage;
#[cfg(test)]
mod large_values;
#[cfg(test)]
mod large_writer;
#[cfg(test)]
mod live_mutation;
#[cfg(test)]
mod look_behaviour;
#[cfg(test)]
mod made_pieces;
#[cfg(test)]
mod memcached;
#[cfg(test)]
mod misbehaving_server;
#[cfg(test)]
mod mounted;
#[cfg(test)]
mod naming;
#[cfg(test)]
mod old_server;
#[cfg(test)]
mod option_ranges;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod pump;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod restore_behaviour;
#[cfg(test)]
mod restore_clocks;
#[cfg(test)]
mod restore_doubles;
#[cfg(test)]
mod restore_kept;
#[cfg(test)]
mod restore_memory;
#[cfg(test)]
mod restore_old;
#[cfg(test)]
mod restore_targets;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod resume_anew;
#[cfg(test)]
mod resume_compares;
#[cfg(test)]
mod resume_failures;
#[cfg(test)]
mod ring_commands;
#[cfg(test)]
mod ring_detect;
#[cfg(test)]
mod ring_of_case;
#[cfg(test)]
mod ring_of_text;
#[cfg(test)]
mod ring_plan;
#[cfg(test)]
mod ring_vectors;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod running_job;
#[cfg(test)]
mod salvage_behaviour;
#[cfg(test)]
mod screens;
#[cfg(test)]
mod select_behaviour;
#[cfg(test)]
mod server_modes;
#[cfg(test)]
mod slow_server;
#[cfg(test)]
mod snapshot_property;
#[cfg(test)]
mod sound_segments;
#[cfg(test)]
mod source_paths;
#[cfg(test)]
mod stopped_jobs;
#[cfg(test)]
mod store_suite;
#[cfg(test)]
mod stored;
#[cfg(test)]
mod stuck_crawl;
#[cfg(test)]
mod system_faults;
#[cfg(test)]
mod talkative_server;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tls_silence;
#[cfg(test)]
mod two_runs;
#[cfg(test)]
mod unfinished_dump;
#[cfg(test)]
mod waiting_node;
#[cfg(test)]
mod walk_calls;
#[cfg(test)]
mod walk_room;
#[cfg(test)]
mod walk_under_load;
#[cfg(test)]
mod warm_file;
#[cfg(test)]
mod ways_in;
#[cfg(test)]
mod workdir;
