//! Metrics, as Prometheus' own checker sees them.
//!
//! In need of a large package: `cargo test` leaves it out, `tools/test --all` runs it.
//! `tools/setup --promtool` installs the checker.

#[cfg(test)]
mod checks;

#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/client.rs"]
mod client;
#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/memcached.rs"]
mod memcached;
#[cfg(test)]
#[path = "../it/harness/signals.rs"]
mod signals;
#[cfg(test)]
#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../it/harness/workdir.rs"]
mod workdir;
