//! Settings: where they come from, how they are written, and what they mean.

mod environment;
mod file;
mod format;
mod given;
mod global;
mod layers;
mod parse;
mod secret;
mod section;
mod select;
mod spool_directory;
mod values;

pub(crate) use environment::{check_variables, read_environment, variable_name};
pub(crate) use file::ConfigFile;
pub(crate) use format::Format;
pub(crate) use given::{Given, Origin, Resolved};
pub(crate) use global::GlobalArgs;
pub(crate) use layers::{place_of, resolve};
pub(crate) use parse::{
    parse_choice, parse_count, parse_duration, parse_file_mode, parse_key, parse_map_choice,
    parse_moment, parse_patience, parse_percent, parse_resume, parse_size, parse_sources,
    parse_threads, parse_ttl, parse_wait,
};
pub(crate) use secret::Secret;
pub(crate) use section::{Section, SectionRule};
pub(crate) use select::{SELECT_HELP, SELECT_LONG_HELP, parse_select};
pub(crate) use spool_directory::check_spool_directory;
pub(crate) use values::{
    DETECT, expressions, list, repeat, repeat_or_none, ring, ring_or_detect, split_commas, switch,
    text,
};
