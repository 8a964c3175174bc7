//! The memory map of a local file: the only place in the library with `unsafe`.
//!
//! With a map, blocks are checked and decompressed in place, without a copy. The cost is
//! that a disk error, or a file that another process truncates, raises the signal SIGBUS
//! where a call would return an error. The length is checked again whenever the bytes are
//! handed out. What remains is a truncation during the use that follows, and a failing
//! disk. The program's signal handler reports these and ends the process; an embedding
//! program that must not be ended this way reads by calls. No writer of this crate ever
//! truncates a file or writes to a published one.

use std::fs::File;
use std::io;

use crate::words::units::{counted, grouped, to_u64};
use memmap2::{Mmap, MmapMut};
use rustix::fs::fstatfs;

/// Whether to map local files into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapChoice {
    /// Map if the file system is known to be local; otherwise, or if mapping fails, read
    /// by calls.
    #[default]
    Auto,
    /// Always map; a file that cannot be mapped cannot be opened.
    Always,
    /// Never map.
    Never,
}

/// File systems whose files do not vanish with a network or a daemon, by `f_type` of
/// statfs(2). Files on a file system that is missing here are read by calls, which is
/// always correct, so the list has only the usual ones.
const LOCAL_FILE_SYSTEMS: [u64; 9] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0xf2f5_2010, // F2FS
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x794c_7630, // overlayfs
];

/// Maps the first `size` bytes of a file if `choice` asks for it.
pub(super) fn map_by_choice(
    choice: MapChoice,
    file: &File,
    size: u64,
) -> io::Result<Option<FileMap>> {
    match choice {
        MapChoice::Never => Ok(None),
        MapChoice::Always => FileMap::new(file, size).map(Some),
        MapChoice::Auto if is_local(file) => Ok(FileMap::new(file, size).ok()),
        MapChoice::Auto => Ok(None),
    }
}

/// The bytes of a file, mapped into memory.
#[derive(Debug)]
pub(super) struct FileMap(Mmap);

impl FileMap {
    fn new(file: &File, size: u64) -> io::Result<Self> {
        let len = usize::try_from(size).map_err(io::Error::other)?;
        check_len(file, len)?;
        let map = map_file(file, len)?;
        check_len(file, len)?;
        Ok(Self(map))
    }

    /// Returns the bytes, unless `file`, which must be the mapped one, has become
    /// shorter.
    pub(super) fn bytes(&self, file: &File) -> Option<&[u8]> {
        check_len(file, self.0.len()).ok()?;
        Some(&self.0)
    }
}

/// Maps the first `len` bytes of a file for reading.
///
/// # Safety
///
/// Anyone who may write to the file can change or truncate the mapped bytes, and no check
/// can rule that out; Rust counts it as undefined behaviour. It is accepted here because
/// published objects are never written again, because every reader of a snapshot treats
/// the bytes as hostile and checks each structure in place, and because the caller checks
/// the length before and after mapping and before the bytes are handed out.
#[expect(
    unsafe_code,
    reason = "reading a segment through a map saves a copy of every block"
)]
fn map_file(file: &File, len: usize) -> io::Result<Mmap> {
    // SAFETY: see above; the file is open for reading, and the length was compared with
    // the file's.
    unsafe { memmap2::MmapOptions::new().len(len).map(file) }
}

/// Maps a nameless file of this process for reading and writing. Its space is allocated
/// first, so that a full disk causes an error and not a signal.
///
/// # Safety
///
/// Nobody else has the file, so nobody changes or truncates it under the map.
#[expect(
    unsafe_code,
    reason = "a table that the system may page out, with no call for each look-up"
)]
pub(super) fn map_scratch(file: &File, len: u64) -> io::Result<MmapMut> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len)?;
    let len = usize::try_from(len).map_err(io::Error::other)?;
    // SAFETY: see above; the file has this length, and its space is allocated.
    unsafe { memmap2::MmapOptions::new().len(len).map_mut(file) }
}

/// Checks that a file has at least `len` bytes: touching a page of the map beyond the end
/// of the file would raise SIGBUS.
fn check_len(file: &File, len: usize) -> io::Result<()> {
    let found = file.metadata()?.len();
    if usize::try_from(found).is_ok_and(|found| found < len) {
        let (found, all) = (counted(found, "byte"), grouped(to_u64(len)));
        let reason = format!("the file has become shorter: {found} left of {all}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    Ok(())
}

fn is_local(file: &File) -> bool {
    let file_system = fstatfs(file).ok();
    file_system
        .and_then(|file_system| u64::try_from(file_system.f_type).ok())
        .is_some_and(|kind| LOCAL_FILE_SYSTEMS.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_map_has_the_bytes_of_the_file() {
        for text in ["", "text"] {
            let file = file(text);
            let size = file.metadata().unwrap().len();
            let map = map_by_choice(MapChoice::Always, &file, size).unwrap();
            assert_eq!(map.unwrap().bytes(&file), Some(text.as_bytes()));
            assert!(
                map_by_choice(MapChoice::Never, &file, size)
                    .unwrap()
                    .is_none()
            );
        }
    }

    #[test]
    fn a_truncated_file_is_not_touched_through_its_map() {
        let file = file("text");
        FileMap::new(&file, 5).unwrap_err();
        let map = FileMap::new(&file, 4).unwrap();
        file.set_len(3).unwrap();
        assert_eq!(map.bytes(&file), None);
        FileMap::new(&file, 4).unwrap_err();
    }

    #[test]
    fn the_file_system_of_processes_is_not_mapped_on_its_own() {
        // Like NFS, procfs is not on the list.
        let file = File::open("/proc/self/stat").unwrap();
        assert!(!is_local(&file));
        let map = map_by_choice(MapChoice::Auto, &file, 0).unwrap();
        assert!(map.is_none());
    }
}
