//! Certificates for the servers and clients of one test, in files.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// An authority and what it has issued.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes `ca`, `server` for localhost and 127.0.0.1, `client`, and `stranger`,
    /// which is its own issuer: each in `NAME.pem`, with its key in `NAME.key`.
    pub(crate) fn new() -> Certificates {
        let directory = tempfile::tempdir().unwrap();
        let mut params = named(&["mcsnap test authority"]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        write(directory.path(), "ca", &authority.pem(), &key);
        let issuer = Issuer::new(params, key);
        for (name, hosts) in [
            ("server", ["localhost", "127.0.0.1"]),
            ("client", ["client", "client"]),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut params = named(&hosts);
            params.is_ca = IsCa::ExplicitNoCa;
            let certificate = params.signed_by(&key, &issuer).unwrap();
            write(directory.path(), name, &certificate.pem(), &key);
        }
        let key = KeyPair::generate().unwrap();
        let mut params = named(&["localhost", "127.0.0.1"]);
        params.is_ca = IsCa::ExplicitNoCa;
        let stranger = params.self_signed(&key).unwrap();
        write(directory.path(), "stranger", &stranger.pem(), &key);
        Certificates { directory }
    }

    /// The path of a file, such as `server.key`.
    pub(crate) fn path(&self, file: &str) -> String {
        let path = self.directory.path().join(file);
        path.to_str().unwrap().to_owned()
    }

    /// What a memcached with one of them is started with.
    pub(crate) fn server_options(&self, name: &str) -> String {
        let (certificate, key) = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        format!("ssl_chain_cert={certificate},ssl_key={key}")
    }
}

fn named(hosts: &[&str]) -> CertificateParams {
    let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    // Two authorities of one name would be taken for one.
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, hosts.join(" "));
    params
}

fn write(directory: &Path, name: &str, certificate: &str, key: &KeyPair) {
    fs::write(directory.join(format!("{name}.pem")), certificate).unwrap();
    fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}
