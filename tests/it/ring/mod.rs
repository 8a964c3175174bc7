//! Which server has which key.

pub(crate) mod ring_commands;
pub(crate) mod ring_detect;
pub(crate) mod ring_of_case;
pub(crate) mod ring_of_text;
pub(crate) mod ring_plan;
pub(crate) mod ring_vectors;
