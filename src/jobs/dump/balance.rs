//! Makes the counters of a node add up.

use crate::codecs::format::manifest::Counters;
use crate::words::reasons::Reasons;

/// The reason recorded for an item that was listed but has no outcome.
const REASON: &str = "no outcome was counted; this is a bug in mcsnap, please report it";

/// Makes the outcomes and losses of a node add up to the listed items, and returns the
/// difference.
///
/// Items without an outcome count as lost, since their fate is unknown. If there are more
/// outcomes than items, nothing indicates that an item was lost.
pub(super) fn balance(counters: &mut Counters, reasons: &mut Reasons) -> u64 {
    let (listed, accounted) = (counters.listed, counters.accounted());
    if listed > accounted {
        let lost = listed.saturating_sub(accounted);
        counters.failed = counters.failed.saturating_add(lost);
        reasons.add_many(REASON, lost);
    } else {
        counters.listed = accounted;
    }
    listed.abs_diff(accounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_an_outcome_is_a_loss_and_one_with_two_is_told() {
        for (listed, failed, unaccounted) in [(10, 0, 0), (12, 2, 2), (7, 0, 3)] {
            let mut counters = Counters {
                listed,
                stored: 9,
                expired: 1,
                ..Counters::default()
            };
            let mut reasons = Reasons::default();
            assert_eq!(balance(&mut counters, &mut reasons), unaccounted);
            assert_eq!(counters.listed, counters.accounted());
            assert_eq!((counters.stored, counters.failed), (9, failed));
            let told: u64 = reasons.iter().map(|(_, count)| count).sum();
            assert_eq!(told, failed);
        }
    }
}
