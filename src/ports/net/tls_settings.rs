//! What TLS to servers needs to know.

use std::path::PathBuf;

/// What TLS needs to know; all files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, in place of the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate, with those between it and its authority, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in every server's certificate, where it is not the host's.
    pub server_name: Option<String>,
}
