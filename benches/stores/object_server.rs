//! A server of S3 whose work is measured.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use futures_util::TryStreamExt as _;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::garage::Garage;
use crate::moto::Moto;
use crate::place::{BUCKET, S3Account};
use crate::process::{cpu_of_process, descendants};
use crate::rgw::Rgw;

/// What the server still does after a run, such as to free what was removed, would be taken
/// for work of the next one.
const REST_LIMIT: Duration = Duration::from_secs(60);
/// How long it is looked at, and which share of a processor is rest.
const REST_LOOK: Duration = Duration::from_millis(500);
const REST_SHARE: f64 = 0.1;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerKind {
    /// Ceph's gateway as it comes, with a store in memory. It sends a short answer in two
    /// pieces, of which the second waits for the client to acknowledge the first, which
    /// takes 40 ms: what small requests cost from afar.
    Rgw,
    /// The same, told to wait for nothing (`tcp_nodelay=1`).
    RgwNodelay,
    /// Garage, on disk.
    Garage,
    /// The double of moto, which is slow.
    Moto,
}

#[derive(Debug)]
enum Running {
    Rgw(Arc<Rgw>),
    Garage(Garage),
    Moto(Moto),
}

/// A running server with a bucket.
#[derive(Debug)]
pub(crate) struct ObjectServer {
    running: Running,
    /// Its processes.
    pids: BTreeSet<u32>,
}

impl ObjectServer {
    pub(crate) fn start(kind: ServerKind) -> Self {
        let before = descendants();
        let running = match kind {
            ServerKind::Rgw => Running::Rgw(Rgw::shared()),
            ServerKind::RgwNodelay => Running::Rgw(Arc::new(Rgw::start_with("tcp_nodelay=1"))),
            ServerKind::Garage => Running::Garage(Garage::start()),
            ServerKind::Moto => Running::Moto(Moto::start()),
        };
        let pids = &descendants() - &before;
        assert!(!pids.is_empty(), "{kind:?} has no process");
        Self { running, pids }
    }

    pub(crate) fn account(&self) -> &S3Account {
        match &self.running {
            Running::Rgw(rgw) => rgw.account(),
            Running::Garage(garage) => garage.account(),
            Running::Moto(moto) => moto.account(),
        }
    }

    /// CPU seconds of all its processes since the start.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.pids.iter().map(|pid| cpu_of_process(*pid)).sum()
    }

    /// Removes all objects below a prefix.
    pub(crate) fn remove(&self, prefix: &str) {
        let client = self.account().place(BUCKET).client();
        let prefix = Path::from(prefix);
        let removed = Runtime::new().unwrap().block_on(async {
            let listed = client.list(Some(&prefix));
            let found: Vec<_> = listed.try_collect().await?;
            let paths = found.into_iter().map(|object| Ok(object.location));
            let paths = futures_util::stream::iter(paths);
            client
                .delete_stream(Box::pin(paths))
                .try_collect::<Vec<_>>()
                .await
        });
        removed.unwrap();
        if let Running::Rgw(rgw) = &self.running {
            rgw.collect_garbage();
        }
    }

    /// Waits until it has nothing more to do, or for a minute.
    pub(crate) fn rest(&self) {
        let clock = Instant::now();
        while clock.elapsed() < REST_LIMIT {
            let before = self.cpu_seconds();
            sleep(REST_LOOK);
            if self.cpu_seconds() - before < REST_SHARE * REST_LOOK.as_secs_f64() {
                return;
            }
        }
    }
}

/// Gives a child what users of an account set.
pub(crate) fn set_account(command: &mut Command, account: &S3Account) {
    command
        .env("AWS_ENDPOINT_URL", &account.endpoint)
        .env("AWS_REGION", account.region)
        .env("AWS_ACCESS_KEY_ID", &account.id)
        .env("AWS_SECRET_ACCESS_KEY", &account.secret);
}

/// The URL of something in the bucket.
pub(crate) fn url(path: &str) -> String {
    format!("s3://{BUCKET}/{path}")
}
