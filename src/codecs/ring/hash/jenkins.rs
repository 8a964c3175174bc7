//! Two functions of Bob Jenkins: one-at-a-time and lookup3's `hashlittle`.

use crate::codecs::ring::hash::char_sign::CharSign;
use crate::codecs::ring::hash::words::{padded_word, wrapped_len};

pub(super) fn one_at_a_time(bytes: &[u8], sign: CharSign) -> u32 {
    let mut hash = 0_u32;
    for &byte in bytes {
        hash = hash.wrapping_add(sign.extend(byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

pub(super) fn jenkins(bytes: &[u8]) -> u32 {
    const BLOCK_LEN: usize = 12;
    /// `JENKINS_INITVAL` in libmemcached's jenkins.cc.
    const START: u32 = 13;
    let start = wrapped_len(bytes)
        .wrapping_add(0xdead_beef)
        .wrapping_add(START);
    let mut state = [start; 3];
    let mut rest = bytes;
    // The last block, full or not, is mixed differently.
    while let Some((block, more)) = rest.split_at_checked(BLOCK_LEN)
        && !more.is_empty()
    {
        add_block(&mut state, block);
        jenkins_mix(&mut state);
        rest = more;
    }
    if !rest.is_empty() {
        add_block(&mut state, rest);
        jenkins_finish(&mut state);
    }
    state[2]
}

fn add_block(state: &mut [u32; 3], block: &[u8]) {
    for (word, chunk) in state.iter_mut().zip(block.chunks(4)) {
        *word = word.wrapping_add(padded_word(chunk));
    }
}

fn jenkins_mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    *state = [a, b, c];
}

fn jenkins_finish(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    *state = [a, b, c];
}
