//! The records of verifications, beside a snapshot. FORMAT.md 5.17.

use crate::codecs::format::verification::{FOLDER, VerificationRecord};
use crate::engines::snapshot::SnapshotReader;
use crate::engines::snapshot::home::home_of;
use crate::ports::store::Store;
use crate::words::error::{Error, Result};
use crate::words::limits::check_limit;
use crate::words::location::Location;

impl SnapshotReader {
    /// Returns the names of the records, those of the latest verifications last.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn list_verifications(&self) -> Result<Vec<String>> {
        if self.is_lone_segment() {
            return Ok(Vec::new());
        }
        let objects = self.store().list(&self.path_of(FOLDER))?;
        let mut names: Vec<String> = objects.into_iter().map(|object| object.name).collect();
        names.retain(|name| name.ends_with(".json"));
        // They begin with the moment.
        names.sort();
        Ok(names)
    }

    /// Reads a record by its name in the store.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `LimitExceeded`: it is damaged, of another snapshot, or newer; `Io`.
    pub fn read_verification(&self, name: &str) -> Result<VerificationRecord> {
        self.read_record(name).map(|(_, record)| record)
    }

    /// Reads and checks a record; returns its bytes.
    pub(super) fn read_verification_bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.read_record(name).map(|(bytes, _)| bytes)
    }

    fn read_record(&self, name: &str) -> Result<(Vec<u8>, VerificationRecord)> {
        let object = self.store().open(name)?;
        let limits = self.limits();
        check_limit(
            "record of a verification",
            object.size(),
            limits.manifest_part_len_max,
        )?;
        let mut bytes = vec![0; usize::try_from(object.size()).unwrap_or(usize::MAX)];
        object.read_at(0, &mut bytes)?;
        let decoded = VerificationRecord::decode(&bytes, self.manifest().snapshot_id, limits);
        decoded.map(|record| (bytes, record)).map_err(|defect| {
            Error::corrupt(defect).at(Location::object(self.store().describe(name)))
        })
    }
}

/// Writes a record beside the snapshot of this name; returns its place for messages.
///
/// # Errors
///
/// - `Io`; `AlreadyExists`: the same record is there.
pub fn write_verification(
    store: &dyn Store,
    name: &str,
    record: &VerificationRecord,
) -> Result<String> {
    let (bytes, object) = record.encode();
    let path = format!("{}/{object}", home_of(store, name)?);
    store.put_new(&path, &bytes)?;
    Ok(store.describe(&path))
}
