//! JSON text that ends with its own checksum: the manifest and its parts. FORMAT.md 5.12.

use sha2::{Digest as _, Sha256};

use crate::codecs::format::ids::to_hex;
use crate::words::defect::{Defect, Structure};
use crate::words::item::escape_bytes;

/// The text before the checksum's 64 digits; `CHECKSUM_END` follows them.
pub const CHECKSUM_START: &str = ",\n  \"checksum\": \"sha256:";
/// The text behind them.
pub const CHECKSUM_END: &str = "\"\n}\n";
/// How checksums and digests begin.
pub const SHA256_PREFIX: &str = "sha256:";

const CHECKSUM_LEN: usize = 64;

/// Adds the checksum to an object that was serialised with line feeds; returns the text,
/// and the checksum with its prefix.
pub fn seal(object: &str) -> (Vec<u8>, String) {
    let body = object.strip_suffix("\n}").unwrap_or(object);
    let zeros = "0".repeat(CHECKSUM_LEN);
    let blank = format!("{body}{CHECKSUM_START}{zeros}{CHECKSUM_END}");
    let checksum = to_hex(&Sha256::digest(blank.as_bytes()));
    let text = format!("{body}{CHECKSUM_START}{checksum}{CHECKSUM_END}");
    (text.into_bytes(), format!("{SHA256_PREFIX}{checksum}"))
}

/// Returns the checksum at the end of a text that has been checked, with its prefix.
pub fn checksum_of(text: &[u8]) -> Option<String> {
    let end = text.strip_suffix(CHECKSUM_END.as_bytes())?;
    let (_, digits) = end.split_last_chunk::<CHECKSUM_LEN>()?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some(format!("{SHA256_PREFIX}{digits}"))
}

/// Checks the checksum (N3); returns it with its prefix.
///
/// # Errors
///
/// - `Malformed`: the text does not end with one.
/// - `DigestMismatch`: it is another one.
pub fn check_seal(structure: Structure, text: &[u8]) -> Result<String, Defect> {
    let missing = || Defect::Malformed {
        structure,
        reason: "it does not end with its checksum".to_owned(),
    };
    let end = text
        .strip_suffix(CHECKSUM_END.as_bytes())
        .ok_or_else(missing)?;
    let (body, stored) = end.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(missing)?;
    if !body.ends_with(CHECKSUM_START.as_bytes()) {
        return Err(missing());
    }
    let mut sha = Sha256::new();
    sha.update(body);
    sha.update([b'0'; CHECKSUM_LEN]);
    sha.update(CHECKSUM_END);
    let computed = to_hex(&sha.finalize());
    if stored != computed.as_bytes() {
        return Err(Defect::DigestMismatch {
            structure,
            field: "checksum",
            stored: escape_bytes(stored),
            computed,
        });
    }
    Ok(format!("{SHA256_PREFIX}{computed}"))
}
