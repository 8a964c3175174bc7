//! Which records a command is about, told by key and metadata alone.

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

use crate::error::{Error, Result};

/// Keeps keys by how they look; keys are bytes, not text.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    prefix: Vec<u8>,
    glob: Option<Regex>,
}

impl KeyFilter {
    /// Makes a filter of the start of a key and of a pattern for the whole key:
    /// `*` any bytes, `?` any one, `[a-z]`, `{this,that}`, and a backslash takes
    /// a special letter as it is. What is not given keeps every key.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the pattern cannot be understood.
    pub fn new(prefix: Option<&[u8]>, glob: Option<&str>) -> Result<Self> {
        let prefix = prefix.unwrap_or_default().to_vec();
        let glob = glob.map(compile_glob).transpose()?;
        Ok(Self { prefix, glob })
    }

    /// Says whether a key is kept.
    pub fn matches(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix) && self.glob.as_ref().is_none_or(|glob| glob.is_match(key))
    }
}

fn compile_glob(pattern: &str) -> Result<Regex> {
    let invalid = |reason: String| Error::invalid_input("glob", pattern, reason);
    let glob = GlobBuilder::new(pattern)
        .backslash_escape(true)
        .build()
        .map_err(|error| invalid(error.kind().to_string()))?;
    RegexBuilder::new(glob.regex())
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_by_prefix_and_pattern() {
        let keeps = |prefix: Option<&str>, glob: Option<&str>, key: &[u8]| {
            KeyFilter::new(prefix.map(str::as_bytes), glob)
                .unwrap()
                .matches(key)
        };
        for (prefix, glob, key, kept) in [
            (None, None, &b"any"[..], true),
            (Some("user:"), None, b"user:1", true),
            (Some("user:"), None, b"use", false),
            (None, Some("user:*"), b"user:", true),
            (None, Some("user:*"), b"user:a/b\n\xff", true),
            (None, Some("user:*"), b"xuser:1", false),
            (None, Some("*:[0-9]?"), b"a:1\xff", true),
            (None, Some("*:[0-9]?"), b"a:x1", false),
            (None, Some("{a,b}:*"), b"b:", true),
            (None, Some("a\\*"), b"a*", true),
            (None, Some("a\\*"), b"ab", false),
            (Some("a"), Some("*b"), b"ab", true),
            (Some("a"), Some("*b"), b"cb", false),
        ] {
            assert_eq!(
                keeps(prefix, glob, key),
                kept,
                "{prefix:?} {glob:?} {key:?}"
            );
        }
        let error = KeyFilter::new(None, Some("a[")).unwrap_err();
        assert!(error.to_string().starts_with("glob \"a[\": "), "{error}");
    }
}
