//! Converts an exptime of the snapshot to a destination's clock.

use crate::codecs::protocol::exptime::{TtlToken, to_ttl_token};
use crate::ports::net::ServerReport;
use crate::words::item::Exptime;
use crate::words::units::UnixSecs;

/// Returns the exptime to send so that an item expires at `exptime`. Both `exptime` and
/// the current time `host_now` are on this host's clock. The result is at most
/// `exptime_max`.
pub fn rebase(
    exptime: Exptime,
    server: &ServerReport,
    host_now: UnixSecs,
    exptime_max: u64,
) -> TtlToken {
    let exptime = match exptime {
        Exptime::Never => Exptime::Never,
        Exptime::At(at) => Exptime::At(server.to_server_time(at)),
    };
    to_ttl_token(exptime, server.to_server_time(host_now), exptime_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::exptime::TEXT_EXPTIME_MAX;

    #[test]
    fn a_destination_whose_clock_is_off_gets_its_own_time() {
        // The server is 1000 s ahead, so 1000 is subtracted to get this host's time.
        let server = ServerReport {
            clock_offset: -1000,
            ..ServerReport::default()
        };
        let now = UnixSecs(1_700_000_000);
        let rebased = |exptime| rebase(exptime, &server, now, TEXT_EXPTIME_MAX);
        let at = |left: u64| Exptime::At(UnixSecs(now.0 + left));
        assert_eq!(rebased(at(60)), TtlToken::Send(60));
        assert_eq!(rebased(at(3_000_000)), TtlToken::Send(1_703_001_000));
        assert_eq!(rebased(at(0)), TtlToken::Expired);
        assert_eq!(rebased(Exptime::Never), TtlToken::Send(0));
    }
}
