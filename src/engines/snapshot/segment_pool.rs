//! Threads for jobs that go through every segment.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::ports::threads::{Pool, side_by_side};
use crate::words::cancel::Cancel;
use crate::words::error::Result;

/// Holder threads, each of which has one segment open, and a pool that decodes blocks.
///
/// They are separate because a pool thread that waits for a part of its work takes any
/// other work meanwhile. In a single pool, one thread would end up holding the tables of
/// several segments.
#[derive(Debug)]
pub struct SegmentPool {
    name: &'static str,
    blocks: Pool,
}

impl SegmentPool {
    /// Starts the threads that decode blocks. 0 means one for each processor, and 1
    /// leaves all work to the caller.
    ///
    /// # Errors
    ///
    /// - `Io`: the system cannot start more threads.
    pub fn new(name: &'static str, thread_count: usize) -> Result<Self> {
        let blocks = Pool::new(name, thread_count)?;
        Ok(Self { name, blocks })
    }

    /// Returns the threads that decode blocks. As many segments are open at once.
    pub fn blocks(&self) -> &Pool {
        &self.blocks
    }

    /// Calls `call` for every segment with its index in the list, and returns the results
    /// in the order of the list. After an error no more calls are started.
    ///
    /// # Errors
    ///
    /// - That of the first segment in the list whose call failed.
    /// - `Io`: the system cannot start more threads.
    pub fn each_segment<S: Sync, T: Send>(
        &self,
        segments: &[S],
        call: impl Fn(usize, &S) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let has_failed = AtomicBool::new(false);
        let hold = |(number, segment)| {
            // Calls that are running are completed.
            if has_failed.load(Ordering::Relaxed) {
                return None;
            }
            let result = call(number, segment);
            has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
            Some(result)
        };
        let numbered = segments.iter().enumerate().collect();
        let count = self.blocks.thread_count();
        let called = side_by_side(self.name, numbered, count, &Cancel::new(), hold)?;
        // If a segment was skipped, there is an error, and it is the result.
        called.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::thread::ThreadId;

    use super::*;
    use crate::words::defect::Defect;
    use crate::words::error::Error;

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
            // Enough small pieces that threads wait for each other's.
            let pieces = pool.blocks().map(200, || (), |(), _| *segment);
            let sum: usize = pieces.into_iter().sum();
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
