//! 64-bit numbers as decimal text, since JSON readers round above 2^53.

use serde::{Deserialize, Deserializer, Serializer, de};

/// Writes a number as text.
///
/// # Errors
///
/// - Those of the serializer.
pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Reads a number that is written as text.
///
/// # Errors
///
/// - The text has anything but digits, or is above 2^64 - 1.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    // `parse` would also accept a plus sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(de::Error::custom(format!("\"{text}\" is not a number")));
    }
    text.parse().map_err(de::Error::custom)
}

/// Returns whether a number can be omitted.
pub fn is_zero(number: &u64) -> bool {
    *number == 0
}
