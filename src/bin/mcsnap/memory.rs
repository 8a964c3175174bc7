//! How much memory a job may take: the flag, and what a dry run says of it.

use anyhow::Result;
use mcsnap::ports::control_group;
use mcsnap::words::budget::MemoryLimit;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::render::size;
use crate::settings::{parse_size, text};

/// The flag of every job that can be made narrower to take less memory.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct MemoryArgs {
    /// Most memory of the job, such as 512MiB [default: 3/4 of the control group's]
    ///
    /// Less is then done at a time, and less waits between threads. A job that cannot
    /// keep to it says how much it needs. Without this flag it is three quarters of what
    /// the container or the unit of systemd may have, if that has a limit; none is no
    /// limit. Files that are mapped do not count, since the system can have their memory
    /// back.
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) mem_limit: Option<String>,
}

impl MemoryArgs {
    /// Reads the limit.
    pub(crate) fn limit(&self) -> Result<MemoryLimit> {
        match self.mem_limit.as_deref() {
            Some("none") => Ok(MemoryLimit::None),
            Some(text) => {
                let bytes = parse_size("mem-limit", text, MemoryLimit::LEAST)?;
                Ok(MemoryLimit::Asked(bytes))
            }
            // The rest is for the pages of files, which the group has to pay for, too.
            None => Ok(control_group::memory_max()
                .map_or(MemoryLimit::None, |all| MemoryLimit::OfHost(all / 4 * 3))),
        }
    }
}

/// Tells the limit in a plan.
pub(crate) fn plan_json(limit: MemoryLimit) -> Value {
    json!(limit.bytes())
}

/// Tells the limit in a plan, if there is one.
pub(crate) fn plan_row(limit: MemoryLimit) -> Option<(&'static str, String)> {
    let text = match limit {
        MemoryLimit::None => return None,
        MemoryLimit::OfHost(bytes) => {
            format!(
                "{} at most, 3/4 of what the control group may have",
                size(bytes)
            )
        }
        MemoryLimit::Asked(bytes) => format!("{} at most", size(bytes)),
    };
    Some(("memory", text))
}
