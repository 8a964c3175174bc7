//! Which servers, and how to reach them: the same settings for every command that
//! talks to servers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use mcsnap::engines::discovery::{FoundNode, find_nodes, read_node_file};
use mcsnap::ports::net::{Credentials, NetOptions, TlsClient, TlsSettings};
use mcsnap::words::cancel::Cancel;
use serde::{Deserialize, Serialize};

use crate::exit::UsageError;
use crate::settings::{Given, Secret, parse_duration, parse_sources, parse_wait, switch, text};

/// Flags of every command that talks to servers.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct ConnectArgs {
    /// File with more servers, one a line; # begins a comment
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) nodes_file: Option<String>,
    /// Speak TLS to the servers, and to configuration endpoints
    ///
    /// There is no way to accept any certificate: name the one to accept with
    /// --tls-ca.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) tls: Option<bool>,
    /// PEM file of the authorities to trust [default: those of the system]
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) tls_ca: Option<String>,
    /// PEM file of our certificate, for servers that want one
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) tls_cert: Option<String>,
    /// PEM file of the key of --tls-cert
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) tls_key: Option<String>,
    /// Name in the servers' certificates [default: the host of each]
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub(crate) tls_server_name: Option<String>,
    /// File with user:password, for servers that want them (memcached -Y)
    ///
    /// Or the user on one line and the password on the next. A server that asks
    /// for no password is told none.
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) auth_file: Option<String>,
    /// `user:password`. No flag: every user of a host sees the command lines of
    /// all others.
    #[arg(skip)]
    pub(crate) auth: Option<Secret>,
}

impl ConnectArgs {
    /// Makes the options of connections, with the time that each may take.
    pub(crate) fn net_options(
        &self,
        given: &BTreeMap<String, Given>,
        timeout: Duration,
    ) -> Result<NetOptions> {
        Ok(NetOptions {
            credentials: self.credentials(given)?.map(Arc::new),
            tls: self.tls_client()?,
            ..NetOptions::of_timeout(timeout)
        })
    }

    /// Of two ways to give a password, the layer that hides the other counts.
    fn credentials(&self, given: &BTreeMap<String, Given>) -> Result<Option<Credentials>> {
        let origin = |name| given.get(name).map(|given| given.origin);
        let from_text = |Secret(text): &Secret| Credentials::parse(text);
        let from_file = |path: &String| Credentials::read_file(Path::new(path));
        let made = match (&self.auth, &self.auth_file) {
            (Some(_), Some(_)) if origin("auth") == origin("auth-file") => {
                let message = "auth and auth-file are both given; leave one out";
                return Err(UsageError(message.to_owned()).into());
            }
            (Some(auth), Some(_)) if origin("auth") > origin("auth-file") => from_text(auth),
            (_, Some(path)) => from_file(path),
            (Some(auth), None) => from_text(auth),
            (None, None) => return Ok(None),
        };
        Ok(Some(made?))
    }

    fn tls_client(&self) -> Result<Option<TlsClient>> {
        let details = [
            ("--tls-ca", &self.tls_ca),
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
            ("--tls-server-name", &self.tls_server_name),
        ];
        let detail = details.iter().find(|(_, detail)| detail.is_some());
        match (self.tls, detail) {
            (Some(true), _) => {}
            // Somebody who names a certificate does not expect plain text.
            (None, Some((flag, _))) => {
                let message = format!("{flag} is given without --tls; pass --tls or --tls=false");
                return Err(UsageError(message).into());
            }
            (Some(false), _) | (None, None) => return Ok(None),
        }
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let message = "--tls-cert and --tls-key go together; pass both";
                return Err(UsageError(message.to_owned()).into());
            }
        };
        Ok(Some(TlsClient::new(&TlsSettings {
            authorities: self.tls_ca.as_ref().map(PathBuf::from),
            identity,
            server_name: self.tls_server_name.clone(),
        })?))
    }

    /// Finds all nodes: those given, then those of the file, endpoints asked.
    pub(crate) fn find_nodes(
        &self,
        texts: &[String],
        options: &NetOptions,
        cancel: &Cancel,
    ) -> Result<NodeList> {
        let mut nodes = NodeList::default();
        nodes.add(find_nodes(&parse_sources(texts)?, options, cancel)?, None);
        if let Some(path) = &self.nodes_file {
            let sources = read_node_file(Path::new(path))?;
            nodes.add(find_nodes(&sources, options, cancel)?, Some(path));
        }
        Ok(nodes)
    }
}

/// How long a command that reads or fills servers waits for them.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct WaitArgs {
    /// Longest time to wait for a server [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) timeout: Option<String>,
    /// Ask a server that does not answer at first for so long [default: 30s]
    ///
    /// One that refuses, is silent, has no connection left, or whose name is not
    /// found just now is asked again with growing pauses, all servers side by side.
    /// 0s gives it up at once.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) wait_for_node: Option<String>,
}

impl WaitArgs {
    pub(crate) fn timeout(&self) -> Result<Duration> {
        parse_duration("timeout", self.timeout.as_deref().unwrap_or("10s"))
    }

    /// Makes the options of connections.
    pub(crate) fn net_options(
        &self,
        connect: &ConnectArgs,
        given: &BTreeMap<String, Given>,
    ) -> Result<NetOptions> {
        let timeout = self.timeout()?;
        let wait = self.wait_for_node.as_deref().unwrap_or("30s");
        Ok(NetOptions {
            wait_for_node: parse_wait("wait-for-node", wait)?,
            ..connect.net_options(given, timeout)?
        })
    }
}

/// Nodes, and where each one is from.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeList {
    pub(crate) nodes: Vec<mcsnap::words::node::NodeSpec>,
    /// One a node; `None` for a node that was named itself.
    pub(crate) origins: Vec<Option<String>>,
}

impl NodeList {
    fn add(&mut self, found: Vec<FoundNode>, file: Option<&str>) {
        for FoundNode { node, endpoint } in found {
            self.nodes.push(node);
            let names: Vec<&str> = endpoint.as_deref().into_iter().chain(file).collect();
            let origin = (!names.is_empty()).then(|| names.join(" in "));
            self.origins.push(origin);
        }
    }

    /// Says where a node is from, at the end of its row.
    pub(crate) fn suffix(&self, index: usize) -> String {
        match self.origins.get(index) {
            Some(Some(origin)) => format!("; from {origin}"),
            Some(None) | None => String::new(),
        }
    }

    /// Says which layer and which list each node is from, for programs.
    pub(crate) fn origin(&self, index: usize) -> Option<&str> {
        self.origins.get(index).and_then(Option::as_deref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Origin;

    fn given(pairs: &[(&str, Origin)]) -> BTreeMap<String, Given> {
        let entry = |(name, origin): &(&str, Origin)| {
            let given = Given {
                value: String::new(),
                origin: *origin,
            };
            ((*name).to_owned(), given)
        };
        pairs.iter().map(entry).collect()
    }

    #[test]
    fn a_certificate_without_tls_is_no_plain_connection() {
        let args = ConnectArgs {
            tls_ca: Some("ca.pem".to_owned()),
            ..ConnectArgs::default()
        };
        let message = args.tls_client().unwrap_err().to_string();
        assert_eq!(
            message,
            "--tls-ca is given without --tls; pass --tls or --tls=false"
        );
        let off = ConnectArgs {
            tls: Some(false),
            ..args
        };
        assert!(off.tls_client().unwrap().is_none());
        let half = ConnectArgs {
            tls: Some(true),
            tls_key: Some("key.pem".to_owned()),
            ..ConnectArgs::default()
        };
        assert!(
            half.tls_client()
                .unwrap_err()
                .to_string()
                .ends_with("pass both")
        );
    }

    #[test]
    fn of_two_passwords_the_higher_layer_counts() {
        let args = ConnectArgs {
            auth: Some(Secret("joe:secret".to_owned())),
            auth_file: Some("absent".to_owned()),
            ..ConnectArgs::default()
        };
        let made = |auth, file| args.credentials(&given(&[("auth", auth), ("auth-file", file)]));
        assert!(made(Origin::Environment, Origin::File).unwrap().is_some());
        // The file is read, and is not there.
        assert!(made(Origin::Environment, Origin::Flag).is_err());
        let both = made(Origin::File, Origin::File).unwrap_err().to_string();
        assert_eq!(both, "auth and auth-file are both given; leave one out");
        assert!(!format!("{args:?}").contains("secret"));
    }
}
