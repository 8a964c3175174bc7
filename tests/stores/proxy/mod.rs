//! A proxy in front of an object store that counts requests, delays them, and does to
//! chosen ones what networks and servers do.
//!
//! ```text
//! let proxy = Proxy::start(server);              // host:port
//! proxy.set_delay(Duration::from_millis(30));    // each request
//! let lost = proxy.add(
//!     Rule::new(Fault::LostReply(500)).on(Kind::Create).key("manifest.json").nth(0..1),
//! );
//! // ... the client's endpoint is proxy.url() ...
//! assert_eq!(lost.count(), 1);
//! assert_eq!(proxy.count(Kind::Create), 2);
//! ```
//!
//! Requests are forwarded with their `Host`, so that signatures stay right.

mod answer;
mod asked;
mod fault;
pub(crate) mod http;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use self::asked::{Asked, Kind};
pub(crate) use self::fault::{Fault, Hits, Rule};
use self::http::HttpServer;
use ::http::Response;
use bytes::Bytes;

/// A running proxy; gone when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    server: HttpServer,
    shared: Arc<Shared>,
}

/// A request that was met, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) asked: Asked,
    pub(crate) fault: Option<Fault>,
    /// What the client was told; `None` so far, or if it was told nothing.
    pub(crate) status: Option<u16>,
    /// Bytes of the answer's body, before a fault did anything to it.
    pub(crate) answer_len: u64,
    /// When it came.
    pub(crate) began: Instant,
    /// When the client was told something.
    pub(crate) ended: Option<Instant>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    delay: Duration,
    rules: Vec<Arc<Rule>>,
    seen: Vec<Seen>,
    /// How many of them are no longer told of. They stay, since an answer that is still to
    /// come finds its request by its number.
    forgotten: usize,
    /// What the server answered last to each request for a list, by method and target.
    lists: BTreeMap<(String, String), Response<Bytes>>,
}

impl Proxy {
    /// Starts a proxy in front of the server at `HOST:PORT`.
    pub(crate) fn start(upstream: &str) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.parse().unwrap(),
            state: Mutex::default(),
        });
        let of_requests = Arc::clone(&shared);
        let server = HttpServer::start(move |request, line| {
            answer::answer(Arc::clone(&of_requests), request, line)
        });
        Self { server, shared }
    }

    /// The endpoint for clients, such as `http://127.0.0.1:4567`.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Delays each request from now on.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Adds a rule. A request meets the first rule that it is due for.
    pub(crate) fn add(&self, rule: Rule) -> Hits {
        let hits = rule.hits();
        self.shared.lock().rules.push(Arc::new(rule));
        hits
    }

    /// Removes all rules; what they hold up stays held up.
    pub(crate) fn clear(&self) {
        self.shared.lock().rules.clear();
    }

    /// Forgets the requests so far, as far as counts go.
    pub(crate) fn forget(&self) {
        let mut state = self.shared.lock();
        state.forgotten = state.seen.len();
    }

    /// The requests so far, in the order they came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let state = self.shared.lock();
        state.seen[state.forgotten..].to_vec()
    }

    /// The requests so far by method and kind.
    pub(crate) fn counts(&self) -> BTreeMap<(String, Kind), u64> {
        let mut counts = BTreeMap::new();
        for Seen { asked, .. } in self.seen() {
            *counts
                .entry((asked.method.to_string(), asked.kind))
                .or_default() += 1;
        }
        counts
    }

    /// The requests so far of one kind.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        let counts = self.counts().into_iter();
        counts
            .filter(|((_, of), _)| *of == kind)
            .map(|(_, count)| count)
            .sum()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a single one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request; returns its number, what happens to it, and how long it waits.
    fn begin(&self, asked: &Asked) -> (usize, Option<Fault>, Duration) {
        let mut state = self.lock();
        let rule = state.rules.iter().find(|rule| rule.takes(asked));
        let fault = rule.map(|rule| rule.fault);
        let number = state.seen.len();
        state.seen.push(Seen {
            asked: asked.clone(),
            fault,
            status: None,
            answer_len: 0,
            began: Instant::now(),
            ended: None,
        });
        (number, fault, state.delay)
    }

    /// Notes what the client is told.
    fn end(&self, number: usize, status: u16, answer_len: u64) {
        let seen = &mut self.lock().seen[number];
        (seen.status, seen.answer_len) = (Some(status), answer_len);
        seen.ended = Some(Instant::now());
    }

    fn keep_list(&self, asked: &Asked, answer: &Response<Bytes>) {
        if asked.kind == Kind::List {
            let place = (asked.method.to_string(), asked.target.clone());
            self.lock().lists.insert(place, answer.clone());
        }
    }

    fn kept_list(&self, asked: &Asked) -> Option<Response<Bytes>> {
        let place = (asked.method.to_string(), asked.target.clone());
        self.lock().lists.get(&place).cloned()
    }
}
