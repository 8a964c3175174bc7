//! memcached's own proxy in front of servers.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::memcached::Memcached;

/// Starts one in front of servers like `host:port`; the mode is what its
/// configuration says of the pool, in Lua.
pub(crate) fn start(folder: &Path, mode: &str, servers: &[String]) -> Memcached {
    let path = folder.join("proxy.lua");
    fs::write(&path, config(mode, servers)).unwrap();
    let setting = format!("proxy_config={}", path.display());
    Memcached::start_program(program().as_os_str(), "127.0.0.1", &["-o", &setting], &[])
}

/// What the memcached that is the proxy says its version is.
pub(crate) fn version() -> String {
    let output = Command::new(program()).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.replace("memcached ", "memcached as proxy ")
}

/// The newest memcached of `tools/setup --servers`: Debian's has no proxy.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let servers = env::var_os("MCSNAP_SERVERS").map_or(target.join("servers"), PathBuf::from);
        let versions = fs::read_dir(&servers).into_iter().flatten().flatten();
        let mut programs: Vec<_> = versions
            .map(|version| version.path().join("bin/memcached"))
            .filter(|program| has_proxy(program))
            .collect();
        programs.sort();
        programs.pop().unwrap_or_else(|| {
            let servers = servers.display();
            panic!("no memcached with a proxy in {servers}; tools/setup --servers builds one")
        })
    })
}

fn has_proxy(program: &Path) -> bool {
    Command::new(program)
        .arg("-h")
        .output()
        .is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("proxy_config"))
}

fn config(mode: &str, servers: &[String]) -> String {
    let mut backends = String::new();
    for (number, server) in servers.iter().enumerate() {
        let (host, port) = server.split_once(':').unwrap();
        write!(backends, "mcp.backend('b{number}', '{host}', {port}),").unwrap();
    }
    format!(
        "function mcp_config_pools() return mcp.pool({{{backends}}}, {mode}) end\n\
         function mcp_config_routes(pool)\n\
         local front = mcp.funcgen_new()\n\
         local handle = front:new_handle(pool)\n\
         front:ready({{ f = function(context) return function(request)\n\
         return context:enqueue_and_wait(request, handle) end end }})\n\
         mcp.attach(mcp.CMD_ANY_STORAGE, front)\nend\n"
    )
}
