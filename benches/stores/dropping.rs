//! A server that speaks as much S3 as a dump needs, and keeps of what comes in parts nothing
//! but lengths: so an object can be longer than any disk of a test. Of such an object it
//! hands out zeros. What comes in one request is kept.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, LAST_MODIFIED};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use regex::Regex;

use crate::place::S3Account;
use crate::proxy::http::{Body, HttpServer, whole};
use crate::proxy::{Asked, Kind};

/// Every object's; nobody asks when one was made.
const MODIFIED: &str = "Tue, 01 Dec 2026 00:00:00 GMT";
const MODIFIED_IN_LISTS: &str = "2026-12-01T00:00:00.000Z";

/// A running server; gone when dropped.
#[derive(Debug)]
pub(crate) struct Dropping {
    server: HttpServer,
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// The lengths of parts, by upload and number.
    uploads: BTreeMap<String, BTreeMap<u32, u64>>,
    /// Uploads and objects are numbered alike.
    count: u64,
    longest: Longest,
}

#[derive(Debug)]
struct Object {
    len: u64,
    /// `None` if it came in parts.
    bytes: Option<Bytes>,
    tag: String,
}

/// The object of the most parts so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest {
    pub(crate) parts: usize,
    pub(crate) part_len_max: u64,
    pub(crate) len: u64,
}

impl Dropping {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Mutex::new(State::default()));
        let of_requests = Arc::clone(&shared);
        let server = HttpServer::start(move |request, _| answer(Arc::clone(&of_requests), request));
        Self { server, shared }
    }

    /// Where it is. It looks at no signature.
    pub(crate) fn account(&self) -> S3Account {
        S3Account {
            endpoint: self.server.url(),
            region: "us-east-1",
            id: "anyone".to_owned(),
            secret: "anything".to_owned(),
        }
    }

    /// Returns the object of the most parts, and forgets all.
    pub(crate) fn take_longest(&self) -> Longest {
        std::mem::take(&mut *lock(&self.shared)).longest
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    shared: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts);
    let (bytes, len) = match asked.kind {
        Kind::PutPart => (Bytes::new(), drain(body).await?),
        _ => {
            let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
            (bytes, 0)
        }
    };
    let mut state = lock(&shared);
    Ok(match asked.kind {
        Kind::Put | Kind::Create | Kind::Update => state.put(&asked, &parts.headers, bytes),
        Kind::Get | Kind::Head => state.get(&asked),
        Kind::List => state.list(&parts),
        Kind::PutPart => state.put_part(&parts, len),
        Kind::BeginUpload => state.begin(&asked),
        Kind::CompleteUpload => state.complete(&asked, &parts),
        Kind::AbortUpload => {
            state.uploads.remove(&query(&parts, "uploadId"));
            empty(StatusCode::NO_CONTENT)
        }
        Kind::Remove => {
            state.objects.remove(&asked.key);
            empty(StatusCode::NO_CONTENT)
        }
        Kind::RemoveMany => state.remove_many(&bytes),
        Kind::Copy | Kind::ListUploads | Kind::Other => empty(StatusCode::NOT_IMPLEMENTED),
    })
}

/// Counts a body's bytes as they come.
async fn drain(mut body: Incoming) -> io::Result<u64> {
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        len += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(len)
}

impl State {
    fn next(&mut self) -> String {
        self.count += 1;
        format!("{:032x}", self.count)
    }

    fn put(&mut self, asked: &Asked, headers: &HeaderMap, bytes: Bytes) -> Response<Body> {
        let found = self.objects.get(&asked.key);
        let is_met = match asked.kind {
            Kind::Create => found.is_none(),
            Kind::Update => found.is_some_and(|found| {
                let wanted = headers.get(IF_MATCH).map(|tag| tag.to_str().unwrap());
                wanted.map(|tag| tag.trim_matches('"')) == Some(&found.tag)
            }),
            _ => true,
        };
        if !is_met {
            return refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let (tag, len) = (self.next(), bytes.len() as u64);
        let told = tagged(&tag).body(whole(Bytes::new())).unwrap();
        let bytes = Some(bytes);
        self.objects
            .insert(asked.key.clone(), Object { len, bytes, tag });
        told
    }

    fn get(&self, asked: &Asked) -> Response<Body> {
        let Some(object) = self.objects.get(&asked.key) else {
            return refused(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let told = tagged(&object.tag).header(LAST_MODIFIED, MODIFIED);
        if asked.method == Method::HEAD {
            let told = told.header(CONTENT_LENGTH, object.len);
            return told.body(whole(Bytes::new())).unwrap();
        }
        let range = asked.range.as_deref().map(|range| {
            let (start, end) = range
                .strip_prefix("bytes=")
                .unwrap()
                .split_once('-')
                .unwrap();
            let (start, last): (u64, u64) = (start.parse().unwrap(), end.parse().unwrap());
            start..object.len.min(last + 1)
        });
        let told = match &range {
            Some(range) if range.is_empty() => {
                return refused(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
            }
            Some(range) => {
                let text = format!("bytes {}-{}/{}", range.start, range.end - 1, object.len);
                told.status(StatusCode::PARTIAL_CONTENT)
                    .header(CONTENT_RANGE, text)
            }
            None => told,
        };
        let range = range.unwrap_or(0..object.len);
        let (start, end) = (range.start as usize, range.end as usize);
        let body = match &object.bytes {
            Some(bytes) => bytes.slice(start..end),
            None => vec![0; end - start].into(),
        };
        told.body(whole(body)).unwrap()
    }

    fn list(&self, parts: &Parts) -> Response<Body> {
        let prefix = query(parts, "prefix").replace("%2F", "/");
        let found = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix));
        let found: String = found
            .map(|(key, Object { len, tag, .. })| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>{MODIFIED_IN_LISTS}</LastModified>\
                     <ETag>&quot;{tag}&quot;</ETag><Size>{len}</Size></Contents>"
                )
            })
            .collect();
        xml(&format!(
            "<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        ))
    }

    fn begin(&mut self, asked: &Asked) -> Response<Body> {
        let (id, key) = (self.next(), &asked.key);
        self.uploads.insert(id.clone(), BTreeMap::new());
        xml(&format!(
            "<InitiateMultipartUploadResult><Bucket>any</Bucket><Key>{key}</Key>\
             <UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, parts: &Parts, len: u64) -> Response<Body> {
        let (upload, number) = (query(parts, "uploadId"), query(parts, "partNumber"));
        let tag = self.next();
        let Some(lens) = self.uploads.get_mut(&upload) else {
            return refused(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        lens.insert(number.parse().unwrap(), len);
        tagged(&tag).body(whole(Bytes::new())).unwrap()
    }

    fn complete(&mut self, asked: &Asked, parts: &Parts) -> Response<Body> {
        let Some(lens) = self.uploads.remove(&query(parts, "uploadId")) else {
            return refused(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let (tag, len) = (self.next(), lens.values().sum());
        if lens.len() > self.longest.parts {
            self.longest = Longest {
                parts: lens.len(),
                part_len_max: lens.values().copied().max().unwrap_or(0),
                len,
            };
        }
        let key = &asked.key;
        let told = xml(&format!(
            "<CompleteMultipartUploadResult><Bucket>any</Bucket><Key>{key}</Key>\
             <ETag>&quot;{tag}&quot;</ETag></CompleteMultipartUploadResult>"
        ));
        let bytes = None;
        self.objects
            .insert(asked.key.clone(), Object { len, bytes, tag });
        told
    }

    fn remove_many(&mut self, bytes: &[u8]) -> Response<Body> {
        let text = String::from_utf8_lossy(bytes);
        let key = Regex::new("<Key>([^<]*)</Key>").unwrap();
        let mut told = String::new();
        for found in key.captures_iter(&text) {
            self.objects.remove(&found[1]);
            told += &format!("<Deleted><Key>{}</Key></Deleted>", &found[1]);
        }
        xml(&format!("<DeleteResult>{told}</DeleteResult>"))
    }
}

/// What a query says of a name; empty if it says nothing.
fn query(parts: &Parts, name: &str) -> String {
    let pairs = parts.uri.query().unwrap_or_default().split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs
        .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
        .unwrap_or_default()
}

fn tagged(tag: &str) -> http::response::Builder {
    Response::builder().header(ETAG, format!("\"{tag}\""))
}

fn empty(status: StatusCode) -> Response<Body> {
    let told = Response::builder().status(status);
    told.body(whole(Bytes::new())).unwrap()
}

fn xml(text: &str) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}");
    Response::new(whole(text.into()))
}

fn refused(status: StatusCode, code: &str) -> Response<Body> {
    let mut told = xml(&format!("<Error><Code>{code}</Code></Error>"));
    *told.status_mut() = status;
    told
}
