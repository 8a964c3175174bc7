//! TLS over a non-blocking socket.
//!
//! # Records
//!
//! memcached (1.6.18 and 1.6.38, but not 1.6.45) waits for the socket while part of the
//! last TLS record is still unread in its TLS library, so the commands in that part wait
//! until one more byte arrives. About sixteen of twenty batches of 256 KiB got stuck.
//! memcached reads a record whole if its buffer has room, and it always has room for a
//! few bytes. So the last bytes of a request go into a record of their own: whatever was
//! left of the previous record is read when it arrives, and nothing can be left of the
//! last one.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};

use crate::ports::net::tls_settings::TlsSettings;
use crate::words::access::AccessProblem;
use crate::words::error::{Error, Operation, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

/// Which authorities to trust, our identity, and the servers' name; cheap to clone.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    has_identity: bool,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("server_name", &self.server_name)
            .field("has_identity", &self.has_identity)
            .finish_non_exhaustive()
    }
}

impl TlsClient {
    /// Reads all certificates and the key.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: a file cannot be read or holds nothing of its kind, the key does
    ///   not belong to the certificate, or the name is invalid.
    pub fn new(settings: &TlsSettings) -> Result<Self> {
        // Named explicitly, since a program with two providers has no default one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(match &settings.authorities {
                Some(path) => read_authorities(path)?,
                None => system_authorities()?,
            });
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(read_certificates("tls-cert", certificate)?, read_key(key)?)
                .map_err(|error| {
                    let allowed = format!("does not go with the certificate: {error}");
                    Error::invalid_input("tls-key", key.to_string_lossy(), allowed)
                })?,
        };
        // A memcached that wants client certificates ends every resumed session, because it
        // gives OpenSSL no session id context. A full handshake takes a millisecond, and a job
        // has only a few.
        config.resumption = Resumption::disabled();
        let server_name = settings
            .server_name
            .as_deref()
            .map(parse_name)
            .transpose()?;
        Ok(Self {
            config: Arc::new(config),
            server_name,
            has_identity: settings.identity.is_some(),
        })
    }

    /// Prepares a session; the handshake happens with the first bytes.
    pub(super) fn start(&self, socket: TcpStream, node: &NodeSpec) -> Result<TlsStream> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(&node.host)?,
        };
        let wanted = name.to_str().into_owned();
        let session = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| failed(error).at(Location::node(node.address())))?;
        Ok(TlsStream {
            socket,
            session,
            wanted,
            has_identity: self.has_identity,
            unread: 0,
        })
    }
}

fn parse_name(text: &str) -> Result<ServerName<'static>> {
    let allowed = "wanted the name of a host or an address, as certificates have it";
    ServerName::try_from(text.to_owned())
        .map_err(|_| Error::invalid_input("tls-server-name", text, allowed))
}

fn failed(error: rustls::Error) -> Error {
    let words = error.to_string();
    Error::access(AccessProblem::Tls { words })
}

fn read_authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("tls-ca", path)? {
        roots.add(certificate).map_err(|error| {
            let allowed = format!("a certificate in it cannot be trusted: {error}");
            Error::invalid_input("tls-ca", path.to_string_lossy(), allowed)
        })?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.first().map(|error| format!(": {error}"));
        let allowed = format!(
            "this system has no certificates of authorities, so name a file of them{}",
            why.unwrap_or_default()
        );
        return Err(Error::invalid_input("tls-ca", "", allowed));
    }
    Ok(roots)
}

fn read_certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(no_pem(field, path, "no certificate is in it"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(pem_error(field, path, error)),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| pem_error("tls-key", path, error))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has many, and may get more"
)]
fn pem_error(field: &'static str, path: &Path, error: pem::Error) -> Error {
    match error {
        pem::Error::Io(error) => Error::unusable_file(field, path, Operation::Read, error),
        pem::Error::NoItemsFound => no_pem(field, path, "nothing of that kind is in it"),
        error => no_pem(field, path, &format!("not PEM: {error}")),
    }
}

fn no_pem(field: &'static str, path: &Path, allowed: &str) -> Error {
    Error::invalid_input(field, path.to_string_lossy(), allowed)
}

/// A session and its socket.
#[derive(Debug)]
pub(super) struct TlsStream {
    socket: TcpStream,
    session: ClientConnection,
    /// The name that the certificate must have.
    wanted: String,
    has_identity: bool,
    /// Number of bytes that are decrypted and not read yet.
    unread: usize,
}

impl TlsStream {
    /// Length of the last record of a request: the line end that every request has.
    const LAST_RECORD_LEN: usize = 2;

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before_last = bytes.len().saturating_sub(Self::LAST_RECORD_LEN);
        let offered = match bytes.get(..before_last) {
            Some(front) if !front.is_empty() => front,
            Some(_) | None => bytes,
        };
        let taken = self.session.writer().write(offered)?;
        self.flush()?;
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.last_words().unwrap_or(error)),
            }
        }
        Ok(())
    }

    /// Returns why the server closed the connection, which would be lost if a write is
    /// the first to fail.
    fn last_words(&mut self) -> Option<io::Error> {
        while self
            .session
            .read_tls(&mut self.socket)
            .is_ok_and(|len| len > 0)
        {
            if let Err(error) = self.session.process_new_packets() {
                return Some(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        None
    }

    pub(super) fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    pub(super) fn receive(&mut self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.unread > 0 {
                let len = self.session.reader().read(space)?;
                self.unread = self.unread.saturating_sub(len);
                return Ok(len);
            }
            let was_handshaking = self.session.is_handshaking();
            if self.session.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            match self.session.process_new_packets() {
                Ok(state) => self.unread = state.plaintext_bytes_to_read(),
                Err(error) => {
                    // Send the alert that tells the server why; the server may be gone.
                    let _ = self.session.write_tls(&mut self.socket);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
            // The caller has to act and check how far the handshake got.
            if was_handshaking && self.unread == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    pub(super) fn has_unread(&self) -> bool {
        self.unread > 0
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Returns what an error of this stream means if it is a TLS error.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls has many, and may get more"
    )]
    pub(super) fn problem_of(&self, error: &io::Error) -> Option<AccessProblem> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let problem = match error {
            rustls::Error::InvalidCertificate(error) => self.certificate_problem(error),
            rustls::Error::AlertReceived(alert) => self.alert_problem(*alert),
            // The bytes are not TLS at all.
            rustls::Error::InvalidMessage(_) if self.is_handshaking() => {
                Some(AccessProblem::TlsNotSpoken)
            }
            _ => None,
        };
        let words = || AccessProblem::Tls {
            words: error.to_string(),
        };
        Some(problem.unwrap_or_else(words))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls has many, and may get more"
    )]
    fn certificate_problem(&self, error: &CertificateError) -> Option<AccessProblem> {
        match error {
            CertificateError::UnknownIssuer => Some(AccessProblem::UnknownIssuer),
            CertificateError::NotValidForName => Some(self.wrong_name(&[])),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Some(self.wrong_name(presented))
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Some(AccessProblem::WrongTime),
            // This error has no variant of its own.
            CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
                Some(AccessProblem::AuthorityAsServer)
            }
            _ => None,
        }
    }

    fn wrong_name(&self, presented: &[String]) -> AccessProblem {
        let names: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
        let found = match names.as_slice() {
            [] => "no name".to_owned(),
            names => names.join(", "),
        };
        AccessProblem::WrongName {
            found,
            wanted: self.wanted.clone(),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls has many, and may get more"
    )]
    fn alert_problem(&self, alert: AlertDescription) -> Option<AccessProblem> {
        match alert {
            AlertDescription::CertificateRequired => Some(AccessProblem::ClientCertificateWanted),
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
                if self.has_identity =>
            {
                Some(AccessProblem::ClientCertificateRefused)
            }
            _ => None,
        }
    }
}

/// Extracts `localhost` from `DnsName("localhost")`, as rustls shows it.
fn bare_name(shown: &str) -> &str {
    let inside = shown
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(shown).trim_matches('"')
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
