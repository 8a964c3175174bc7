//! Buckets: the hash of a key selects a bucket, and the bucket has a node.

/// The node number of each bucket, and how a hash selects a bucket.
#[derive(Debug)]
pub(super) struct Buckets {
    owners: Vec<u16>,
    pick: Pick,
}

/// How a hash selects a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    /// By the remainder of a division by the number of buckets.
    Remainder,
    /// By its low bits: hash AND (number of buckets - 1). If the number is not a power of
    /// two, some buckets are never selected, as in libmemcached.
    LowBits,
    /// By a jump consistent hash.
    Jump,
}

impl Buckets {
    /// Makes buckets; there must be at least one.
    pub(super) fn new(owners: Vec<u16>, pick: Pick) -> Self {
        debug_assert!(!owners.is_empty());
        Self { owners, pick }
    }

    /// Returns the number of the node that owns a hash.
    pub(super) fn locate(&self, hash: u64) -> u16 {
        let count = self.owners.len();
        let count_64 = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        let bucket = match self.pick {
            Pick::Remainder => hash % count_64,
            Pick::LowBits => hash & (count_64 - 1),
            Pick::Jump => jump(hash, count_64),
        };
        self.owners[usize::try_from(bucket).unwrap_or(0) % count]
    }
}

/// The jump consistent hash of Lamping and Veach (2014).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounds where the published code does; a bucket is below the count, which is below 2^24"
)]
fn jump(hash: u64, count: u64) -> u64 {
    const MULTIPLIER: u64 = 2_862_933_555_777_941_757;
    const TWO_TO_31: f64 = 2_147_483_648.0;
    let (mut hash, mut bucket, mut next) = (hash, 0, 0);
    while next < count {
        bucket = next;
        hash = hash.wrapping_mul(MULTIPLIER).wrapping_add(1);
        let divisor = ((hash >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * (TWO_TO_31 / divisor)) as u64;
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_picks_the_bucket_of_its_remainder() {
        let buckets = Buckets::new(vec![0, 1, 1], Pick::Remainder);
        let owners = [0, 1, 2, 3, u64::from(u32::MAX)].map(|hash| buckets.locate(hash));
        assert_eq!(owners, [0, 1, 1, 0, 0]);
    }

    #[test]
    fn low_bits_of_a_number_that_is_no_power_of_two_miss_some_buckets() {
        let buckets = Buckets::new(vec![0, 1, 2, 3, 4, 5], Pick::LowBits);
        let mut owners: Vec<_> = (0..64).map(|hash| buckets.locate(hash)).collect();
        owners.sort_unstable();
        owners.dedup();
        assert_eq!(owners, [0, 1, 4, 5]);
    }

    #[test]
    fn a_jump_moves_only_what_the_new_bucket_gets() {
        for hash in (0..10_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let (ten, eleven) = (jump(hash, 10), jump(hash, 11));
            assert!(ten < 10 && (eleven == ten || eleven == 10));
        }
        assert_eq!(jump(u64::MAX, 1), 0);
    }
}
