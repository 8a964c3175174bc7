//! Answers one request, as the rules want it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::asked::Asked;
use super::fault::Fault;
use super::http::{Body, Line, forward, whole};

/// A body that moves slowly moves so often.
const STEPS_PER_SECOND: u32 = 20;

pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    line: Line,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts);
    let (number, fault, delay) = shared.begin(&asked);
    let body = match fault {
        Some(Fault::Trickle(rate)) => take_slowly(body, rate).await?,
        _ => body.collect().await.map_err(io::Error::other)?.to_bytes(),
    };
    sleep(delay).await;
    match fault {
        Some(Fault::Delay(more)) => sleep(more).await,
        Some(Fault::ResetBefore) => return line.reset(),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status)) => {
            shared.end(number, status, 0);
            return Ok(made(&asked, status));
        }
        _ => {}
    }
    let stale = match fault {
        Some(Fault::StaleList) => shared.kept_list(&asked),
        _ => None,
    };
    let answer = match stale {
        Some(answer) => answer,
        None => {
            let answer = forward(shared.upstream, Request::from_parts(parts, body)).await?;
            shared.keep_list(&asked, &answer);
            answer
        }
    };
    let (parts, body) = answer.into_parts();
    let told = match fault {
        Some(Fault::ResetAfter) => return line.reset(),
        Some(Fault::LostReply(status)) => {
            shared.end(number, status, 0);
            return Ok(made(&asked, status));
        }
        Some(Fault::CutBody) => cut(&body),
        Some(Fault::FlipByte) => whole(flipped(&body)),
        Some(Fault::Trickle(rate)) => slow(body.clone(), rate),
        _ => whole(body.clone()),
    };
    let len = u64::try_from(body.len()).unwrap();
    shared.end(number, parts.status.as_u16(), len);
    Ok(Response::from_parts(parts, told))
}

/// Makes an answer that no server gave, in the words of S3.
fn made(asked: &Asked, status: u16) -> Response<Body> {
    let code = match status {
        403 => "AccessDenied",
        404 => "NoSuchKey",
        409 => "OperationAborted",
        412 => "PreconditionFailed",
        503 => "SlowDown",
        _ => "InternalError",
    };
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let mut answer = Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(CONTENT_TYPE, "application/xml");
    // An answer to HEAD tells a length and has no body.
    if asked.method == Method::HEAD {
        answer = answer.header(CONTENT_LENGTH, text.len());
        return answer.body(whole(Bytes::new())).unwrap();
    }
    answer.body(whole(text.into())).unwrap()
}

fn flipped(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

/// The first half, and then an error, by which the connection ends.
fn cut(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let states = stream::unfold(Some(Some(half)), |state| async move {
        match state? {
            Some(half) => Some((Ok(Frame::data(half)), Some(None))),
            None => {
                // So that what came before is on its way.
                sleep(Duration::from_millis(10)).await;
                let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                Some((Err(cut), None))
            }
        }
    });
    BodyExt::boxed(StreamBody::new(states))
}

fn step_len(rate: u64) -> usize {
    usize::try_from((rate / u64::from(STEPS_PER_SECOND)).max(1)).unwrap()
}

fn slow(body: Bytes, rate: u64) -> Body {
    let pause = Duration::from_secs(1) / STEPS_PER_SECOND;
    let steps = stream::unfold((body, Instant::now()), move |(mut rest, due)| async move {
        if rest.is_empty() {
            return None;
        }
        sleep_until(due).await;
        let step = rest.split_to(step_len(rate).min(rest.len()));
        Some((Ok(Frame::data(step)), (rest, due + pause)))
    });
    BodyExt::boxed(StreamBody::new(steps))
}

/// Takes a body no faster than this; the sender waits for room in the connection.
async fn take_slowly(mut body: Incoming, rate: u64) -> io::Result<Bytes> {
    let (start, mut bytes) = (Instant::now(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        let taken = u64::try_from(bytes.len()).unwrap();
        let micros = taken.saturating_mul(1_000_000) / rate.max(1);
        sleep_until(start + Duration::from_micros(micros)).await;
    }
    Ok(bytes.into())
}
