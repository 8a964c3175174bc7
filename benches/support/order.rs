//! The order in which contenders take turns.

/// Every second round goes backwards, and every second one begins with another: so nobody
/// always runs first, and nobody always runs after the same one. Of three, each order
/// comes once in six rounds.
pub(crate) fn order(round: u64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left((round / 2) as usize % count);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
