//! Samples keys of a node from the beginning of a walk.

use std::sync::Mutex;
use std::time::Duration;

use crate::engines::source::packed_walk::Walked;
use crate::engines::source::spool::{Spool, WalkChunk};
use crate::engines::source::spool_memory::SpoolMemory;
use crate::engines::source::strategy::ReadStrategy;
use crate::engines::source::walk::Walk;
use crate::ports::host;
use crate::ports::net::NetOptions;
use crate::ports::threads::with_crew;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::node::NodeSpec;

/// Memory for lines listed before there are enough keys: over a million short keys. Lines
/// beyond that are dropped.
const SPOOL_MEMORY_MAX: usize = 16 << 20;

/// Returns up to `count` keys of a node, or fewer if it has no more. The walk ends as
/// soon as there are enough.
///
/// # Errors
///
/// - Those of [`Walk::run`], if the walk ended before there were enough.
pub fn sample_keys(
    node: &NodeSpec,
    net: &NetOptions,
    strategy: ReadStrategy,
    busy_timeout: Duration,
    count: usize,
    cancel: &Cancel,
) -> Result<Vec<Vec<u8>>> {
    let stop = cancel.child();
    // Nothing is written to the directory, since no thread writes the spool out.
    let spool = Spool::new(
        SpoolMemory::new(SPOOL_MEMORY_MAX),
        host::temporary_directory(),
    );
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
    let mut taken = Ok(());
    let walked = with_crew(&stop, |crew| {
        let walker = crew.start("sample-walk", || walk.run())?;
        while keys.len() < count {
            match spool.pop(&stop) {
                Ok(Some(chunk)) => {
                    taken = take_keys(&chunk, count, &mut keys);
                    if taken.is_err() {
                        break;
                    }
                }
                // The walk returns the reason.
                Ok(None) | Err(_) => break,
            }
        }
        stop.cancel();
        walker.join()
    });
    cancel.check()?;
    taken?;
    match walked {
        // The walk was stopped because there were enough keys.
        Err(_) if keys.len() >= count => {}
        walked => drop(walked?),
    }
    Ok(keys)
}

/// Adds keys up to a count; a line that cannot be parsed adds none.
fn take_keys(chunk: &WalkChunk, count: usize, keys: &mut Vec<Vec<u8>>) -> Result<()> {
    chunk.visit(&mut |walked| {
        if let Walked::Item { key, .. } = walked
            && keys.len() < count
        {
            keys.push(key.to_vec());
        }
        Ok(())
    })
}
