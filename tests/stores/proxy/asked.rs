//! What a request asks an object store for.

use http::header::{CONTENT_LENGTH, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method};

/// What is asked for, whatever the protocol calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An object, or a range of it.
    Get,
    Head,
    /// An object in one request, without a condition.
    Put,
    /// The same, if no object has the name.
    Create,
    /// The same, if the object is the one that was read.
    Update,
    Copy,
    Remove,
    RemoveMany,
    List,
    BeginUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
    ListUploads,
    Other,
}

/// A request, as far as a rule or a count needs it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) kind: Kind,
    /// The name in the bucket as it stands in the request, so with `%` for what is not
    /// plain; empty for the bucket itself.
    pub(crate) key: String,
    /// The path and what follows it.
    pub(crate) target: String,
    pub(crate) range: Option<String>,
    pub(crate) body_len: u64,
}

impl Asked {
    /// Tells what a request asks for, of S3 or of Google's protocol that is made like it, in
    /// the form with the bucket in the path, or of Azure below an emulator's account.
    pub(crate) fn of(parts: &Parts) -> Self {
        let target = parts.uri.path_and_query().map_or("/", |all| all.as_str());
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let is_azure = parts.headers.contains_key("x-ms-version");
        // The bucket, and with Azure the account before it.
        let skipped = if is_azure { 2 } else { 1 };
        let mut components = path.trim_start_matches('/').splitn(skipped + 1, '/');
        let key = components.nth(skipped).unwrap_or_default().to_owned();
        let query = Query(query);
        let headers = &parts.headers;
        let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let kind = match is_azure {
            true => azure_kind(&parts.method, &query, headers),
            false => s3_kind(&parts.method, &key, &query, headers),
        };
        Self {
            method: parts.method.clone(),
            kind,
            key,
            target: target.to_owned(),
            range: text(RANGE).or_else(|| text("x-ms-range".parse().unwrap())),
            body_len: text(CONTENT_LENGTH)
                .and_then(|length| length.parse().ok())
                .unwrap_or(0),
        }
    }
}

struct Query<'a>(&'a str);

impl Query<'_> {
    fn has(&self, name: &str) -> bool {
        self.0
            .split('&')
            .any(|pair| pair.split_once('=').map_or(pair, |(key, _)| key) == name)
    }

    fn is(&self, wanted: &str) -> bool {
        self.0.split('&').any(|pair| pair == wanted)
    }
}

fn put_kind(headers: &HeaderMap) -> Kind {
    let has = |name: &str| headers.contains_key(name);
    if has("x-amz-copy-source") || has("x-goog-copy-source") || has("x-ms-copy-source") {
        return Kind::Copy;
    }
    let generation = headers.get("x-goog-if-generation-match");
    match generation.map(|generation| generation == "0") {
        Some(true) => Kind::Create,
        Some(false) => Kind::Update,
        None if headers.contains_key(IF_NONE_MATCH) => Kind::Create,
        None if headers.contains_key(IF_MATCH) => Kind::Update,
        None => Kind::Put,
    }
}

fn s3_kind(method: &Method, key: &str, query: &Query<'_>, headers: &HeaderMap) -> Kind {
    let (is_upload, of_bucket) = (query.has("uploadId"), key.is_empty());
    match method.as_str() {
        "GET" if query.has("uploads") => Kind::ListUploads,
        "GET" if of_bucket => Kind::List,
        "GET" => Kind::Get,
        "HEAD" => Kind::Head,
        "PUT" if is_upload => Kind::PutPart,
        "PUT" if !of_bucket => put_kind(headers),
        "POST" if query.has("uploads") => Kind::BeginUpload,
        "POST" if is_upload => Kind::CompleteUpload,
        "POST" if query.has("delete") => Kind::RemoveMany,
        "DELETE" if is_upload => Kind::AbortUpload,
        "DELETE" if !of_bucket => Kind::Remove,
        _ => Kind::Other,
    }
}

fn azure_kind(method: &Method, query: &Query<'_>, headers: &HeaderMap) -> Kind {
    match method.as_str() {
        "GET" if query.is("comp=list") => Kind::List,
        "GET" => Kind::Get,
        "HEAD" => Kind::Head,
        "PUT" if query.is("comp=block") => Kind::PutPart,
        "PUT" if query.is("comp=blocklist") => Kind::CompleteUpload,
        "PUT" => put_kind(headers),
        "POST" if query.is("comp=batch") => Kind::RemoveMany,
        "DELETE" => Kind::Remove,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(method: &str, target: &str, headers: &[(&str, &str)]) -> Asked {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Asked::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_is_told_by_method_query_and_condition() {
        let azure = ("x-ms-version", "2023-11-03");
        for (method, target, headers, kind, key) in [
            ("GET", "/b?list-type=2&prefix=a", &[][..], Kind::List, ""),
            ("GET", "/b/?list-type=2", &[], Kind::List, ""),
            (
                "GET",
                "/b/a/k%20",
                &[("range", "bytes=0-9")],
                Kind::Get,
                "a/k%20",
            ),
            ("HEAD", "/b/k", &[], Kind::Head, "k"),
            ("PUT", "/b/k", &[], Kind::Put, "k"),
            ("PUT", "/b/k", &[("if-none-match", "*")], Kind::Create, "k"),
            ("PUT", "/b/k", &[("if-match", "x")], Kind::Update, "k"),
            (
                "PUT",
                "/b/k",
                &[("x-amz-copy-source", "b/j")],
                Kind::Copy,
                "k",
            ),
            (
                "PUT",
                "/b/k",
                &[("x-goog-if-generation-match", "0")],
                Kind::Create,
                "k",
            ),
            (
                "PUT",
                "/b/k",
                &[("x-goog-if-generation-match", "17")],
                Kind::Update,
                "k",
            ),
            ("POST", "/b/k?uploads=", &[], Kind::BeginUpload, "k"),
            (
                "PUT",
                "/b/k?partNumber=1&uploadId=x",
                &[],
                Kind::PutPart,
                "k",
            ),
            ("POST", "/b/k?uploadId=x", &[], Kind::CompleteUpload, "k"),
            ("DELETE", "/b/k?uploadId=x", &[], Kind::AbortUpload, "k"),
            ("GET", "/b?uploads", &[], Kind::ListUploads, ""),
            ("DELETE", "/b/k", &[], Kind::Remove, "k"),
            ("POST", "/b?delete", &[], Kind::RemoveMany, ""),
            ("PUT", "/b", &[], Kind::Other, ""),
            (
                "PUT",
                "/account/c/k?comp=block&blockid=x",
                &[azure],
                Kind::PutPart,
                "k",
            ),
            (
                "PUT",
                "/account/c/k?comp=blocklist",
                &[azure],
                Kind::CompleteUpload,
                "k",
            ),
            (
                "GET",
                "/account/c?restype=container&comp=list",
                &[azure],
                Kind::List,
                "",
            ),
            (
                "PUT",
                "/account/c/a/k",
                &[azure, ("if-none-match", "*")],
                Kind::Create,
                "a/k",
            ),
        ] {
            let asked = asked(method, target, headers);
            assert_eq!(
                (asked.kind, asked.key.as_str()),
                (kind, key),
                "{method} {target}"
            );
        }
    }
}
