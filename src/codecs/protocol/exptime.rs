//! The wire encodings of exptime; no other module knows them.

use crate::words::item::Exptime;
use crate::words::units::UnixSecs;

/// Largest relative TTL in seconds; greater numbers are absolute. 30 days,
/// `REALTIME_MAXDELTA` in memcached.c.
pub const RELATIVE_TTL_MAX: u64 = 30 * 24 * 60 * 60;

/// Greatest exptime of the text protocol, a signed 32-bit number. Versions treat a
/// greater one differently, and none keeps the item as long as it says.
pub const TEXT_EXPTIME_MAX: u64 = 0x7fff_ffff;

/// Greatest exptime of the binary protocol, an unsigned 32-bit number that every version
/// with this protocol takes literally (measured on 1.4.0 to 1.6.45).
pub const BINARY_EXPTIME_MAX: u64 = 0xffff_ffff;

/// Reads `exp=` of a walk line: absolute Unix seconds; -1 means never.
pub fn from_walk(number: i64) -> Option<Exptime> {
    match number {
        -1 => Some(Exptime::Never),
        _ => u64::try_from(number)
            .ok()
            .map(|at| Exptime::At(UnixSecs(at))),
    }
}

/// Reads `t` of a meta reply: seconds left at `now` on the server's clock; -1 means
/// never.
pub fn from_ttl(number: i64, now: UnixSecs) -> Option<Exptime> {
    match number {
        -1 => Some(Exptime::Never),
        _ => {
            let left = u64::try_from(number).ok()?;
            Some(Exptime::At(UnixSecs(now.0.saturating_add(left))))
        }
    }
}

/// The exptime that a set carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlToken {
    /// Send this number.
    Send(u64),
    /// Send this number, the greatest one possible: the item will expire earlier than it
    /// should, in 2038 or, with the binary protocol, in 2106.
    Clamped(u64),
    /// Do not send: the item has expired.
    Expired,
}

/// Returns the number that makes an item expire at `exptime`. Both `exptime` and the
/// current time `now` are on the server's clock. No number above `exptime_max` can be
/// sent.
///
/// Up to 30 days this is the remaining time, which stays right on a server whose clock
/// steps; above that, it is the absolute time.
pub fn to_ttl_token(exptime: Exptime, now: UnixSecs, exptime_max: u64) -> TtlToken {
    let Exptime::At(at) = exptime else {
        return TtlToken::Send(0);
    };
    match at.0.checked_sub(now.0) {
        None | Some(0) => TtlToken::Expired,
        Some(left) if left <= RELATIVE_TTL_MAX => TtlToken::Send(left),
        Some(_) if at.0 > exptime_max => TtlToken::Clamped(exptime_max),
        Some(_) => TtlToken::Send(at.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thirty_day_trap_is_avoided_on_both_sides() {
        let now = UnixSecs(1_700_000_000);
        let token_of = |exptime| to_ttl_token(exptime, now, TEXT_EXPTIME_MAX);
        let token = |left: u64| token_of(Exptime::At(UnixSecs(now.0 + left)));
        assert_eq!(token_of(Exptime::Never), TtlToken::Send(0));
        assert_eq!(token(0), TtlToken::Expired);
        assert_eq!(token(1), TtlToken::Send(1));
        assert_eq!(token(2_592_000), TtlToken::Send(2_592_000));
        assert_eq!(token(2_592_001), TtlToken::Send(1_702_592_001));
        assert_eq!(token(1 << 31), TtlToken::Clamped(2_147_483_647));
        assert_eq!(token_of(Exptime::At(UnixSecs(5))), TtlToken::Expired);
    }

    #[test]
    fn the_binary_protocol_goes_beyond_2038() {
        let now = UnixSecs(1_700_000_000);
        let token = |at| to_ttl_token(Exptime::At(UnixSecs(at)), now, BINARY_EXPTIME_MAX);
        assert_eq!(token(1 << 31), TtlToken::Send(1 << 31));
        assert_eq!(token(u32::MAX.into()), TtlToken::Send(4_294_967_295));
        assert_eq!(token(1 << 32), TtlToken::Clamped(4_294_967_295));
    }

    #[test]
    fn the_three_readings_of_never_are_one() {
        assert_eq!(from_walk(-1), Some(Exptime::Never));
        assert_eq!(from_walk(-2), None);
        assert_eq!(from_ttl(-1, UnixSecs(9)), Some(Exptime::Never));
        assert_eq!(from_ttl(5, UnixSecs(9)), Some(Exptime::At(UnixSecs(14))));
    }
}
