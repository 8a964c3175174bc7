//! A data file and its description, both written by another program: memcached's restart
//! file and its `.meta`. This module does not interpret their contents.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::ports::store::map::{FileMap, MapChoice, map_by_choice};
use crate::words::error::{Error, Operation, Result};
use crate::words::limits::check_limit;
use crate::words::units::to_u64;

/// A restart file, mapped into memory, and the text of its `.meta`.
#[derive(Debug)]
pub struct RestartFile {
    path: PathBuf,
    file: File,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<FileMap>,
    meta_path: PathBuf,
    meta: Vec<u8>,
    meta_len_max: usize,
}

impl RestartFile {
    /// Opens and maps the file at any path, and reads its `.meta`, which may have up to
    /// `meta_len_max` bytes. Returns `None` if there is no `.meta`.
    ///
    /// # Errors
    ///
    /// - `Io`: a file cannot be opened, read or mapped.
    /// - `LimitExceeded`: the `.meta` is longer than `meta_len_max`.
    pub fn open(path: &Path, meta_len_max: usize) -> Result<Option<Self>> {
        let place = path.display().to_string();
        let failed = |operation| {
            let place = place.clone();
            move |error| Error::io(operation, place, error)
        };
        let file = File::open(path).map_err(failed(Operation::Open))?;
        let mut meta_path = OsString::from(path);
        meta_path.push(".meta");
        let meta_path = PathBuf::from(meta_path);
        let Some(meta) = read_small(&meta_path, meta_len_max)? else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(failed(Operation::Open))?;
        if !metadata.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
            return Err(failed(Operation::Map)(error));
        }
        let map = match metadata.len() {
            0 => None,
            size => {
                map_by_choice(MapChoice::Always, &file, size).map_err(failed(Operation::Map))?
            }
        };
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            map,
            meta_path,
            meta,
            meta_len_max,
        }))
    }

    /// Names the file for messages.
    pub fn describe(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns the text of the `.meta`.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// Returns the bytes of the file.
    ///
    /// # Errors
    ///
    /// - `Io`: the file was truncated.
    pub fn bytes(&self) -> Result<&[u8]> {
        let Some(map) = &self.map else {
            return Ok(&[]);
        };
        map.bytes(&self.file).ok_or_else(|| {
            let reason = "the file has become shorter";
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, reason);
            Error::io(Operation::Read, self.describe(), error)
        })
    }

    /// Returns whether the `.meta` still exists with the same text: a server that takes
    /// over the file removes it.
    ///
    /// # Errors
    ///
    /// - `Io`: the `.meta` cannot be read.
    pub fn is_unchanged(&self) -> Result<bool> {
        let meta = read_small(&self.meta_path, self.meta_len_max)?;
        Ok(meta.as_ref() == Some(&self.meta) && self.bytes().is_ok())
    }
}

/// Reads a whole small file; returns `None` if it does not exist.
fn read_small(path: &Path, len_max: usize) -> Result<Option<Vec<u8>>> {
    let failed = |operation| {
        let place = path.display().to_string();
        move |error| Error::io(operation, place, error)
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(Operation::Open)(error)),
    };
    let len_max = to_u64(len_max);
    let mut bytes = Vec::new();
    file.take(len_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed(Operation::Read))?;
    check_limit("restart_meta_len_max", to_u64(bytes.len()), len_max)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::words::error::ErrorKind;

    #[test]
    fn a_file_whose_description_goes_or_changes_is_not_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mem");
        let meta = directory.path().join("mem.meta");
        fs::write(&path, "items").unwrap();
        assert!(RestartFile::open(&path, 10).unwrap().is_none());
        fs::write(&meta, "text").unwrap();
        let file = RestartFile::open(&path, 10).unwrap().unwrap();
        assert_eq!(
            (file.meta(), file.bytes().unwrap()),
            (&b"text"[..], &b"items"[..])
        );
        assert!(file.is_unchanged().unwrap());
        for text in ["other", "a text that is too long", "text"] {
            fs::write(&meta, text).unwrap();
            assert_eq!(
                file.is_unchanged().ok(),
                (text.len() < 10).then_some(text == "text")
            );
        }
        fs::remove_file(&meta).unwrap();
        assert!(!file.is_unchanged().unwrap());
    }

    #[test]
    fn a_file_that_is_cut_or_none_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mem");
        fs::write(directory.path().join("mem.meta"), "text").unwrap();
        assert!(RestartFile::open(&path, 10).is_err());
        fs::create_dir(&path).unwrap();
        assert!(RestartFile::open(&path, 10).is_err());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        let empty = RestartFile::open(&path, 10).unwrap().unwrap();
        assert_eq!(empty.bytes().unwrap(), b"");
        fs::write(&path, "items").unwrap();
        let file = RestartFile::open(&path, 10).unwrap().unwrap();
        fs::write(&path, "item").unwrap();
        let error = file.bytes().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        assert!(!file.is_unchanged().unwrap());
    }
}
