//! The names that objects may have.

use crate::words::error::{Error, Result};

/// The suffix of an unfinished object that is stored beside finished ones.
pub(super) const UNFINISHED_SUFFIX: &str = ".partial";

/// Returns the name under which an unfinished object is stored, of its name in
/// [`Store::list_unfinished`](crate::ports::store::Store::list_unfinished).
pub fn unfinished_name(object: &str) -> String {
    format!("{object}{UNFINISHED_SUFFIX}")
}

/// Checks the name of an object.
///
/// A legal name is one or more components with `/` between them. A component is not
/// empty, does not start with a dot, does not end in `.partial`, and has no control
/// characters. So no name leaves the store, hides from a listing, or breaks the line of a
/// message.
///
/// # Errors
///
/// - `InvalidInput`: the name is not legal.
pub fn check_name(name: &str) -> Result<()> {
    let legal = |component: &str| {
        is_visible_component(component) && !component.ends_with(UNFINISHED_SUFFIX)
    };
    if name.split('/').all(legal) {
        return Ok(());
    }
    Err(Error::invalid_input(
        "object name",
        name.escape_debug().to_string(),
        "wanted components separated by '/', none empty, starting with a dot, ending in .partial \
         or with a control character",
    ))
}

/// Checks the prefix of a listing: empty, or a legal name.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() {
        return Ok(());
    }
    check_name(prefix)
}

/// Returns whether an object of this name lies under this prefix.
pub(super) fn is_under(name: &str, prefix: &str) -> bool {
    prefix.is_empty()
        || name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Returns whether a component can be part of a finished or unfinished object's name.
pub(super) fn is_visible_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('.')
        && !component.chars().any(|c| c == '/' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_component() {
        assert!(is_under("a/b", "a"));
        assert!(is_under("a/b", ""));
        assert!(!is_under("ab/c", "a"));
        assert!(!is_under("a", "a"));
    }

    #[test]
    fn an_illegal_name_is_shown_on_one_line() {
        let error = check_name("a\nb").unwrap_err();
        assert!(error.to_string().starts_with(r#"object name "a\nb": "#));
    }
}
