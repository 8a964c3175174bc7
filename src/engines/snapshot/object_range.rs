//! Reads ranges of an object, by a map or by a call.

use std::ops::Range;

use crate::ports::store::{ObjectReader, RangeBytes, Store};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// Returns a range of an object, without a copy where that can be. The caller has limited
/// the length.
pub(super) fn read_range(
    object: &dyn ObjectReader,
    offset: u64,
    len: u64,
) -> Result<RangeBytes<'_>> {
    let range = within(object, offset, len)?;
    object.read(range)
}

/// Returns a range that lies within the object: a length beyond it is refused before memory
/// is allocated for it.
fn within(object: &dyn ObjectReader, offset: u64, len: u64) -> Result<Range<u64>> {
    let end = offset.saturating_add(len);
    if end <= object.size() {
        return Ok(offset..end);
    }
    let (needed, found) = (end, object.size());
    let defect = Defect::Truncated {
        structure: Structure::Segment,
        needed,
        found,
    };
    Err(Error::corrupt(defect))
}

/// Returns a copy of a range of an object.
pub(super) fn read_range_by_call(
    object: &dyn ObjectReader,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>> {
    within(object, offset, len)?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    object.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Reports whether an object of the store has these bytes.
///
/// # Errors
///
/// - `Io`: that cannot be determined.
pub(super) fn holds(store: &dyn Store, path: &str, bytes: &[u8]) -> Result<bool> {
    let object = match store.open(path) {
        Ok(object) => object,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    if object.size() != to_u64(bytes.len()) {
        return Ok(false);
    }
    Ok(read_range_by_call(&*object, 0, object.size())? == bytes)
}
