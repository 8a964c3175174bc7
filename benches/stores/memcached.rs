//! Memcached servers of the bench, and what the files of the store tests that are used here
//! want of theirs.

#[path = "../../tests/it/harness/client.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod client;
#[path = "../support/memcached.rs"]
mod of_benches;
#[path = "../../tests/it/harness/memcached.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod of_tests;
#[path = "../../tests/it/harness/signals.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod signals;

pub(crate) use of_benches::{Memcached, connect};
pub(crate) use of_tests::own_host;
