//! What a person asks for; each is named as its command.

pub mod dump;
pub mod get;
pub mod inspect;
pub mod ls;
pub mod restore;
pub mod ring_detect;
pub mod ring_plan;
pub mod salvage;
pub mod verify;
