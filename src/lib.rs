//! Snapshots of memcached: write them, read them back, check them, move them.
//!
//! The library is built in floors, and imports only go down: words (this
//! level's small modules), pure codecs ([`mod@format`], [`protocol`], [`ring`],
//! [`throttle`], [`warm_file`]), ports ([`store`], [`net`]), engines ([`snapshot`], [`source`],
//! [`target`], [`discovery`]), jobs ([`dump`], [`restore`], [`verify`], [`inspect`], [`lookup`], [`listing`],
//! [`mod@salvage`]). A job takes options, makes a plan that can be printed, runs
//! it, and returns a report that accounts for every item; it never prints.
//!
//! FORMAT.md specifies the files byte for byte.

/// The examples of README.md, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod access;
pub mod batch;
pub mod cancel;
pub mod defect;
pub mod error;
pub mod item;
pub mod limits;
pub mod node;
pub mod pieces;
pub mod progress;
pub mod reasons;
pub mod units;

pub mod detection;
pub mod discovery;
pub mod dump;
pub mod format;
pub mod inspect;
pub mod listing;
pub mod lookup;
pub mod net;
pub mod protocol;
pub mod resharding;
pub mod restore;
pub mod ring;
pub mod salvage;
pub mod select;
pub mod snapshot;
pub mod source;
pub mod store;
pub mod target;
pub mod throttle;
pub mod verify;
pub mod warm_file;
