//! Reports on stdout, for people and for programs.

mod findings;
pub(crate) mod fold;
mod numbers;
pub(crate) mod record;
mod rows;
pub(crate) mod share;
mod stdout;
pub(crate) mod table;

pub(crate) use findings::{finding_json, print_findings, print_unknown_kept};
pub(crate) use numbers::{count, counted, counted_with, millis, seconds, size, span};
pub(crate) use rows::{
    given_json, given_rows, holds_row, items_text, lost_text, not_text_count, not_text_example,
    not_text_row, rival_rows, unaccounted_row, without_address,
};
pub(crate) use stdout::{
    has_printed, print, print_document, print_failure, print_json, print_on, print_pieces,
    print_text, told,
};
