//! How servers are reached.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::net::credentials::Credentials;
use crate::ports::net::tls::TlsClient;

/// How sockets behave, and what servers are shown; cheap to clone.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Longest time without a byte either way, and longest time to connect, with
    /// the look-up of the name and all addresses.
    pub timeout: Duration,
    /// How slow a server may be that is not silent.
    pub pace: Pace,
    /// How long a job asks a node again that does not answer at first; 0 to give
    /// it up at once.
    pub wait_for_node: Duration,
    /// Who we are, for servers that ask (`-Y`); told to no other.
    pub credentials: Option<Arc<Credentials>>,
    /// TLS over TCP; sockets of this host are spoken to without, as memcached
    /// itself does it.
    pub tls: Option<TlsClient>,
}

impl NetOptions {
    /// Makes options for plain sockets with this timeout, and the pace that goes
    /// with it. No node is waited for.
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
    /// Ten seconds.
    fn default() -> Self {
        Self::of_timeout(Duration::from_secs(10))
    }
}

/// How slow a server may be that is not silent, so that one that sends a byte
/// now and then holds no job for ever. Walks have no bound but on silence: one
/// of a large table that is nearly empty may say next to nothing for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Longest time for all of a short answer with its request, and for a TLS
    /// handshake.
    pub short_answer: Duration,
    /// How long is waited for bytes, in all, before they are counted; in values
    /// and in what stores them, both ways. A silence within it counts, too, so it
    /// should be several timeouts long.
    pub window: Duration,
    /// Fewer end the exchange.
    pub bytes_per_sec: u64,
}

impl Pace {
    /// Returns the pace where a silence may be so long: six of it for a short
    /// answer, and 1 KiB/s over as long, or over a minute if that is longer.
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
