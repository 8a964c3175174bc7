//! Waits for a node that does not answer yet: its first questions are repeated, with
//! growing pauses, until it answers or the time is over.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};

use crate::ports::host;
use crate::ports::net::options::NetOptions;
use crate::ports::net::waiting::CANCEL_INTERVAL;
use crate::ports::threads::side_by_side;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::node::NodeSpec;
use crate::words::progress::{Event, Progress};

/// The first pause, without the random part.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause. The random part may double it.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Asks a node something for the first time. If the node refuses, hangs up, is silent or
/// has no free connection, or its name cannot be resolved right now, it is asked again
/// until [`NetOptions::wait_for_node`] is over, and the user is told of that at once.
/// Errors that do not pass by themselves, such as a missing password, are returned at
/// once.
///
/// The pauses grow and have a random part, so that many jobs do not come back to a server
/// at the same moment.
///
/// # Errors
///
/// - The last error of `ask`.
/// - `Canceled`, within a tenth of a second.
pub fn ask_patiently<T>(
    node: &NodeSpec,
    options: &NetOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let limit = options.wait_for_node;
    let started = Instant::now();
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_jitter()
        .without_max_times()
        .build();
    let mut has_told = false;
    loop {
        let error = match ask() {
            Err(error) if may_pass(&error) && !limit.is_zero() => error,
            answer => return answer,
        };
        cancel.check()?;
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(error.tried_for(limit));
        }
        if !has_told {
            has_told = true;
            let reason = error.to_reason();
            tracing::warn!("waiting up to {limit:?} for {}: {reason}", node.address());
            progress.event(Event::NodeAwaited {
                node: node.address(),
                reason,
                limit,
            });
        }
        pause_for(pauses.next().unwrap_or(PAUSE_MAX).min(left), cancel)?;
    }
}

/// Asks many nodes something for the first time, each as [`ask_patiently`] does, and as
/// many side by side as the file descriptor limit allows. With `are_all_needed`, the first
/// node that fails ends the waiting for the others, and the cancel flag given to `ask` is
/// raised.
///
/// # Errors
///
/// - With `are_all_needed`, the error of the first node in order that failed by itself.
/// - `Canceled`, within a tenth of a second.
pub fn ask_all<'a, T: Send>(
    nodes: impl IntoIterator<Item = &'a NodeSpec>,
    are_all_needed: bool,
    options: &NetOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
    ask: impl Fn(&NodeSpec, &Cancel) -> Result<T> + Sync,
) -> Result<Vec<Result<T>>> {
    let stop = cancel.child();
    let ask_one = |node: &NodeSpec| {
        let answer = ask_patiently(node, options, &stop, progress, || ask(node, &stop));
        if answer.is_err() && are_all_needed {
            stop.cancel();
        }
        answer
    };
    let nodes = nodes.into_iter().collect();
    let answers = side_by_side("ask", nodes, host::open_files_max() / 4, &stop, ask_one)?;
    cancel.check()?;
    if !are_all_needed {
        return Ok(answers);
    }
    let (failed, answers): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_err);
    let errors = failed.into_iter().filter_map(Result::err);
    Error::first_cause(errors).map_or(Ok(answers), Err)
}

/// Returns whether the same question may succeed a little later.
fn may_pass(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    let is_for_good = cause.is_some_and(|cause: &io::Error| {
        matches!(
            cause.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
        )
    });
    // Waiting for another dump's crawl is handled elsewhere.
    error.is_retryable() && *error.kind() != ErrorKind::Busy && !is_for_good
}

/// Waits, but stops as soon as the cancel flag is raised.
///
/// # Errors
///
/// - `Canceled`.
pub fn pause_for(length: Duration, cancel: &Cancel) -> Result<()> {
    let started = Instant::now();
    loop {
        cancel.check()?;
        let left = length.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(CANCEL_INTERVAL));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::words::access::AccessProblem;
    use crate::words::error::Operation;

    #[derive(Default)]
    struct Told(Mutex<Vec<Event>>);

    impl Progress for Told {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    fn options(limit: Duration) -> NetOptions {
        NetOptions {
            wait_for_node: limit,
            ..NetOptions::default()
        }
    }

    fn refused() -> Error {
        let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
        Error::net(Operation::Connect, "a:1", cause)
    }

    /// Asks a node that fails with these errors and then answers.
    fn ask(limit: Duration, errors: Vec<Error>) -> (Result<()>, usize, Vec<Event>) {
        let told = Told::default();
        let mut errors = errors.into_iter();
        let mut count = 0;
        let answer = ask_patiently(
            &"a:1".parse().unwrap(),
            &options(limit),
            &Cancel::new(),
            &told,
            || {
                count += 1;
                errors.next().map_or(Ok(()), Err)
            },
        );
        (answer, count, told.0.into_inner().unwrap())
    }

    #[test]
    fn what_may_pass_is_waited_for_and_told_once() {
        let errors = vec![
            refused(),
            Error::new(ErrorKind::TooManyConnections),
            Error::new(ErrorKind::Closed),
        ];
        let hour = Duration::from_secs(3600);
        let (answer, count, told) = ask(hour, errors);
        assert!(answer.is_ok());
        assert_eq!(count, 4);
        let wanted = Event::NodeAwaited {
            node: "a:1".to_owned(),
            reason: "cannot connect: connection refused".to_owned(),
            limit: hour,
        };
        assert_eq!(told, [wanted]);
    }

    #[test]
    fn what_does_not_pass_is_told_at_once() {
        let hour = Duration::from_secs(3600);
        let forbidden = io::Error::from(io::ErrorKind::PermissionDenied);
        for error in [
            Error::invalid_input("node", "", "wanted one"),
            Error::access(AccessProblem::AuthenticationWanted),
            Error::new(ErrorKind::Busy),
            Error::net(Operation::Connect, "a:1", forbidden),
        ] {
            let (answer, count, told) = ask(hour, vec![error]);
            assert!(answer.is_err());
            assert_eq!((count, told.len()), (1, 0));
        }
        // Without a time limit there is no waiting.
        let (answer, count, told) = ask(Duration::ZERO, vec![refused()]);
        let text = answer.unwrap_err().to_chain();
        assert_eq!(text, "a:1: cannot connect: connection refused");
        assert_eq!((count, told.len()), (1, 0));
    }

    #[test]
    fn the_time_is_bounded_and_told_in_the_error() {
        let limit = Duration::from_millis(250);
        let errors = (0..1000).map(|_| refused()).collect();
        let (answer, count, _) = ask(limit, errors);
        let text = answer.unwrap_err().to_chain();
        let wanted = "a:1: cannot connect (tried for 250ms): connection refused";
        assert_eq!(text, wanted);
        assert!((2..=4).contains(&count), "{count}");
    }

    #[test]
    fn a_job_that_is_stopped_does_not_wait() {
        let cancel = Cancel::new();
        let node: NodeSpec = "a:1".parse().unwrap();
        let day = options(Duration::from_secs(86_400));
        let told = Told::default();
        let answer: Result<()> = ask_patiently(&node, &day, &cancel, &told, || {
            cancel.cancel();
            Err(refused())
        });
        assert!(answer.unwrap_err().is_canceled());
    }

    #[test]
    fn a_node_that_fails_for_good_ends_the_waiting_for_the_others() {
        let nodes: Vec<NodeSpec> = ["a:1", "b:1", "c:1"]
            .map(|node| node.parse().unwrap())
            .into();
        let wants_tls = || Error::new(ErrorKind::Access(AccessProblem::TlsWanted));
        let ask = |node: &NodeSpec, _: &Cancel| match node.host.as_str() {
            "a" => Err(refused()),
            "b" => Err(wants_tls()),
            _ => Ok(()),
        };
        let ask_them = |are_all_needed, limit| {
            let (options, cancel) = (options(limit), Cancel::new());
            ask_all(
                &nodes,
                are_all_needed,
                &options,
                &cancel,
                &Told::default(),
                ask,
            )
        };
        // Giving up the first node would take an hour.
        let error = ask_them(true, Duration::from_secs(3600)).unwrap_err();
        assert_eq!(error.kind(), wants_tls().kind());
        let answers = ask_them(false, Duration::ZERO).unwrap();
        assert_eq!(
            answers.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [false, false, true]
        );
    }
}
