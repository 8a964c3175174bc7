//! Some keys of a node, out of the beginning of a walk.

use std::env;
use std::sync::Mutex;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::{Error, Operation, Result};
use crate::net::NetOptions;
use crate::node::NodeSpec;
use crate::protocol::cachedump::parse_listed;
use crate::protocol::metadump::parse_item;
use crate::protocol::text::split_line;
use crate::source::spool::{LineForm, Spool, WalkChunk};
use crate::source::strategy::ReadStrategy;
use crate::source::walk::Walk;

/// What a walk may list before somebody takes it; more goes to a temporary file.
const SPOOL_MEMORY_MAX: usize = 16 << 20;

/// Returns up to `count` keys of a node; fewer where it has no more. The walk ends
/// as soon as there are enough.
///
/// # Errors
///
/// - Those of [`Walk::run`], where it ended before there were enough.
pub fn sample_keys(
    node: &NodeSpec,
    net: &NetOptions,
    strategy: ReadStrategy,
    busy_timeout: Duration,
    count: usize,
    cancel: &Cancel,
) -> Result<Vec<Vec<u8>>> {
    let stop = cancel.child();
    let spool = Spool::new(SPOOL_MEMORY_MAX, env::temp_dir());
    let walk = Walk {
        node,
        net,
        strategy,
        spool: &spool,
        seen: None,
        is_for_all: false,
        cancel: &stop,
        busy_timeout,
        idle: Mutex::default(),
    };
    let mut keys = Vec::new();
    let walked = std::thread::scope(|scope| {
        let walker = std::thread::Builder::new()
            .name("sample-walk".to_owned())
            .spawn_scoped(scope, || walk.run());
        let walker = match walker {
            Ok(walker) => walker,
            Err(error) => return Err(Error::io(Operation::Spawn, "a walking thread", error)),
        };
        while keys.len() < count {
            match spool.pop(&stop) {
                Ok(Some(chunk)) => take_keys(&chunk, count, &mut keys),
                // The walk says why.
                Ok(None) | Err(_) => break,
            }
        }
        stop.cancel();
        walker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    cancel.check()?;
    match walked {
        // Stopped, since there were enough.
        Err(_) if keys.len() >= count => {}
        walked => drop(walked?),
    }
    Ok(keys)
}

fn take_keys(chunk: &WalkChunk, count: usize, keys: &mut Vec<Vec<u8>>) {
    let mut rest = chunk.lines.as_slice();
    let mut key = Vec::new();
    while keys.len() < count
        && let Some((line, len)) = split_line(rest)
    {
        rest = rest.get(len..).unwrap_or_default();
        match chunk.form {
            LineForm::Metadump => {
                if parse_item(line, &mut key).is_some() {
                    keys.push(key.clone());
                }
            }
            LineForm::Cachedump { .. } => {
                keys.extend(parse_listed(line).map(|listed| listed.key.to_vec()));
            }
        }
    }
}
