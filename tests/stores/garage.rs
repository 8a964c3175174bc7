//! Garage: a real server of S3, and one that ignores conditions on writes without a word.

use std::fs;
use std::process::Command;

use mcsnap::ports::store::Store as _;
use object_store::RetryConfig;
use tempfile::TempDir;

use crate::memcached::own_host;
use crate::place::{BUCKET, Place, S3Account};
use crate::process::{Process, clients_folder, free_ports};

/// What a key of Garage must look like.
const ID: &str = "GK0123456789abcdef01234567";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A running server with one bucket.
#[derive(Debug)]
pub(crate) struct Garage {
    account: S3Account,
    _process: Process,
    _folder: TempDir,
}

impl Garage {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = own_host();
        let [s3_port, rpc_port] = free_ports(&host);
        let path = folder.path().display();
        let settings = format!(
            "metadata_dir = \"{path}/meta\"
data_dir = \"{path}/data\"
db_engine = \"sqlite\"
replication_factor = 1
rpc_bind_addr = \"{host}:{rpc_port}\"
rpc_public_addr = \"{host}:{rpc_port}\"
rpc_secret = \"{SECRET}\"
[s3_api]
s3_region = \"garage\"
api_bind_addr = \"{host}:{s3_port}\"
"
        );
        let settings_file = folder.path().join("garage.toml");
        fs::write(&settings_file, settings).unwrap();
        let mut command = Command::new(clients_folder().join("garage/bin/garage"));
        command
            .arg("-c")
            .arg(settings_file)
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", ID)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET)
            .env("GARAGE_DEFAULT_BUCKET", BUCKET);
        let mut process = Process::start(command, folder.path(), "garage");
        let account = S3Account {
            endpoint: format!("http://{host}:{s3_port}"),
            region: "garage",
            id: ID.to_owned(),
            secret: SECRET.to_owned(),
        };
        // The bucket comes some time after the port.
        let once = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let asked = account.place_with(BUCKET, once).store("");
        process.wait_for(|_| asked.list("").ok());
        Self {
            account,
            _process: process,
            _folder: folder,
        }
    }

    /// Where it listens, and who may use it.
    pub(crate) fn account(&self) -> &S3Account {
        &self.account
    }

    pub(crate) fn place(&self) -> Place {
        self.account().place(BUCKET)
    }
}
