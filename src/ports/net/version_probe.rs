//! Finds out what a server can do if its version is not a number: a build from an archive
//! without its history calls itself `UNKNOWN`.

use crate::codecs::protocol::reply::check_connection;
use crate::codecs::protocol::request::{METADUMP_PROBE, NOOP};
use crate::codecs::protocol::stats::ServerVersion;
use crate::codecs::protocol::text::{Step, parse_line};
use crate::ports::net::connection::{Connection, Received};
use crate::words::error::Result;

/// Reads of a key that nobody has, so that no item is touched: `mcsnap:nothing`, in
/// base64 if support for that is in question.
const GET_OF_NOTHING: &[u8] = b"gets mcsnap:nothing\r\n";
const META_GET_OF_NOTHING: &[u8] = b"mg bWNzbmFwOm5vdGhpbmc= b u O1\r\n";

/// Returns whether a version text names a version.
pub(super) fn names_version(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_digit())
}

/// Returns the first version that answers as this server does. What later versions can do
/// beyond that is not used.
///
/// # Errors
///
/// - As for [`Connection::exchange`].
pub(super) fn find_version(connection: &mut Connection) -> Result<ServerVersion> {
    let meta = ask_line(connection, META_GET_OF_NOTHING)?;
    if meta.starts_with(b"EN O1") {
        return Ok(ServerVersion::MISS_TELLS_OPAQUE);
    }
    if meta == b"EN" {
        return Ok(ServerVersion::META_COMMANDS);
    }
    // 1.5.19 to 1.5.22 have different meta commands, and answer EN.
    if ask_line(connection, NOOP)? == b"MN" {
        return Ok(ServerVersion::META_GET);
    }
    let crawler = ask_line(connection, METADUMP_PROBE)?;
    let knows_walks = [
        &b"BADCLASS"[..],
        b"BUSY",
        b"CLIENT_ERROR lru crawler disabled",
        b"ERROR metadump not allowed",
    ];
    if knows_walks.iter().any(|words| crawler.starts_with(words)) {
        return Ok(ServerVersion::METADUMP);
    }
    if ask_line(connection, GET_OF_NOTHING)? == b"END" {
        return Ok(ServerVersion::GETS);
    }
    Ok(ServerVersion::default())
}

/// Sends a request that is answered by one line, and returns the line without its end.
fn ask_line(connection: &mut Connection, request: &[u8]) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    connection.exchange_short("question", request, |bytes| {
        let Step::Done(line, len) = parse_line(bytes, "a line")? else {
            return Ok(Received::More(0));
        };
        check_connection(line)?;
        answer = line.trim_ascii_end().to_vec();
        Ok(Received::Done(len))
    })?;
    Ok(answer)
}
