//! Turns the errors of object stores into ours, in words that name the cause.

use std::error::Error as _;
use std::io;

use object_store::Error as StoreError;

use crate::words::error::{Error, ErrorKind, Operation, Result};

/// Makes our error of a failed call on an object, named for messages.
pub(super) fn failure(operation: Operation, object: &str, error: &StoreError) -> Error {
    let what = object.to_owned();
    // Of a listing, that is an error of no kind.
    if lacks_bucket(error) {
        let cause = io::Error::new(io::ErrorKind::NotFound, "there is no such bucket");
        return Error::io(operation, what, cause);
    }
    if matches!(error, StoreError::NotFound { .. }) {
        return Error::new(ErrorKind::NotFound { what });
    }
    if matches!(error, StoreError::AlreadyExists { .. }) {
        return Error::new(ErrorKind::AlreadyExists { what });
    }
    let is_denied = matches!(
        error,
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }
    );
    let kind = match is_denied {
        true => io::ErrorKind::PermissionDenied,
        false => io::ErrorKind::Other,
    };
    Error::io(operation, what, io::Error::new(kind, reason(error)))
}

/// Returns the result of a call, or our error.
///
/// # Errors
///
/// - As [`failure`] makes it.
pub(super) fn checked<T>(
    operation: Operation,
    object: &str,
    result: std::result::Result<T, StoreError>,
) -> Result<T> {
    result.map_err(|error| failure(operation, object, &error))
}

/// Returns the first and the last of an error's causes: those between repeat each other,
/// and the first alone hides what happened.
fn reason(error: &StoreError) -> String {
    let first = one_line(&error.to_string());
    let mut last = None;
    let mut cause = error.source();
    while let Some(each) = cause {
        last = Some(one_line(&each.to_string()));
        cause = each.source();
    }
    let text = match last {
        Some(last) if !first.contains(&last) => format!("{first}: {last}"),
        Some(_) | None => first,
    };
    explained(text)
}

/// Reports whether not only the object is missing.
fn lacks_bucket(error: &StoreError) -> bool {
    let text = all_causes(error);
    ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"]
        .iter()
        .any(|word| text.contains(word))
}

/// Reports whether an object has no bytes where some were asked for; each kind of store
/// says it in its own words.
pub(super) fn lacks_range(error: &StoreError) -> bool {
    let text = all_causes(error);
    ["InvalidRange", "416", "only 0 bytes long"]
        .iter()
        .any(|word| text.contains(word))
}

fn all_causes(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(each) = cause {
        text.push_str(&each.to_string());
        cause = each.source();
    }
    text
}

/// Adds what to do to errors that do not say it. Without credentials the client asks the
/// metadata service of the cloud's own machines, and tells of that one alone.
fn explained(text: String) -> String {
    const SERVICES: [(&str, &str); 4] = [
        (
            "computeMetadata",
            "set GOOGLE_SERVICE_ACCOUNT to the path of a key file",
        ),
        (
            "metadata/identity",
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        ),
        ("latest/api/token", AWS),
        ("169.254.169.254", AWS),
    ];
    const AWS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles and credential files \
                       are not read)";
    let asked = SERVICES.iter().find(|(part, _)| text.contains(part));
    match asked {
        Some((_, what)) => format!("no credentials found: {what}; {text}"),
        None => text,
    }
}

fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // How often and how long it could have been tried is no news.
    let Some((before, rest)) = text.split_once(", max_retries: ") else {
        return text;
    };
    match rest.split_once(" - ") {
        Some((_, cause)) => format!("{before}: {cause}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Generic {
            store: "S3",
            source: source.into(),
        }
    }

    #[test]
    fn an_error_names_its_last_cause_and_what_to_do() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused");
        let error = failure(Operation::Open, "s3://b/a", &generic(refused));
        assert_eq!(
            error.to_chain(),
            "s3://b/a: cannot open: Generic S3 error: Connection refused"
        );
        let asked = generic("Error performing PUT http://169.254.169.254/latest/api/token in 2s");
        let error = failure(Operation::Open, "s3://b/a", &asked);
        assert!(error.to_chain().contains("no credentials found"), "{error}");
        let asked = generic("Error performing GET http://h/computeMetadata/v1/instance in 2s");
        let text = failure(Operation::Open, "gs://b/a", &asked).to_chain();
        assert!(
            text.contains("GOOGLE_SERVICE_ACCOUNT") && !text.contains("AWS"),
            "{text}"
        );
        let tried = generic(
            "Error performing GET http://h/b in 9s, after 7 retries, max_retries: 1000, \
             retry_timeout: 240s - HTTP error: refused",
        );
        let error = failure(Operation::Open, "s3://b/a", &tried);
        assert_eq!(
            error.to_chain(),
            "s3://b/a: cannot open: Generic S3 error: Error performing GET http://h/b in 9s, after 7 \
             retries: HTTP error: refused"
        );
        let missing = StoreError::NotFound {
            path: "a".to_owned(),
            source: "404".into(),
        };
        let error = failure(Operation::Open, "s3://b/a", &missing);
        assert!(matches!(error.kind(), ErrorKind::NotFound { .. }));
        let missing = StoreError::NotFound {
            path: "a".to_owned(),
            source: "404 <Code>NoSuchBucket</Code>".into(),
        };
        let error = failure(Operation::Open, "s3://b/a", &missing);
        assert_eq!(
            error.to_chain(),
            "s3://b/a: cannot open: there is no such bucket"
        );
        let listed = generic("404 Not Found: <Error><Code>NoSuchBucket</Code></Error>");
        let error = failure(Operation::List, "s3://b/a", &listed);
        assert_eq!(
            error.to_chain(),
            "s3://b/a: cannot list: there is no such bucket"
        );
    }
}
