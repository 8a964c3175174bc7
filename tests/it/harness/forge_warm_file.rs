//! A restart file byte by byte, small enough to try everything with: sound as
//! it is made, or with what a test or a fuzzer changes.

/// Bytes of a page; memcached's own are 1 MiB.
pub(crate) const PAGE_SIZE: usize = 4096;
/// The address of the first byte.
pub(crate) const BASE: u64 = 0x7f00_0000_0000;
/// Chunk sizes of the classes, from class 1 on.
const SIZES: [usize; 4] = [128, 256, 1000, 2048];
/// Each of the first pages is of the class of that number.
const PAGES: [u8; 8] = [1, 2, 3, 4, 4, 4, 0, 0];
/// Seconds of the server's clock when it stopped.
const NOW: u32 = 1000;

const LINKED: u16 = 1;
const CAS: u16 = 2;
const SLABBED: u16 = 4;
const CHUNKED: u16 = 32;
const CHUNK: u16 = 64;
const CFLAGS: u16 = 256;

/// Returns the `.meta` of such a file.
pub(crate) fn meta() -> Vec<u8> {
    let text = format!(
        "Tmain\nKslab_config 128-256-1000\nKmaxbytes {}\nKchunk_size 48\nKitem_size_max 8192\n\
         Kslab_chunk_size_max 2048\nKslab_page_size {PAGE_SIZE}\nKuse_cas true\n\
         Kslab_reassign true\nKcurrent_time {NOW}\nKprocess_started 1700000000\n\
         Kstop_time 1700001000\nKcurrent_cas 9\nKlogger_gid 1\nKhashpower 16\nKoldest_live 5\n\
         Kmmap_oldbase {BASE:#x}\n",
        PAGES.len() * PAGE_SIZE,
    );
    text.into_bytes()
}

/// Returns where a chunk begins.
pub(crate) fn offset_of(page: usize, number: usize) -> usize {
    let class = usize::from(PAGES[page]);
    page * PAGE_SIZE + number * SIZES[class - 1]
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    bytes[at..at + part.len()].copy_from_slice(part);
}

fn address(offset: usize) -> [u8; 8] {
    (BASE + u64::try_from(offset).expect("64 bits")).to_le_bytes()
}

/// Writes an item with a CAS, and returns where its data begins.
fn put_head(bytes: &mut [u8], at: usize, class: u8, flags: u16, key: &str, len: u32) -> usize {
    put(bytes, at + 24, &900_u32.to_le_bytes());
    put(bytes, at + 32, &(len + 2).to_le_bytes());
    put(bytes, at + 36, &1_u16.to_le_bytes());
    put(bytes, at + 38, &(LINKED | CAS | flags).to_le_bytes());
    put(
        bytes,
        at + 40,
        &[class, u8::try_from(key.len()).expect("a key")],
    );
    put(bytes, at + 48, &7_u64.to_le_bytes());
    put(bytes, at + 56, key.as_bytes());
    let end = at + 56 + key.len() + 1;
    if flags & CFLAGS == 0 {
        return end;
    }
    put(bytes, end, &30_u32.to_le_bytes());
    end + 4
}

/// Returns a sound file: `a`, `b` and `c` in a chunk each, the last expired, and
/// `long` in a chain of three, with 5000 bytes.
pub(crate) fn sound() -> Vec<u8> {
    let mut bytes = vec![0; PAGES.len() * PAGE_SIZE];
    for (page, &class) in PAGES.iter().enumerate().filter(|(_, class)| **class > 0) {
        for number in 0..PAGE_SIZE / SIZES[usize::from(class) - 1] {
            let at = offset_of(page, number);
            put(&mut bytes, at + 38, &SLABBED.to_le_bytes());
            bytes[at + 40] = class;
        }
    }
    for (page, number, key, len, exptime) in [
        (0, 3, "a", 20, 0),
        (1, 0, "b", 130, 2000),
        (0, 5, "c", 0, 999),
    ] {
        let at = offset_of(page, number);
        let class = PAGES[page];
        let data = put_head(&mut bytes, at, class, CFLAGS, key, len);
        put(&mut bytes, at + 28, &u32::to_le_bytes(exptime));
        let end = data + usize::try_from(len).expect("64 bits");
        bytes[data..end].fill(b'v');
        put(&mut bytes, end, b"\r\n");
    }
    let head = offset_of(1, 2);
    let first = put_head(&mut bytes, head, 4, CHUNKED, "long", 5000);
    bytes[first + 41] = 2;
    let mut previous = first;
    for (page, number, used) in [(3, 1, 2000), (5, 0, 2000), (2, 2, 1002 - 48)] {
        put_chunk(
            &mut bytes,
            previous,
            offset_of(page, number),
            PAGES[page],
            used,
        );
        previous = offset_of(page, number);
    }
    // The rest does not fit into a chunk of the small class.
    let last = offset_of(4, 0);
    put_chunk(&mut bytes, previous, last, 4, 5002 - 4000 - (1002 - 48));
    put(&mut bytes, last + 42 + 46, b"\r\n");
    bytes
}

fn put_chunk(bytes: &mut [u8], previous: usize, at: usize, class: u8, used: usize) {
    put(bytes, previous, &address(at));
    put(bytes, at + 8, &address(previous));
    let used_len = u32::try_from(used).expect("a chunk");
    put(bytes, at + 28, &used_len.to_le_bytes());
    put(bytes, at + 38, &CHUNK.to_le_bytes());
    bytes[at + 40] = class;
    bytes[at + 42..at + 42 + used].fill(b'w');
}

/// Returns the file that a recipe makes of a sound one: for every three bytes
/// one order: what to change, at which chunk, and how.
pub(crate) fn forge(recipe: &[u8]) -> Vec<u8> {
    let mut bytes = sound();
    let chunks: Vec<usize> = (0..PAGES.len())
        .filter(|&page| PAGES[page] > 0)
        .flat_map(|page| {
            let count = PAGE_SIZE / SIZES[usize::from(PAGES[page]) - 1];
            (0..count).map(move |number| offset_of(page, number))
        })
        .collect();
    // The head inside the long item is one to change, too.
    let inner = offset_of(1, 2) + 56 + 4 + 1;
    let places: Vec<usize> = [inner, offset_of(1, 2), offset_of(0, 3)]
        .into_iter()
        .chain([
            offset_of(3, 1),
            offset_of(5, 0),
            offset_of(2, 2),
            offset_of(4, 0),
        ])
        .chain(chunks)
        .collect();
    for order in recipe.chunks_exact(3) {
        let [what, place, how] = [order[0], order[1], order[2]].map(usize::from);
        let at = places[place % places.len()];
        let other = places[how % places.len()];
        match what % 8 {
            0 => put(&mut bytes, at, &address(other)),
            1 => put(&mut bytes, at + 8, &address(other)),
            2 => bytes[at + 38] ^= 1 << (how % 8),
            3 => bytes[at + 39] ^= 1 << (how % 8),
            4 => put(&mut bytes, at + 40, &[order[2]]),
            5 => put(&mut bytes, at + 41, &[order[2]]),
            6 => {
                // A length that is nearly right, or nearly the largest.
                let field = at + if how % 2 == 0 { 28 } else { 32 };
                bytes[field + how % 4] ^= 1 << (how / 4 % 8);
            }
            _ => bytes[at + how % 64] ^= 1 << (how % 7),
        }
    }
    bytes
}
