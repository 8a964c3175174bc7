//! HTTP/1.1 on loopback: a server that is one function, and a client that hands a request
//! on. Bodies are held whole: those of object stores are parts and ranges of some MiB.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// The body of an answer; its error breaks the connection off.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// What a connection holds on the way here. A client whose bytes are taken slowly must
/// not get rid of a whole part at once.
const RECEIVE_BUFFER: usize = 256 << 10;

/// A server on a free port of loopback, gone when dropped.
#[derive(Debug)]
pub(crate) struct HttpServer {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// Starts a server that answers each request with what the function makes of it. An
    /// error closes the connection without an answer.
    pub(crate) fn start<A, F>(answer: A) -> Self
    where
        A: Fn(Request<Incoming>, Line) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = io::Result<Response<Body>>> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http")
            .enable_all()
            .build()
            .unwrap();
        let listener = listen().unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                // A client that is gone before it was taken is no reason to end.
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, answer.clone()));
                }
            }
        });
        Self {
            address,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Requests that hang are dropped with all others.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn listen() -> io::Result<StdListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn serve<A, F>(stream: TcpStream, answer: A) -> io::Result<()>
where
    A: Fn(Request<Incoming>, Line) -> F,
    F: Future<Output = io::Result<Response<Body>>>,
{
    let stream = stream.into_std()?;
    stream.set_nodelay(true)?;
    let line = Line(Arc::new(stream.try_clone()?));
    let stream = TokioIo::new(TcpStream::from_std(stream)?);
    let service = service_fn(move |request| answer(request, line.clone()));
    hyper::server::conn::http1::Builder::new()
        .serve_connection(stream, service)
        .await
        .map_err(io::Error::other)
}

/// The connection of a client.
#[derive(Clone, Debug)]
pub(crate) struct Line(Arc<StdStream>);

impl Line {
    /// Makes the end of the connection a reset, and ends it.
    pub(crate) fn reset<T>(&self) -> io::Result<T> {
        SockRef::from(&*self.0).set_linger(Some(Duration::ZERO))?;
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

/// Hands a request on, on a connection of its own, and returns the whole answer.
pub(crate) async fn forward(
    to: SocketAddr,
    mut request: Request<Bytes>,
) -> io::Result<Response<Bytes>> {
    drop_hops(request.headers_mut());
    let is_head = request.method() == Method::HEAD;
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
    let driven = tokio::spawn(connection);
    let answer = sender.send_request(request.map(Full::new)).await;
    let (mut parts, body) = answer.map_err(io::Error::other)?.into_parts();
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    driven.abort();
    drop_hops(&mut parts.headers);
    if !is_head && parts.status != StatusCode::NO_CONTENT {
        parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
    }
    Ok(Response::from_parts(parts, bytes))
}

/// Removes what speaks of one connection alone.
fn drop_hops(headers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
    ] {
        headers.remove(name);
    }
}

/// Makes a body of bytes.
pub(crate) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
