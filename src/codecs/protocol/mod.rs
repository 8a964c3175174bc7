//! The memcached protocol as bytes: requests out, replies in, no sockets.
//!
//! Parsers take what has arrived so far and say either what it is and how long,
//! or that more is needed; the sections named are those of memcached's
//! `doc/protocol.txt`.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod binary;
pub mod cachedump;
pub mod classic;
pub mod cluster_config;
pub mod exptime;
pub mod key;
pub mod metadump;
pub mod reply;
pub mod request;
pub mod stats;
pub mod text;
