//! Buckets: a key belongs to the bucket that its hash numbers.

/// Node numbers, one a bucket, and how a hash picks a bucket.
#[derive(Debug)]
pub(super) struct Modula {
    buckets: Vec<u16>,
    pick: Pick,
}

/// How a hash picks one of the buckets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    /// By the remainder of the division by their number.
    Remainder,
    /// By its low bits: hash AND number less one. Where the number is no
    /// power of two, some buckets are never picked; libmemcached has that, too.
    LowBits,
}

impl Modula {
    /// Makes buckets; there must be at least one.
    pub(super) fn new(buckets: Vec<u16>, pick: Pick) -> Self {
        debug_assert!(!buckets.is_empty());
        Self { buckets, pick }
    }

    /// Returns the number of the node that owns a hash.
    pub(super) fn locate(&self, hash: u32) -> u16 {
        let count = self.buckets.len();
        // Every platform this is built for has 32 bits or more in a usize.
        let hash = usize::try_from(hash).unwrap_or(usize::MAX);
        let bucket = match self.pick {
            Pick::Remainder => hash % count,
            Pick::LowBits => hash & (count - 1),
        };
        self.buckets[bucket]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_picks_the_bucket() {
        let modula = Modula::new(vec![7, 8, 9], Pick::Remainder);
        assert_eq!([0, 1, 2, 3].map(|hash| modula.locate(hash)), [7, 8, 9, 7]);
        // 2^32 - 1 is a multiple of 3.
        assert_eq!(modula.locate(u32::MAX), 7);
    }

    #[test]
    fn the_low_bits_leave_buckets_unused_beside_a_power_of_two() {
        let modula = Modula::new(vec![7, 8, 9], Pick::LowBits);
        assert_eq!([0, 1, 2, 3].map(|hash| modula.locate(hash)), [7, 7, 9, 9]);
    }
}
