//! Proxies in front of servers: known for what they are, by real ones.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::memcached::{Memcached, is_built_with};
use crate::harness::workdir::Workdir;

const NUTCRACKER: &str = "/usr/sbin/nutcracker";

/// A running nutcracker on a socket; killed on drop.
#[derive(Debug)]
struct Nutcracker {
    child: Child,
}

impl Nutcracker {
    /// Starts one in front of a server. Its statistics want a port, which another
    /// process may take before it does; then the next is tried.
    fn start(folder: &Path, socket: &Path, server: &Memcached) -> Nutcracker {
        let config = folder.join("nutcracker.yml");
        let text = format!(
            "pool:\n  listen: {}\n  hash: fnv1a_64\n  distribution: ketama\n  servers:\n   - {}:1\n",
            socket.display(),
            server.address()
        );
        fs::write(&config, text).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let free = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let child = Command::new(NUTCRACKER)
                .args(["-a", "127.0.0.1", "-s", &free.port().to_string(), "-c"])
                .arg(&config)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("nutcracker is missing; tools/setup installs what the tests need");
            let mut proxy = Nutcracker { child };
            while proxy.child.try_wait().unwrap().is_none() {
                // It listens on the pool first, and may still fail for the port.
                let is_up = UnixStream::connect(socket).is_ok() && TcpStream::connect(free).is_ok();
                if is_up {
                    return proxy;
                }
                assert!(Instant::now() < deadline, "nutcracker does not start");
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(Instant::now() < deadline, "nutcracker does not start");
        }
    }
}

impl Drop for Nutcracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_refusal(workdir: &Workdir, arguments: &[&str], message: &str) {
    let output = workdir.mcsnap(arguments).arg("-q").exits(2);
    let found = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(found, format!("mcsnap: {message}\n"));
}

fn make_snapshot(workdir: &Workdir) -> Memcached {
    let server = Memcached::start();
    let item = |at: usize| Item::new(format!("key:{at}"), "value");
    server.client().load((0..1000).map(item));
    workdir
        .mcsnap(&["dump", "--to", "s", "--name=a", &server.address()])
        .succeeds();
    server
}

#[test]
fn nutcracker_is_refused_as_source_and_destination() {
    let workdir = Workdir::new("nutcracker");
    let server = make_snapshot(&workdir);
    let socket = workdir.join("pool.sock");
    let _proxy = Nutcracker::start(workdir.path(), &socket, &server);
    let message = format!(
        "unix:{}: it answers version, and hangs up at stats, as the proxy twemproxy does; if it \
         is a proxy, name the servers behind it",
        socket.display()
    );
    let socket = socket.to_str().unwrap();
    check_refusal(&workdir, &["dump", "--to", "t", socket], &message);
    check_refusal(&workdir, &["restore", "s/a", "--to", socket], &message);
}

/// What memcached 1.6.45 and 1.6.38 answer as proxies, for a machine that has
/// none of them.
#[test]
fn a_proxy_is_told_by_how_it_takes_a_crawl() {
    let workdir = Workdir::new("fake-proxy");
    let settings = "STAT item_size_max 1048576\r\nSTAT proxy_enabled yes\r\nEND\r\n";
    let stats = "STAT pid 1\r\nSTAT version 1.6.45\r\nSTAT curr_items 0\r\nEND\r\n";
    let refusal = Step::reply("CLIENT_ERROR parsing request\r\n");
    let message = "this is a proxy, not a server: it knows no command that lists keys; name the \
                   servers behind it";
    for crawl in [Step::Close, refusal] {
        let rules = [
            Rule::new("stats settings", [Step::reply(settings)]),
            Rule::new("stats", [Step::reply(stats)]),
            Rule::new("lru_crawler", [crawl]),
        ];
        let proxy = FakeServer::ruled(rules);
        let address = proxy.address();
        check_refusal(
            &workdir,
            &["dump", "--to", "t", &address],
            &format!("{address}: {message}"),
        );
    }
    let stats = "STAT version mcrouter 0.41\r\nEND\r\n";
    let other = FakeServer::ruled([Rule::new("stats", [Step::reply(stats)])]);
    let address = other.address();
    check_refusal(
        &workdir,
        &["dump", "--to", "t", &address],
        &format!(
            "{address}: this is a proxy, not a server: its version is \"mcrouter 0.41\"; name the \
             servers behind it"
        ),
    );
}

/// Debian's memcached has no proxy; those of `tools/setup --servers` have.
#[test]
fn memcacheds_own_proxy_is_refused_as_source_and_may_be_a_destination() {
    if !is_built_with("proxy_config") {
        return;
    }
    let workdir = Workdir::new("own-proxy");
    let source = make_snapshot(&workdir);
    let behind = [Memcached::start(), Memcached::start()];
    let backend = |number: usize| {
        let port = behind[number].port();
        format!("mcp.backend('b{number}', '127.0.0.1', {port})")
    };
    let config = format!(
        "function mcp_config_pools() return mcp.pool({{{}, {}}}) end\n\
         function mcp_config_routes(pool)\n\
         local front = mcp.funcgen_new()\n\
         local handle = front:new_handle(pool)\n\
         front:ready({{ f = function(context) return function(request)\n\
         return context:enqueue_and_wait(request, handle) end end }})\n\
         mcp.attach(mcp.CMD_ANY_STORAGE, front)\nend\n",
        backend(0),
        backend(1)
    );
    let path = workdir.join("proxy.lua");
    fs::write(&path, config).unwrap();
    let proxy = Memcached::start_with(&["-o", &format!("proxy_config={}", path.display())]);
    let address = proxy.address();
    check_refusal(
        &workdir,
        &["dump", "--to", "t", &address],
        &format!(
            "{address}: this is a proxy, not a server: it knows no command that lists keys; name the \
             servers behind it"
        ),
    );
    let output = workdir
        .mcsnap(&["restore", "s/a", "--to", &address])
        .succeeds();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.contains("this is a proxy; CAS is not restored"),
        "{log}"
    );
    let found: Vec<usize> = behind
        .iter()
        .map(|server| server.client().keys().len())
        .collect();
    assert_eq!(found.iter().sum::<usize>(), source.client().keys().len());
    assert!(!found.contains(&0), "{found:?}");
}
