//! The flags of `mcsnap dump`.

use serde::{Deserialize, Serialize};

use crate::brake::BrakeArgs;
use crate::connect::{ConnectArgs, WaitArgs};
use crate::memory::MemoryArgs;
use crate::segment_args::SegmentArgs;
use crate::settings::{
    SELECT_HELP, SELECT_LONG_HELP, Section, expressions, list, ring_or_detect, switch, text,
};

/// Read all items of running servers into a snapshot
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct DumpArgs {
    /// Servers to read, in the order of your client's configuration
    ///
    /// HOST[:PORT], unix:PATH, or cfg:HOST[:PORT] for all nodes that the
    /// configuration endpoint of a cluster names.
    #[arg(value_name = "HOST:PORT")]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Directory, or URL, below which the snapshot gets a place of its own
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) to: Option<String>,
    /// Name of the snapshot [default: the time and four random digits]
    ///
    /// %F stands for the date, %H%M for the time, and so on, as in strftime, in
    /// UTC: night-%F.
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub(crate) name: Option<String>,
    /// Fill the pattern of --name with local time, not UTC
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) name_local: Option<bool>,
    /// How your client places keys on these servers, for the record; or detect
    ///
    /// With detect, a thousand keys of each server show which ring explains where
    /// they lie. None is recorded where that is not certain; see mcsnap ring
    /// detect. Of a ring that is named, as many keys of the snapshot show whether
    /// it is the one: a warning says how many lie elsewhere.
    #[arg(long, value_name = "RING")]
    #[serde(deserialize_with = "ring_or_detect")]
    pub(crate) ring: Option<String>,
    /// Connections to a server for values [default: 4]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) connections: Option<String>,
    /// Servers read side by side [default: 8]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) parallel_nodes: Option<String>,
    /// Writers a server, a power of two [default: 2]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) shards: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) segments: SegmentArgs,
    /// Bytes of listed keys kept in memory, of all servers together [default: 128MiB]
    ///
    /// A short key takes about 10. What is above half of it goes into a nameless
    /// temporary file as fast as that takes it; where it does not, and all is full,
    /// a walk is given up and done again in parts.
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_memory: Option<String>,
    /// Directory of the temporary file [default: that of --to]
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_dir: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) memory: MemoryArgs,
    /// Permissions of new files, such as 640 for a group [default: 600]
    ///
    /// Three octal digits: 6 for the owner, and 0, 4 or 6 for the group and for
    /// others. Who may read the files may enter the directories, too.
    #[arg(long, value_name = "MODE")]
    #[serde(deserialize_with = "text")]
    pub(crate) file_mode: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) wait: WaitArgs,
    /// Keep a snapshot that lacks a server which failed
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) allow_partial: Option<bool>,
    /// Go on with a dump that did not finish, if one began in the last 6h, or in AGE
    ///
    /// It looks for an unfinished dump with the given --name, or without one for a
    /// dump of the same servers in --to. What that dump sealed is kept if its servers
    /// still have it as it was, by CAS and exptime. If it is older, or its servers were
    /// restarted or flushed since, the dump starts anew, with a warning. AGE is a time
    /// such as 90m, 12h or 7d; without one it is 6h.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "AGE")]
    #[serde(deserialize_with = "text")]
    pub(crate) resume: Option<String>,
    /// How to list the keys [default: the best for each server]
    ///
    /// One of hash, slabs, slabs:serial and cachedump. `hash` walks the hash table (memcached 1.6.9 and later) and misses nothing.
    /// `slabs` walks the LRU lists in one crawl, as often as it finds more,
    /// `slabs:serial` with a crawl for each slab class (1.4.31 and later).
    /// `cachedump` needs no crawler, and sees 2 MiB of keys a slab class at most.
    #[arg(long, value_name = "KIND")]
    #[serde(deserialize_with = "text")]
    pub(crate) walk: Option<String>,
    /// Percentage of items that may be lost with exit code 0 [default: 0]
    ///
    /// Losses are items that were refused, failed, missing or not listed.
    /// Vanished, expired, duplicate and filtered items are none.
    #[arg(long, value_name = "PERCENT")]
    #[serde(deserialize_with = "text")]
    pub(crate) max_missing: Option<String>,
    /// Percentage of items that may be unsure with exit code 0 [default: 0]
    ///
    /// Unsure is what the counts of a server leave open: an item may have been
    /// there and was not listed. It happens where items are set or removed while the
    /// LRU lists are walked, before memcached 1.6.9, and where a server cannot be
    /// made to reclaim what has expired.
    #[arg(long, value_name = "PERCENT")]
    #[serde(deserialize_with = "text")]
    pub(crate) max_unsure: Option<String>,
    /// Ask the servers, print what would be done, and do nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) dry_run: Option<bool>,
    #[arg(long, value_name = "EXPRESSION", help = SELECT_HELP, long_help = SELECT_LONG_HELP)]
    #[serde(deserialize_with = "expressions")]
    pub(crate) select: Vec<String>,
    /// Read no server, but the restart file (-e) of a stopped one
    ///
    /// Its .meta must be beside it, as a stop with SIGUSR1 leaves it. HOST:PORT,
    /// if given, is then only the name of the node in the snapshot.
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) warm_file: Option<String>,
    /// Longest time to wait for another crawl to end [default: 90s]
    ///
    /// A server does one crawl of its items at a time, its own included, and
    /// answers BUSY meanwhile; one at its limit of connections is waited for as
    /// long.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) busy_timeout: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) brake: BrakeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl Section for DumpArgs {
    const NAME: Option<&'static str> = Some("dump");
    const ARGUMENTS: &'static [&'static str] = &["nodes"];
}
