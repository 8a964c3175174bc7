//! Connects to an object store with what its users set: the variables that the crate
//! `object_store` reads.

use std::env;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use std::time::Duration;

use crate::ports::store::cloud::failure::checked;
use crate::ports::store::cloud::http::DeadlineConnector;
use crate::ports::store::cloud::place::{CloudPlace, Kind};
use crate::words::error::{Error, Operation, Result};

/// What is set unless the user sets it. Silence has deadlines of its own; a request as a
/// whole may take as long as it moves.
const CLIENT: [(ClientConfigKey, &str); 2] = [
    (ClientConfigKey::ConnectTimeout, "5 seconds"),
    (ClientConfigKey::Timeout, "3600 seconds"),
];

/// The variables that name an endpoint of S3; the crate takes whichever it meets last.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// Returns the client of a store.
///
/// # Errors
///
/// - `InvalidInput`: the settings contradict each other, or lack what cannot be guessed.
pub(super) fn connect(place: &CloudPlace) -> Result<Arc<dyn ObjectStore>> {
    // The HTTP library has no ciphers of its own. If there are some already, these will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match place.kind {
        Kind::S3 => connect_s3(place),
        Kind::Google => connect_google(place),
        Kind::Azure => connect_azure(place),
    }
}

/// How long a call is tried again unless [`set_patience`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(240);

static CHOSEN_PATIENCE: OnceLock<Duration> = OnceLock::new();

/// Chooses for how long calls to object stores are tried again, for the whole process;
/// without it, for 4 minutes. Only the first choice counts, and only for stores that are
/// opened later. A signature is good for 15 minutes, which no call may exceed.
pub fn set_patience(patience: Duration) {
    let _ = CHOSEN_PATIENCE.set(patience);
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        // The time is the bound.
        max_retries: 1_000,
        retry_timeout: CHOSEN_PATIENCE.get().copied().unwrap_or(PATIENCE),
    }
}

fn connector(place: &CloudPlace) -> DeadlineConnector {
    let place = place.describe("");
    DeadlineConnector { place }
}

fn connect_s3(place: &CloudPlace) -> Result<Arc<dyn ObjectStore>> {
    let endpoint = only_endpoint(ENDPOINTS.map(|name| (name, variable(name))))?;
    check_credentials(|name| env::var(name).ok())?;
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&place.bucket)
        .with_http_connector(connector(place))
        .with_retry(retry());
    if let Some(endpoint) = endpoint {
        // An endpoint that says http is meant to be used without TLS.
        let is_plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint);
        if is_plain {
            builder = builder.with_allow_http(true);
        }
    }
    for (key, value) in CLIENT {
        let key = AmazonS3ConfigKey::Client(key);
        if builder.get_config_value(&key).is_none() {
            builder = builder.with_config(key, value);
        }
    }
    let built = builder.build();
    Ok(Arc::new(checked(
        Operation::Connect,
        &place.describe(""),
        built,
    )?))
}

fn connect_google(place: &CloudPlace) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&place.bucket)
        .with_http_connector(connector(place))
        .with_retry(retry());
    for (key, value) in CLIENT {
        let key = GoogleConfigKey::Client(key);
        if builder.get_config_value(&key).is_none() {
            builder = builder.with_config(key, value);
        }
    }
    let built = builder.build();
    Ok(Arc::new(checked(
        Operation::Connect,
        &place.describe(""),
        built,
    )?))
}

fn connect_azure(place: &CloudPlace) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&place.bucket)
        .with_http_connector(connector(place))
        .with_retry(retry());
    for (key, value) in CLIENT {
        let key = AzureConfigKey::Client(key);
        if builder.get_config_value(&key).is_none() {
            builder = builder.with_config(key, value);
        }
    }
    let built = builder.build();
    Ok(Arc::new(checked(
        Operation::Connect,
        &place.describe(""),
        built,
    )?))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the endpoint that the variables name, if they do not contradict each other.
fn only_endpoint(named: [(&'static str, Option<String>); 3]) -> Result<Option<String>> {
    let mut found: Option<(&str, String)> = None;
    for (name, value) in named {
        let Some(value) = value else {
            continue;
        };
        let value = value.trim_end_matches('/').to_owned();
        match &found {
            Some((other, before)) if *before != value => {
                let allowed = format!("it contradicts {other}; set one of them");
                return Err(Error::invalid_input(name, value, allowed));
            }
            Some(_) => {}
            None => found = Some((name, value)),
        }
    }
    Ok(found.map(|(_, value)| value))
}

/// Refuses settings by which no credentials can be had, before the first call: the crate
/// would ask the metadata service of a machine that may not have one.
fn check_credentials(variable: impl Fn(&str) -> Option<String>) -> Result<()> {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    // The client would sign with it.
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        if variable(name).is_some_and(|value| value.is_empty()) {
            return Err(Error::invalid_input(name, "", "it is set, but empty"));
        }
    }
    let (id, secret) = (is_set("AWS_ACCESS_KEY_ID"), is_set("AWS_SECRET_ACCESS_KEY"));
    let refused = |field, allowed: &str| Err(Error::invalid_input(field, "", allowed));
    match (id, secret) {
        (true, true) => return Ok(()),
        (true, false) => {
            return refused(
                "AWS_SECRET_ACCESS_KEY",
                "not set, though AWS_ACCESS_KEY_ID is",
            );
        }
        (false, true) => {
            return refused(
                "AWS_ACCESS_KEY_ID",
                "not set, though AWS_SECRET_ACCESS_KEY is",
            );
        }
        (false, false) => {}
    }
    let others = [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_SKIP_SIGNATURE",
    ];
    if others.into_iter().any(is_set) {
        return Ok(());
    }
    if is_set("AWS_PROFILE") {
        return refused(
            "AWS_PROFILE",
            "no credentials found: profiles and credential files are not read; set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY",
        );
    }
    let says = "no credentials found: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and \
                profiles and credential files are not read; asking the service of this machine for \
                some";
    match has_files() {
        true => tracing::warn!("{says}"),
        false => tracing::info!("{says}"),
    }
    Ok(())
}

/// Reports whether there are files with credentials, as other programs read them.
fn has_files() -> bool {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    home.join(".aws/credentials").exists() || home.join(".aws/config").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_contradict_each_other_are_refused() {
        let named = |first: Option<&str>, second: Option<&str>| {
            only_endpoint([
                ("AWS_ENDPOINT_URL_S3", None),
                ("AWS_ENDPOINT_URL", first.map(str::to_owned)),
                ("AWS_ENDPOINT", second.map(str::to_owned)),
            ])
        };
        assert_eq!(named(None, None).unwrap(), None);
        let same = named(Some("http://a:1/"), Some("http://a:1")).unwrap();
        assert_eq!(same.as_deref(), Some("http://a:1"));
        let error = named(Some("http://a:1"), Some("http://b:2")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("AWS_ENDPOINT ") && text.contains("AWS_ENDPOINT_URL"),
            "{text}"
        );
    }

    #[test]
    fn credentials_that_cannot_be_had_are_told_before_the_first_call() {
        let check = |set: &[&str]| {
            check_credentials(|name| {
                let given = set.iter().find_map(|word| word.strip_prefix(name));
                given.map(|rest| rest.strip_prefix('=').unwrap_or("x").to_owned())
            })
        };
        for set in [
            &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"][..],
            &["AWS_WEB_IDENTITY_TOKEN_FILE"],
            &["AWS_SKIP_SIGNATURE"],
            // The machine itself may have some.
            &[],
        ] {
            assert!(check(set).is_ok(), "{set:?}");
        }
        for (set, words) in [
            (&["AWS_ACCESS_KEY_ID"][..], "AWS_SECRET_ACCESS_KEY"),
            (&["AWS_SECRET_ACCESS_KEY"], "AWS_ACCESS_KEY_ID"),
            (&["AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY"], "empty"),
            (
                &["AWS_PROFILE"],
                "profiles and credential files are not read",
            ),
        ] {
            let text = check(set).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
