//! The pump itself: sinks on threads, fed by those who read.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engines::pump::lanes::Lanes;
use crate::engines::pump::load::Load;
use crate::engines::pump::options::PumpOptions;
use crate::ports::threads::{Worker, with_crew};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};

/// Takes what comes in a lane.
pub trait Sink {
    /// What it returns at its end.
    type Output: Send;

    /// Takes some items.
    ///
    /// # Errors
    ///
    /// - What makes the whole job useless: everything ends then.
    fn take(&mut self, load: &Load) -> Result<Taken>;

    /// Ends; nothing more comes.
    ///
    /// # Errors
    ///
    /// - As [`Sink::take`].
    fn finish(self) -> Result<Self::Output>;
}

/// Whether a sink wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It does.
    More,
    /// It leaves the rest to the others of its lane; the last of them gets it all the
    /// same, so that everything is counted, and nobody waits for ever.
    Enough,
}

/// What came of a pump.
#[derive(Debug)]
pub struct Pumped<R, T> {
    /// What feeding returned, if it did not fail.
    pub fed: Option<R>,
    /// What the sinks of each lane returned, in the order of the lanes; those that
    /// failed are left out.
    pub lanes: Vec<Vec<T>>,
    /// The first cause, if anything failed. What follows from it, and a stop, are passed
    /// over where there is something else.
    pub error: Option<Error>,
}

impl<R, T> Pumped<R, T> {
    /// Returns what came of it, for jobs of which a part is nothing.
    ///
    /// # Errors
    ///
    /// - The first cause.
    pub fn into_result(self) -> Result<(R, Vec<Vec<T>>)> {
        match (self.error, self.fed) {
            (None, Some(fed)) => Ok((fed, self.lanes)),
            (error, _) => Err(error.unwrap_or_else(no_cause)),
        }
    }
}

/// Opens sinks, each on a thread, has `feed` push items into outlets of the lanes, and
/// ends the sinks when it returns.
///
/// `stop` is raised as soon as anything fails, a thread that cannot be had included.
pub fn pump<K: Sink, R>(
    options: &PumpOptions,
    stop: &Cancel,
    open: impl Fn(usize) -> Result<K> + Sync,
    feed: impl FnOnce(&Lanes) -> Result<R>,
) -> Pumped<R, K::Output> {
    let lanes = Lanes::new(options);
    let at_work: Vec<AtomicUsize> = options
        .sinks
        .iter()
        .copied()
        .map(AtomicUsize::new)
        .collect();
    let serve = |lane: usize| {
        let _closer = FailOnPanic(&lanes);
        let served = open(lane).and_then(|mut sink| {
            let mut has_enough = false;
            while let Some(taking) = lanes.receive(lane) {
                let Some(load) = taking.load() else { continue };
                if sink.take(load)? == Taken::Enough && !has_enough {
                    has_enough = true;
                    let at_work = at_work.get(lane);
                    if at_work.is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) > 1) {
                        break;
                    }
                }
            }
            sink.finish()
        });
        if served.is_err() {
            stop.cancel();
            lanes.fail();
        }
        served
    };
    let (fed, served) = with_crew(stop, |crew| {
        let serve = &serve;
        let mut workers: Vec<Worker<'_, Result<K::Output>>> = Vec::new();
        let mut failure = None;
        for (lane, &count) in options.sinks.iter().enumerate() {
            for number in 0..count {
                let name = format!("{}-{lane}.{number}", options.name);
                match crew.start(name, move || serve(lane)) {
                    Ok(worker) => workers.push(worker),
                    Err(error) => failure = Some(error),
                }
            }
        }
        // Closed on panics of those who feed, too.
        let closer = CloseAtEnd(&lanes);
        let fed = match failure {
            Some(error) => Err(error),
            None => feed(&lanes),
        };
        if fed.is_err() {
            stop.cancel();
        }
        drop(closer);
        let served: Vec<_> = workers.into_iter().map(Worker::join).collect();
        (fed, served)
    });
    let mut outputs: Vec<Vec<K::Output>> = Vec::new();
    let mut errors = Vec::new();
    let mut served = served.into_iter();
    for &count in &options.sinks {
        let of_lane = served.by_ref().take(count);
        let (good, bad): (Vec<_>, Vec<_>) = of_lane.partition(Result::is_ok);
        outputs.push(good.into_iter().filter_map(Result::ok).collect());
        errors.extend(bad.into_iter().filter_map(Result::err));
    }
    let fed = fed.map_err(|error| errors.push(error)).ok();
    Pumped {
        fed,
        lanes: outputs,
        error: Error::first_cause(errors),
    }
}

fn no_cause() -> Error {
    Error::internal("something failed, and nothing says why")
}

struct CloseAtEnd<'a>(&'a Lanes);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct FailOnPanic<'a>(&'a Lanes);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}
