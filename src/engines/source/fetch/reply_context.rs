//! Combines a value's reply with its walk line.

use crate::codecs::protocol::exptime;
use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::protocol::reply::ReplyFlags;
use crate::codecs::protocol::text::{parse_i64, parse_u64};
use crate::engines::source::fetch::dialect::ValueFields;
use crate::ports::host;
use crate::ports::net::{CLOCK_GAP_MAX, ServerReport};
use crate::words::error::{Error, Result};
use crate::words::item::{Attribute, Attributes, Cas, Exptime, ItemMeta, SlabClass};
use crate::words::units::UnixSecs;

/// What is needed to interpret a reply.
pub(super) struct ReplyContext<'a> {
    pub(super) server: &'a ServerReport,
    /// The current time on this host's clock.
    pub(super) host_now: UnixSecs,
    /// When the request was sent, on the server's clock.
    pub(super) asked_at: UnixSecs,
    /// The current time on the server's clock.
    pub(super) server_now: UnixSecs,
}

impl<'a> ReplyContext<'a> {
    /// Interprets replies that arrive now.
    pub(super) fn now(server: &'a ServerReport) -> Self {
        let host_now = host::now();
        let server_now = server.to_server_time(host_now);
        Self {
            server,
            host_now,
            asked_at: server_now,
            server_now,
        }
    }
}

impl ReplyContext<'_> {
    /// How many seconds a TTL in a reply may differ from the walk's exptime although
    /// nothing changed: both clocks show whole seconds, an offset within
    /// [`ServerReport::CLOCK_TOLERANCE`] counts as 0, and the clock of a busy server ticks
    /// late. An exptime that is taken for a change makes a dump that goes on read the
    /// whole segment again.
    const TTL_TOLERANCE: u64 = CLOCK_GAP_MAX;

    /// Reports whether an item that is no longer there has expired.
    pub(super) fn has_expired(&self, walked: &WalkItem) -> bool {
        matches!(walked.exptime, Some(Exptime::At(at)) if at <= self.server_now)
    }

    /// Combines what is known about an item. A field that neither source has stays
    /// unknown.
    pub(super) fn meta(&self, walked: &WalkItem, fields: ValueFields<'_>) -> Result<ItemMeta> {
        match fields {
            ValueFields::Meta(flags) => self.meta_of_flags(walked, flags),
            ValueFields::Plain { client_flags, cas } => {
                let exptime = walked.exptime.map(|exptime| self.to_host_clock(exptime));
                Ok(ItemMeta {
                    client_flags: Some(client_flags),
                    exptime,
                    cas: self.cas(cas),
                    ..self.meta_of_walk(walked)
                })
            }
        }
    }

    fn meta_of_flags(&self, walked: &WalkItem, flags: ReplyFlags<'_>) -> Result<ItemMeta> {
        let lacks = |wanted| Error::protocol(wanted, flags.as_bytes());
        let client_flags = flags.get(b'f').and_then(parse_u64);
        let client_flags = client_flags.ok_or_else(|| lacks("client flags (f)"))?;
        let ttl = flags.get(b't').and_then(parse_i64);
        let ttl = ttl.ok_or_else(|| lacks("a TTL (t)"))?;
        let cas = flags.get(b'c').and_then(parse_u64);
        let cas = cas.ok_or_else(|| lacks("a CAS (c)"))?;
        let exptime = exptime::from_ttl(ttl, self.asked_at);
        let exptime = exptime.ok_or_else(|| lacks("a TTL of -1 or more"))?;
        // The server wrote the reply at some moment after the request was sent.
        let lag = self.server_now.0.saturating_sub(self.asked_at.0);
        let mut meta = self.meta_of_walk(walked);
        meta.attributes.set(Attribute::Stale, flags.has(b'X'));
        // The token that this reply carried is this job's, not a client's.
        meta.attributes.set(Attribute::WinSent, flags.has(b'Z'));
        Ok(ItemMeta {
            client_flags: Some(client_flags),
            exptime: Some(self.to_host_clock(closest(exptime, lag, walked.exptime))),
            cas: self.cas(cas),
            ..meta
        })
    }

    /// Fields that only a walk line has.
    fn meta_of_walk(&self, walked: &WalkItem) -> ItemMeta {
        let mut attributes = Attributes::default();
        if let Some(fetched) = walked.fetched {
            attributes.set(Attribute::Fetched, fetched);
        }
        ItemMeta {
            last_access: walked.last_access.map(|at| self.server.to_host_time(at)),
            slab_class: walked.class.map(SlabClass),
            attributes,
            ..ItemMeta::default()
        }
    }

    fn cas(&self, cas: u64) -> Option<Cas> {
        (self.server.settings.has_cas && cas != 0).then_some(Cas(cas))
    }

    pub(super) fn to_host_clock(&self, exptime: Exptime) -> Exptime {
        match exptime {
            Exptime::Never => Exptime::Never,
            Exptime::At(at) => Exptime::At(self.server.to_host_time(at)),
        }
    }
}

/// Prefers the walk's exptime, which is exact, unless the item was touched since. `read`
/// is the earliest exptime that the reply allows; the reply may have been on its way for
/// up to `lag` seconds.
fn closest(read: Exptime, lag: u64, walked: Option<Exptime>) -> Exptime {
    let (Exptime::At(read_at), Some(Exptime::At(walked_at))) = (read, walked) else {
        return read;
    };
    let earliest = read_at.0.saturating_sub(ReplyContext::TTL_TOLERANCE);
    let latest = read_at.0.saturating_add(lag);
    let latest = latest.saturating_add(ReplyContext::TTL_TOLERANCE);
    if (earliest..=latest).contains(&walked_at.0) {
        Exptime::At(walked_at)
    } else {
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walks_exptime_is_kept_unless_the_item_was_touched() {
        let at = |seconds| Exptime::At(UnixSecs(seconds));
        assert_eq!(closest(at(101), 0, Some(at(100))), at(100));
        // The server's clock was two seconds late when it was compared, and ticks late.
        assert_eq!(closest(at(105), 0, Some(at(100))), at(100));
        assert_eq!(closest(at(106), 0, Some(at(100))), at(106));
        assert_eq!(closest(at(160), 0, Some(at(100))), at(160));
        assert_eq!(closest(Exptime::Never, 0, Some(at(100))), Exptime::Never);
        assert_eq!(closest(at(160), 0, Some(Exptime::Never)), at(160));
        assert_eq!(closest(at(160), 0, None), at(160));
        // A reply from a slow server, or one that was read late.
        assert_eq!(closest(at(92), 8, Some(at(100))), at(100));
        assert_eq!(closest(at(92), 2, Some(at(100))), at(92));
    }

    #[test]
    fn what_nobody_told_is_unknown() {
        let server = ServerReport::default();
        let context = ReplyContext {
            server: &server,
            host_now: UnixSecs(1000),
            asked_at: UnixSecs(1000),
            server_now: UnixSecs(1000),
        };
        let fields = ValueFields::Plain {
            client_flags: 7,
            cas: 0,
        };
        let meta = context.meta(&WalkItem::default(), fields).unwrap();
        let wanted = ItemMeta {
            client_flags: Some(7),
            ..ItemMeta::default()
        };
        assert_eq!(meta, wanted);
        assert_eq!(meta.attributes.get(Attribute::Stale), None);
    }
}
