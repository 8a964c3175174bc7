//! Sockets to memcached.

mod connection;
mod credentials;
mod diagnosis;
mod flush_marks;
mod options;
mod server;
mod stream;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_absent.rs"]
mod tls;
mod version_probe;

pub use connection::{Connection, Prompt, Received, try_count_max, with_address};
pub use credentials::Credentials;
pub use diagnosis::explain;
pub use flush_marks::FlushMarks;
pub use options::{NetOptions, TlsSettings};
pub use server::{ServerReport, ask_server, ask_slab_item_counts, meet_server};
pub use tls::TlsClient;
