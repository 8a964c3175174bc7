//! The expressions of `--select`: their help, and what they mean.

use anyhow::Result;
use mcsnap::codecs::select::Selection;

/// First line of the help of `--select`.
pub(crate) const SELECT_HELP: &str = "Only what matches, such as 'prefix=user: and ttl>1h'";

/// The grammar of `--select`, for `--help`; README has the same table.
pub(crate) const SELECT_LONG_HELP: &str = "\
Only what matches, such as 'prefix=user: and ttl>1h'

Terms:
  key=K prefix=K    the key, or its start, as keys are printed (\\xNN)
  glob=P            the whole key: * ? [a-z] {this,that}
  regex=R           any part of the key; ^ and $ are its ends
  ttl>1h            time left: 90s, 1h, 7d; never is more than any
  size<1MiB         bytes of the value
  idle>=7d          time since a client read it
  class=5           slab class
  flags=0x10        client flags
  sample=5%         this share of all keys, the same each time
  owner=A/RING/A,B  keys that A has on a ring of A and B

ttl, size, idle, class and flags take = != < <= > >=, ranges (1h..2h, 1h.., \
..2h, ends included) and unknown; ttl also never. All others take = and !=.

Terms are joined by and, or, not and parentheses. A value with spaces needs \
quotes: 'key=\"a b\"'. In a shell, put < and > and parentheses in quotes.
Several --select are joined by and. What a server did not tell is unknown, \
and kept; ttl!=unknown and its like drop it.";

/// Reads what is to be kept; several expressions are joined by `and`.
pub(crate) fn parse_select(texts: &[String]) -> Result<Selection> {
    let mut selection = Selection::default();
    for text in texts {
        selection = selection.and(Selection::parse(text)?)?;
    }
    Ok(selection)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::settings::expressions;

    #[test]
    fn expressions_keep_their_commas_and_are_joined_by_and() {
        #[derive(Deserialize)]
        struct Given {
            #[serde(deserialize_with = "expressions")]
            select: Vec<String>,
        }
        let read = |yaml: &str| {
            let given: Given = serde_yaml::from_str(yaml).unwrap();
            parse_select(&given.select).map(|selection| selection.to_string())
        };
        let one = "glob={a,b}:*";
        assert_eq!(read(&format!("select: '{one}'")).unwrap(), one);
        assert_eq!(
            read("select: ['class=1 or class=2', ttl>1h]").unwrap(),
            "(class=1 or class=2) and ttl>1h"
        );
        assert_eq!(read("select:").unwrap(), "");
        assert!(read("select: ''").is_err());
        assert!(read("select: true").is_err());
    }
}
