//! Serves the metrics while the job runs. Whoever asks costs the job little, however
//! slowly, often or wrongly.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::TEXT_FORMAT;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The most connections at a time; others wait in the system's queue.
const CONNECTIONS_MAX: usize = 16;

/// How long one may take from its first byte to its last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);

/// After each connection the next is not looked at for so long: at most 50 a second.
const PAUSE: Duration = Duration::from_millis(20);

/// After a connection that could not be had, as where descriptors are few.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The most bytes of a request's head; hyper takes no smaller bound.
const REQUEST_LEN_MAX: usize = 8 << 10;

/// Makes the page anew for each who asks.
type Page = dyn Fn() -> Result<String, prometheus::Error> + Send + Sync;

/// Answers requests on a thread of its own until the program ends.
///
/// # Errors
///
/// - The system gives no thread, or nothing to wait for connections by.
pub(super) fn serve(
    listener: TcpListener,
    page: impl Fn() -> Result<String, prometheus::Error> + Send + Sync + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let page: Arc<Page> = Arc::new(page);
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || runtime.block_on(accept(listener, page)))?;
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, page: Arc<Page>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // It is never closed.
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    let _place = place;
                    // Who is too slow finds the connection closed.
                    let _ = timeout(CONNECTION_LIMIT, answer(stream, page)).await;
                });
                sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::debug!("metrics: no connection: {error}");
                sleep(FAILURE_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, page: Arc<Page>) {
    let service = service_fn(|request| {
        let response = respond(&request, &*page);
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .keep_alive(false)
        .max_buf_size(REQUEST_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!("metrics: a connection broke: {error}");
    }
}

fn respond(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let (status, kind, text) = match (request.uri().path(), is_read) {
        ("/metrics", true) => match page() {
            Ok(text) => (StatusCode::OK, TEXT_FORMAT, text),
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                PLAIN,
                format!("{error}\n"),
            ),
        },
        ("/metrics", false) => (
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "wanted GET\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            PLAIN,
            "mcsnap: the metrics of this run are at /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
