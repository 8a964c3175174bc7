//! The integration tests: one binary, one file for each behaviour.

#[cfg(test)]
mod ring_vectors;
