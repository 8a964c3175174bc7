//! What a dump writes down when it starts, so that it can go on after a kill.
//! FORMAT.md 5.13.

use serde::{Deserialize, Serialize};

use crate::codecs::format::ids::SnapshotId;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::limits::SHARD_BITS;

const FORMAT_NAME: &str = "mcsnap-journal";

/// Longest journal that is read: some 200 bytes a node.
pub const JOURNAL_LEN_MAX: u64 = 16 << 20;

/// A dump that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Always `mcsnap-journal`.
    pub format: String,
    /// Always 1.
    pub version: u32,
    /// The id that all its segments carry.
    pub snapshot_id: SnapshotId,
    /// The writer's name and version.
    pub tool: String,
    /// RFC 3339.
    pub started_at: String,
    /// Each node has 2^bits shards.
    pub shard_bits: u8,
    /// Which items are dumped; none for all.
    #[serde(default)]
    pub select: Option<String>,
    /// The run that writes the dump; none in a journal of an older mcsnap.
    #[serde(default)]
    pub owner: Option<JournalOwner>,
    /// One a node, in the order given.
    pub nodes: Vec<JournalNode>,
}

/// A run of mcsnap that writes a dump: the first one, or the last that went on
/// with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalOwner {
    /// Random, and another one for every run.
    pub id: String,
    /// Name of its host, for people; empty if the host has none.
    pub host: String,
    /// Its process, for people.
    pub pid: u32,
}

/// A node when the dump began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalNode {
    /// As the user wrote it.
    pub address: String,
    /// Of the server's process; 0 if the node did not answer.
    pub pid: u64,
    /// Unix seconds on the server's clock; 0 if the node did not answer.
    pub server_started_at: u64,
    /// Calls of `flush_all` by the server's count.
    pub flushes: u64,
    /// The moment of the last flush as the server tells it, if it does.
    #[serde(default)]
    pub flushed_until: Option<u64>,
    /// That moment was still to come.
    #[serde(default)]
    pub is_flush_ahead: bool,
    /// The LRU crawler was off, and is to be off again after the walk.
    #[serde(default)]
    pub is_crawler_off: bool,
}

impl Journal {
    /// Makes a journal of this version.
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

    /// Returns the journal's bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Structs of text, numbers and lists always serialise.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a journal.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: it is none, of another version, or of more shards than a dump can
    ///   have.
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
        // An older mcsnap has written it without.
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
