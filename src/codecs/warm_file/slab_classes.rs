//! The chunk sizes of the slab classes. `slabs_init` in slabs.c.

use crate::codecs::warm_file::layout::ITEM_HEADER_LEN;
use crate::codecs::warm_file::meta::Meta;
use crate::codecs::warm_file::refusal::Refusal;

/// The chunk size of each class, and the number of its chunks in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlabClasses {
    page_size: usize,
    /// Chunk sizes of class 1, class 2, and so on, in bytes.
    sizes: Vec<usize>,
}

impl SlabClasses {
    /// Most classes. `MAX_NUMBER_OF_SLAB_CLASSES` in memcached.h also counts class 0,
    /// which holds no items.
    pub const COUNT_MAX: usize = 63;
    /// Sizes are multiples of this; `CHUNK_ALIGN_BYTES` in memcached.h.
    const ALIGN: u32 = 8;

    /// Computes the sizes as the server did.
    ///
    /// # Errors
    ///
    /// - [`Refusal`]: no server has such a configuration.
    pub fn of(meta: &Meta) -> Result<Self, Refusal> {
        let mut sizes = match Layout::of(meta)? {
            Layout::Sizes(sizes) => sizes,
            Layout::Factor(factor) => by_factor(meta.chunk_size, meta.slab_chunk_size_max, factor),
        };
        // Only sizes from a list can be this small; memcached would write the start of one item
        // over the end of another.
        let too_small =
            |&&size: &&u32| usize::try_from(size).is_ok_and(|size| size < ITEM_HEADER_LEN);
        if let Some(&size) = sizes.iter().find(too_small) {
            return Err(Refusal::TinyChunks { size });
        }
        sizes.push(meta.slab_chunk_size_max);
        let to_usize = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Self {
            page_size: to_usize(meta.slab_page_size),
            sizes: sizes.into_iter().map(to_usize).collect(),
        })
    }

    /// Returns the classes of a server with default options: `-n 48`, `-f 1.25`, pages of
    /// 1 MiB, chunks of up to half a page.
    pub fn of_defaults() -> Self {
        const CHUNK_SIZE_MAX: u32 = 512 << 10;
        Self::of_options(48, 1.25, CHUNK_SIZE_MAX)
    }

    /// Returns the classes of a server with the given `-n`, `-f` and `slab_chunk_max`, in
    /// bytes; pages have 1 MiB.
    pub fn of_options(chunk_room_min: u32, factor: f64, chunk_size_max: u32) -> Self {
        // A factor that does not grow would repeat the same class forever.
        let mut sizes = by_factor(chunk_room_min, chunk_size_max, factor.max(1.01));
        sizes.push(chunk_size_max);
        let to_usize = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        Self {
            page_size: 1 << 20,
            sizes: sizes.into_iter().map(to_usize).collect(),
        }
    }

    /// Returns the number of classes, which is also the number of the largest class.
    pub fn count(&self) -> u8 {
        u8::try_from(self.sizes.len()).unwrap_or(u8::MAX)
    }

    /// Returns the chunk size of a class in bytes; `None` if the class does not exist.
    pub fn size(&self, class: u8) -> Option<usize> {
        let index = usize::from(class).checked_sub(1)?;
        self.sizes.get(index).copied()
    }

    /// Returns the number of chunks of a class in a page; `None` if the class does not
    /// exist.
    pub fn chunk_count(&self, class: u8) -> Option<usize> {
        self.page_size.checked_div(self.size(class)?)
    }

    /// Returns the class of an item of this many bytes: the smallest class that it fits
    /// in, or the largest class if it fits in none. `slabs_clsid` in slabs.c.
    pub fn class_of(&self, len: usize) -> u8 {
        let smaller = self.sizes.partition_point(|&size| size < len);
        let class = u8::try_from(smaller.saturating_add(1)).unwrap_or(u8::MAX);
        class.min(self.count())
    }
}

/// The two ways to specify the classes.
enum Layout {
    Factor(f64),
    Sizes(Vec<u32>),
}

impl Layout {
    fn of(meta: &Meta) -> Result<Self, Refusal> {
        let text = meta.slab_config.as_str();
        let wrong = |wanted| Refusal::WrongField {
            field: "slab_config",
            found: crate::codecs::warm_file::refusal::shown(text.as_bytes()),
            wanted,
        };
        let whole: Option<u32> = text.parse().ok();
        // A single number can be either a list of one size or a factor. A size is never below
        // `-n`, and is useless if no item fits; a factor is never so large.
        let is_size = whole.is_some_and(|size| size >= meta.chunk_size.max(48));
        if !is_size && !text.contains('-') {
            let factor: Option<f64> = text.trim().parse().ok();
            return match factor {
                Some(factor) if factor > 1.0 && factor.is_finite() => Ok(Self::Factor(factor)),
                Some(_) | None => Err(wrong("a factor above 1, or sizes")),
            };
        }
        let mut sizes = Vec::new();
        let mut last = 0;
        for part in text.split('-').filter(|part| !part.is_empty()) {
            let size: Option<u32> = part.parse().ok();
            let size = size.filter(|&size| {
                size > last && size <= meta.slab_chunk_size_max && size >= meta.chunk_size
            });
            let size = size.ok_or_else(|| wrong("sizes that grow up to slab_chunk_size_max"))?;
            last = size;
            sizes.push(aligned(size));
            if sizes.len() >= SlabClasses::COUNT_MAX {
                return Err(wrong("at most 62 sizes"));
            }
        }
        if sizes.is_empty() {
            return Err(wrong("a factor above 1, or sizes"));
        }
        Ok(Self::Sizes(sizes))
    }
}

fn by_factor(chunk_size: u32, chunk_size_max: u32, factor: f64) -> Vec<u32> {
    let most = f64::from(chunk_size_max) / factor;
    let header_len = u32::try_from(ITEM_HEADER_LEN).unwrap_or(u32::MAX);
    let mut size = header_len.saturating_add(chunk_size);
    let mut sizes = Vec::new();
    while sizes.len() < SlabClasses::COUNT_MAX.saturating_sub(1) && f64::from(size) < most {
        size = aligned(size);
        sizes.push(size);
        size = times(size, factor);
    }
    sizes
}

fn aligned(size: u32) -> u32 {
    size.checked_next_multiple_of(SlabClasses::ALIGN)
        .unwrap_or(size)
}

/// Multiplies as C does: in floating point, truncated to a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cut is what the server did; both numbers are positive, and a sum too large stops at the end"
)]
fn times(size: u32, factor: f64) -> u32 {
    (f64::from(size) * factor) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(slab_config: &str, chunk_size: u32) -> Result<Vec<usize>, Refusal> {
        let text = format!(
            "Tmain\nKslab_config {slab_config}\nKmaxbytes 67108864\nKchunk_size {chunk_size}\n\
             Kitem_size_max 1048576\nKslab_chunk_size_max 524288\nKslab_page_size 1048576\n\
             Kuse_cas true\nKslab_reassign true\nKcurrent_time 63\nKprocess_started 1\n\
             Kstop_time 64\nKoldest_live 0\nKmmap_oldbase 0x7f3ad5200000\n"
        );
        let meta = Meta::parse(text.as_bytes()).unwrap();
        SlabClasses::of(&meta).map(|classes| classes.sizes)
    }

    // tests/it/warm_file.rs compares this with real servers.
    #[test]
    fn sizes_are_those_of_the_server() {
        let sizes = classes("1.25", 48).unwrap();
        assert_eq!(sizes.len(), 39);
        assert_eq!(sizes[..5], [96, 120, 152, 192, 240]);
        assert_eq!(sizes[37..], [394_840, 524_288]);
        assert_eq!(sizes, SlabClasses::of_defaults().sizes);
        assert_eq!(classes("1.08", 72).unwrap().len(), SlabClasses::COUNT_MAX);
        assert_eq!(
            classes("100-200-5000", 48).unwrap(),
            [104, 200, 5000, 524_288]
        );
        // A list of one size and a factor only differ in magnitude.
        assert_eq!(classes("100", 48).unwrap(), [104, 524_288]);
        assert_eq!(classes("2", 48).unwrap()[..3], [96, 192, 384]);
    }

    #[test]
    fn an_item_is_of_the_smallest_class_it_fits_in() {
        let classes = SlabClasses {
            page_size: 4096,
            sizes: vec![96, 200, 2048],
        };
        let found = [0, 96, 97, 200, 201, 9999].map(|len| classes.class_of(len));
        assert_eq!(found, [1, 1, 2, 2, 3, 3]);
        assert_eq!(classes.size(0), None);
        assert_eq!(classes.size(4), None);
        assert_eq!(classes.chunk_count(2), Some(20));
    }

    #[test]
    fn what_no_server_takes_is_refused() {
        for config in [
            "",
            "1",
            "0.5",
            "-1",
            "nan",
            "inf",
            "x",
            "--",
            "200-100",
            "1-2",
            "60-600000",
        ] {
            assert!(classes(config, 48).is_err(), "{config}");
        }
        let many: Vec<String> = (1..64).map(|number| (number * 100).to_string()).collect();
        assert!(classes(&many.join("-"), 48).is_err());
        assert_eq!(classes("8-100", 1), Err(Refusal::TinyChunks { size: 8 }));
    }
}
