//! Resolves the names of nodes to addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::ports::net::deadline::Countdown;
use crate::ports::net::options::NetOptions;
use crate::ports::net::waiting::CANCEL_INTERVAL;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Operation, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

/// The operation that errors name when a look-up takes too long.
pub(super) const LOOK_UP: &str = "name look-up";

/// Returns the node with the address of its host, which some rings hash. IPv4 is
/// preferred over IPv6. The address is `None` if the name has no address, the node is a
/// socket, or the look-up does not finish before the timeout or the cancel.
pub fn with_address(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> NodeSpec {
    let literal = || node.host.parse().ok();
    let look_up = || preferred_address(node, options, cancel);
    let ip = node.ip.or_else(literal).or_else(look_up);
    NodeSpec { ip, ..node.clone() }
}

fn preferred_address(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> Option<IpAddr> {
    if node.socket_path().is_some() {
        return None;
    }
    let resolved = resolve(node, options.timeout, cancel).ok()?;
    let mut preferred = resolved.iter().filter(|address| address.is_ipv4());
    preferred.next().or(resolved.first()).map(SocketAddr::ip)
}

/// Returns all addresses of a node, in the order in which the system lists them.
///
/// # Errors
///
/// - `Io`: the name has no address, or no thread can be started.
/// - `Timeout`: the look-up does not finish in time.
/// - `Canceled`.
pub(super) fn resolve(
    node: &NodeSpec,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Vec<SocketAddr>> {
    let (host, port) = (node.connect_host(), node.port);
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let look_up = move || Ok((host.as_str(), port).to_socket_addrs()?.collect());
    within(&node.address(), limit, cancel, look_up)
}

/// Runs a look-up on a thread of its own, since the system's cannot be interrupted. A
/// look-up that takes too long is left behind: its thread may outlive this call and the
/// job, and ends when the system gives up. Its result is dropped.
fn within(
    node: &str,
    limit: Duration,
    cancel: &Cancel,
    look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Result<Vec<SocketAddr>> {
    let countdown = Countdown::new(limit);
    let failed = |operation, error| Error::net(operation, node, error);
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("name-lookup".to_owned())
        // The receiver may already be gone.
        .spawn(move || drop(sender.send(look_up())))
        .map_err(|error| failed(Operation::Spawn, error))?;
    loop {
        cancel.check()?;
        let left = countdown.left();
        match receiver.recv_timeout(left.min(CANCEL_INTERVAL)) {
            Ok(found) => return found.map_err(|error| failed(Operation::Resolve, error)),
            Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                return Err(countdown.timeout(LOOK_UP).at(Location::node(node)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let error = io::Error::other("the look-up ended without an answer");
                return Err(failed(Operation::Resolve, error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::error::ErrorKind;

    /// A look-up that ends when the sender is dropped.
    fn stuck() -> (
        mpsc::Sender<()>,
        impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send,
    ) {
        let (end, ended) = mpsc::channel();
        let look_up = move || {
            let _ = ended.recv();
            Ok(Vec::new())
        };
        (end, look_up)
    }

    #[test]
    fn a_name_server_that_is_silent_is_not_waited_for() {
        let (_end, look_up) = stuck();
        let limit = Duration::from_millis(30);
        let error = within("a:1", limit, &Cancel::new(), look_up).unwrap_err();
        assert_eq!(error.to_chain(), "a:1: name look-up: no reply within 30 ms");
        assert!(error.is_retryable());
    }

    #[test]
    fn a_look_up_can_be_stopped() {
        let (_end, look_up) = stuck();
        let cancel = Cancel::new();
        let stopper = cancel.clone();
        let started = move || {
            stopper.cancel();
            look_up()
        };
        let error = within("a:1", Duration::MAX, &cancel, started).unwrap_err();
        assert!(error.is_canceled());
    }

    #[test]
    fn what_the_system_finds_or_says_is_passed_on() {
        let limit = Duration::from_secs(60);
        let found = vec![SocketAddr::from(([127, 0, 0, 1], 5))];
        let given = found.clone();
        let look_up = within("a:5", limit, &Cancel::new(), || Ok(given));
        assert_eq!(look_up.unwrap(), found);
        let refused = || Err(io::Error::other("no such host"));
        let error = within("a:5", limit, &Cancel::new(), refused).unwrap_err();
        assert_eq!(error.to_chain(), "a:5: cannot resolve: no such host");
        let operation = Operation::Resolve;
        assert_eq!(*error.kind(), ErrorKind::Io { operation });
        // Literal addresses are not looked up.
        for host in ["127.0.0.1", "::1"] {
            let node = NodeSpec::new(host, 7);
            let resolved = resolve(&node, Duration::ZERO, &Cancel::new()).unwrap();
            assert_eq!(resolved, [SocketAddr::new(host.parse().unwrap(), 7)]);
        }
    }
}
