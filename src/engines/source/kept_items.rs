//! Tracks which items of an unfinished dump a server still has unchanged.

use std::path::Path;

use crate::ports::store::KeyTable;
use crate::words::error::Result;
use crate::words::item::Exptime;

/// One version of an item, on its server's clock. If all three fields are equal, the item
/// has not been set, changed or touched in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemVersion<'a> {
    /// 1 to 250 bytes.
    pub key: &'a [u8],
    /// Above 0. Every change of the item gives it another.
    pub cas: u64,
    /// On the server's clock.
    pub exptime: Exptime,
}

/// Versions of items that a listing is expected to show.
///
/// # Memory
///
/// That of a [`KeyTable`].
#[derive(Debug)]
pub struct KeptItems {
    table: KeyTable,
    waiting: u64,
    /// The identity of the version being looked up; reused between calls.
    identity: Vec<u8>,
}

/// Not listed yet.
const WAITING: u16 = 0;
/// Listed unchanged.
const LISTED: u16 = 1;
/// Listed, and claimed by a segment.
const CLAIMED: u16 = 2;

impl KeptItems {
    /// Creates an empty table; see [`KeyTable::create`].
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room for it.
    pub fn create(directory: &Path, expected_count: u64) -> Result<Self> {
        Ok(Self {
            table: KeyTable::create(directory, expected_count)?,
            waiting: 0,
            identity: Vec::new(),
        })
    }

    /// Adds a version that a listing is expected to show.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn insert(&mut self, version: &ItemVersion<'_>) -> Result<()> {
        version.write_identity(&mut self.identity);
        let before = self
            .table
            .put(&self.identity, |before| before.unwrap_or(WAITING))?;
        self.waiting = self.waiting.saturating_add(u64::from(before.is_none()));
        Ok(())
    }

    /// Marks a version as listed. Versions that were never added are ignored.
    ///
    /// # Errors
    ///
    /// - `Io`, which never happens: nothing is added.
    pub fn see(&mut self, version: &ItemVersion<'_>) -> Result<()> {
        version.write_identity(&mut self.identity);
        if self.table.get(&self.identity) == Some(WAITING) {
            self.table.put(&self.identity, |_| LISTED)?;
            self.waiting = self.waiting.saturating_sub(1);
        }
        Ok(())
    }

    /// Returns how many versions have not been listed yet.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Returns true if the version was listed and has not been claimed before. If two
    /// segments have the same key, one of them is enough.
    ///
    /// # Errors
    ///
    /// - `Io`, which never happens: nothing is added.
    pub fn claim(&mut self, version: &ItemVersion<'_>) -> Result<bool> {
        version.write_identity(&mut self.identity);
        if self.table.get(&self.identity) != Some(LISTED) {
            return Ok(false);
        }
        self.table.put(&self.identity, |_| CLAIMED)?;
        Ok(true)
    }
}

impl ItemVersion<'_> {
    /// Writes bytes that identify the version. The key comes last, since its length
    /// varies.
    fn write_identity(&self, identity: &mut Vec<u8>) {
        identity.clear();
        identity.extend_from_slice(&self.cas.to_le_bytes());
        let (is_set, at) = match self.exptime {
            Exptime::Never => (0, 0),
            Exptime::At(at) => (1, at.0),
        };
        identity.push(is_set);
        identity.extend_from_slice(&at.to_le_bytes());
        identity.extend_from_slice(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::units::UnixSecs;

    #[test]
    fn a_version_is_found_once_and_only_where_all_of_it_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = KeptItems::create(directory.path(), 0).unwrap();
        let at = |seconds| Exptime::At(UnixSecs(seconds));
        let version = |key: &'static str, cas, exptime| ItemVersion {
            key: key.as_bytes(),
            cas,
            exptime,
        };
        kept.insert(&version("a", 1, at(5))).unwrap();
        kept.insert(&version("b", 2, Exptime::Never)).unwrap();
        kept.insert(&version("b", 2, Exptime::Never)).unwrap();
        assert_eq!(kept.waiting(), 2);
        for other in [
            version("a", 1, at(6)),
            version("a", 1, Exptime::Never),
            version("a", 2, at(5)),
            version("ab", 1, at(5)),
            version("b", 2, at(0)),
        ] {
            kept.see(&other).unwrap();
        }
        assert_eq!(kept.waiting(), 2);
        assert!(!kept.claim(&version("a", 1, at(5))).unwrap());
        kept.see(&version("a", 1, at(5))).unwrap();
        kept.see(&version("a", 1, at(5))).unwrap();
        assert_eq!(kept.waiting(), 1);
        assert!(kept.claim(&version("a", 1, at(5))).unwrap());
        assert!(!kept.claim(&version("a", 1, at(5))).unwrap());
        assert!(!kept.claim(&version("b", 2, Exptime::Never)).unwrap());
    }
}
