//! The pump itself: sinks on threads, fed by those who read.

use crate::engines::pump::load::Load;
use crate::engines::pump::options::PumpOptions;
use crate::engines::pump::queues::Queues;
use crate::ports::threads::{Worker, with_crew};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};

/// Takes what comes in a queue.
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
    /// It leaves the rest to the others of its queue; the last of them gets it all the
    /// same, so that everything is counted, and nobody waits for ever.
    Enough,
}

/// What came of a pump.
#[derive(Debug)]
pub struct Pumped<R, T> {
    /// What feeding returned, if it did not fail.
    pub fed: Option<R>,
    /// What the sinks of each queue returned, in the order of the queues; those that
    /// failed are left out.
    pub queues: Vec<Vec<T>>,
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
            (None, Some(fed)) => Ok((fed, self.queues)),
            (error, _) => Err(error.unwrap_or_else(no_cause)),
        }
    }
}

/// Opens sinks, each on a thread, has `feed` push items into outlets of the queues, and
/// ends the sinks when it returns.
///
/// `open` gets the number of the queue, and whether a sink of the queue has had enough
/// already: then the new one only counts what comes.
///
/// `stop` is raised as soon as anything fails, a thread that cannot be had included.
pub fn pump<K: Sink, R>(
    options: &PumpOptions,
    stop: &Cancel,
    open: impl Fn(usize, bool) -> Result<K> + Sync,
    feed: impl FnOnce(&Queues) -> Result<R>,
) -> Pumped<R, K::Output> {
    let queues = Queues::new(options);
    let wanted = options.sinks.iter().sum::<usize>();
    let servers: Vec<Option<usize>> = if wanted <= options.open_max {
        let each = options.sinks.iter().enumerate();
        let of_queue = each.flat_map(|(queue, &count)| std::iter::repeat_n(queue, count));
        of_queue.map(Some).collect()
    } else {
        vec![None; options.open_max.max(1)]
    };
    let serve = |home: Option<usize>| {
        let _guard = FailOnPanic(&queues);
        let served = match home {
            Some(queue) => serve_queue(&queues, queue, &open),
            None => serve_all(&queues, &open),
        };
        if served.is_err() {
            stop.cancel();
            queues.fail();
        }
        served
    };
    let (fed, served) = with_crew(stop, |crew| {
        let serve = &serve;
        let mut workers: Vec<Worker<'_, Result<Served<K>>>> = Vec::new();
        let mut failure = None;
        for (number, &home) in servers.iter().enumerate() {
            let name = format!("{}-{number}", options.name);
            match crew.start(name, move || serve(home)) {
                Ok(worker) => workers.push(worker),
                Err(error) => failure = Some(error),
            }
        }
        // Closed on panics of those who feed, too.
        let closer = CloseAtEnd(&queues);
        let fed = match failure {
            Some(error) => Err(error),
            None => feed(&queues),
        };
        if fed.is_err() {
            stop.cancel();
        }
        drop(closer);
        let served: Vec<_> = workers.into_iter().map(Worker::join).collect();
        (fed, served)
    });
    let mut outputs: Vec<Vec<K::Output>> = options.sinks.iter().map(|_| Vec::new()).collect();
    let mut errors = Vec::new();
    for served in served {
        match served {
            Ok(served) => {
                for (queue, output) in served {
                    if let Some(of_queue) = outputs.get_mut(queue) {
                        of_queue.push(output);
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    let fed = fed.map_err(|error| errors.push(error)).ok();
    Pumped {
        fed,
        queues: outputs,
        error: Error::first_cause(errors),
    }
}

/// What sinks returned, each with its queue.
type Served<K> = Vec<(usize, <K as Sink>::Output)>;

/// Serves one queue until nothing more comes.
fn serve_queue<K: Sink>(
    queues: &Queues,
    queue: usize,
    open: &impl Fn(usize, bool) -> Result<K>,
) -> Result<Served<K>> {
    let mut sink = open(queue, false)?;
    let mut has_enough = false;
    while let Some(taking) = queues.receive(queue) {
        let Some(load) = taking.load() else { continue };
        if sink.take(load)? == Taken::Enough && !has_enough {
            has_enough = true;
            if !queues.leave(queue) {
                break;
            }
        }
    }
    Ok(vec![(queue, sink.finish()?)])
}

/// Serves whatever queue has something, one at a time, until nothing more comes.
fn serve_all<K: Sink>(
    queues: &Queues,
    open: &impl Fn(usize, bool) -> Result<K>,
) -> Result<Served<K>> {
    let mut served = Vec::new();
    let mut current: Option<(usize, K)> = None;
    loop {
        let at = current.as_ref().map(|(queue, _)| *queue);
        let next = queues.receive_any(at);
        let queue = next.as_ref().map(|next| next.0);
        if let Some((before, sink)) = current.take_if(|(at, _)| Some(*at) != queue) {
            served.push((before, sink.finish()?));
        }
        let Some((queue, has_enough, taking)) = next else {
            return Ok(served);
        };
        let (_, sink) = match &mut current {
            Some(current) => current,
            none => none.insert((queue, open(queue, has_enough)?)),
        };
        if let Some(load) = taking.load()
            && sink.take(load)? == Taken::Enough
        {
            queues.leave(queue);
        }
    }
}

fn no_cause() -> Error {
    Error::internal("something failed, and nothing says why")
}

struct CloseAtEnd<'a>(&'a Queues);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct FailOnPanic<'a>(&'a Queues);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}
