//! The program's own flags, which every command has.

use serde::{Deserialize, Serialize};

use crate::settings::{Section, repeat, repeat_or_none, switch, text};

/// Settings of every command.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct GlobalArgs {
    /// Form of the report on stdout: text or json [default: text]
    #[arg(long, global = true, value_name = "FORM")]
    #[serde(deserialize_with = "text")]
    pub(crate) format: Option<String>,
    /// YAML file with settings
    ///
    /// Its top level holds the settings of every command, and one mapping a
    /// command with the same names as the long flags.
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<String>,
    /// Append the log to a file, a JSON object a line
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) log_file: Option<String>,
    /// For how long a call to an object store is tried again [default: 4m]
    ///
    /// What goes wrong is told while it is tried. A store that never answered
    /// is given up after 8 seconds.
    #[arg(long, global = true, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) store_patience: Option<String>,
    /// Serve metrics of the running job for Prometheus at http://ADDRESS/metrics
    ///
    /// PORT for this host alone, or ADDRESS:PORT; 0.0.0.0:PORT is for all hosts.
    #[arg(long, global = true, value_name = "ADDRESS")]
    #[serde(deserialize_with = "text")]
    pub(crate) metrics_addr: Option<String>,
    /// Leave metrics of the run in a file for Prometheus' node_exporter
    ///
    /// A name that ends in .prom, in the folder of its textfile collector; one for
    /// each job. It is replaced at the end of the run, whatever the end is.
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) metrics_file: Option<String>,
    /// Progress on stderr: auto, bars, lines, json or none [default: auto]
    #[arg(long, global = true, value_name = "KIND")]
    #[serde(deserialize_with = "text")]
    pub(crate) progress: Option<String>,
    /// Say more on stderr; twice for details, three times for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    #[serde(deserialize_with = "repeat", serialize_with = "repeat_or_none")]
    pub(crate) verbose: u8,
    /// No progress, and no notes that the report has as well
    #[arg(short, long, global = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) quiet: Option<bool>,
}

impl Section for GlobalArgs {
    const NAME: Option<&'static str> = None;
}
