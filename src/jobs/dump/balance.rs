//! Makes the counters of a node's items add up.

use crate::words::counters::Counters;
use crate::words::reasons::Reasons;

/// The reason recorded for an item that was listed but has no outcome.
const REASON: &str = "no outcome was counted; this is a bug in mcsnap, please report it";

/// Makes the outcomes and losses of a node add up to the listed items, and returns the
/// difference.
///
/// Items without an outcome count as lost, since nobody knows what became of them. If
/// there are more outcomes than items, nothing indicates that an item was lost.
pub(super) fn balance(counters: &mut Counters, reasons: &mut Reasons) -> u64 {
    let (taken, accounted) = (counters.taken, counters.accounted());
    if taken > accounted {
        let lost = taken.saturating_sub(accounted);
        counters.failed = counters.failed.saturating_add(lost);
        reasons.add_many(REASON, lost);
    } else {
        counters.taken = accounted;
    }
    taken.abs_diff(accounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_without_an_outcome_is_a_loss_and_one_with_two_is_told() {
        for (taken, failed, unaccounted) in [(10, 0, 0), (12, 2, 2), (7, 0, 3)] {
            let mut counters = Counters {
                taken,
                stored: 9,
                expired: 1,
                ..Counters::default()
            };
            let mut reasons = Reasons::default();
            assert_eq!(balance(&mut counters, &mut reasons), unaccounted);
            assert_eq!(counters.taken, counters.accounted());
            assert_eq!((counters.stored, counters.failed), (9, failed));
            let told: u64 = reasons.iter().map(|(_, count)| count).sum();
            assert_eq!(told, failed);
        }
    }
}
