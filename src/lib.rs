//! Snapshots of memcached: write them, read them back, check them, move them.
//!
//! The library is built in floors, one folder each, and imports only go down or stay on
//! their floor, never in a circle:
//!
//! - [`jobs`]: what a person asks for. A job takes options, makes a plan that can be
//!   printed, runs it, and returns a report that accounts for every item; it never
//!   prints.
//! - [`engines`]: what jobs are made of: reading servers, filling them, snapshots.
//! - [`ports`]: disk, network, threads and clocks, and no other floor touches them.
//! - [`codecs`]: bytes in, values out; pure, and time is an argument.
//! - [`words`]: what all floors talk about.
//!
//! FORMAT.md specifies the files byte for byte.

/// The examples of README.md, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod codecs;
pub mod engines;
pub mod jobs;
pub mod ports;
pub mod words;
