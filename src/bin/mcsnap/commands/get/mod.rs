//! `mcsnap get`: one key of a snapshot.

mod base64_value;
mod run;

pub(crate) use run::GetArgs;
