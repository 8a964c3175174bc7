//! What a proxy can do to a request, and to which.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::asked::{Asked, Kind};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered with this status, such as 403, 404, 500 or 503, and never reaches the
    /// server.
    Status(u16),
    /// The server does it; its answer is lost, and this status comes instead.
    LostReply(u16),
    /// The connection is reset, and the server never sees the request.
    ResetBefore,
    /// The server does it, and the connection is reset without an answer.
    ResetAfter,
    /// Half of the answer's body comes, then the connection ends.
    CutBody,
    /// One bit in the middle of the answer's body is another one.
    FlipByte,
    /// The request is taken, and nothing is said until the client goes away.
    Hang,
    /// Bodies, the request's and the answer's, move at this many bytes a second.
    Trickle(u64),
    /// A request for a list is answered as the same one was the last time that it was
    /// forwarded. It is forwarded if there was none.
    StaleList,
    /// It waits before it is forwarded.
    Delay(Duration),
}

type Predicate = dyn Fn(&Asked) -> bool + Send + Sync;

/// A fault, and the requests that meet it: all, unless told otherwise.
pub(crate) struct Rule {
    pub(super) fault: Fault,
    predicates: Vec<Box<Predicate>>,
    /// Which of the requests that the predicates choose, from 0 on.
    due: Range<u64>,
    chosen: AtomicU64,
    hits: Arc<AtomicU64>,
}

impl Rule {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            fault,
            predicates: Vec::new(),
            due: 0..u64::MAX,
            chosen: AtomicU64::new(0),
            hits: Arc::default(),
        }
    }

    /// Only requests of this kind.
    pub(crate) fn on(self, kind: Kind) -> Self {
        self.when(move |asked| asked.kind == kind)
    }

    /// Only requests by this method, such as `PUT`.
    pub(crate) fn method(self, method: &'static str) -> Self {
        self.when(move |asked| asked.method == method)
    }

    /// Only requests for a key with this in it.
    pub(crate) fn key(self, part: impl Into<String>) -> Self {
        let part = part.into();
        self.when(move |asked| asked.key.contains(&part))
    }

    /// Only requests that the function chooses.
    pub(crate) fn when(mut self, chooses: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Box::new(chooses));
        self
    }

    /// Only these of the requests that are chosen otherwise: `0..1` is the first, `2..5` is
    /// the third to the fifth.
    pub(crate) fn nth(mut self, due: Range<u64>) -> Self {
        self.due = due;
        self
    }

    pub(super) fn hits(&self) -> Hits {
        Hits(Arc::clone(&self.hits))
    }

    /// Counts the request if it is one of those chosen, and reports whether it is due.
    pub(super) fn takes(&self, asked: &Asked) -> bool {
        if !self.predicates.iter().all(|chooses| chooses(asked)) {
            return false;
        }
        let number = self.chosen.fetch_add(1, Ordering::SeqCst);
        let is_due = self.due.contains(&number);
        self.hits.fetch_add(u64::from(is_due), Ordering::SeqCst);
        is_due
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("fault", &self.fault)
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

/// How many requests have met a rule.
#[derive(Clone, Debug)]
pub(crate) struct Hits(Arc<AtomicU64>);

impl Hits {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
