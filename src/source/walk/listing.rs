//! The walk by `stats cachedump`: slab classes side by side, each as far as the
//! server shows it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::net::{Connection, Received};
use crate::protocol::cachedump::{ListingLine, classify_listing};
use crate::protocol::reply::{check_connection, is_refusal};
use crate::protocol::request::cachedump;
use crate::protocol::text::{Step, parse_line};
use crate::source::spool::{LineForm, Spool, WalkChunk};
use crate::source::walk::Walk;
use crate::units::to_u64;

/// Classes listed at one time. The server holds the lock of a class's list while
/// it writes up to 2 MiB of keys, so more would hurt its clients.
const CLASS_COUNT_AT_ONCE: usize = 4;

impl Walk<'_> {
    /// Lists every class; returns how many items the server counts and did not
    /// list.
    pub(super) fn list_all_classes(&self) -> Result<u64> {
        let before = self.slab_item_counts()?;
        let queue: Mutex<VecDeque<u8>> = Mutex::new(before.keys().copied().collect());
        let next = || {
            queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        let worker_count = before.len().min(CLASS_COUNT_AT_ONCE);
        let listed: Vec<Result<BTreeMap<u8, u64>>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..worker_count)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connection = self.connect()?;
                        let mut listed = BTreeMap::new();
                        while let Some(class) = next() {
                            listed.insert(class, list_class(&mut connection, class, self.spool)?);
                        }
                        Ok(listed)
                    })
                })
                .collect();
            let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined
                .map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut counts = BTreeMap::new();
        for listed in listed {
            counts.extend(listed?);
        }
        // What was deleted meanwhile is not missing, what was added is not
        // promised.
        let after = self.slab_item_counts()?;
        let unlisted = before.iter().map(|(class, &count)| {
            let alive = count.min(after.get(class).copied().unwrap_or(0));
            alive.saturating_sub(counts.get(class).copied().unwrap_or(0))
        });
        Ok(unlisted.fold(0, u64::saturating_add))
    }
}

/// Lists one class; returns how many items it showed.
fn list_class(connection: &mut Connection, class: u8, spool: &Spool) -> Result<u64> {
    let mut lines = Vec::new();
    let mut count: u64 = 0;
    connection.exchange("listing", &cachedump(class), |bytes| {
        let mut consumed: usize = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let Step::Done(line, len) = parse_line(rest, "a line of a listing")? else {
                return Ok(Received::More(consumed));
            };
            consumed = consumed.saturating_add(len);
            match classify_listing(line) {
                ListingLine::Item => {
                    count = count.saturating_add(1);
                    lines.extend_from_slice(rest.get(..len).unwrap_or_default());
                }
                ListingLine::End => return Ok(Received::Done(consumed)),
                ListingLine::Refused(words) if is_refusal(words) => {
                    check_connection(words)?;
                    let words = String::from_utf8_lossy(words).into_owned();
                    return Err(Error::new(ErrorKind::Server { words }));
                }
                // The rest of a key with a line end in it; the fetcher counts it
                // as a line that cannot be understood, as it does its first part.
                ListingLine::Refused(words) if count > 0 && !words.is_empty() => {
                    lines.extend_from_slice(rest.get(..len).unwrap_or_default());
                }
                ListingLine::Refused(words) => {
                    return Err(Error::protocol("a line of a listing", words));
                }
            }
        }
    })?;
    tracing::debug!(
        class,
        count,
        bytes = to_u64(lines.len()),
        "listed a slab class"
    );
    // A class is at most 2 MiB, which a fetcher takes in batches anyway; parts of
    // it let several fetchers share it.
    let form = LineForm::Cachedump { class };
    for part in split_at_lines(&lines) {
        let lines = part.to_vec();
        spool.push(WalkChunk { lines, form })?;
    }
    Ok(count)
}

/// Cuts whole lines into parts of about a fetcher's batch.
fn split_at_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    const PART_LEN: usize = 64 << 10;
    let mut rest = lines;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let from = PART_LEN.min(rest.len());
        let tail = rest.get(from..).unwrap_or_default();
        let end = memchr::memchr(b'\n', tail)
            .map_or(rest.len(), |at| from.saturating_add(at).saturating_add(1));
        let (part, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_lines_and_all_of_them() {
        let lines: Vec<u8> = (0..20_000)
            .flat_map(|number| format!("ITEM key:{number} [3 b; 0 s]\r\n").into_bytes())
            .collect();
        let parts: Vec<&[u8]> = split_at_lines(&lines).collect();
        assert!(parts.len() > 5);
        assert!(parts.iter().all(|part| part.ends_with(b"\n")));
        assert_eq!(parts.concat(), lines);
        assert_eq!(split_at_lines(b"").count(), 0);
    }
}
