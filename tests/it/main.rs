//! Tests of the library and the program from outside.

#[cfg(test)]
mod docs;
#[cfg(test)]
mod ring_vectors;
#[cfg(test)]
mod snapshot_property;
#[cfg(test)]
mod store_suite;
