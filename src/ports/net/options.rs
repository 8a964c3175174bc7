//! How to reach servers.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::net::credentials::Credentials;
use crate::ports::net::tls::TlsClient;

/// Socket timeouts, and how to authenticate to servers; cheap to clone.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Longest time without a byte in either direction, and longest time to connect,
    /// including the name look-up and all addresses.
    pub timeout: Duration,
    /// How slow a server may be that is not silent.
    pub pace: Pace,
    /// How long a job keeps asking a node that does not answer at first; 0 to give up at
    /// once.
    pub wait_for_node: Duration,
    /// User and password, for servers that ask for them (`-Y`); sent to no others.
    pub credentials: Option<Arc<Credentials>>,
    /// TLS over TCP. Unix sockets never use TLS, as in memcached itself.
    pub tls: Option<TlsClient>,
}

impl NetOptions {
    /// Makes options for plain sockets with this timeout and the matching pace. No node
    /// is waited for.
    pub fn of_timeout(timeout: Duration) -> Self {
        Self {
            timeout,
            pace: Pace::of_timeout(timeout),
            wait_for_node: Duration::ZERO,
            credentials: None,
            tls: None,
        }
    }
}

impl Default for NetOptions {
    /// A timeout of ten seconds.
    fn default() -> Self {
        Self::of_timeout(Duration::from_secs(10))
    }
}

/// How slow a server may be that is not silent, so that a server that sends a byte now
/// and then does not hold a job forever. For walks, only silence is bounded: a walk of a
/// large table that is nearly empty may send next to nothing for a long time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Longest time for a whole short answer with its request, and for a TLS handshake.
    pub short_answer: Duration,
    /// Total time to wait for bytes before they are counted, in both directions, when
    /// values are read or stored. Silence counts too, so this should be several timeouts
    /// long.
    pub window: Duration,
    /// Least rate of the bytes in a window; a lower rate ends the exchange.
    pub bytes_per_sec: u64,
}

impl Pace {
    /// Returns the pace for a timeout: six timeouts for a short answer, and 1 KiB/s over
    /// six timeouts, or over a minute if that is longer.
    pub fn of_timeout(timeout: Duration) -> Self {
        const WINDOW_MIN: Duration = Duration::from_secs(60);
        let six = timeout.saturating_mul(6);
        Self {
            short_answer: six,
            window: six.max(WINDOW_MIN),
            bytes_per_sec: 1024,
        }
    }
}
