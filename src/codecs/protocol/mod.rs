//! The memcached protocol as bytes: requests out, replies in, no sockets.
//!
//! A parser takes the bytes received so far, and returns either what they are and how
//! many it took, or that more are needed. The sections named in comments are those of
//! memcached's `doc/protocol.txt`.

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
