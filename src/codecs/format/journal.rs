//! The journal that a dump writes when it starts, so that it can be resumed after a kill.
//! FORMAT.md 5.14.

use serde::{Deserialize, Serialize};

use crate::codecs::format::ids::SnapshotId;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::limits::SHARD_BITS;

const FORMAT_NAME: &str = "mcsnap-journal";

/// Longest journal that is read, in bytes; a journal has some 200 bytes per node.
pub const JOURNAL_LEN_MAX: u64 = 16 << 20;

/// A dump in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Always `mcsnap-journal`.
    pub format: String,
    /// Always 1.
    pub version: u32,
    /// The id that all segments of the dump carry.
    pub snapshot_id: SnapshotId,
    /// Name and version of the writer.
    pub tool: String,
    /// When the dump started. RFC 3339.
    pub started_at: String,
    /// Each node has 2^bits shards.
    pub shard_bits: u8,
    /// The selection of items to dump; `None` for all.
    #[serde(default)]
    pub select: Option<String>,
    /// The run that writes the dump; `None` in a journal of an older mcsnap.
    #[serde(default)]
    pub owner: Option<JournalOwner>,
    /// One entry per node, in the order given.
    pub nodes: Vec<JournalNode>,
}

/// A run of mcsnap that writes a dump: the first run, or the last one that resumed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalOwner {
    /// Random, and different for every run.
    pub id: String,
    /// Name of its host, for messages; empty if the host has no name.
    pub host: String,
    /// Its process id, for messages.
    pub pid: u32,
}

/// The state of a node when the dump began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalNode {
    /// As the user wrote it.
    pub address: String,
    /// Process id of the server; 0 if the node did not answer.
    pub pid: u64,
    /// Unix seconds on the server's clock; 0 if the node did not answer.
    pub server_started_at: u64,
    /// Number of `flush_all` calls that the server counted.
    pub flushes: u64,
    /// The time of the last flush, if the server reports it.
    #[serde(default)]
    pub flushed_until: Option<u64>,
    /// Whether that time was still to come.
    #[serde(default)]
    pub is_flush_ahead: bool,
    /// Whether the LRU crawler was off, and must be turned off again after the walk.
    #[serde(default)]
    pub is_crawler_off: bool,
}

impl Journal {
    /// Makes a journal of this version, without nodes.
    pub fn new(snapshot_id: SnapshotId, started_at: String) -> Self {
        Self {
            format: FORMAT_NAME.to_owned(),
            version: 1,
            snapshot_id,
            tool: concat!("mcsnap ", env!("CARGO_PKG_VERSION")).to_owned(),
            started_at,
            shard_bits: 0,
            select: None,
            owner: None,
            nodes: Vec::new(),
        }
    }

    /// Returns the journal as bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Structs of text, numbers and lists can always be serialised.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Parses a journal.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: the bytes are not a journal, have another version, or have more
    ///   shards than a dump can have.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let malformed = |reason: String| {
            let structure = Structure::Journal;
            Error::corrupt(Defect::Malformed { structure, reason })
        };
        let journal: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if journal.format != FORMAT_NAME || journal.version != 1 {
            let found = format!("{} {}", journal.format, journal.version);
            return Err(malformed(format!("wanted {FORMAT_NAME} 1, found {found}")));
        }
        let shard_bits = journal.shard_bits;
        if !SHARD_BITS.contains(&shard_bits.into()) {
            return Err(malformed(format!("shard_bits is {shard_bits}")));
        }
        Ok(journal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_back_and_nothing_else_is_one() {
        let mut journal = Journal::new(SnapshotId([7; 16]), "2026-11-20T02:00:00Z".to_owned());
        journal.nodes.push(JournalNode {
            is_crawler_off: true,
            address: "a:1".to_owned(),
            pid: 42,
            server_started_at: 1_700_000_000,
            flushes: 0,
            flushed_until: Some(61),
            is_flush_ahead: false,
        });
        let bytes = journal.encode();
        assert_eq!(Journal::decode(&bytes).unwrap(), journal);
        for len in 0..bytes.len() - 2 {
            assert!(Journal::decode(&bytes[..len]).is_err());
        }
        journal.owner = Some(JournalOwner {
            id: "ab".repeat(16),
            host: "backup-1".to_owned(),
            pid: 4711,
        });
        let text = String::from_utf8(journal.encode()).unwrap();
        assert_eq!(Journal::decode(text.as_bytes()).unwrap(), journal);
        // The journal of an older mcsnap has no owner.
        let (before, after) = text.split_once("\n  \"owner\": {").unwrap();
        let after = after.split_once("},").unwrap().1;
        let older = Journal::decode(format!("{before}{after}").as_bytes()).unwrap();
        assert_eq!(older.owner, None);
        journal.shard_bits = 8;
        assert_eq!(Journal::decode(&journal.encode()).unwrap(), journal);
        journal.shard_bits = 9;
        let error = Journal::decode(&journal.encode()).unwrap_err().to_string();
        assert!(error.contains("shard_bits is 9"), "{error}");
        journal.version = 2;
        let error = Journal::decode(&journal.encode()).unwrap_err().to_string();
        assert!(error.contains("found mcsnap-journal 2"), "{error}");
    }
}
