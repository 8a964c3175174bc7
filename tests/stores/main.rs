//! Snapshots in object stores, through their real protocols.
//!
//! In need of large packages: `cargo test` leaves it out, `tools/test --all` runs it.
//! `tools/setup --stores` installs the servers.

#[cfg(test)]
mod azurite;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod garage;
#[cfg(test)]
mod gcs_double;
#[cfg(test)]
mod moto;
#[cfg(test)]
mod place;
#[cfg(test)]
mod process;
#[cfg(test)]
mod program;
#[cfg(test)]
#[expect(dead_code, reason = "a small library; not all of it is used here")]
mod proxy;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
mod race;
#[cfg(test)]
#[expect(dead_code, reason = "a bench uses it, too")]
mod rgw;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod transfer;

#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/client.rs"]
mod client;
#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/memcached.rs"]
mod memcached;
#[cfg(test)]
#[path = "../it/store/obligations.rs"]
mod obligations;
#[cfg(test)]
#[path = "../it/harness/signals.rs"]
mod signals;
#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/workdir.rs"]
mod workdir;
