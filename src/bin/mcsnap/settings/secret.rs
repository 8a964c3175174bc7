//! Settings whose values are never shown.

use std::fmt;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};

use crate::settings::text;

/// Settings that report themselves as [`HIDDEN`].
const SECRETS: [&str; 1] = ["auth"];

/// What is shown in place of a secret.
pub(super) const HIDDEN: &str = "(hidden)";

/// A text that is not shown.
#[derive(Clone, Default)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(text(deserializer)?.unwrap_or_default()))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// Says whether a layer's value is not to be shown.
pub(super) fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}
