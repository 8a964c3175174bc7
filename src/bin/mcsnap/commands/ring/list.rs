//! `mcsnap ring list`: the rings that have a name.

use anyhow::Result;
use mcsnap::codecs::ring::{Preset, RingSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::Command;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render::{print, print_json};
use crate::settings::{Format, Resolved, Section, switch};

/// List the rings that have a name, and the clients that they stand for
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RingListArgs {
    /// List the parts that can be set after a name, and their values
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) parts: Option<bool>,
}

impl Section for RingListArgs {
    const NAME: Option<&'static str> = Some("ring-list");
}

impl Command for RingListArgs {
    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, .. } = context.resolve(self)?;
        let is_of_parts = settings.parts == Some(true);
        match (context.format, is_of_parts) {
            (Format::Json, _) => print_json(&document())?,
            (Format::Text, false) => print(rings().as_bytes())?,
            (Format::Text, true) => print(parts().as_bytes())?,
        }
        Ok(Outcome::Clean)
    }
}

fn document() -> Value {
    let rings: Vec<Value> = Preset::ALL
        .iter()
        .map(|preset| {
            let rule = preset.rule();
            json!({
                "ring": preset.name,
                "client": preset.client,
                "about": preset.about,
                "uses_names": rule.as_ref().map(|rule| rule.distribution.uses_names()),
                "uses_weights": rule.as_ref().map(|rule| rule.distribution.uses_weights()),
            })
        })
        .collect();
    let parts: Vec<Value> = RingSpec::parts()
        .into_iter()
        .map(|(part, values, about)| json!({"part": part, "values": values, "about": about}))
        .collect();
    json!({"schema": "mcsnap.ring-list/1", "rings": rings, "parts": parts})
}

/// The rings below the clients that they stand for.
fn rings() -> String {
    let mut text = String::new();
    let mut client = "";
    let width = Preset::ALL
        .iter()
        .map(|preset| preset.name.len())
        .max()
        .unwrap_or(0);
    for preset in Preset::ALL {
        if preset.client != client {
            client = preset.client;
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{client}\n"));
        }
        text.push_str(&format!("  {:width$}  {}\n", preset.name, preset.about));
    }
    text.push_str("\nParts are set after a name, as in ketama,hash=md5: see --parts.\n");
    text
}

fn parts() -> String {
    let mut text = String::new();
    for (part, values, about) in RingSpec::parts() {
        text.push_str(&format!("{part}: {about}\n"));
        // Folded by words, so that a terminal does not cut them.
        let mut line = String::from("   ");
        for value in values.split(' ') {
            if line.len() + 1 + value.len() > 78 {
                text.push_str(&line);
                text.push('\n');
                line = String::from("   ");
            }
            line.push(' ');
            line.push_str(value);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}
