//! Tests of the library and the program from outside.

#[cfg(test)]
mod documents;
#[cfg(test)]
mod format;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod program;
#[cfg(test)]
mod ring;
#[cfg(test)]
mod salvage;
#[cfg(test)]
mod server;
#[cfg(test)]
mod store;
