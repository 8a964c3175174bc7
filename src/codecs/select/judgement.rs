//! Yes, no, or undecided: Kleene's three-valued logic.

/// The result of judging a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The candidate is selected.
    Keep,
    /// The candidate is not selected.
    Drop,
    /// What is known of the candidate does not decide.
    Unknown,
}

impl Judgement {
    /// Returns whether to continue with the candidate: anything not known to be unwanted
    /// is kept.
    pub fn keeps(self) -> bool {
        match self {
            Self::Keep | Self::Unknown => true,
            Self::Drop => false,
        }
    }

    /// Converts true, false or unknown to a judgement.
    pub(super) fn of(is_true: Option<bool>) -> Self {
        match is_true {
            Some(true) => Self::Keep,
            Some(false) => Self::Drop,
            None => Self::Unknown,
        }
    }

    /// Returns the opposite; unknown stays unknown.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Keep => Self::Drop,
            Self::Drop => Self::Keep,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Drops if any part drops, keeps if all parts keep.
    pub(super) fn all(parts: impl Iterator<Item = Self>) -> Self {
        let mut sum = Self::Keep;
        for part in parts {
            match part {
                Self::Keep => {}
                Self::Drop => return Self::Drop,
                Self::Unknown => sum = Self::Unknown,
            }
        }
        sum
    }

    /// Keeps if any part keeps, drops if all parts drop.
    pub(super) fn any(parts: impl Iterator<Item = Self>) -> Self {
        Self::all(parts.map(Self::negated)).negated()
    }
}

#[cfg(test)]
mod tests {
    use super::Judgement::{Drop, Keep, Unknown};
    use super::*;

    #[test]
    fn the_tables_are_kleenes() {
        for (one, two, all, any) in [
            (Keep, Keep, Keep, Keep),
            (Keep, Drop, Drop, Keep),
            (Keep, Unknown, Unknown, Keep),
            (Drop, Drop, Drop, Drop),
            (Drop, Unknown, Drop, Unknown),
            (Unknown, Unknown, Unknown, Unknown),
        ] {
            for pair in [[one, two], [two, one]] {
                assert_eq!(Judgement::all(pair.into_iter()), all, "all of {pair:?}");
                assert_eq!(Judgement::any(pair.into_iter()), any, "any of {pair:?}");
            }
        }
        assert!(Unknown.negated() == Unknown && Unknown.keeps() && !Drop.keeps());
    }
}
