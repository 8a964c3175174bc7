//! The S3 server of moto, one for each test that needs it.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread;

use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig};
use tokio::runtime::Runtime;

use crate::workdir::Run;

/// A running server with one bucket; killed on drop.
#[derive(Debug)]
pub(crate) struct Moto {
    child: Child,
    endpoint: String,
}

pub(crate) const BUCKET: &str = "snapshots";

/// Where tools/setup puts the package.
fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    target.join("clients")
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(folder().join("python/bin/python"))
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONPATH", folder().join("moto"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tools/setup --stores installs moto");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let endpoint = read_address(&mut log);
        // Whoever does not read what it says stops it once the pipe is full.
        thread::spawn(move || for _ in log.lines() {});
        let moto = Self { child, endpoint };
        moto.make_bucket(BUCKET);
        moto
    }

    /// Makes a bucket, which no client of object_store can.
    fn make_bucket(&self, bucket: &str) {
        let address = self.address();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Where it listens, such as `127.0.0.1:4567`.
    pub(crate) fn address(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    pub(crate) fn client(&self) -> Arc<dyn ObjectStore> {
        self.client_at(&self.endpoint, RetryConfig::default())
    }

    /// A client that reaches it through something else.
    pub(crate) fn client_at(&self, endpoint: &str, retry: RetryConfig) -> Arc<dyn ObjectStore> {
        // The program has one for itself.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_retry(retry)
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .build();
        Arc::new(built.unwrap())
    }

    /// Gives the program what its users set.
    pub(crate) fn set_up(&self, run: Run) -> Run {
        run.env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    }

    /// Changes one byte of an object.
    pub(crate) fn flip_byte(&self, key: &str, at: usize) {
        let (client, key) = (self.client(), object_store::path::Path::from(key));
        Runtime::new().unwrap().block_on(async {
            let found = client.get(&key).await.unwrap().bytes().await.unwrap();
            let mut bytes = found.to_vec();
            bytes[at] ^= 1;
            client.put(&key, PutPayload::from(bytes)).await.unwrap();
        });
    }
}

fn read_address(log: &mut BufReader<ChildStderr>) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "moto does not start");
        if let Some((_, address)) = line.split_once("Running on ") {
            return address.trim().to_owned();
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
