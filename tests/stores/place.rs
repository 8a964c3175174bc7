//! A bucket of a running server, as tests and the program reach it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{Request, Response};
use mcsnap::ports::store::CloudStore;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig};
use tokio::runtime::Runtime;

use crate::proxy::http::forward;
use crate::workdir::Run;

pub(crate) const BUCKET: &str = "snapshots";

/// Where snapshots go, and how.
#[derive(Debug)]
pub(crate) struct Place {
    client: Arc<dyn ObjectStore>,
    /// Such as `s3://snapshots`.
    url: String,
    /// What users set.
    variables: Vec<(&'static str, String)>,
}

impl Place {
    pub(crate) fn new(
        client: impl ObjectStore,
        url: impl Into<String>,
        variables: &[(&'static str, &str)],
    ) -> Self {
        let variables = variables.iter();
        Self {
            client: Arc::new(client),
            url: url.into(),
            variables: variables
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        }
    }

    pub(crate) fn client(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.client)
    }

    /// The URL of something in the bucket.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// The store below a prefix.
    pub(crate) fn store(&self, prefix: &str) -> CloudStore {
        CloudStore::with_client(self.client(), &self.url(prefix)).unwrap()
    }

    /// Gives the program what its users set.
    pub(crate) fn set_up(&self, run: Run) -> Run {
        let variables = self.variables.iter();
        variables.fold(run, |run, (name, value)| run.env(name, value))
    }

    /// All keys below a prefix, and when each was written.
    pub(crate) fn versions(&self, prefix: &str) -> Vec<(String, String)> {
        let prefix = Path::from(prefix);
        let listed = self.client.list(Some(&prefix));
        let found: Vec<_> = Runtime::new()
            .unwrap()
            .block_on(listed.try_collect())
            .unwrap();
        let mut versions: Vec<_> = found
            .into_iter()
            .map(|found| (found.location.to_string(), found.last_modified.to_string()))
            .collect();
        versions.sort();
        versions
    }

    /// Changes one byte of an object.
    pub(crate) fn flip_byte(&self, key: &str, at: usize) {
        let key = Path::from(key);
        Runtime::new().unwrap().block_on(async {
            let found = self.client.get(&key).await.unwrap().bytes().await.unwrap();
            let mut bytes = found.to_vec();
            bytes[at] ^= 1;
            self.client
                .put(&key, PutPayload::from(bytes))
                .await
                .unwrap();
        });
    }
}

/// A server that speaks S3, and who may use it.
#[derive(Clone, Debug)]
pub(crate) struct S3Account {
    /// Such as `http://127.0.0.1:4567`.
    pub(crate) endpoint: String,
    pub(crate) region: &'static str,
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl S3Account {
    /// The same behind another address, such as that of a proxy.
    pub(crate) fn at(&self, endpoint: String) -> Self {
        Self {
            endpoint,
            ..self.clone()
        }
    }

    /// Where it listens, such as `127.0.0.1:4567`.
    pub(crate) fn address(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    pub(crate) fn place(&self, bucket: &str) -> Place {
        self.place_with(bucket, RetryConfig::default())
    }

    /// A place whose client, other than the program's, tries again as told.
    pub(crate) fn place_with(&self, bucket: &str, retry: RetryConfig) -> Place {
        set_ciphers();
        let built = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_bucket_name(bucket)
            .with_region(self.region)
            .with_access_key_id(&self.id)
            .with_secret_access_key(&self.secret)
            .with_retry(retry)
            .build();
        let variables = [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_REGION", self.region),
            ("AWS_ACCESS_KEY_ID", &self.id),
            ("AWS_SECRET_ACCESS_KEY", &self.secret),
        ];
        Place::new(built.unwrap(), format!("s3://{bucket}"), &variables)
    }

    /// Makes a signed request that no client of object_store can, and returns the answer,
    /// which must be a good one.
    pub(crate) fn call(&self, mut request: Request<String>) -> String {
        set_ciphers();
        let uri = format!("{}{}", self.endpoint, request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        let credential = AwsCredential {
            key_id: self.id.clone(),
            secret_key: self.secret.clone(),
            token: None,
        };
        let body = Bytes::from(request.body().clone());
        let mut signed = request.map(HttpRequestBody::from);
        AwsAuthorizer::new(&credential, "s3", self.region)
            .try_authorize(&mut signed, None)
            .unwrap();
        let answer = call(self.address(), signed.map(|_| body));
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(answer.status().is_success(), "{}: {text}", answer.status());
        text
    }

    pub(crate) fn make_bucket(&self, bucket: &str) {
        let request = Request::put(format!("/{bucket}"));
        self.call(request.body(String::new()).unwrap());
    }
}

/// Makes a request as it is.
pub(crate) fn call(address: &str, mut request: Request<Bytes>) -> Response<Bytes> {
    let target = request.uri().path_and_query().unwrap().as_str().parse();
    *request.uri_mut() = target.unwrap();
    let headers = request.headers_mut();
    headers.insert(http::header::HOST, address.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    runtime
        .block_on(forward(address.parse().unwrap(), request))
        .unwrap()
}

/// The program has ciphers for itself.
pub(crate) fn set_ciphers() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
