//! Ceph's object gateway: a real and strict server of S3. One monitor, one store in memory
//! and one gateway, shared by the tests that run at one time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::Request;
use tempfile::TempDir;
use uuid::Uuid;

use crate::memcached::own_host;
use crate::place::{BUCKET, Place, S3Account};
use crate::process::{Process, free_ports, run, try_run};

/// A bucket that keeps all versions of its objects.
const VERSIONED: &str = "versioned";
/// One that also keeps them from being deleted.
const LOCKED: &str = "locked";

/// A running cluster with three buckets.
#[derive(Debug)]
pub(crate) struct Rgw {
    account: S3Account,
    // In the order in which they can end without waiting for each other.
    _gateway: Process,
    _store: Process,
    _monitor: Process,
    folder: TempDir,
}

impl Rgw {
    /// Returns the running cluster, or starts one. It ends with the last test that has it:
    /// a start takes ten seconds and more.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Rgw>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start_with(""));
            *shared = Arc::downgrade(&started);
            started
        })
    }

    /// Starts a cluster of one's own. `frontend` is more of what the gateway is told of its
    /// connections, such as `tcp_nodelay=1`.
    pub(crate) fn start_with(frontend: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("rgw-").tempdir().unwrap();
        let path = folder.path();
        let host = own_host();
        let [monitor_port, gateway_port] = free_ports(&host);
        let (cluster, osd) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let frontend = format!("endpoint={host}:{gateway_port} {frontend}");
        let settings = settings(path, &host, &cluster, monitor_port, &frontend);
        fs::write(path.join("ceph.conf"), settings).unwrap();
        for name in ["mon", "osd", "run"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        let ceph = |program: &str, arguments: &[&str]| ceph(path, program, arguments);
        make_keys(path, &host, &cluster, monitor_port);
        run(&mut ceph(
            "ceph-mon",
            &[
                "--mkfs",
                "-i",
                "a",
                "--monmap",
                "monmap",
                "--keyring",
                "keyring",
            ],
        ));
        let mut monitor = Process::start(ceph("ceph-mon", &["-i", "a", "-f"]), path, "monitor");
        monitor.wait_for(|_| {
            let asks = ["--connect-timeout", "5", "osd", "new", &osd, "0"];
            try_run(&mut ceph("ceph", &asks)).ok()
        });
        run(&mut ceph(
            "ceph-osd",
            &["-i", "0", "--mkfs", "--osd-uuid", &osd],
        ));
        // The store does so itself unless told otherwise, and ends if the monitor is slow.
        let place = [
            "osd",
            "crush",
            "add",
            "osd.0",
            "1.0",
            "root=default",
            "host=here",
        ];
        run(&mut ceph("ceph", &place));
        let mut store = Process::start(ceph("ceph-osd", &["-i", "0", "-f"]), path, "store");
        store.wait_for(|_| {
            let state = run(&mut ceph("ceph", &["osd", "stat"]));
            state.contains("1 up").then_some(())
        });
        let user = ["-n", "client.admin", "-f"];
        let mut gateway = Process::start(ceph("radosgw", &user), path, "gateway");
        gateway.wait_for_port(&format!("{host}:{gateway_port}"));
        let account = S3Account {
            endpoint: format!("http://{host}:{gateway_port}"),
            region: "us-east-1",
            id: "tests".to_owned(),
            secret: "testsecret".to_owned(),
        };
        run(&mut ceph(
            "radosgw-admin",
            &[
                "user",
                "create",
                "--uid=tests",
                "--display-name=tests",
                "--access-key",
                &account.id,
                "--secret-key",
                &account.secret,
            ],
        ));
        make_buckets(&account);
        Self {
            account,
            _gateway: gateway,
            _store: store,
            _monitor: monitor,
            folder,
        }
    }

    /// Where it listens, and who may use it.
    pub(crate) fn account(&self) -> &S3Account {
        &self.account
    }

    /// Frees what was removed, which otherwise takes hours.
    pub(crate) fn collect_garbage(&self) {
        let collect = ["gc", "process", "--include-all"];
        run(&mut ceph(self.folder.path(), "radosgw-admin", &collect));
    }

    /// A bucket as it is unless one asks for more.
    pub(crate) fn place(&self) -> Place {
        self.account().place(BUCKET)
    }

    pub(crate) fn versioned_place(&self) -> Place {
        self.account().place(VERSIONED)
    }

    pub(crate) fn locked_place(&self) -> Place {
        self.account().place(LOCKED)
    }
}

/// A program of the cluster's.
fn ceph(folder: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).args(["-c", "ceph.conf"]);
    command.args(arguments);
    command
}

fn settings(folder: &Path, host: &str, cluster: &str, monitor: u16, frontend: &str) -> String {
    let folder = folder.display();
    format!(
        "[global]
fsid = {cluster}
mon host = v1:{host}:{monitor}
public addr = {host}
cluster addr = {host}
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon pg warn min per osd = 0
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
log file = {folder}/run/$name.log
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
osd crush update on start = false
osd class update on start = false
memstore device bytes = 4294967296
ms bind msgr2 = false
rgw frontends = beast {frontend}
rgw dns name = {host}
"
    )
}

fn make_keys(folder: &Path, host: &str, cluster: &str, monitor: u16) {
    let tool = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        run(command.current_dir(folder).args(arguments));
    };
    let address = format!("[v1:{host}:{monitor}]");
    tool(
        "monmaptool",
        &[
            "--create", "--fsid", cluster, "--addv", "a", &address, "monmap",
        ],
    );
    let all = ["--cap", "mon", "allow *"];
    let more = ["--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
    let of_monitor = ["--create-keyring", "keyring", "--gen-key", "-n", "mon."];
    tool("ceph-authtool", &[&of_monitor[..], &all].concat());
    let of_admin = ["keyring", "--gen-key", "-n", "client.admin"];
    tool("ceph-authtool", &[&of_admin[..], &all, &more].concat());
}

fn make_buckets(account: &S3Account) {
    account.make_bucket(BUCKET);
    account.make_bucket(VERSIONED);
    let versions = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let request = Request::put(format!("/{VERSIONED}?versioning"));
    account.call(request.body(versions.to_owned()).unwrap());
    let request = Request::put(format!("/{LOCKED}"));
    let request = request.header("x-amz-bucket-object-lock-enabled", "true");
    account.call(request.body(String::new()).unwrap());
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
                <DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
                </ObjectLockConfiguration>";
    let request = Request::put(format!("/{LOCKED}?object-lock"));
    account.call(request.body(lock.to_owned()).unwrap());
}
