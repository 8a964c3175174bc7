//! Decides by which clock an item's remaining time is computed.
//!
//! An exptime was read on the clock of its server, and recorded on that of the dumping
//! host, together with the offset between the two. How long the item had left when it was
//! dumped is therefore certain. How long ago that was is not, if clocks are wrong: it can
//! be computed from the servers, one at the dump and the other now, or from the hosts
//! that ran the dump and run the restore.

use crate::words::item::{Exptime, ItemMeta};

/// The clocks that determine how long ago the dump was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TtlClock {
    /// The servers' clocks, unless according to them the dump has not ended yet.
    #[default]
    Servers,
    /// The clocks of the hosts of the dump and of the restore.
    Hosts,
}

/// The clocks of a restore. All moments and offsets are in seconds; adding an offset to a
/// server's time gives its host's time.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks {
    pub(super) rule: TtlClock,
    /// The current time on this host's clock.
    pub(super) host_now: i64,
    /// When the dump ended, on the clock of the dumping host; `None` if the snapshot does
    /// not record it.
    pub(super) dump_ended_at: Option<i64>,
    /// The offset of each target node.
    pub(super) target_offsets: Vec<i64>,
}

impl Clocks {
    /// How many seconds in the future a dump may end, since clocks differ slightly.
    const TOLERANCE: i64 = 5;

    /// Converts the exptime of an item to this host's clock.
    pub(super) fn adjust(&self, meta: ItemMeta, source_offset: i64, target: usize) -> ItemMeta {
        let Some(Exptime::At(at)) = meta.exptime else {
            return meta;
        };
        let at = at.saturating_add_signed(self.shift(source_offset, target));
        ItemMeta {
            exptime: Some(Exptime::At(at)),
            ..meta
        }
    }

    /// Returns the seconds to add to a recorded exptime to get it on this host's clock.
    /// An item never has more time left than it had when the dump ended.
    pub(super) fn shift(&self, source_offset: i64, target: usize) -> i64 {
        let target_offset = self.target_offsets.get(target).copied().unwrap_or(0);
        let by_servers = target_offset.saturating_sub(source_offset);
        let Some(ended_at) = self.dump_ended_at else {
            return match self.rule {
                TtlClock::Servers => by_servers,
                TtlClock::Hosts => 0,
            };
        };
        let ago = self.host_now.saturating_sub(ended_at);
        let is_past = |shift: i64| ago.saturating_sub(shift) >= Self::TOLERANCE.saturating_neg();
        let choice = match self.rule {
            TtlClock::Servers => [by_servers, 0],
            TtlClock::Hosts => [0, by_servers],
        };
        choice
            .into_iter()
            .find(|&shift| is_past(shift))
            .unwrap_or(ago)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::units::UnixSecs;

    const DAY: i64 = 86_400;
    const NOW: i64 = 2_000_000_000;
    /// How long ago the dump was.
    const AGO: i64 = 600;
    /// The time that an item had left then.
    const LEFT: i64 = 3600;

    /// How far each clock is ahead of the true time.
    #[derive(Clone, Copy, Default)]
    struct Wrong {
        dump_host: i64,
        source: i64,
        restore_host: i64,
        target: i64,
    }

    /// Returns the time that the item has left on the target's clock.
    fn left(rule: TtlClock, wrong: Wrong) -> i64 {
        let dumped_at = NOW - AGO;
        let clocks = Clocks {
            rule,
            host_now: NOW + wrong.restore_host,
            dump_ended_at: Some(dumped_at + wrong.dump_host),
            target_offsets: vec![wrong.restore_host - wrong.target],
        };
        // The exptime on the source's clock; the one on the host's clock is recorded.
        let source_offset = wrong.dump_host - wrong.source;
        let recorded = dumped_at + wrong.source + LEFT + source_offset;
        let at = UnixSecs(u64::try_from(recorded).unwrap());
        let meta = ItemMeta {
            exptime: Some(Exptime::At(at)),
            ..ItemMeta::default()
        };
        match clocks.adjust(meta, source_offset, 0).exptime {
            Some(Exptime::At(at)) => i64::try_from(at.0).unwrap() - clocks.host_now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_clock_of_a_host_changes_no_ttl() {
        let right = Wrong::default();
        for years in [-6, 6] {
            let off = years * 365 * DAY;
            for wrong in [
                right,
                Wrong {
                    dump_host: off,
                    ..right
                },
                Wrong {
                    restore_host: off,
                    ..right
                },
                Wrong {
                    dump_host: off,
                    restore_host: 3 * off,
                    ..right
                },
            ] {
                assert_eq!(left(TtlClock::Servers, wrong), LEFT - AGO);
            }
        }
    }

    #[test]
    fn servers_that_are_wrong_alike_change_no_ttl() {
        for off in [-30 * DAY, 30 * DAY] {
            let wrong = Wrong {
                source: off,
                target: off,
                dump_host: -2000 * DAY,
                ..Wrong::default()
            };
            assert_eq!(left(TtlClock::Servers, wrong), LEFT - AGO);
        }
    }

    #[test]
    fn a_dump_of_the_future_is_seen_by_the_other_clocks() {
        // The source was ahead, or the target is behind: the hosts' clocks are used.
        let right = Wrong::default();
        for wrong in [
            Wrong {
                source: 30 * DAY,
                ..right
            },
            Wrong {
                target: -30 * DAY,
                ..right
            },
        ] {
            assert_eq!(left(TtlClock::Servers, wrong), LEFT - AGO);
        }
        // All clocks are wrong: the item keeps the time it had.
        let all = Wrong {
            source: 30 * DAY,
            dump_host: 20 * DAY,
            ..right
        };
        assert_eq!(left(TtlClock::Servers, all), LEFT);
        let restoring = Wrong {
            restore_host: -DAY,
            ..right
        };
        assert_eq!(left(TtlClock::Hosts, restoring), LEFT - AGO);
    }

    #[test]
    fn the_user_may_trust_the_hosts() {
        let asleep = Wrong {
            source: -8 * 3600,
            ..Wrong::default()
        };
        assert_eq!(left(TtlClock::Servers, asleep), LEFT - AGO - 8 * 3600);
        assert_eq!(left(TtlClock::Hosts, asleep), LEFT - AGO);
    }
}
