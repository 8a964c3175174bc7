//! Tests of the library and the program from outside.

#[cfg(test)]
mod client;
#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod memcached;
#[cfg(test)]
mod ring_vectors;
#[cfg(test)]
mod store_suite;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod workdir;
