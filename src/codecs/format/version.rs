//! Versions of the format, and what a newer one made. FORMAT.md 7.

use crate::codecs::format::layout::{VERSION_MAJOR, VERSION_MINOR};
use crate::words::defect::{Defect, Structure};

/// Refuses another major version (H3, A5, N2).
///
/// # Errors
///
/// - `Newer`: it is a later one.
/// - `IllegalValue`: there is no such version.
pub fn check_major(structure: Structure, major: u32, minor: u32) -> Result<(), Defect> {
    if major == u32::from(VERSION_MAJOR) {
        return Ok(());
    }
    if major == 0 {
        return Err(Defect::IllegalValue {
            structure,
            field: "major",
            stored: major.into(),
        });
    }
    let what = format!("format version {major}.{minor}");
    Err(Defect::Newer { what })
}

/// Judges a defect in a file of this minor version: what a later version may have a
/// meaning for is no damage there.
#[must_use]
pub fn judge(defect: Defect, minor: u32) -> Defect {
    let is_newer = minor > u32::from(VERSION_MINOR) && defect.may_be_newer();
    if !is_newer || matches!(defect, Defect::Newer { .. }) {
        return defect;
    }
    let what = format!("{defect}, in format version {VERSION_MAJOR}.{minor}");
    Defect::Newer { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_defect_is_damage_in_this_version_and_none_in_a_later_one() {
        let structure = Structure::KeySection;
        let reserved = Defect::ReservedNotZero {
            structure,
            field: "column flags",
        };
        assert_eq!(judge(reserved.clone(), 0), reserved);
        let newer = judge(reserved, 7);
        assert_eq!(
            newer.to_string(),
            "key section: reserved column flags is not zero, in format version 1.7: made by a \
             newer mcsnap; upgrade"
        );
        // No later version makes a checksum that does not match.
        let bad = Defect::BadMagic { structure };
        assert_eq!(judge(bad.clone(), 7), bad);
    }

    #[test]
    fn a_later_major_version_is_newer_and_version_0_was_never_made() {
        let check = |major| check_major(Structure::Tail, major, 3);
        assert_eq!(check(1), Ok(()));
        assert_eq!(check(2).unwrap_err().code(), "MCS022");
        assert_eq!(check(0).unwrap_err().code(), "MCS007");
    }
}
