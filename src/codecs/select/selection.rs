//! A complete, checked selection.

use std::fmt;
use std::str::FromStr;

use crate::codecs::select::candidate::{Candidate, Needs};
use crate::codecs::select::expression::Expression;
use crate::codecs::select::judgement::Judgement;
use crate::codecs::select::owner::{Owner, OwnerAnswer, OwnerQuestion};
use crate::codecs::select::parser::{check_bounds, parse};
use crate::codecs::select::pattern::{KeyPattern, Syntax};
use crate::codecs::select::term::{Missing, Term};
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// Selects items or records by key and metadata; the default selects every one.
///
/// # Examples
///
/// ```
/// use mcsnap::words::item::{Exptime, ItemMeta};
/// use mcsnap::codecs::select::{Candidate, Judgement, Selection};
/// use mcsnap::words::units::UnixSecs;
///
/// let selection = Selection::parse("prefix=user: and not (ttl<60s or size>1MiB)")?;
/// let meta = ItemMeta {
///     exptime: Some(Exptime::Never),
///     ..ItemMeta::default()
/// };
/// let judge = |value_len| {
///     let candidate = Candidate::new(b"user:1", value_len, &meta, UnixSecs(1_795_140_000));
///     selection.judge(&candidate)
/// };
/// assert_eq!(judge(Some(10)), Judgement::Keep);
/// assert_eq!(judge(Some(2 << 20)), Judgement::Drop);
/// assert_eq!(judge(None), Judgement::Unknown);
/// # Ok::<(), mcsnap::words::error::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    expression: Option<Expression>,
}

impl Selection {
    /// Keeps every item.
    pub const EVERYTHING: Self = Self { expression: None };

    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: with the column of the malformed part, or with the bound that is
    ///   exceeded.
    pub fn parse(text: &str) -> Result<Self> {
        Self::of(parse(text)?)
    }

    /// Keeps keys that start with these bytes.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the expression exceeds a bound.
    pub fn prefix(start: &[u8]) -> Result<Self> {
        Self::of(Expression::Term(Term::Prefix(start.to_vec())))
    }

    /// Keeps keys that match a glob as a whole.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the pattern is malformed.
    pub fn glob(pattern: &str) -> Result<Self> {
        let pattern = KeyPattern::parse(Syntax::Glob, pattern)
            .map_err(|reason| Error::invalid_input("glob", pattern, reason))?;
        Self::of(Expression::Term(Term::Pattern(pattern)))
    }

    /// Keeps the keys of these nodes, once a ring is bound.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the expression exceeds a bound.
    pub fn owners(owners: &[NodeSpec]) -> Result<Self> {
        Self::of(Expression::Term(Term::Owner(Owner::of(owners))))
    }

    /// Keeps what both keep.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: together they exceed a bound.
    pub fn and(self, other: Self) -> Result<Self> {
        match (self.expression, other.expression) {
            (Some(one), Some(two)) => Self::of(one.and(two)),
            (one, two) => Ok(Self {
                expression: one.or(two),
            }),
        }
    }

    fn of(expression: Expression) -> Result<Self> {
        check_bounds(&expression)?;
        Ok(Self {
            expression: Some(expression),
        })
    }

    /// Resolves each `owner` term; after that, the term is written with ring and nodes. A
    /// term that is not resolved is unknown for every key.
    ///
    /// # Errors
    ///
    /// - Any error of `answer`.
    /// - `InvalidInput`: the expression is too long with all nodes, or a node cannot be
    ///   written.
    pub fn bind(
        mut self,
        answer: &mut dyn FnMut(&OwnerQuestion<'_>) -> Result<OwnerAnswer>,
    ) -> Result<Self> {
        if let Some(expression) = &mut self.expression {
            expression.bind(answer)?;
            check_bounds(expression)?;
        }
        Ok(self)
    }

    /// Returns whether every item is kept unconditionally.
    pub fn is_everything(&self) -> bool {
        self.expression.is_none()
    }

    /// Returns the attributes that the selection depends on.
    pub fn needs(&self) -> Needs {
        let expression = self.expression.as_ref();
        expression.map(Expression::needs).unwrap_or_default()
    }

    /// Judges a candidate about which nothing more will be known: `None` means that the
    /// server did not report it, so `ttl=unknown` and similar terms are true.
    pub fn judge(&self, candidate: &Candidate<'_>) -> Judgement {
        self.judge_with(candidate, Missing::ForGood)
    }

    /// Judges a candidate about which more may be known later: a `None` may be filled in.
    /// [`Judgement::Keep`] and [`Judgement::Drop`] are final; [`Judgement::Unknown`] may
    /// become either.
    pub fn judge_early(&self, candidate: &Candidate<'_>) -> Judgement {
        self.judge_with(candidate, Missing::SoFar)
    }

    /// Judges early a candidate whose value has one of these lengths, in bytes.
    pub fn judge_early_of(
        &self,
        candidate: &Candidate<'_>,
        value_lens: impl IntoIterator<Item = u64>,
    ) -> Judgement {
        let mut judgements = value_lens.into_iter().map(|value_len| {
            self.judge_early(&Candidate {
                value_len: Some(value_len),
                ..*candidate
            })
        });
        match judgements.next() {
            Some(first) if judgements.all(|judgement| judgement == first) => first,
            Some(_) | None => Judgement::Unknown,
        }
    }

    fn judge_with(&self, candidate: &Candidate<'_>, missing: Missing) -> Judgement {
        match &self.expression {
            Some(expression) => expression.judge(candidate, missing),
            None => Judgement::Keep,
        }
    }
}

impl fmt::Display for Selection {
    /// Writes an expression that [`Selection::parse`] parses to the same selection;
    /// writes nothing if every item is kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expression {
            Some(expression) => expression.fmt(f),
            None => Ok(()),
        }
    }
}

impl FromStr for Selection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
