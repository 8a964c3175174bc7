//! `mcsnap ring locate`: the node on which the client looks for a key.

use std::io::{self, BufRead as _};

use anyhow::{Context as _, Result};
use mcsnap::codecs::ring::{Placement, Ring, RingSpec};
use mcsnap::words::item::{KEY_LEN_MAX, escape_bytes};
use mcsnap::words::units::to_u64;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::command::Command;
use crate::connect::ConnectArgs;
use crate::context::Context;
use crate::exit::{Outcome, UsageError};
use crate::render::{counted, print_on};
use crate::settings::{Format, Resolved, Section, list, parse_duration, parse_key, ring, text};

/// Say on which node the client looks for keys
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct RingLocateArgs {
    /// Keys, as they are printed; - for one a line on stdin
    #[arg(value_name = "KEY")]
    #[serde(skip)]
    pub(crate) keys: Vec<String>,
    /// How your client places keys, such as dalli; see mcsnap ring list
    #[arg(long, value_name = "RING")]
    #[serde(deserialize_with = "ring")]
    pub(crate) ring: Option<String>,
    /// All nodes of the ring, in the order of your client's configuration
    ///
    /// host[:port][=ip][*weight][@label], or cfg:HOST:PORT for the nodes that a
    /// configuration endpoint names.
    #[arg(long, value_name = "NODE,...")]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Longest wait for an endpoint's answer [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) timeout: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl Section for RingLocateArgs {
    const NAME: Option<&'static str> = Some("ring-locate");
}

impl Command for RingLocateArgs {
    const PRINTS_LINES: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, given } = context.resolve(self)?;
        if self.keys.is_empty() {
            return Err(UsageError("no key; name some, or pass - to read them".to_owned()).into());
        }
        let ring: RingSpec = match &settings.ring {
            Some(ring) => ring.parse()?,
            None => {
                let message = "no ring; pass --ring, of those that mcsnap ring list shows";
                return Err(UsageError(message.to_owned()).into());
            }
        };
        let timeout = parse_duration("timeout", settings.timeout.as_deref().unwrap_or("10s"))?;
        let net = settings.connect.net_options(&given, timeout)?;
        let found = settings
            .connect
            .find_nodes(&settings.nodes, &net, &context.cancel)?;
        if found.nodes.is_empty() {
            let message = "no nodes; pass --nodes with all nodes of the ring";
            return Err(UsageError(message.to_owned()).into());
        }
        let Placement::Ring(placed) = Placement::new(&ring, &found.nodes)? else {
            let message =
                format!("ring \"{ring}\": no key says where it belongs; name a client's ring");
            return Err(UsageError(message).into());
        };
        if let Some(warning) = ring.warning_of(&found.nodes) {
            tracing::warn!("{warning}");
        }
        let locate = |text: &str| -> Result<String> {
            let key = parse_key("key", text)?;
            locate_line(context.format, &ring, &placed, &found.nodes, &key)
        };
        for text in &self.keys {
            if text != "-" {
                if print_on(locate(text)?.as_bytes())?.is_break() {
                    return Ok(Outcome::Clean);
                }
                continue;
            }
            for line in io::stdin().lock().lines() {
                let line = line.context("cannot read stdin")?;
                context.cancel.check()?;
                if !line.is_empty() && print_on(locate(&line)?.as_bytes())?.is_break() {
                    return Ok(Outcome::Clean);
                }
            }
        }
        Ok(Outcome::Clean)
    }
}

/// A line: node and key, or one JSON object.
fn locate_line(
    format: Format,
    spec: &RingSpec,
    ring: &Ring,
    nodes: &[mcsnap::words::node::NodeSpec],
    key: &[u8],
) -> Result<String> {
    check_key(spec, key)?;
    let index = ring.locate(key);
    let node = nodes
        .get(index)
        .map_or_else(String::new, ToString::to_string);
    Ok(match format {
        Format::Text => format!("{node}  {}\n", escape_bytes(key)),
        Format::Json => {
            let line = json!({"key": escape_bytes(key), "node": node, "node_index": index});
            format!("{line}\n")
        }
    })
}

/// A key that no memcached holds, or that such a client cannot have, is nowhere.
fn check_key(spec: &RingSpec, key: &[u8]) -> Result<(), UsageError> {
    let refuse = |why: String| {
        let key = escape_bytes(key);
        Err(UsageError(format!("key \"{key}\": {why}")))
    };
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        let len = key.len();
        return refuse(format!(
            "{}; memcached keeps keys of 1 to {KEY_LEN_MAX}",
            counted(to_u64(len), "byte")
        ));
    }
    let is_text = spec.rule().is_some_and(|rule| rule.hashes_text());
    if is_text && std::str::from_utf8(key).is_err() {
        return refuse(format!("{spec} hashes text, and this is no UTF-8"));
    }
    Ok(())
}
