//! Sockets to memcached.

mod address;
mod brake;
mod buffer;
mod clock_gap;
mod connect;
mod connection;
mod credentials;
mod deadline;
mod diagnosis;
mod flush_marks;
mod options;
mod patience;
mod server;
mod stream;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_absent.rs"]
mod tls;
mod tls_settings;
mod version_probe;
mod waiting;

pub use address::with_address;
pub use brake::{Asked, Brake, BrakeOptions, BrakeReport, NodeBrake, Pass, Watched};
pub use clock_gap::{CLOCK_GAP_MAX, Compared, clock_warning};
pub use connection::{Connection, Prompt, Received, try_count_max};
pub use credentials::Credentials;
pub use diagnosis::explain;
pub use flush_marks::FlushMarks;
pub use options::{NetOptions, Pace};
pub use patience::{ask_all, ask_patiently, pause_for};
pub use server::{ServerReport, ask_server, ask_slab_item_counts, ask_slabs, meet_server};
pub use tls::TlsClient;
pub use tls_settings::TlsSettings;
