//! Finds keys that are not text, for rings whose client hashes text.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::codecs::ring::RingSpec;
use crate::words::item::escape_bytes;
use crate::words::units::{counted, verb};

/// Keys that no client of a ring can have: the client hashes text, and these keys are not
/// UTF-8.
///
/// Such a key comes from another client, or from another ring than the one named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotText {
    /// The ring.
    pub ring: RingSpec,
    /// How many there are.
    pub keys: u64,
    /// The one whose bytes sort first.
    pub example: Vec<u8>,
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = counted(self.keys, "key");
        let are = verb(self.keys, ["is", "are"]);
        write!(
            f,
            "{keys} {are} no UTF-8, such as \"{}\": {} hashes text, so that no client with it can have \
             them; they are placed by their bytes",
            escape_bytes(&self.example),
            self.ring
        )
    }
}

/// Looks for keys that are not text; can be used by many threads.
#[derive(Debug)]
pub struct TextCheck<'a> {
    /// `None` if the client takes any key, so that none need be checked.
    ring: Option<&'a RingSpec>,
    found: Mutex<Option<NotText>>,
}

impl<'a> TextCheck<'a> {
    /// Uses the first of these rings whose client hashes text.
    pub fn new(rings: impl IntoIterator<Item = &'a RingSpec>) -> Self {
        let hashes_text = |ring: &&RingSpec| ring.rule().is_some_and(|rule| rule.hashes_text());
        Self {
            ring: rings.into_iter().find(hashes_text),
            found: Mutex::new(None),
        }
    }

    /// Counts a key if it is not text.
    pub fn look(&self, key: &[u8]) {
        let Some(ring) = self.ring else { return };
        if std::str::from_utf8(key).is_ok() {
            return;
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.get_or_insert_with(|| NotText {
            ring: ring.clone(),
            keys: 0,
            example: key.to_vec(),
        });
        found.keys = found.keys.saturating_add(1);
        if key < found.example.as_slice() {
            found.example = key.to_vec();
        }
    }

    /// Returns what was found and logs a warning.
    pub fn finish(self) -> Option<NotText> {
        let found = self.found.into_inner();
        let found = found.unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &found {
            tracing::warn!("{found}");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_are_no_text_count_and_only_where_text_is_hashed() {
        let found = |names: &[&str]| {
            let rings: Vec<RingSpec> = names.iter().map(|name| name.parse().unwrap()).collect();
            let check = TextCheck::new(&rings);
            for key in [&b"a"[..], b"\xc3\xa9", b"\xe9b", b"\xe9a", b"\xe9c"] {
                check.look(key);
            }
            let found = check.finish()?;
            Some((found.ring.to_string(), found.keys, found.example))
        };
        assert_eq!(found(&["modula", "dalli"]), None);
        assert_eq!(found(&["node-for-node"]), None);
        let memjs = ("memjs".to_owned(), 3, b"\xe9a".to_vec());
        assert_eq!(found(&["modula", "memjs"]), Some(memjs));
    }
}
