//! The part of a stored key that the client hashed.

use std::borrow::Cow;

use crate::words::item::KEY_LEN_MAX;

/// Which part of a stored key is hashed. The default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutedPart {
    /// What the client prepends to keys.
    pub prefix: KeyPrefix,
    /// Whether a leading `/region/cluster/` is left out, as in mcrouter.
    pub skips_route: bool,
    /// What is cut from the rest.
    pub cut: KeyCut,
    /// What is appended before hashing: mcrouter's salt.
    pub salt: Vec<u8>,
}

/// What the client prepends to keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyPrefix {
    /// Nothing, or something that it hashes like the rest.
    #[default]
    None,
    /// This prefix, which it does not hash, as when libmemcached's PREFIX_KEY is set. A
    /// key that does not begin with it, or has nothing after it, was not stored by that
    /// client; such a key is hashed whole.
    Unhashed(Vec<u8>),
    /// A prefix that it hashes, as when HASH_WITH_PREFIX_KEY is also set; but
    /// libmemcached then gives every key above 250 bytes the hash 0.
    Hashed,
}

/// Which part of a key is kept for hashing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyCut {
    /// The whole key.
    #[default]
    None,
    /// The part between the first `open` byte and the first `close` byte after it; the
    /// whole key if there is no such pair.
    Tag {
        /// The byte before it.
        open: u8,
        /// The byte after it.
        close: u8,
        /// Whether an empty part counts (memcached's proxy); otherwise the whole key is hashed
        /// then (twemproxy).
        may_be_empty: bool,
    },
    /// The part before the first occurrence of these bytes; the whole key if they do not
    /// occur.
    Before {
        /// The bytes that end it.
        stop: Vec<u8>,
        /// Whether an empty part counts; otherwise the whole key is hashed then (EVCache).
        may_be_empty: bool,
    },
}

impl RoutedPart {
    /// Returns whether all of every key is hashed, and nothing else.
    pub(super) fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether different keys may be hashed alike.
    pub(super) fn cuts(&self) -> bool {
        self.cut != KeyCut::None
    }

    /// Returns the part of a key that is hashed; `None` if the client uses the hash 0
    /// instead.
    pub(super) fn of<'a>(&self, key: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let rest = match &self.prefix {
            KeyPrefix::None => key,
            KeyPrefix::Unhashed(prefix) => match key.strip_prefix(prefix.as_slice()) {
                Some(rest) if !rest.is_empty() => rest,
                Some(_) | None => key,
            },
            KeyPrefix::Hashed if key.len() > KEY_LEN_MAX => return None,
            KeyPrefix::Hashed => key,
        };
        let rest = if self.skips_route {
            without_route(rest)
        } else {
            rest
        };
        let rest = self.cut.of(rest);
        Some(if self.salt.is_empty() {
            rest.into()
        } else {
            [rest, self.salt.as_slice()].concat().into()
        })
    }
}

impl KeyCut {
    fn of<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        let (part, may_be_empty) = match self {
            Self::None => return key,
            Self::Tag {
                open,
                close,
                may_be_empty,
            } => (between(key, *open, *close), may_be_empty),
            Self::Before { stop, may_be_empty } => {
                let end = memchr::memmem::find(key, stop);
                (end.map(|end| &key[..end]), may_be_empty)
            }
        };
        match part {
            Some(part) if *may_be_empty || !part.is_empty() => part,
            Some(_) | None => key,
        }
    }
}

fn between(key: &[u8], open: u8, close: u8) -> Option<&[u8]> {
    let start = memchr::memchr(open, key)? + 1;
    let rest = &key[start..];
    Some(&rest[..memchr::memchr(close, rest)?])
}

/// Removes `/region/cluster/` from the start of a key.
fn without_route(key: &[u8]) -> &[u8] {
    let Some(rest) = key.strip_prefix(b"/") else {
        return key;
    };
    let mut slashes = memchr::memchr_iter(b'/', rest);
    match slashes.nth(1) {
        Some(end) => &rest[end + 1..],
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(rule: &RoutedPart, key: &str) -> String {
        let part = rule.of(key.as_bytes()).unwrap();
        String::from_utf8(part.into_owned()).unwrap()
    }

    fn cut(cut: KeyCut) -> RoutedPart {
        RoutedPart {
            cut,
            ..RoutedPart::default()
        }
    }

    #[test]
    fn a_tag_is_between_the_first_opener_and_the_first_closer_after_it() {
        let tag = |may_be_empty| {
            cut(KeyCut::Tag {
                open: b'{',
                close: b'}',
                may_be_empty,
            })
        };
        for rule in [tag(false), tag(true)] {
            assert_eq!(part(&rule, "a{b}c{d}"), "b");
            assert_eq!(part(&rule, "}a{b{c}"), "b{c");
            assert_eq!(part(&rule, "a{b"), "a{b");
        }
        assert_eq!(part(&tag(false), "a{}b"), "a{}b");
        assert_eq!(part(&tag(true), "a{}b"), "");
    }

    #[test]
    fn a_stop_ends_what_is_hashed() {
        let stop = |stop: &str, may_be_empty| {
            cut(KeyCut::Before {
                stop: stop.into(),
                may_be_empty,
            })
        };
        assert_eq!(part(&stop("|#|", true), "a|#|b|#|c"), "a");
        assert_eq!(part(&stop("|#|", true), "|#|b"), "");
        assert_eq!(part(&stop(":", false), ":b"), ":b");
        assert_eq!(part(&stop(":", false), "ab"), "ab");
    }

    #[test]
    fn a_route_is_left_out_before_the_rest_is_cut() {
        let rule = RoutedPart {
            skips_route: true,
            salt: b"+salt".to_vec(),
            ..cut(KeyCut::Before {
                stop: b"|#|".to_vec(),
                may_be_empty: true,
            })
        };
        assert_eq!(part(&rule, "/region/cluster/key|#|x"), "key+salt");
        assert_eq!(part(&rule, "/region/key"), "/region/key+salt");
        assert_eq!(part(&rule, "a/b/c/d"), "a/b/c/d+salt");
    }

    #[test]
    fn a_prefix_that_is_not_hashed_is_left_out_where_it_is_there() {
        let rule = RoutedPart {
            prefix: KeyPrefix::Unhashed(b"app1:".to_vec()),
            ..RoutedPart::default()
        };
        assert_eq!(part(&rule, "app1:apple"), "apple");
        assert_eq!(part(&rule, "apple"), "apple");
        assert_eq!(part(&rule, "app1:"), "app1:");
    }
}
