//! Reads ranges of an object, by a map or by a call.

use std::borrow::Cow;
use std::ops::Range;

use crate::codecs::format::bytes::slice;
use crate::ports::store::{ObjectReader, Store};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// Returns a range of an object, borrowed if it is mapped. The caller has limited the
/// length.
pub(super) fn read_range(
    object: &dyn ObjectReader,
    offset: u64,
    len: u64,
) -> Result<Cow<'_, [u8]>> {
    if let Some(bytes) = object.as_bytes() {
        let bytes = slice(bytes, offset, len, Structure::Segment).map_err(Error::corrupt)?;
        return Ok(Cow::Borrowed(bytes));
    }
    read_range_by_call(object, offset, len).map(Cow::Owned)
}

/// Returns several ranges of an object, borrowed if it is mapped. The caller has limited
/// their lengths.
pub(super) fn read_ranges<'a>(
    object: &'a dyn ObjectReader,
    ranges: &[Range<u64>],
) -> Result<Vec<Cow<'a, [u8]>>> {
    if object.as_bytes().is_some() || ranges.is_empty() {
        let range = |range: &Range<u64>| {
            read_range(object, range.start, range.end.saturating_sub(range.start))
        };
        return ranges.iter().map(range).collect();
    }
    let read = object.read_ranges(ranges)?;
    Ok(read.into_iter().map(Cow::Owned).collect())
}

/// Returns a copy of a range of an object.
pub(super) fn read_range_by_call(
    object: &dyn ObjectReader,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>> {
    // A length beyond the object is refused before memory is allocated for it.
    let end = offset.saturating_add(len);
    if end > object.size() {
        let (needed, found) = (end, object.size());
        let defect = Defect::Truncated {
            structure: Structure::Segment,
            needed,
            found,
        };
        return Err(Error::corrupt(defect));
    }
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
