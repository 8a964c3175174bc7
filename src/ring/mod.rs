//! Which node owns a key.

mod hash;

pub use hash::{CharSign, KeyHash};
