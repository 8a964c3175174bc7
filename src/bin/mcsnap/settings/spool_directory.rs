//! The directory of a temporary file.

use std::error::Error as _;
use std::io;
use std::path::Path;

use anyhow::Result;
use mcsnap::ports::store::ScratchFile;
use mcsnap::words::error::Error;

/// Makes a temporary file as a walk may need one hours later.
pub(crate) fn check_spool_directory(directory: &str) -> Result<()> {
    if let Err(error) = ScratchFile::create(Path::new(directory)) {
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        // No setting is wrong where a disk is full, and a retry may help.
        if cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::StorageFull) {
            return Err(error.into());
        }
        let reason = cause.map(ToString::to_string).unwrap_or_default();
        let allowed = format!("no temporary file can be made in it: {reason}");
        return Err(Error::invalid_input("spool-dir", directory, allowed).into());
    }
    Ok(())
}
