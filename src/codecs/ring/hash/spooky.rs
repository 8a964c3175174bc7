//! Bob Jenkins' SpookyHash V2, of which mcrouter uses the low 32 bits.

use crate::codecs::ring::hash::words::{low_half, padded_word_64};
use crate::words::units::to_u64;

/// `sc_const`: odd, and neither sparse nor regular.
const FILLER: u64 = 0xdead_beef_dead_beef;

/// Words of state of the long form.
const WORDS: usize = 12;

/// Bytes of a block of the long form.
const BLOCK_LEN: usize = WORDS * 8;

/// Shorter keys, in bytes, take the short form.
const LONG_FORM_MIN: usize = 2 * BLOCK_LEN;

/// `SpookyHashV2::Hash32`.
pub(in crate::codecs::ring) fn spooky32(bytes: &[u8], seed: u32) -> u32 {
    let seed = u64::from(seed);
    low_half(if bytes.len() < LONG_FORM_MIN {
        short(bytes, seed)
    } else {
        long(bytes, seed)
    })
}

fn short(bytes: &[u8], seed: u64) -> u64 {
    let mut state = [seed, seed, FILLER, FILLER];
    let mut rest = bytes;
    while let Some((block, more)) = rest.split_at_checked(32) {
        add_pair(&mut state, 2, block);
        short_mix(&mut state);
        add_pair(&mut state, 0, &block[16..]);
        rest = more;
    }
    if let Some((half, more)) = rest.split_at_checked(16) {
        add_pair(&mut state, 2, half);
        short_mix(&mut state);
        rest = more;
    }
    state[3] = state[3].wrapping_add(to_u64(bytes.len()) << 56);
    if rest.is_empty() {
        state[2] = state[2].wrapping_add(FILLER);
        state[3] = state[3].wrapping_add(FILLER);
    } else {
        add_pair(&mut state, 2, rest);
    }
    short_end(&mut state);
    state[0]
}

/// Adds up to 16 bytes to two words; missing ones are 0.
fn add_pair(state: &mut [u64; 4], at: usize, bytes: &[u8]) {
    let (low, high) = bytes.split_at(bytes.len().min(8));
    state[at] = state[at].wrapping_add(padded_word_64(low));
    state[at + 1] = state[at + 1].wrapping_add(padded_word_64(&high[..high.len().min(8)]));
}

fn short_mix(state: &mut [u64; 4]) {
    const TURNS: [u32; 12] = [50, 52, 30, 41, 54, 48, 38, 37, 62, 34, 5, 36];
    for (step, turn) in TURNS.into_iter().enumerate() {
        let [a, b, c] = [step + 2, step + 3, step].map(|index| index % 4);
        state[a] = state[a].rotate_left(turn).wrapping_add(state[b]);
        state[c] ^= state[a];
    }
}

fn short_end(state: &mut [u64; 4]) {
    const TURNS: [u32; 11] = [15, 52, 26, 51, 28, 9, 47, 54, 32, 25, 63];
    for (step, turn) in TURNS.into_iter().enumerate() {
        let [a, b] = [step + 3, step + 2].map(|index| index % 4);
        state[a] ^= state[b];
        state[b] = state[b].rotate_left(turn);
        state[a] = state[a].wrapping_add(state[b]);
    }
}

fn long(bytes: &[u8], seed: u64) -> u64 {
    let mut state: [u64; WORDS] = std::array::from_fn(|index| match index % 3 {
        0 | 1 => seed,
        _ => FILLER,
    });
    let (blocks, rest) = bytes.as_chunks::<BLOCK_LEN>();
    for block in blocks {
        long_mix(&mut state, &words_of(block));
    }
    // The last block is padded with zeros, and its last byte is its length.
    let mut last = [0_u8; BLOCK_LEN];
    last[..rest.len()].copy_from_slice(rest);
    last[BLOCK_LEN - 1] = u8::try_from(rest.len()).unwrap_or_default();
    for (word, added) in state.iter_mut().zip(words_of(&last)) {
        *word = word.wrapping_add(added);
    }
    for _ in 0..3 {
        long_end(&mut state);
    }
    state[0]
}

fn words_of(block: &[u8; BLOCK_LEN]) -> [u64; WORDS] {
    std::array::from_fn(|index| padded_word_64(&block[index * 8..index * 8 + 8]))
}

fn long_mix(state: &mut [u64; WORDS], data: &[u64; WORDS]) {
    const TURNS: [u32; WORDS] = [11, 32, 43, 31, 17, 28, 39, 57, 55, 54, 22, 46];
    for (i, (turn, word)) in TURNS.into_iter().zip(data).enumerate() {
        let at = |offset: usize| (i + offset) % WORDS;
        state[i] = state[i].wrapping_add(*word);
        state[at(2)] ^= state[at(10)];
        state[at(11)] ^= state[i];
        state[i] = state[i].rotate_left(turn);
        state[at(11)] = state[at(11)].wrapping_add(state[at(1)]);
    }
}

fn long_end(state: &mut [u64; WORDS]) {
    const TURNS: [u32; WORDS] = [44, 15, 34, 21, 38, 33, 10, 13, 38, 53, 42, 54];
    for (i, turn) in TURNS.into_iter().enumerate() {
        let at = |offset: usize| (i + offset) % WORDS;
        state[at(11)] = state[at(11)].wrapping_add(state[at(1)]);
        state[at(2)] ^= state[at(11)];
        state[at(1)] = state[at(1)].rotate_left(turn);
    }
}
