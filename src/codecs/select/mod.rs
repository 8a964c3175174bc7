//! Which items or records a command is about: one grammar for all commands.
//!
//! [`Selection::parse`] reads an expression such as `prefix=user: and ttl>1h`;
//! [`Selection::judge`] says of a [`Candidate`] whether it is kept. README has
//! the table of terms.
//!
//! ```text
//! expression = conjunction, { "or", conjunction }
//! conjunction = negation, { "and", negation }
//! negation = "not", negation | "(", expression, ")" | term
//! term = name, operator, value
//! operator = "=" | "!=" | "<" | "<=" | ">" | ">="
//! ```
//!
//! A value ends at a space, or at a parenthesis that it has not opened itself;
//! one that starts with `'` or `"` ends at the next of the same, and has it
//! doubled where it is meant.
//!
//! # What is not known
//!
//! Servers do not tell everything. A term about what was not told is neither
//! true nor false, and `and`, `or`, `not` go on from there as Kleene had it:
//! what decides the rest either way decides the whole. What stays undecided is
//! [`Judgement::Unknown`]; every command keeps it and counts it apart, since a
//! record that is too much costs less than one that is missing. `ttl=unknown`
//! and its like are true or false always, for those who want it otherwise.

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
