//! The memory map of a local file: the only unsafe code.

use std::fs::File;
use std::io;

use memmap2::Mmap;

use crate::units::to_u64;

/// Maps a whole file of `size` bytes for reading; `None` for an empty one,
/// which cannot be mapped.
///
/// # Errors
///
/// - The system refuses, or the file has another size by now.
///
/// # Safety
///
/// The map must not be looked at after somebody has cut the file short (SIGBUS)
/// or while somebody writes to it. Segments are never written to once they have
/// their name, and the size is compared before and after; what remains is a file
/// damaged by others while it is read, which ends the program with a signal
/// instead of an error. Where that can happen (network file systems) the caller
/// does not map.
#[expect(
    unsafe_code,
    reason = "a map is the only way to read without copying; see Safety"
)]
pub(super) fn map_file(file: &File, size: u64) -> io::Result<Option<Mmap>> {
    let check_size = |found: u64| {
        if found == size {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file changes while it is opened",
        ))
    };
    check_size(file.metadata()?.len())?;
    if size == 0 {
        return Ok(None);
    }
    // SAFETY: see the function's documentation.
    let map = unsafe { Mmap::map(file)? };
    check_size(to_u64(map.len()))?;
    check_size(file.metadata()?.len())?;
    Ok(Some(map))
}
