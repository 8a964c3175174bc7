//! Threads for jobs that go through every segment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::words::error::{Error, Operation, Result};

/// Holders, each of which has one segment open, and a pool that decodes blocks.
///
/// They are apart because a thread of a pool that waits for a part of its work
/// takes any other: of a pool for both, one thread would come to hold the tables
/// of several segments.
#[derive(Debug)]
pub struct SegmentPool {
    name: &'static str,
    blocks: ThreadPool,
}

impl SegmentPool {
    /// Starts the threads that decode blocks; 0 is one a processor.
    ///
    /// # Errors
    ///
    /// - `Io`: the system gives no more threads.
    pub fn new(name: &'static str, thread_count: usize) -> Result<Self> {
        let blocks = ThreadPoolBuilder::new()
            .num_threads(thread_count)
            .thread_name(move |number| format!("{name}-{number}"))
            .build()
            .map_err(|error| spawn_error(std::io::Error::other(error)))?;
        Ok(Self { name, blocks })
    }

    /// Returns how many segments are open at once, which is also how many blocks
    /// are decoded at once.
    pub fn thread_count(&self) -> usize {
        self.blocks.current_num_threads()
    }

    /// Calls for every segment, with its place in the list, and returns what the
    /// calls did, in the order of the list. After an error no more are begun.
    ///
    /// # Errors
    ///
    /// - That of the first segment in the list whose call has failed.
    /// - `Io`: the system gives no more threads.
    pub fn each_segment<S: Sync, T: Send>(
        &self,
        segments: &[S],
        call: impl Fn(usize, &S) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(segments.len()));
        let hold = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(segment) = segments.get(number) else {
                    return;
                };
                let result = call(number, segment);
                if result.is_err() {
                    // Those that are under way come to their ends.
                    next.store(segments.len(), Ordering::Relaxed);
                }
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.push((number, result));
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.thread_count().min(segments.len()) {
                let name = format!("{}-segment", self.name);
                let holder = std::thread::Builder::new().name(name);
                if let Err(error) = holder.spawn_scoped(scope, hold) {
                    next.store(segments.len(), Ordering::Relaxed);
                    return Err(spawn_error(error));
                }
            }
            Ok(())
        })?;
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Runs work on blocks, which rayon's parallel iterators in it spread over the
    /// pool; from within [`Self::each_segment`].
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.blocks.install(work)
    }
}

fn spawn_error(cause: std::io::Error) -> Error {
    Error::io(Operation::Spawn, "threads that read segments", cause)
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use rayon::prelude::*;

    use super::*;
    use crate::words::defect::Defect;

    #[test]
    fn a_thread_holds_one_segment_at_a_time() {
        let pool = SegmentPool::new("test", 3).unwrap();
        let holding: Mutex<Vec<ThreadId>> = Mutex::default();
        let segments: Vec<usize> = (0..40).collect();
        let sums = pool.each_segment(&segments, |number, segment| {
            assert_eq!(number, *segment);
            let own = std::thread::current().id();
            let is_free = {
                let mut holding = holding.lock().unwrap();
                let is_free = !holding.contains(&own) && holding.len() < 3;
                holding.push(own);
                is_free
            };
            assert!(is_free, "a thread has two segments, or there are too many");
            // Enough small pieces for threads to wait for each other's.
            let sum: usize = pool.install(|| (0..200).into_par_iter().map(|_| segment).sum());
            holding.lock().unwrap().retain(|thread| *thread != own);
            Ok(sum)
        });
        let wanted: Vec<usize> = segments.iter().map(|segment| segment * 200).collect();
        assert_eq!(sums.unwrap(), wanted);
    }

    #[test]
    fn after_an_error_no_more_are_begun() {
        let pool = SegmentPool::new("test", 1).unwrap();
        let begun = AtomicUsize::new(0);
        let result = pool.each_segment(&[(); 9], |number, ()| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 3 {
                return Err(Error::corrupt(Defect::SegmentMissing));
            }
            Ok(())
        });
        assert!(result.is_err());
        assert_eq!(begun.into_inner(), 4);
        assert_eq!(pool.each_segment(&[(); 0], |_, ()| Ok(())).unwrap(), []);
    }
}
