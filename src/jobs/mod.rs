//! The jobs of the program; each is named like its command.

pub mod dump;
pub mod get;
pub mod inspect;
pub mod ls;
pub mod repack;
pub mod restore;
pub mod ring_detect;
pub mod ring_plan;
pub mod salvage;
pub mod transfer;
pub mod verify;
