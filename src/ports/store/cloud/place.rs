//! URLs of object stores: which store, which bucket, which prefix.

use url::Url;

use crate::words::error::{Error, Result};

/// The kind of an object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Amazon S3, and whatever speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

/// A place in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloudPlace {
    pub(super) kind: Kind,
    /// The bucket, or with Azure the container.
    pub(super) bucket: String,
    /// The components below it, with `/` between them; empty for the bucket itself.
    pub(super) prefix: String,
}

const WANTED: &str = "wanted a directory, or a URL such as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, \
                      az://CONTAINER/PREFIX or file:///DIRECTORY";

impl CloudPlace {
    /// Parses a place; `None` if it is not in an object store.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: a URL of an unknown scheme, or one with a secret or a query, which
    ///   is not repeated.
    pub(crate) fn parse(place: &str) -> Result<Option<Self>> {
        let Some((scheme, _)) = place.split_once("://") else {
            return Ok(None);
        };
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "file" => return Ok(None),
            "s3" | "s3a" => Kind::S3,
            "gs" => Kind::Google,
            "az" | "azure" => Kind::Azure,
            _ => return Err(Error::invalid_input("place", shown(place), WANTED)),
        };
        let refused = |why: &str| Err(Error::invalid_input("place", shown(place), why));
        let Ok(url) = Url::parse(place) else {
            return refused(WANTED);
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refused(
                "there is a user name or password in it; credentials come from the environment, \
                 such as AWS_ACCESS_KEY_ID, and never stand in a URL",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refused(
                "there is a ? or # in it: a signed URL is one of a single object; pass the bucket and \
                 the prefix alone",
            );
        }
        let Some(bucket) = url.host_str().filter(|host| !host.is_empty()) else {
            return refused(WANTED);
        };
        if url.port().is_some() {
            return refused(
                "there is a port in it; the address of the store is its endpoint, such as \
                 AWS_ENDPOINT_URL",
            );
        }
        // As the user wrote it: names of objects are encoded when they are asked for.
        let rest = place
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'));
        let path = rest.map_or("", |(_, path)| path);
        let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let is_legal = |part: &&str| {
            !part.starts_with('.')
                && !part.ends_with(".partial")
                && !part.chars().any(char::is_control)
        };
        if !components.iter().all(is_legal) {
            return refused(
                "a component of the path starts with a dot, ends in .partial or has a control character",
            );
        }
        Ok(Some(Self {
            kind,
            bucket: bucket.to_owned(),
            prefix: components.join("/"),
        }))
    }

    /// Returns the scheme of the URL.
    pub(super) fn scheme(&self) -> &'static str {
        match self.kind {
            Kind::S3 => "s3",
            Kind::Google => "gs",
            Kind::Azure => "az",
        }
    }

    /// Splits off the last component: the place that holds it, and its name.
    pub(crate) fn split_last(&self) -> Option<(Self, String)> {
        let (prefix, name) = match self.prefix.rsplit_once('/') {
            Some((prefix, name)) => (prefix, name),
            None if self.prefix.is_empty() => return None,
            None => ("", self.prefix.as_str()),
        };
        let outer = Self {
            prefix: prefix.to_owned(),
            ..self.clone()
        };
        Some((outer, name.to_owned()))
    }

    /// Returns the URL of an object below the place, or of the place itself.
    pub(crate) fn describe(&self, name: &str) -> String {
        let mut url = format!("{}://{}", self.scheme(), self.bucket);
        for part in [self.prefix.as_str(), name] {
            if !part.is_empty() {
                url.push('/');
                url.push_str(part);
            }
        }
        url
    }

    /// Returns the key of an object below the place.
    pub(super) fn key(&self, name: &str) -> String {
        match (self.prefix.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => self.prefix.clone(),
            (false, false) => format!("{}/{name}", self.prefix),
        }
    }
}

/// What a message may repeat of a URL: neither a password nor a signature.
fn shown(place: &str) -> String {
    let (scheme, rest) = place.split_once("://").unwrap_or(("", place));
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let cut = end < rest.len();
    let rest = rest.get(..end).unwrap_or_default();
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |pair| pair);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let hidden = if host.len() < authority.len() {
        "...@"
    } else {
        ""
    };
    let slash = if rest.contains('/') { "/" } else { "" };
    let tail = if cut { "?..." } else { "" };
    format!("{scheme}://{hidden}{host}{slash}{path}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_store_bucket_and_prefix() {
        for (place, kind, bucket, prefix) in [
            ("s3://b", Kind::S3, "b", ""),
            ("s3://b/", Kind::S3, "b", ""),
            ("s3://my-bucket/a/b/", Kind::S3, "my-bucket", "a/b"),
            ("s3a://b//a", Kind::S3, "b", "a"),
            ("gs://b/a b=c", Kind::Google, "b", "a b=c"),
            ("az://container/night", Kind::Azure, "container", "night"),
        ] {
            let parsed = CloudPlace::parse(place).unwrap().unwrap();
            assert_eq!(
                (parsed.kind, parsed.bucket.as_str(), parsed.prefix.as_str()),
                (kind, bucket, prefix),
                "{place}"
            );
        }
        for place in ["/backup/night", "night", "file:///backup", "C:\\night"] {
            assert_eq!(CloudPlace::parse(place).unwrap(), None, "{place}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_and_a_secret_never_repeated() {
        for place in [
            "ftp://host/a",
            "s3://",
            "s3:///a",
            "s3://user:SECRET@b/a",
            "s3://b/a?X-Amz-Signature=SECRET",
            "s3://b/a#SECRET",
            "s3://b:9000/a",
            "s3://b/../a",
            "s3://b/a.partial",
            "ftp://user:SECRET@host/a?b=SECRET",
        ] {
            let error = CloudPlace::parse(place).unwrap_err().to_string();
            assert!(!error.contains("SECRET"), "{error}");
            assert!(error.starts_with("place \""), "{error}");
        }
    }

    #[test]
    fn a_snapshot_is_the_last_component() {
        let parse = |place| CloudPlace::parse(place).unwrap().unwrap();
        let (outer, name) = parse("s3://b/a/night").split_last().unwrap();
        assert_eq!(name, "night");
        assert_eq!(
            outer.describe("night/manifest.json"),
            "s3://b/a/night/manifest.json"
        );
        assert_eq!(outer.key("night"), "a/night");
        let (outer, name) = parse("s3://b/night").split_last().unwrap();
        assert_eq!(
            (outer.describe(""), name.as_str()),
            ("s3://b".to_owned(), "night")
        );
        assert_eq!(outer.key("night"), "night");
        assert!(parse("s3://b").split_last().is_none());
    }
}
