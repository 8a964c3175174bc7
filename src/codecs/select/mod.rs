//! Selects the items or records that a command works on: one grammar for all commands.
//!
//! [`Selection::parse`] parses an expression such as `prefix=user: and ttl>1h`;
//! [`Selection::judge`] decides whether a [`Candidate`] is kept. README has the table of
//! terms.
//!
//! ```text
//! expression = conjunction, { "or", conjunction }
//! conjunction = negation, { "and", negation }
//! negation = "not", negation | "(", expression, ")" | term
//! term = name, operator, value
//! operator = "=" | "!=" | "<" | "<=" | ">" | ">="
//! ```
//!
//! A value ends at a space, or at a parenthesis that it has not opened itself. A value
//! that starts with `'` or `"` ends at the next such quote; a doubled quote stands for
//! one.
//!
//! # Unknown attributes
//!
//! Servers do not report everything. A term about an unreported attribute is neither true
//! nor false, and `and`, `or` and `not` combine it as in Kleene's logic: if the rest
//! decides the result either way, it is decided. Otherwise it is [`Judgement::Unknown`].
//! Every command keeps such a candidate and counts it separately, since a superfluous
//! record costs less than a missing one. `ttl=unknown` and similar terms are always true
//! or false, for users who want something else.

mod candidate;
mod expression;
mod judgement;
mod owner;
mod parser;
mod pattern;
mod quantity;
mod selection;
mod term;

pub use candidate::{Candidate, Needs};
pub use judgement::Judgement;
pub use owner::{OwnerAnswer, OwnerQuestion, Owns};
pub use selection::Selection;

#[cfg(test)]
mod tests;
