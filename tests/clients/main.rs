//! Real client libraries look where restores put, and are known by where they put.
//!
//! Slow, and in need of many packages: `cargo test` leaves it out, `tools/test --all`
//! runs it. `tools/setup --clients` installs the libraries, `tools/setup --servers`
//! builds a memcached with a proxy; `tools/clients` has a program for each library.

#[cfg(test)]
mod agents;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod detection;
#[cfg(test)]
mod items;
#[cfg(test)]
mod memcached_proxy;
#[cfg(test)]
mod nutcracker;
#[cfg(test)]
mod proofs;

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
