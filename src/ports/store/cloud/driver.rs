//! Runs the asynchronous calls of object stores from threads that block.

use std::future::Future;
use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::words::error::{Error, Operation, Result};

/// Threads that wait for the network; the work of a job is on its own threads.
const THREADS: usize = 2;

/// Returns the handle of the runtime that all stores of the process share.
///
/// # Errors
///
/// - `Io`: its threads cannot be started.
pub(super) fn driver() -> Result<Handle> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store")
            .enable_all()
            .build()
    });
    match runtime {
        Ok(runtime) => Ok(runtime.handle().clone()),
        Err(error) => {
            let cause = io::Error::new(error.kind(), error.to_string());
            Err(Error::io(
                Operation::Spawn,
                "threads for the network",
                cause,
            ))
        }
    }
}

/// Waits for a call. Never called from the runtime's own threads.
pub(super) fn wait<T>(handle: &Handle, call: impl Future<Output = T>) -> T {
    handle.block_on(call)
}
