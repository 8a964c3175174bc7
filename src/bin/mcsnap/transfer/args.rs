//! The flags that both commands have.

use anyhow::Result;
use mcsnap::jobs::transfer::{Direction, TransferOptions};
use mcsnap::words::limits::CONNECTION_COUNTS;
use serde::{Deserialize, Serialize};

use crate::brake::parse_bytes;
use crate::settings::{parse_count, switch, text};

/// How a snapshot is copied.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct TransferArgs {
    /// Name of the copy [default: that of the snapshot]
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub(crate) name: Option<String>,
    /// Objects copied side by side [default: 4]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) connections: Option<String>,
    /// Most bytes a second, such as 10MiB; what is read back counts, too
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) bytes_per_second: Option<String>,
    /// Permissions of new files, such as 640 for a group [default: 600]
    ///
    /// Three octal digits: 6 for the owner, and 0, 4 or 6 for the group and for
    /// others. Who may read the files may enter the directories, too.
    #[arg(long, value_name = "MODE")]
    #[serde(deserialize_with = "text")]
    pub(crate) file_mode: Option<String>,
    /// Print what would be copied, and what is there already, and do nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) dry_run: Option<bool>,
}

impl TransferArgs {
    /// Reads all of it.
    pub(super) fn options(&self, direction: Direction) -> Result<TransferOptions> {
        let connections = self.connections.as_deref().map(|text| {
            let (least, most) = (*CONNECTION_COUNTS.start(), *CONNECTION_COUNTS.end());
            parse_count("connections", text, least, most)
        });
        let connection_count = match connections.transpose()? {
            Some(count) => usize::try_from(count)?,
            None => TransferOptions::CONNECTIONS,
        };
        let rate = self.bytes_per_second.as_deref();
        let rate = rate.map(|text| parse_bytes("bytes-per-second", text));
        Ok(TransferOptions {
            direction,
            connection_count,
            bytes_per_second: rate.transpose()?,
        })
    }
}
