//! Parts of a whole, for people and for programs.

use mcsnap::words::units::percent;

/// In percent; nothing of nothing is nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        percent(part, whole)
    }
}

/// Writes a share in percent; what is not nothing and not all is told from it.
pub(crate) fn share_text(part: u64, whole: u64) -> String {
    let share = share(part, whole);
    if part > 0 && share < 0.05 {
        return "<0.1".to_owned();
    }
    if part < whole && share >= 99.95 {
        return ">99.9".to_owned();
    }
    format!("{share:.1}")
}

/// As many digits as mean anything.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}
