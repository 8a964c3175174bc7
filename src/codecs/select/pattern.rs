//! Patterns for keys: a glob matches a whole key, a regex any part of it.

use std::fmt::Write as _;

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

use crate::words::item::unescape_bytes;

/// The syntax of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `*` any bytes, `?` any one byte, `[a-z]`, `{this,that}`; matches the whole key.
    Glob,
    /// The syntax of the `regex` crate, on bytes; matches any part of the key.
    Regex,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct KeyPattern {
    syntax: Syntax,
    text: String,
    regex: Regex,
}

impl PartialEq for KeyPattern {
    fn eq(&self, other: &Self) -> bool {
        (self.syntax, &self.text) == (other.syntax, &other.text)
    }
}

impl KeyPattern {
    /// Longest pattern in bytes of text: some patterns make a parser recurse as deep as
    /// they are long.
    const TEXT_LEN_MAX: usize = 4096;
    /// Largest compiled pattern in bytes.
    const COMPILED_LEN_MAX: usize = 1 << 20;

    /// Parses a pattern; in both syntaxes `\xNN` is a byte.
    ///
    /// # Errors
    ///
    /// - A description of what is wrong with it.
    pub(super) fn parse(syntax: Syntax, text: &str) -> Result<Self, String> {
        if text.len() > Self::TEXT_LEN_MAX {
            return Err(format!("wanted at most {} bytes", Self::TEXT_LEN_MAX));
        }
        let translated = match syntax {
            Syntax::Glob => translate_glob(text)?,
            Syntax::Regex => text.to_owned(),
        };
        let regex = RegexBuilder::new(&translated)
            // Keys are bytes: `.` is any byte, and `\xff` is that byte.
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(Self::COMPILED_LEN_MAX)
            .build()
            .map_err(|error| first_cause(&error))?;
        Ok(Self {
            syntax,
            text: text.to_owned(),
            regex,
        })
    }

    pub(super) fn syntax(&self) -> Syntax {
        self.syntax
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, key: &[u8]) -> bool {
        self.regex.is_match(key)
    }
}

/// Returns the line of the message that names the cause. The crate describes a bad
/// pattern as a drawing of several lines.
fn first_cause(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(bytes) => format!("it takes more than {bytes} bytes compiled"),
        regex::Error::Syntax(text) => {
            let cause = text
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("error: "));
            cause.unwrap_or("it cannot be understood").to_owned()
        }
        other => other.to_string(),
    }
}

/// The first of the letters that stand for bytes while a glob is translated.
const STAND_INS: u32 = 0xe000;

/// Translates a glob to a regex on bytes.
///
/// The translator handles only text, so bytes are replaced before the translation and
/// restored after it: each byte by a letter to which Unicode gives no meaning. Letters
/// beyond ASCII are replaced by their bytes in the same way, so that none is mistaken for
/// a stand-in.
fn translate_glob(text: &str) -> Result<String, String> {
    let glob = GlobBuilder::new(&with_stand_ins(text)?)
        .backslash_escape(true)
        .build()
        .map_err(|error| error.kind().to_string())?;
    Ok(without_stand_ins(glob.regex()))
}

fn with_stand_ins(text: &str) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let push_bytes = |replaced: &mut String, bytes: &[u8]| {
        let letters = bytes.iter().map(|&byte| STAND_INS | u32::from(byte));
        replaced.extend(letters.filter_map(char::from_u32));
    };
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let Some(escaped) = rest.strip_prefix("\\x") {
            let byte = rest.get(..4).and_then(unescape_bytes);
            let byte = byte.ok_or("wanted two hexadecimal digits after \\x")?;
            push_bytes(&mut replaced, &byte);
            rest = escaped.get(2..).unwrap_or_default();
            continue;
        }
        let after = rest
            .strip_prefix('\\')
            .and_then(|after| after.chars().next());
        match after {
            // Any letter may follow; an escaped backslash does not start another escape.
            Some(after) if after.is_ascii() => {
                let _ = write!(replaced, "\\{after}");
                rest = rest.get(2..).unwrap_or_default();
            }
            Some(_) => rest = rest.get(1..).unwrap_or_default(),
            None => {
                if letter.is_ascii() {
                    replaced.push(letter);
                } else {
                    push_bytes(&mut replaced, letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            }
        }
    }
    Ok(replaced)
}

/// Restores the bytes in the regex, where a stand-in is the three bytes of its UTF-8, ee
/// 80 80 to ee 83 bf.
fn without_stand_ins(regex: &str) -> String {
    const WRITTEN_LEN: usize = "\\xee\\x80\\x80".len();
    let mut restored = String::with_capacity(regex.len());
    let mut rest = regex;
    while let Some((before, from)) = rest
        .find("\\xee\\x8")
        .and_then(|at| rest.split_at_checked(at))
    {
        restored.push_str(before);
        let Some((written, after)) = from.split_at_checked(WRITTEN_LEN) else {
            break;
        };
        if let Some(&[_, high, low]) = unescape_bytes(written).as_deref() {
            let byte = (high & 0x03) << 6 | low & 0x3f;
            // Writing to a string cannot fail.
            let _ = write!(restored, "\\x{byte:02x}");
        }
        rest = after;
    }
    restored.push_str(rest);
    restored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_a_whole_key_of_any_bytes() {
        for (glob, key, kept) in [
            ("user:*", &b"user:"[..], true),
            ("user:*", b"user:a/b\n\xff", true),
            ("user:*", b"xuser:1", false),
            ("*:[0-9]?", b"a:1\xff", true),
            ("*:[0-9]?", b"a:x1", false),
            ("{a,b}:*", b"b:", true),
            ("{a,b{c,d}}", b"bd", true),
            ("a\\*", b"a*", true),
            ("a\\*", b"ab", false),
            ("\\\\xff", b"\\xff", true),
            ("\\\\xff", b"\\\xff", false),
            ("\\xff*", b"\xff1", true),
            ("\\xff*", "\u{ff}1".as_bytes(), false),
            ("{\\x80,b}\\x2a", b"\x80*", true),
            ("\\x2a", b"a", false),
            ("[\\x80-\\xff]", b"\x90", true),
            ("[!\\x80-\\xff]", b"\x90", false),
            ("[!\\x80-\\xff]", b"a", true),
            ("\u{e9}*", "\u{e9}1".as_bytes(), true),
            ("\\\u{e9}", "\u{e9}".as_bytes(), true),
            ("\u{e0ff}", b"\xff", false),
            ("\u{e0ff}", "\u{e0ff}".as_bytes(), true),
            ("\\\\\u{e0ff}", "\\\u{e0ff}".as_bytes(), true),
        ] {
            let pattern = KeyPattern::parse(Syntax::Glob, glob).unwrap();
            assert_eq!(pattern.matches(key), kept, "{glob} {key:?}");
        }
    }

    #[test]
    fn a_regex_matches_any_part_of_a_key_of_any_bytes() {
        for (regex, key, kept) in [
            ("^a[0-9]+$", &b"a12"[..], true),
            ("^a[0-9]+$", b"a12b", false),
            ("er:", b"user:1", true),
            ("^.$", b"\n", true),
            ("^.$", b"\xff", true),
            ("^\\xff$", b"\xff", true),
            ("^\\xff$", "\u{ff}".as_bytes(), false),
            ("^\u{e9}$", "\u{e9}".as_bytes(), true),
            ("^\\d$", "\u{661}".as_bytes(), false),
            ("(?i)USER", b"user", true),
        ] {
            let pattern = KeyPattern::parse(Syntax::Regex, regex).unwrap();
            assert_eq!(pattern.matches(key), kept, "{regex} {key:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_said_in_one_line() {
        let refusal = |syntax, text: &str| KeyPattern::parse(syntax, text).unwrap_err();
        for (syntax, text, reason) in [
            (Syntax::Glob, "a[", "unclosed character class; missing ']'"),
            (
                Syntax::Glob,
                "\\xf",
                "wanted two hexadecimal digits after \\x",
            ),
            (Syntax::Regex, "a(", "unclosed group"),
            (Syntax::Regex, "\\pL", "Unicode not allowed here"),
            (
                Syntax::Regex,
                "(((.{99}){99}){99})",
                "it takes more than 1048576 bytes compiled",
            ),
        ] {
            assert_eq!(refusal(syntax, text), reason, "{text}");
        }
        for text in ["{".repeat(4096), "{a,".repeat(1300), "(".repeat(4096)] {
            for syntax in [Syntax::Glob, Syntax::Regex] {
                let _ = KeyPattern::parse(syntax, &text);
            }
        }
        assert_eq!(
            refusal(Syntax::Glob, &"a".repeat(4097)),
            "wanted at most 4096 bytes"
        );
    }
}
