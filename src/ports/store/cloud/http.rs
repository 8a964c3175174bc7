//! Requests over HTTP, each with a deadline. The client beneath has deadlines for whole
//! requests, which end a slow transfer that moves, or none.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use tokio::time::{Instant as Moment, Sleep, sleep_until, timeout};

use crate::ports::store::cloud::listing::{is_listing, without_strange_names};
use crate::ports::store::cloud::trouble::Troubles;
use crate::words::units::to_u64;

/// After this long without an answer, a line says so.
const QUIET: Duration = Duration::from_secs(5);
/// How long a server may say nothing. It doubles with each try that got no answer, up to
/// eight times.
const SILENCE: Duration = Duration::from_secs(12);
/// How long a server may take to put the parts of an object together.
const ASSEMBLY: Duration = Duration::from_secs(120);
/// What is sent goes at this many bytes a second at least, which halves with each try that
/// got no answer.
const UPLOAD_RATE: u64 = 64 << 10;
/// How long a server that has never answered is asked. A wrong address should be told soon,
/// and an outage in the middle of a long job should not end it.
const FIRST_CONTACT: Duration = Duration::from_secs(8);

/// Makes clients whose requests have deadlines.
#[derive(Debug)]
pub(super) struct DeadlineConnector {
    /// The URL of the bucket, for messages.
    pub(super) place: String,
}

impl HttpConnector for DeadlineConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(DeadlineService {
            client,
            place: self.place.clone(),
            troubles: Troubles::default(),
            contact: Contact::default(),
        }))
    }
}

struct DeadlineService {
    client: HttpClient,
    place: String,
    troubles: Troubles,
    contact: Contact,
}

/// Whether the server has ever answered, and since when it has been asked.
struct Contact {
    start: Instant,
    /// Milliseconds from `start` to the first failure, plus one; 0 before that, and
    /// [`ANSWERED`] once there was an answer.
    failed_at: AtomicU64,
}

const ANSWERED: u64 = u64::MAX;

impl Default for Contact {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            failed_at: AtomicU64::new(0),
        }
    }
}

impl Contact {
    fn answered(&self) {
        self.failed_at.store(ANSWERED, Ordering::Relaxed);
    }

    /// Notes a failure without an answer; returns whether it is time to give up.
    fn has_failed(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(ANSWERED - 1);
        let first = self.failed_at.compare_exchange(
            0,
            now.saturating_add(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        let since = match first {
            Ok(_) | Err(ANSWERED) => return false,
            Err(since) => since,
        };
        let limit = u64::try_from(FIRST_CONTACT.as_millis()).unwrap_or(ANSWERED);
        now.saturating_sub(since) >= limit
    }
}

/// Returns how long the answer to a request may take to begin.
fn answer_limit(request: &HttpRequest, silences: u32) -> Duration {
    let is_assembly = request.method().as_str() == "POST"
        || request
            .uri()
            .query()
            .is_some_and(|query| query.contains("comp=blocklist"));
    let base = if is_assembly { ASSEMBLY } else { SILENCE };
    let times = 1_u32 << silences.min(3);
    let sent = to_u64(request.body().content_length()) / UPLOAD_RATE;
    base.saturating_add(Duration::from_secs(sent))
        .saturating_mul(times)
}

/// The error of a server that says nothing.
fn silence_error(limit: Duration) -> HttpError {
    let text = format!("no answer within {} s", limit.as_secs());
    HttpError::new(
        HttpErrorKind::Timeout,
        io::Error::new(io::ErrorKind::TimedOut, text),
    )
}

/// Returns the last cause of an error, which says what happened.
fn last_cause(error: &HttpError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Names what a request is about, without what could be a secret in its query.
fn name(place: &str, request: &HttpRequest) -> String {
    let path = request.uri().path().trim_start_matches('/');
    format!("{place} ({} {path})", request.method())
}

impl DeadlineService {
    async fn ask(
        &self,
        request: HttpRequest,
        object: &str,
        limit: Duration,
    ) -> Result<HttpResponse, HttpError> {
        let mut answer = Box::pin(self.client.execute(request));
        if let Ok(answer) = timeout(QUIET, &mut answer).await {
            return answer;
        }
        if limit <= SILENCE {
            let seconds = QUIET.as_secs();
            tracing::warn!("still trying: {object}: no answer for {seconds} s");
        }
        match timeout(limit.saturating_sub(QUIET), answer).await {
            Ok(answer) => answer,
            Err(_) => Err(silence_error(limit)),
        }
    }

    /// Takes names that the client cannot take out of a page of a listing.
    async fn read_listing(&self, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
        let (head, body) = answer.into_parts();
        let page = body.bytes().await?;
        let body = match without_strange_names(&page) {
            Some((kept, count)) => {
                let place = &self.place;
                tracing::debug!("{place}: {count} names that no snapshot has are left out");
                kept.into()
            }
            None => page.into(),
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

#[async_trait]
impl HttpService for DeadlineService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let object = name(&self.place, &request);
        let limit = answer_limit(&request, self.troubles.silences(&object));
        let is_listing = request.uri().query().is_some_and(is_listing);
        match self.ask(request, &object, limit).await {
            Ok(answer) => {
                self.contact.answered();
                let status = answer.status();
                if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
                    self.troubles.failed(&object, &status.to_string(), false);
                } else {
                    self.troubles.over(&object);
                }
                let answer = answer.map(|inner| {
                    HttpResponseBody::new(DeadlineBody {
                        inner,
                        limit: SILENCE,
                        silence: Box::pin(sleep_until(Moment::now() + SILENCE)),
                    })
                });
                if is_listing && status.is_success() {
                    return self.read_listing(answer).await;
                }
                Ok(answer)
            }
            Err(error) => {
                let is_silence = error.kind() == HttpErrorKind::Timeout;
                let cause = last_cause(&error);
                self.troubles.failed(&object, &cause, is_silence);
                match self.contact.has_failed() {
                    // Not tried again.
                    true => Err(HttpError::new(HttpErrorKind::Unknown, error)),
                    false => Err(error),
                }
            }
        }
    }
}

impl fmt::Debug for DeadlineService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineService")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// The body of an answer, which fails once nothing has come for too long.
struct DeadlineBody {
    inner: HttpResponseBody,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Body for DeadlineBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.silence.as_mut().reset(Moment::now() + this.limit);
            return Poll::Ready(frame);
        }
        match this.silence.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(silence_error(this.limit)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, len: usize) -> HttpRequest {
        let mut request = HttpRequest::new(vec![0; len].into());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = "http://127.0.0.1/bucket/a?sig=SECRET".parse().unwrap();
        request
    }

    #[test]
    fn a_longer_body_may_take_longer_and_silence_makes_patient() {
        assert_eq!(answer_limit(&request("GET", 0), 0), SILENCE);
        assert_eq!(answer_limit(&request("GET", 0), 1), 2 * SILENCE);
        assert_eq!(answer_limit(&request("GET", 0), 99), 8 * SILENCE);
        let part = answer_limit(&request("PUT", 8 << 20), 0);
        assert_eq!(part, SILENCE + Duration::from_secs(128));
        assert_eq!(answer_limit(&request("POST", 0), 0), ASSEMBLY);
    }

    #[test]
    fn a_name_has_nothing_of_a_signature() {
        let name = name("s3://bucket", &request("GET", 0));
        assert_eq!(name, "s3://bucket (GET bucket/a)");
    }

    #[test]
    fn a_server_that_never_answered_is_given_up_and_one_that_did_is_not() {
        let old = |failed_at| Contact {
            start: Instant::now()
                .checked_sub(FIRST_CONTACT + Duration::from_secs(2))
                .unwrap(),
            failed_at: AtomicU64::new(failed_at),
        };
        let contact = old(0);
        assert!(!contact.has_failed());
        let contact = old(1);
        assert!(contact.has_failed());
        contact.answered();
        assert!(!contact.has_failed());
    }
}
