//! A double of Google Cloud Storage: a translation of its protocol to that of S3, in front
//! of moto. It shows that our way through the client's code for Google is right, and says
//! nothing of Google itself.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, HOST, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use object_store::gcp::GoogleCloudStorageBuilder;
use tokio::sync::Mutex;

use crate::moto::Moto;
use crate::place::{BUCKET, Place, S3Account, set_ciphers};
use crate::proxy::http::{Body, HttpServer, forward, whole};

const CONDITION: &str = "x-goog-if-generation-match";
const GENERATION: &str = "x-goog-generation";

/// A running double with one bucket.
#[derive(Debug)]
pub(crate) struct GcsDouble {
    server: HttpServer,
    _moto: Moto,
}

/// The versions of what is stored: Google numbers them, and S3 has ETags.
#[derive(Debug, Default)]
struct Generations {
    last: u64,
    /// By path: the number and the ETag.
    objects: BTreeMap<String, (u64, HeaderValue)>,
}

#[derive(Debug)]
struct Double {
    account: S3Account,
    upstream: SocketAddr,
    generations: Mutex<Generations>,
}

impl GcsDouble {
    pub(crate) fn start() -> Self {
        set_ciphers();
        let moto = Moto::start();
        let account = moto.account().clone();
        let double = Arc::new(Double {
            upstream: account.address().parse().unwrap(),
            account,
            generations: Mutex::default(),
        });
        let server = HttpServer::start(move |request, _| {
            let double = Arc::clone(&double);
            async move { double.answer(request).await }
        });
        Self {
            server,
            _moto: moto,
        }
    }

    pub(crate) fn place(&self) -> Place {
        let url = self.server.url();
        // A key without a secret, by which the client asks no one for a token.
        let key = serde_json::json!({
            "gcs_base_url": url,
            "disable_oauth": true,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        });
        let key = key.to_string();
        let client = GoogleCloudStorageBuilder::new()
            .with_service_account_key(&key)
            .with_bucket_name(BUCKET)
            .build();
        let variables = [("GOOGLE_SERVICE_ACCOUNT_KEY", key.as_str())];
        Place::new(client.unwrap(), format!("gs://{BUCKET}"), &variables)
    }
}

impl Double {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut request = Request::from_parts(parts, bytes);
        let path = request.uri().path().to_owned();
        let is_upload = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("uploadId"));
        // What makes or removes an object; a part of one does not.
        let changes = match *request.method() {
            Method::PUT => !is_upload,
            Method::POST => is_upload,
            Method::DELETE => !is_upload,
            _ => false,
        };
        let is_removal = request.method() == Method::DELETE;
        // Held over the change, so that numbers and ETags belong together.
        let mut generations = match changes {
            true => Some(self.generations.lock().await),
            false => None,
        };
        let condition = request.headers_mut().remove(CONDITION);
        rename(request.headers_mut(), "x-goog-", "x-amz-");
        if let Some(condition) = condition {
            let known = generations
                .as_deref()
                .and_then(|all| all.objects.get(&path));
            match (condition.to_str(), known) {
                (Ok("0"), _) => {
                    let any = HeaderValue::from_static("*");
                    request.headers_mut().insert(IF_NONE_MATCH, any);
                }
                (Ok(wanted), Some((number, etag))) if wanted == number.to_string() => {
                    request.headers_mut().insert(IF_MATCH, etag.clone());
                }
                _ => return Ok(failed_condition()),
            }
        }
        let answer = forward(self.upstream, self.signed(request)?).await?;
        let (mut parts, body) = answer.into_parts();
        rename(&mut parts.headers, "x-amz-", "x-goog-");
        if parts.status.is_success() && !path.trim_start_matches('/').is_empty() {
            let etag = parts.headers.get(ETAG).cloned().or_else(|| etag_in(&body));
            let mut held = match generations.take() {
                Some(held) => held,
                None => self.generations.lock().await,
            };
            if changes && is_removal {
                held.objects.remove(&path);
            } else if let Some(etag) = etag.filter(|_| changes) {
                held.last += 1;
                let number = held.last;
                held.objects.insert(path.clone(), (number, etag));
            }
            if let Some((number, _)) = held.objects.get(&path) {
                parts.headers.insert(GENERATION, (*number).into());
            }
        }
        Ok(Response::from_parts(parts, whole(body)))
    }

    /// Signs a request for the server behind.
    fn signed(&self, mut request: Request<Bytes>) -> io::Result<Request<Bytes>> {
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        headers.remove(HOST);
        let target = request.uri().clone();
        let url = format!("{}{target}", self.account.endpoint);
        *request.uri_mut() = url.parse().map_err(io::Error::other)?;
        let bytes = request.body().clone();
        let mut request = request.map(HttpRequestBody::from);
        let credential = AwsCredential {
            key_id: self.account.id.clone(),
            secret_key: self.account.secret.clone(),
            token: None,
        };
        AwsAuthorizer::new(&credential, "s3", self.account.region)
            .try_authorize(&mut request, None)
            .map_err(io::Error::other)?;
        *request.uri_mut() = target;
        let host = self.account.address().parse().map_err(io::Error::other)?;
        request.headers_mut().insert(HOST, host);
        Ok(request.map(|_| bytes))
    }
}

fn failed_condition() -> Response<Body> {
    let text = "<Error><Code>PreconditionFailed</Code></Error>";
    let mut answer = Response::new(whole(text.into()));
    *answer.status_mut() = StatusCode::PRECONDITION_FAILED;
    answer
}

/// Gives headers another prefix.
fn rename(headers: &mut HeaderMap, from: &str, to: &str) {
    let named = headers.keys().filter_map(|name| {
        let rest = name.as_str().strip_prefix(from)?;
        Some((name.clone(), format!("{to}{rest}")))
    });
    let named: Vec<(HeaderName, String)> = named.collect();
    for (old, new) in named {
        if let Some(value) = headers.remove(&old) {
            headers.insert(HeaderName::try_from(new).unwrap(), value);
        }
    }
}

/// The ETag in the answer to the end of an upload.
fn etag_in(body: &Bytes) -> Option<HeaderValue> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<ETag>")?;
    let (etag, _) = rest.split_once("</ETag>")?;
    etag.replace("&quot;", "\"").parse().ok()
}
