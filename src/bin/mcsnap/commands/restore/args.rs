//! The flags of `mcsnap restore`.

use serde::{Deserialize, Serialize};

use crate::brake::BrakeArgs;
use crate::connect::{ConnectArgs, WaitArgs};
use crate::memory::MemoryArgs;
use crate::settings::{
    SELECT_HELP, SELECT_LONG_HELP, Section, expressions, list, ring, switch, text,
};

/// Put a snapshot into running servers, placed as your client hashes
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RestoreArgs {
    /// Directory or URL of the snapshot, or a segment file
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Servers to fill, in the order of your client's configuration
    ///
    /// HOST[:PORT], unix:PATH, or cfg:HOST[:PORT] for all nodes that the
    /// configuration endpoint of a cluster names.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    #[serde(deserialize_with = "list")]
    pub(crate) to: Vec<String>,
    /// How your client places keys on these servers
    ///
    /// modula, ketama and ketama-weighted as libmemcached does them;
    /// node-for-node keeps each key on the node with the same number. Needed
    /// for more than one server: a wrong guess would hide every key.
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "ring")]
    pub(crate) ring: Option<String>,
    /// add keeps what a server has, set replaces it [default: add]
    #[arg(long, value_name = "MODE")]
    #[serde(deserialize_with = "text")]
    pub(crate) mode: Option<String>,
    /// Connections to a server [default: 4]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) connections: Option<String>,
    /// Threads that read and decompress [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) memory: MemoryArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) wait: WaitArgs,
    /// Fill the others if a server cannot be reached
    ///
    /// What belongs to it counts as unsent, a loss. Without this nothing is sent to
    /// any server, unless all can be reached.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) allow_partial: Option<bool>,
    /// Restore the keys of these servers alone, and connect to no other
    ///
    /// --to still names all servers of the ring. A key is restored if the ring of all
    /// of them puts it on one of these servers, and left out otherwise.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    #[serde(deserialize_with = "list")]
    pub(crate) only_for: Vec<String>,
    /// Throw other items out for want of memory without a question
    ///
    /// Before anything is sent, what each server would get is held against the
    /// memory that it has left. Where items would be thrown out, a person at the
    /// terminal is asked; where there is none, this is needed.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) yes: Option<bool>,
    /// Stop when the servers have thrown out more items than so many
    ///
    /// They are asked each second, and it is their own count since the restore began,
    /// whatever was thrown out.
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) stop_on_evictions: Option<String>,
    /// Whose clocks tell how long ago the dump was: servers or hosts [default: servers]
    ///
    /// It matters only where the clocks of a server and of a host do not agree, of
    /// which there is a warning: an item has the time left that it had at the dump,
    /// less the time since.
    #[arg(long, value_name = "WHOSE")]
    #[serde(deserialize_with = "text")]
    pub(crate) clock: Option<String>,
    /// Map files into memory: auto or never [default: auto]
    ///
    /// auto maps files of local file systems only: a mapped file that another
    /// host cuts short ends the program with a signal.
    #[arg(long, value_name = "WHEN")]
    #[serde(deserialize_with = "text")]
    pub(crate) mmap: Option<String>,
    /// Restore what these nodes had, by their addresses in the snapshot
    ///
    /// If several of them had a key, the value of the node where the recorded ring
    /// places the key is restored, or else that of the first one in the snapshot.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Directory of a temporary file [default: that of the system]
    ///
    /// It has 32 bytes for each key, where the snapshot has several nodes and records
    /// no ring; with one, for each key that is not where that places it.
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_dir: Option<String>,
    /// Print keys and bytes for each server, and send nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) dry_run: Option<bool>,
    #[arg(long, value_name = "EXPRESSION", help = SELECT_HELP, long_help = SELECT_LONG_HELP)]
    #[serde(deserialize_with = "expressions")]
    pub(crate) select: Vec<String>,
    /// See times of --select from this moment [default: the end of the dump]
    ///
    /// now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970. What has
    /// expired is not restored, whatever this says.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) at: Option<String>,
    /// For items whose exptime the snapshot does not tell: a time such as 2h, or
    /// never
    ///
    /// The time begins with the restore. Without it such items are refused:
    /// memcached before 1.2.4 does not tell when its items expire.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) ttl_if_unknown: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) brake: BrakeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl Section for RestoreArgs {
    const NAME: Option<&'static str> = Some("restore");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}
