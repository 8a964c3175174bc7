//! `mcsnap inspect`: what is in a snapshot.

mod cells;
mod head;
mod inspection;
mod json;
mod run;
mod tables;
mod text;

pub(crate) use run::InspectArgs;
