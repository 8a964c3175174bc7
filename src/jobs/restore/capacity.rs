//! Estimates whether a node has room for what it would get.
//!
//! memcached gives memory to slab classes in pages of 1 MiB, and takes none back while
//! the class needs it. So pages are what counts: an item that finds no free chunk in its
//! class, and no page for it, evicts another item of the class.

use crate::codecs::protocol::stats::SlabStats;
use crate::codecs::warm_file::{ItemLengths, SlabClasses};
use crate::ports::net::ServerReport;
use crate::words::units::to_u64;

/// Bytes of a page. No server of the last ten years could be configured otherwise.
const PAGE_SIZE: u64 = 1 << 20;

/// How many chunks of each slab class some items need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkCounts([u64; SlabClasses::COUNT_MAX + 1]);

impl Default for ChunkCounts {
    fn default() -> Self {
        Self([0; SlabClasses::COUNT_MAX + 1])
    }
}

impl ChunkCounts {
    pub(super) fn add(&mut self, item: ItemLengths, classes: &SlabClasses) {
        item.each_chunk(classes, |class, count| {
            if let Some(sum) = self.0.get_mut(usize::from(class)) {
                *sum = sum.saturating_add(count);
            }
        });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Returns the classes that need chunks, with the number.
    fn each(&self) -> impl Iterator<Item = (u8, u64)> {
        let all = (0_u8..).zip(self.0);
        all.filter(|&(_, count)| count > 0)
    }
}

/// A node's memory as it matters to a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes that the new items need, in whole chunks.
    pub needed: u64,
    /// Bytes that are free for them: chunks of their classes, and pages.
    pub free: u64,
    /// The node's memory limit in bytes (`-m`); 0 if the node does not report it.
    pub limit: u64,
    /// How the two compare.
    pub fit: Fit,
}

/// Whether a node has room for everything that the plan counts. Keys that the node
/// already has may need no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// The node does not report enough.
    #[default]
    Unknown,
    /// There is room.
    Fits,
    /// There is room, but hardly any is left afterwards: nine tenths of the free pages
    /// are taken, or more.
    Tight,
    /// The node would evict about this many items, existing or restored ones.
    Evicts(u64),
    /// The node evicts nothing (`-M`), and would refuse about this many items.
    Refuses(u64),
}

/// The memory of a node as reported before the restore.
#[derive(Clone, Debug)]
pub(super) struct NodeMemory {
    slabs: SlabStats,
    limit: u64,
    item_bytes: u64,
    free_pages: u64,
    evicts: bool,
    pub(super) classes: SlabClasses,
}

impl NodeMemory {
    pub(super) fn new(server: &ServerReport, slabs: SlabStats) -> Self {
        let (stats, settings) = (&server.stats, &server.settings);
        let to_u32 = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let factor = crate::words::units::to_f64(settings.growth_millionths) / 1e6;
        Self {
            slabs,
            // A proxy does not report the memory behind it.
            limit: if server.is_proxy { 0 } else { stats.memory_max },
            item_bytes: stats.item_bytes,
            free_pages: stats.free_pages,
            evicts: settings.evicts,
            classes: SlabClasses::of_options(
                to_u32(settings.chunk_room_min),
                factor,
                to_u32(settings.chunk_size_max),
            ),
        }
    }

    /// Reports whether this many items certainly have room, whatever their sizes; then
    /// they need not be counted. Also true for a node that does not report its memory.
    pub(super) fn surely_holds(&self, items: u64, bytes: u64) -> bool {
        /// More than an item's header plus what the smallest chunk lacks for one item.
        const BESIDE: u64 = 96;
        if self.limit == 0 {
            return true;
        }
        if !self.has_known_classes() {
            return false;
        }
        let sizes = bytes.saturating_add(items.saturating_mul(BESIDE));
        let part_of_pages =
            u128::from(sizes).saturating_mul(self.page_share_millionths(BESIDE).into()) / 1_000_000;
        // Each class may have one nearly empty page.
        let pages = u128::from(self.classes.count()) * u128::from(PAGE_SIZE);
        part_of_pages.saturating_add(pages) <= u128::from(self.free_page_bytes())
    }

    /// Returns the most bytes of pages that a byte of an item can take, in millionths.
    /// The smallest item of a class leaves the most of its chunk unused, and the end of a
    /// page is too short for another chunk. Items have at least `least` bytes.
    fn page_share_millionths(&self, least: u64) -> u64 {
        let mut smallest = least;
        let mut share = 1_000_000;
        for class in 1..=self.classes.count() {
            let (Some(size), Some(a_page)) =
                (self.classes.size(class), self.classes.chunk_count(class))
            else {
                break;
            };
            let a_chunk = PAGE_SIZE.div_ceil(to_u64(a_page).max(1));
            share = share.max(a_chunk.saturating_mul(1_000_000).div_ceil(smallest.max(1)));
            smallest = to_u64(size).saturating_add(1).max(least);
        }
        share
    }

    fn free_page_bytes(&self) -> u64 {
        let taken = self.slabs.page_bytes.unwrap_or(self.item_bytes);
        let pool = self.free_pages.saturating_mul(PAGE_SIZE);
        self.limit.saturating_sub(taken).saturating_add(pool)
    }

    /// Reports whether the chunk sizes are those that the node reports. For a server with
    /// other sizes, they are useless.
    fn has_known_classes(&self) -> bool {
        let classes = &self.slabs.classes;
        self.slabs.page_bytes.is_some()
            && classes
                .iter()
                .all(|(&class, told)| self.classes.size(class).map(to_u64) == Some(told.chunk_size))
    }

    /// Compares the memory with what this many items would need.
    pub(super) fn judge(&self, items: u64, chunks: &ChunkCounts) -> Capacity {
        let size = |class| to_u64(self.classes.size(class).unwrap_or(0));
        let needed = chunks.each().fold(0_u64, |sum, (class, count)| {
            sum.saturating_add(count.saturating_mul(size(class)))
        });
        let mut capacity = Capacity {
            needed,
            free: 0,
            limit: self.limit,
            fit: Fit::Unknown,
        };
        if self.limit == 0 {
            return capacity;
        }
        capacity.free = self.free_page_bytes();
        let lack = if self.has_known_classes() {
            let lack = self.lack_of_chunks(chunks);
            capacity.free = capacity.free.saturating_add(lack.free_chunk_bytes);
            lack
        } else {
            self.lack_of_bytes(items, needed)
        };
        capacity.fit = match (lack.items.min(items), self.evicts) {
            (0, _) if lack.is_tight => Fit::Tight,
            (0, _) => Fit::Fits,
            (lacking, true) => Fit::Evicts(lacking),
            (lacking, false) => Fit::Refuses(lacking),
        };
        capacity
    }

    /// Counts page by page.
    fn lack_of_chunks(&self, chunks: &ChunkCounts) -> Lack {
        let free_pages = self.free_page_bytes() / PAGE_SIZE;
        let (mut pages, mut first_pages, mut short) = (0_u64, 0_u64, 0_u64);
        // Full pages, in millionths, and the items of pages that are not full.
        let (mut millionths, mut parts) = (0_u128, Vec::new());
        let mut free_chunk_bytes: u64 = 0;
        for (class, count) in chunks.each() {
            let told = self.slabs.classes.get(&class).copied().unwrap_or_default();
            let size = to_u64(self.classes.size(class).unwrap_or(0));
            let used = told.free_chunks.min(count);
            free_chunk_bytes = free_chunk_bytes.saturating_add(used.saturating_mul(size));
            let missing = count.saturating_sub(told.free_chunks);
            let a_page = to_u64(self.classes.chunk_count(class).unwrap_or(0)).max(1);
            pages = pages.saturating_add(missing.div_ceil(a_page));
            millionths =
                millionths.saturating_add(u128::from(missing) * 1_000_000 / u128::from(a_page));
            parts.extend(Some(missing % a_page).filter(|&part| part > 0));
            short = short.saturating_add(missing);
            // `do_slabs_newslab` gives a class without a page its first page even beyond
            // the limit.
            first_pages = first_pages.saturating_add(u64::from(told.pages == 0 && missing > 0));
        }
        let allowed = free_pages.max(first_pages);
        let beyond = millionths.saturating_sub(u128::from(allowed) * 1_000_000);
        let share = u128::from(short).saturating_mul(beyond) / millionths.max(1);
        // At best, the items without room are those that would fill the smallest part of
        // a page.
        parts.sort_unstable();
        let lacking = usize::try_from(pages.saturating_sub(allowed)).unwrap_or(usize::MAX);
        let least = parts.iter().take(lacking).sum();
        Lack {
            items: u64::try_from(share).unwrap_or(u64::MAX).max(least),
            is_tight: pages.saturating_mul(10) > free_pages.saturating_mul(9),
            free_chunk_bytes,
        }
    }

    /// Counts bytes, for a node whose chunks are not known.
    fn lack_of_bytes(&self, items: u64, needed: u64) -> Lack {
        let free = self.limit.saturating_sub(self.item_bytes);
        // Unused chunk space is up to a fifth, and it is unknown how much the node's
        // chunks differ from those of the estimate.
        let surely = free.saturating_add(free / 5);
        let lacking = u128::from(needed.saturating_sub(free));
        let share = u128::from(items).saturating_mul(lacking);
        let share = share.div_ceil(u128::from(needed.max(1)));
        Lack {
            items: if needed > surely {
                u64::try_from(share).unwrap_or(u64::MAX)
            } else {
                0
            },
            is_tight: needed > free / 10 * 9,
            free_chunk_bytes: 0,
        }
    }
}

/// What there is no room for.
struct Lack {
    items: u64,
    is_tight: bool,
    /// Bytes of free chunks that the items would get.
    free_chunk_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::stats::SlabClassStats;

    /// Items of 1000 bytes belong to class 12; a page has 885 of its chunks.
    const LENGTHS: ItemLengths = ItemLengths {
        key: 10,
        value: 1000,
        client_flags: None,
    };

    fn server(limit: u64) -> ServerReport {
        let mut server = ServerReport::default();
        server.stats.memory_max = limit;
        server.settings.evicts = true;
        server.settings.chunk_room_min = 48;
        server.settings.growth_millionths = 1_250_000;
        server.settings.chunk_size_max = 512 << 10;
        server
    }

    fn slabs(pages: u64, free_chunks: u64) -> SlabStats {
        let class = SlabClassStats {
            chunk_size: 1184,
            pages,
            chunks: pages * 885,
            free_chunks,
        };
        let classes = (pages > 0).then_some((12, class));
        SlabStats {
            page_bytes: Some(pages << 20),
            classes: classes.into_iter().collect(),
        }
    }

    fn judge(server: &ServerReport, slabs: SlabStats, items: u64) -> Fit {
        let memory = NodeMemory::new(server, slabs);
        let mut chunks = ChunkCounts::default();
        for _ in 0..items {
            chunks.add(LENGTHS, &memory.classes);
        }
        memory.judge(items, &chunks).fit
    }

    #[test]
    fn pages_are_counted_and_free_chunks_with_them() {
        let fit = |pages, free, items| judge(&server(10 << 20), slabs(pages, free), items);
        assert_eq!(fit(0, 0, 885 * 9), Fit::Fits);
        assert_eq!(fit(0, 0, 885 * 10), Fit::Tight);
        assert_eq!(fit(0, 0, 885 * 22), Fit::Evicts(885 * 12));
        assert_eq!(fit(10, 0, 1), Fit::Evicts(1));
        assert_eq!(fit(10, 100, 100), Fit::Fits);
        assert_eq!(fit(10, 100, 300), Fit::Evicts(200));
        // One page comes in addition to the limit, since the class has none.
        assert_eq!(judge(&server(100), slabs(0, 0), 885), Fit::Tight);
        assert_eq!(judge(&server(100), slabs(0, 0), 1770), Fit::Evicts(885));
        let mut stubborn = server(10 << 20);
        stubborn.settings.evicts = false;
        assert_eq!(judge(&stubborn, slabs(10, 0), 5), Fit::Refuses(5));
        // Pages that were taken from other classes.
        let mut freed = server(10 << 20);
        freed.stats.free_pages = 5;
        assert_eq!(judge(&freed, slabs(10, 0), 885), Fit::Fits);
    }

    #[test]
    fn a_node_that_does_not_tell_is_asked_for_nothing() {
        assert_eq!(judge(&server(0), slabs(1, 0), 100_000), Fit::Unknown);
        let proxy = ServerReport {
            is_proxy: true,
            ..server(1 << 20)
        };
        assert_eq!(judge(&proxy, slabs(1, 0), 100_000), Fit::Unknown);
    }

    #[test]
    fn where_chunks_are_others_bytes_are_counted_with_a_wide_margin() {
        let mut other = server(1184 * 1000);
        other.stats.item_bytes = 0;
        let fit = |items| judge(&other, SlabStats::default(), items);
        assert_eq!(fit(800), Fit::Fits);
        assert_eq!(fit(1200), Fit::Tight);
        assert_eq!(fit(2000), Fit::Evicts(1000));
    }

    #[test]
    fn what_surely_fits_need_not_be_looked_at() {
        let memory = NodeMemory::new(&server(1 << 30), slabs(0, 0));
        assert!(memory.surely_holds(100_000, 100 << 20));
        assert!(!memory.surely_holds(100_000, 900 << 20));
        assert!(!memory.surely_holds(10_000_000, 0));
        // Two chunks of 394,840 bytes make a page, so these need 1,000 pages of 880.
        let memory = NodeMemory::new(&server(880 << 20), slabs(0, 0));
        assert!(!memory.surely_holds(2_000, 2_000 * 320_000));
        assert!(memory.surely_holds(1_000, 1_000 * 320_000));
        // Nothing is certain if the chunks differ from what the settings make.
        let mut others = slabs(1, 0);
        others.classes.get_mut(&12).unwrap().chunk_size = 1 << 20;
        assert!(!NodeMemory::new(&server(1 << 30), others).surely_holds(1, 1));
    }
}
