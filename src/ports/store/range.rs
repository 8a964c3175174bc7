//! The check that a read lies inside its object.

use std::io;
use std::ops::Range;

use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::location::Location;
use crate::words::units::{counted, grouped, to_u64};

/// Returns the range that starts at `offset` and has `len` bytes, or an `Io` error that
/// names `object` if the range ends beyond `size`.
pub(super) fn check_range(object: &str, size: u64, offset: u64, len: usize) -> Result<Range<u64>> {
    let end = u64::try_from(len)
        .ok()
        .and_then(|len| offset.checked_add(len));
    match end {
        Some(end) if end <= size => Ok(offset..end),
        Some(_) | None => {
            let reason = format!(
                "{} wanted, but the object ends at {}",
                counted(to_u64(len), "byte"),
                grouped(size)
            );
            let cause = io::Error::new(io::ErrorKind::UnexpectedEof, reason);
            Err(read_error(object, offset, cause))
        }
    }
}

/// Makes the error of a failed read at this offset.
pub(super) fn read_error(object: &str, offset: u64, cause: io::Error) -> Error {
    Error::new(ErrorKind::Io {
        operation: Operation::Read,
    })
    .at(Location::offset(object, offset))
    .caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_within_the_object_or_is_an_error() {
        assert_eq!(check_range("a", 10, 4, 6).unwrap(), 4..10);
        assert_eq!(check_range("a", 10, 10, 0).unwrap(), 10..10);
        assert!(check_range("a", 10, 11, 0).is_err());
        assert!(check_range("a", u64::MAX, u64::MAX, 1).is_err());
        assert_eq!(
            check_range("a", 10, 4, 7).unwrap_err().to_chain(),
            "a: at offset 4: cannot read: 7 bytes wanted, but the object ends at 10"
        );
    }
}
