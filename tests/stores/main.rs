//! Snapshots in object stores that speak S3, through the real protocol.
//!
//! In need of a large package: `cargo test` leaves it out, `tools/test --all` runs it.
//! `tools/setup --stores` installs the server.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod moto;
#[cfg(test)]
mod program;
#[cfg(test)]
#[expect(dead_code, reason = "a small library; not all of it is used here")]
mod proxy;
#[cfg(test)]
mod proxy_tests;

#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/client.rs"]
mod client;
#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/memcached.rs"]
mod memcached;
#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/signals.rs"]
mod signals;
#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/workdir.rs"]
mod workdir;
