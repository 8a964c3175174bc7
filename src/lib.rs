//! Snapshots of memcached: write them, read them back, check them, move them.
//!
//! The library is built in floors, one folder each, and imports only go down or stay on
//! their floor, never in a circle:
//!
//! - [`jobs`]: what a person asks for. A job takes options, makes a plan that can be
//!   printed, runs it, and returns a report that accounts for every item; it never
//!   prints.
//! - [`engines`]: what jobs are made of: reading servers, filling them, snapshots.
//! - [`ports`]: disk, network, threads and clocks, and no other floor touches them.
//! - [`codecs`]: bytes in, values out; pure, and time is an argument.
//! - [`words`]: what all floors talk about.
//!
//! FORMAT.md specifies the files byte for byte.
//!
//! # Writing a snapshot
//!
//! A program that has records of its own writes them with a
//! [`SnapshotWriter`](engines::snapshot::SnapshotWriter):
//!
//! ```
//! use mcsnap::codecs::format::manifest::Need;
//! use mcsnap::engines::snapshot::{SnapshotReader, SnapshotWriter, WriterOptions};
//! use mcsnap::ports::store::create_directory;
//! use mcsnap::words::item::{Exptime, ItemMeta, Record};
//! use mcsnap::words::units::UnixSecs;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A key, when it expires, and its value.
//! let lines = "greeting\t1800000000\thello\nfarewell\t1900000000\tgood\tbye\n";
//! let directory = tempfile::tempdir()?;
//! let store = create_directory(&directory.path().to_string_lossy())?;
//! let mut writer = SnapshotWriter::begin(store.clone(), "import", WriterOptions::default())?;
//! for line in lines.lines() {
//!     let (key, rest) = line.split_once('\t').ok_or("no exptime")?;
//!     let (seconds, value) = rest.split_once('\t').ok_or("no value")?;
//!     let exptime = Exptime::At(UnixSecs(seconds.parse()?));
//!     let (key, value) = (key.as_bytes(), value.as_bytes());
//!     let meta = ItemMeta { exptime: Some(exptime), ..ItemMeta::default() };
//!     writer.push(&Record { key, value, meta })?;
//! }
//! let written = writer.finish()?;
//! println!("{} records in {} bytes", written.records, written.size);
//! let snapshot = SnapshotReader::open(store, "import", Need::Verify)?;
//! assert_eq!(snapshot.manifest().totals.records, 2);
//! let segment = snapshot.open_segment(&snapshot.manifest().segments[0])?;
//! assert!(segment.find(b"greeting", &mut Default::default())?.is_some());
//! # Ok(())
//! # }
//! ```

/// The examples of README.md, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod codecs;
pub mod engines;
pub mod jobs;
pub mod ports;
pub mod words;
