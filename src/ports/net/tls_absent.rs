//! Stands for TLS in a build without it: no client can be made.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use crate::ports::net::tls_settings::TlsSettings;
use crate::words::access::AccessProblem;
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// The TLS client, which has no values in this build.
#[derive(Clone, Debug)]
pub enum TlsClient {}

impl TlsClient {
    /// Fails, since this build has no TLS.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`, always.
    pub fn new(_: &TlsSettings) -> Result<Self> {
        let allowed = "this build has no TLS; build mcsnap with its feature tls";
        Err(Error::invalid_input("tls", "true", allowed))
    }

    pub(super) fn start(&self, _: TcpStream, _: &NodeSpec) -> Result<TlsStream> {
        match *self {}
    }
}

#[derive(Debug)]
pub(super) enum TlsStream {}

impl TlsStream {
    pub(super) fn send(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(super) fn receive(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn has_unread(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(super) fn problem_of(&self, _: &io::Error) -> Option<AccessProblem> {
        match *self {}
    }
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
