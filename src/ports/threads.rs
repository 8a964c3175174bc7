//! Threads that have names and stop and end together; a panic in one is a panic of the
//! job.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use rayon::ThreadPoolBuilder;

use crate::words::cancel::Cancel;
use crate::words::error::{Error, Operation, Result};

/// Threads that work for one job.
#[derive(Clone, Copy, Debug)]
pub struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    stop: &'env Cancel,
}

/// Lets `work` start threads, and returns when all of them have ended. If one of them or
/// `work` panics, `stop` is raised, so that the others do not wait forever. The panic
/// resumes in the thread that joins the panicked one, or else here.
pub fn with_crew<'env, R>(
    stop: &'env Cancel,
    work: impl for<'scope> FnOnce(Crew<'scope, 'env>) -> R,
) -> R {
    std::thread::scope(|scope| {
        let _guard = StopOnPanic(stop.clone());
        work(Crew { scope, stop })
    })
}

impl<'scope> Crew<'scope, '_> {
    /// Starts a thread. Its name appears in debuggers, in `top` and in panic messages;
    /// Linux cuts it at 15 bytes.
    ///
    /// # Errors
    ///
    /// - `Io`: the system cannot start another thread. `stop` is then raised, since the
    ///   job cannot be done as intended.
    pub fn start<T: Send + 'scope>(
        self,
        name: impl Into<String>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<Worker<'scope, T>> {
        self.start_if_possible(name, work)
            .inspect_err(|_| self.stop.cancel())
    }

    /// Starts a thread that the job can do without.
    ///
    /// # Errors
    ///
    /// - `Io`: the system cannot start another thread.
    pub fn start_if_possible<T: Send + 'scope>(
        self,
        name: impl Into<String>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<Worker<'scope, T>> {
        let name = name.into();
        let stop = self.stop.clone();
        let guarded = move || {
            let _guard = StopOnPanic(stop);
            work()
        };
        let started = Builder::new()
            .name(name.clone())
            .spawn_scoped(self.scope, guarded);
        started
            .map(Worker)
            .map_err(|error| spawn_error(&name, error))
    }
}

/// A thread of a [`Crew`].
#[derive(Debug)]
pub struct Worker<'scope, T>(ScopedJoinHandle<'scope, T>);

impl<T> Worker<'_, T> {
    /// Returns whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the thread to end, and returns its result.
    ///
    /// # Panics
    ///
    /// If the thread panicked, with the same payload.
    pub fn join(self) -> T {
        let joined = self.0.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Raises a flag if the thread that holds this panics.
struct StopOnPanic(Cancel);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Works on several things side by side, at most `most` at a time, and returns the
/// results in the same order. If there is only one thing, or `most` is 1, the calling
/// thread does the work.
///
/// # Errors
///
/// - `Io`: the system cannot start another thread. Work that was started is finished, and
///   `stop` is raised.
pub fn side_by_side<I: Send, T: Send>(
    name: &'static str,
    things: Vec<I>,
    most: usize,
    stop: &Cancel,
    work: impl Fn(I) -> T + Sync,
) -> Result<Vec<T>> {
    let thread_count = most.min(things.len());
    if thread_count <= 1 {
        return Ok(things.into_iter().map(work).collect());
    }
    let count = things.len();
    let waiting = Mutex::new(things.into_iter().enumerate());
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.next()
    };
    let work_off = || {
        let mut done = Vec::new();
        while let Some((place, thing)) = next() {
            done.push((place, work(thing)));
        }
        done
    };
    let mut done: Vec<(usize, T)> = with_crew(stop, |crew| {
        let workers: Result<Vec<_>> = (0..thread_count)
            .map(|number| crew.start(format!("{name}-{number}"), work_off))
            .collect();
        Ok(workers?.into_iter().flat_map(Worker::join).collect())
    })?;
    debug_assert_eq!(done.len(), count);
    done.sort_unstable_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Threads that decode, compress and sort, created once for a job. A pool of one thread
/// starts none, and the caller does the work.
#[derive(Debug)]
pub struct Pool {
    threads: Option<rayon::ThreadPool>,
}

impl Pool {
    /// Starts the threads; 0 means one per processor.
    ///
    /// # Errors
    ///
    /// - `Io`: the system cannot start that many threads.
    pub fn new(name: &'static str, thread_count: usize) -> Result<Self> {
        if thread_count == 1 {
            return Ok(Self { threads: None });
        }
        let threads = ThreadPoolBuilder::new()
            .num_threads(thread_count)
            .thread_name(move |number| format!("{name}-{number}"))
            .build()
            .map_err(|error| spawn_error(name, io::Error::other(error)))?;
        Ok(Self {
            threads: Some(threads),
        })
    }

    /// Returns how many threads work at a time.
    pub fn thread_count(&self) -> usize {
        let threads = self.threads.as_ref();
        threads.map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Returns the calling thread's number in the pool, below [`Pool::thread_count`].
    pub fn own_number(&self) -> usize {
        let threads = self.threads.as_ref();
        let number = threads.and_then(rayon::ThreadPool::current_thread_index);
        number.unwrap_or(0)
    }

    /// Makes each thread do the same work once, and returns what each returned.
    pub fn broadcast<T: Send>(&self, work: impl Fn() -> T + Sync) -> Vec<T> {
        match &self.threads {
            Some(threads) => threads.broadcast(|_| work()),
            None => vec![work()],
        }
    }

    /// Works on `count` things, identified by number, and returns the results in order.
    /// Each thread has its own state, made by `begin`.
    ///
    /// The things are begun in order: of blocks that lie one after the other, threads that
    /// each begin elsewhere would make a store far away read here and there.
    pub fn map<S, T: Send>(
        &self,
        count: usize,
        begin: impl Fn() -> S + Sync + Send,
        work: impl Fn(&mut S, usize) -> T + Sync + Send,
    ) -> Vec<T> {
        let never = |_: &T| false;
        self.map_until(count, begin, work, never)
    }

    /// Like [`Pool::map`], but starts nothing more after an error.
    ///
    /// # Errors
    ///
    /// - The first of the errors that `work` returned, in the order of the things.
    pub fn try_map<S, T: Send>(
        &self,
        count: usize,
        begin: impl Fn() -> S + Sync + Send,
        work: impl Fn(&mut S, usize) -> Result<T> + Sync + Send,
    ) -> Result<Vec<T>> {
        let results = self.map_until(count, begin, work, Result::is_err);
        results.into_iter().collect()
    }

    /// Works on things until one of the results is the last.
    fn map_until<S, T: Send>(
        &self,
        count: usize,
        begin: impl Fn() -> S + Sync + Send,
        work: impl Fn(&mut S, usize) -> T + Sync + Send,
        is_last: impl Fn(&T) -> bool + Sync + Send,
    ) -> Vec<T> {
        if count == 0 {
            // No thread has to be free for that.
            return Vec::new();
        }
        let next = AtomicUsize::new(0);
        let has_ended = AtomicBool::new(false);
        let work_off = || {
            let mut state = begin();
            let mut done = Vec::new();
            while !has_ended.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let result = work(&mut state, number);
                has_ended.fetch_or(is_last(&result), Ordering::Relaxed);
                done.push((number, result));
            }
            done
        };
        let mut done: Vec<(usize, T)> = self.broadcast(work_off).into_iter().flatten().collect();
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

fn spawn_error(name: &str, cause: io::Error) -> Error {
    Error::io(Operation::Spawn, name, cause)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::thread::ThreadId;

    use super::*;
    use crate::words::defect::Defect;

    #[test]
    fn only_a_panic_stops_the_others_and_it_goes_on_in_who_joins() {
        let stop = Cancel::new();
        let sum = with_crew(&stop, |crew| {
            let workers = [1, 2, 3].map(|number| crew.start("adds", move || number).unwrap());
            workers.into_iter().map(Worker::join).sum::<u32>()
        });
        assert_eq!((sum, stop.is_canceled()), (6, false));
        let caught = std::panic::catch_unwind(|| {
            with_crew(&stop, |crew| {
                let waits = crew.start("waits", || {
                    while !stop.is_canceled() {
                        std::thread::yield_now();
                    }
                });
                let panics = || std::panic::resume_unwind(Box::new("told to"));
                let panics = crew.start::<()>("panics", panics).unwrap();
                waits.unwrap().join();
                panics.join();
            });
        });
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "told to");
        assert!(stop.is_canceled());
    }

    #[test]
    fn a_thread_has_the_name_that_it_was_given() {
        let stop = Cancel::new();
        let name = with_crew(&stop, |crew| {
            let own = || std::thread::current().name().map(str::to_owned);
            crew.start("walker", own).unwrap().join()
        });
        assert_eq!(name.as_deref(), Some("walker"));
    }

    #[test]
    fn things_are_worked_on_side_by_side_and_come_back_in_order() {
        let stop = Cancel::new();
        // Three run at a time: each waits for two others.
        let together = Barrier::new(3);
        let doubled = side_by_side("doubles", (0..9).collect(), 3, &stop, |number: u32| {
            together.wait();
            number * 2
        });
        assert_eq!(doubled.unwrap(), [0, 2, 4, 6, 8, 10, 12, 14, 16]);
        let own = std::thread::current().id();
        let one = side_by_side("one", vec![()], 8, &stop, |()| std::thread::current().id());
        assert_eq!(one.unwrap(), [own]);
    }

    #[test]
    fn a_pool_of_one_is_the_caller() {
        let own = std::thread::current().id();
        let pool = Pool::new("test", 1).unwrap();
        assert_eq!((pool.thread_count(), pool.own_number()), (1, 0));
        assert_eq!(pool.broadcast(|| std::thread::current().id()), [own]);
        let seen = pool.map(
            3,
            || 0,
            |seen, number| {
                *seen += 1;
                (*seen, number, std::thread::current().id())
            },
        );
        assert_eq!(seen, [(1, 0, own), (2, 1, own), (3, 2, own)]);
        let pool = Pool::new("test", 3).unwrap();
        let threads: BTreeSet<usize> = pool.broadcast(|| pool.own_number()).into_iter().collect();
        assert_eq!(threads, BTreeSet::from([0, 1, 2]));
        let seen: Vec<ThreadId> = pool.map(9, || (), |(), _| std::thread::current().id());
        assert!(seen.len() == 9 && !seen.contains(&own));
    }

    #[test]
    fn a_pool_begins_with_the_first_and_goes_on_in_order() {
        let pool = Pool::new("test", 3).unwrap();
        // Three are begun, and none of them ends before: no thread has begun elsewhere.
        let together = Barrier::new(3);
        let begun: Mutex<Vec<usize>> = Mutex::default();
        let work = |(): &mut (), number: usize| {
            begun.lock().unwrap().push(number);
            together.wait();
            number
        };
        let numbers: Vec<usize> = (0..30).collect();
        assert_eq!(pool.map(30, || (), work), numbers);
        for (round, three) in begun.into_inner().unwrap().chunks_mut(3).enumerate() {
            three.sort_unstable();
            assert_eq!(three, &numbers[round * 3..round * 3 + 3]);
        }
    }

    #[test]
    fn after_an_error_nothing_more_is_begun() {
        for threads in [1, 2] {
            let pool = Pool::new("test", threads).unwrap();
            let failed = pool.try_map(
                9,
                || (),
                |(), number| match number {
                    3 => Err(Error::corrupt(Defect::SegmentMissing)),
                    number => Ok(number),
                },
            );
            assert!(failed.is_err());
            let all = pool.try_map(3, || (), |(), number| Ok(number));
            assert_eq!(all.unwrap(), [0, 1, 2]);
        }
    }
}
