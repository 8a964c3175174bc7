//! Conditions joined by and, or and not.

use std::fmt;

use crate::codecs::select::candidate::{Candidate, Needs};
use crate::codecs::select::judgement::Judgement;
use crate::codecs::select::owner::{OwnerAnswer, OwnerQuestion};
use crate::codecs::select::term::{Missing, Term};
use crate::words::error::Result;

/// A tree of conditions, no deeper than the parser allows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// Two or more expressions, all of which must hold.
    All(Vec<Self>),
    /// Two or more expressions, any of which must hold.
    Any(Vec<Self>),
    /// The expression must not hold.
    Not(Box<Self>),
    /// The term must hold.
    Term(Term),
}

impl Expression {
    pub(super) fn judge(&self, candidate: &Candidate<'_>, missing: Missing) -> Judgement {
        match self {
            Self::All(parts) => {
                Judgement::all(parts.iter().map(|part| part.judge(candidate, missing)))
            }
            Self::Any(parts) => {
                Judgement::any(parts.iter().map(|part| part.judge(candidate, missing)))
            }
            Self::Not(part) => part.judge(candidate, missing).negated(),
            Self::Term(term) => Judgement::of(term.holds(candidate, missing)),
        }
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::All(parts) | Self::Any(parts) => parts
                .iter()
                .fold(Needs::default(), |needs, part| needs.merge(part.needs())),
            Self::Not(part) => part.needs(),
            Self::Term(term) => term.needs(),
        }
    }

    /// Joins two expressions by `and`.
    pub(super) fn and(self, other: Self) -> Self {
        let mut parts = Vec::new();
        for side in [self, other] {
            match side {
                Self::All(more) => parts.extend(more),
                one @ (Self::Any(_) | Self::Not(_) | Self::Term(_)) => parts.push(one),
            }
        }
        Self::All(parts)
    }

    /// Resolves each `owner` term.
    ///
    /// # Errors
    ///
    /// - Any error of `answer`.
    pub(super) fn bind(
        &mut self,
        answer: &mut dyn FnMut(&OwnerQuestion<'_>) -> Result<OwnerAnswer>,
    ) -> Result<()> {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter_mut().try_for_each(|part| part.bind(answer))
            }
            Self::Not(part) => part.bind(answer),
            Self::Term(Term::Owner(owner)) => owner.bind(answer),
            Self::Term(
                Term::Key(_)
                | Term::Prefix(_)
                | Term::Pattern(_)
                | Term::Number(..)
                | Term::Sample(_),
            ) => Ok(()),
        }
    }

    fn write_joined(
        parts: &[Self],
        word: &str,
        is_enclosed: impl Fn(&Self) -> bool,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                write!(f, " {word} ")?;
            }
            if is_enclosed(part) {
                write!(f, "({part})")?;
            } else {
                write!(f, "{part}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Expression {
    /// Writes the expression so that [`Selection::parse`](super::Selection::parse)
    /// returns it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => {
                let is_enclosed = |part: &Self| matches!(part, Self::All(_) | Self::Any(_));
                Self::write_joined(parts, "and", is_enclosed, f)
            }
            Self::Any(parts) => {
                let is_enclosed = |part: &Self| matches!(part, Self::Any(_));
                Self::write_joined(parts, "or", is_enclosed, f)
            }
            Self::Not(part) => match &**part {
                Self::Term(term) if term.is_equality() => term.write(true, f),
                one @ (Self::Term(_) | Self::Not(_)) => write!(f, "not {one}"),
                more @ (Self::All(_) | Self::Any(_)) => write!(f, "not ({more})"),
            },
            Self::Term(term) => term.write(false, f),
        }
    }
}
