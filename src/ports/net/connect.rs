//! Connects sockets, bounded by a timeout and a cancel flag.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::ports::net::address::resolve;
use crate::ports::net::deadline::Countdown;
use crate::ports::net::options::NetOptions;
use crate::ports::net::waiting::wait_for;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Operation, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

/// The operation that errors name when a connection is not established in time.
pub(super) const CONNECT: &str = "connect";

/// Connects to a node over TCP, trying each of its addresses. The timeout covers
/// everything, including the name look-up.
///
/// # Errors
///
/// - `Io`: the host is unknown, or the last address refuses the connection.
/// - `Timeout`: the last address or the look-up does not answer in time.
/// - `Canceled`.
pub(super) fn connect_tcp(
    node: &NodeSpec,
    options: &NetOptions,
    cancel: &Cancel,
) -> Result<TcpStream> {
    let countdown = Countdown::new(options.timeout);
    let addresses = resolve(node, options.timeout, cancel)?;
    connect_any(&node.address(), &addresses, countdown, cancel)
}

fn connect_any(
    node: &str,
    addresses: &[SocketAddr],
    countdown: Countdown,
    cancel: &Cancel,
) -> Result<TcpStream> {
    let mut last = None;
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        // An address that does not answer leaves time for the ones after it.
        let limit = countdown.left() / untried.max(1);
        untried = untried.saturating_sub(1);
        match connect_one(node, *address, limit, cancel) {
            Ok(Some(stream)) => return Ok(stream),
            Ok(None) => last = Some(countdown.timeout(CONNECT).at(Location::node(node))),
            Err(error) if error.is_canceled() => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    let unknown = || io::Error::other("the host has no address");
    Err(last.unwrap_or_else(|| Error::net(Operation::Connect, node, unknown())))
}

/// Connects to one address; returns `None` when the time is over.
fn connect_one(
    node: &str,
    address: SocketAddr,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Option<TcpStream>> {
    let failed = |error| Error::net(Operation::Connect, node, error);
    let socket = start_connect(address).map_err(failed)?;
    let ready = wait_for(&socket, node, PollFlags::OUT, limit, cancel)?;
    if ready.is_empty() {
        return Ok(None);
    }
    match socket.take_error() {
        Ok(None) => Ok(Some(socket.into())),
        Ok(Some(error)) | Err(error) => Err(failed(error)),
    }
}

/// Returns a socket that connects in the background, and becomes writable when it has.
fn start_connect(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        // An interrupted connect also continues in the background. POSIX, connect.
        Err(error)
            if error.kind() == io::ErrorKind::Interrupted
                || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Ok(socket)
        }
        Err(error) => Err(error),
    }
}

/// Connects to a Unix socket of this host.
///
/// # Errors
///
/// - `Io`: the path leads to no socket with a listener.
/// - `Timeout`: the queue of connections to accept stays full for too long.
/// - `Canceled`.
pub(super) fn connect_socket(
    node: &NodeSpec,
    path: &Path,
    options: &NetOptions,
    cancel: &Cancel,
) -> Result<UnixStream> {
    const PAUSE: Duration = Duration::from_millis(10);
    let failed = |error| Error::net(Operation::Connect, node.address(), error);
    let countdown = Countdown::new(options.timeout);
    let address = SockAddr::unix(path).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    loop {
        cancel.check()?;
        match socket.connect(&address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            // The queue of connections to accept is full, and no poll reports when it has room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if countdown.left().is_zero() {
                    let timeout = countdown.timeout(CONNECT);
                    return Err(timeout.at(Location::node(node.address())));
                }
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::words::error::ErrorKind;

    const LONG: Duration = Duration::from_secs(60);

    /// A port that is bound but has no listener.
    fn refusing_address() -> (SocketAddr, Socket) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any_port.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (address, socket)
    }

    /// A listener that accepts nobody, with so many waiting connections that the system
    /// answers no more. The connections have to be kept.
    fn full_listener() -> (SocketAddr, Vec<Socket>) {
        let (address, socket) = refusing_address();
        socket.listen(0).unwrap();
        let mut kept = vec![socket];
        loop {
            let waiting = start_connect(address).unwrap();
            let moment = Duration::from_millis(200);
            let cancel = Cancel::new();
            let ready = wait_for(&waiting, "a", PollFlags::OUT, moment, &cancel).unwrap();
            kept.push(waiting);
            if ready.is_empty() {
                return (address, kept);
            }
            assert!(kept.len() < 100, "this system accepts by itself");
        }
    }

    #[test]
    fn a_host_that_does_not_answer_is_a_timeout() {
        let (address, _kept) = full_listener();
        let node: NodeSpec = address.to_string().parse().unwrap();
        let options = NetOptions::of_timeout(Duration::from_millis(150));
        let error = connect_tcp(&node, &options, &Cancel::new()).unwrap_err();
        let wanted = format!("{address}: connect: no reply within 150 ms");
        assert_eq!(error.to_chain(), wanted);
    }

    #[test]
    fn a_connect_can_be_stopped() {
        let (address, _kept) = full_listener();
        let cancel = Cancel::new();
        let connecting = std::thread::spawn({
            let (node, cancel) = (address.to_string().parse().unwrap(), cancel.clone());
            move || {
                connect_tcp(
                    &node,
                    &NetOptions::of_timeout(Duration::from_secs(3600)),
                    &cancel,
                )
            }
        });
        // The thread most likely waits by now; if not, it still has to end.
        std::thread::sleep(Duration::from_millis(50));
        cancel.cancel();
        assert!(connecting.join().unwrap().unwrap_err().is_canceled());
    }

    #[test]
    fn each_address_has_its_share_of_the_time() {
        let (silent, _kept) = full_listener();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sound = listener.local_addr().unwrap();
        let (refusing, _taken) = refusing_address();
        let addresses = [refusing, silent, sound];
        let limit = Duration::from_secs(3);
        let connect = |addresses: &[SocketAddr]| {
            connect_any("a:1", addresses, Countdown::new(limit), &Cancel::new())
        };
        let stream = connect(&addresses).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), sound);
        // The error is that of the last address.
        let error = connect(&[silent, refusing]).unwrap_err();
        let operation = Operation::Connect;
        assert_eq!(*error.kind(), ErrorKind::Io { operation });
        assert!(error.to_chain().contains("refused"), "{error}");
        let error = connect(&[]).unwrap_err();
        let wanted = "a:1: cannot connect: the host has no address";
        assert_eq!(error.to_chain(), wanted);
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_a_timeout_and_can_be_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        // A second call changes the length of the queue.
        rustix::net::listen(&listener, 0).unwrap();
        let node: NodeSpec = path.to_str().unwrap().parse().unwrap();
        let cancel = Cancel::new();
        let first = connect_socket(&node, &path, &NetOptions::of_timeout(LONG), &cancel).unwrap();
        let moment = Duration::from_millis(50);
        let error =
            connect_socket(&node, &path, &NetOptions::of_timeout(moment), &cancel).unwrap_err();
        let wanted = format!("{}: connect: no reply within 50 ms", node.address());
        assert_eq!(error.to_chain(), wanted);
        cancel.cancel();
        let error =
            connect_socket(&node, &path, &NetOptions::of_timeout(LONG), &cancel).unwrap_err();
        assert!(error.is_canceled());
        drop(first);
    }
}
