//! The items that servers are filled with: the same in every run.

use std::fs;
use std::path::Path;

/// Bytes of each kind that values are cut from.
const SOURCE_LEN: usize = 4 << 20;

/// What values are cut from: text of words, and noise that does not compress.
#[derive(Debug)]
pub(crate) struct Source {
    words: Vec<u8>,
    noise: Vec<u8>,
}

impl Source {
    pub(crate) fn make() -> Self {
        let mut state = 42;
        let vocabulary: Vec<Vec<u8>> = (0..2000)
            .map(|_| {
                (0..3 + next(&mut state) % 7)
                    .map(|_| b'a' + (next(&mut state) % 26) as u8)
                    .collect()
            })
            .collect();
        let mut words = Vec::new();
        while words.len() < SOURCE_LEN {
            words.extend_from_slice(&vocabulary[next(&mut state) as usize % vocabulary.len()]);
            words.push(b' ');
        }
        words.truncate(SOURCE_LEN);
        let noise = (0..SOURCE_LEN).map(|_| next(&mut state) as u8).collect();
        Self { words, noise }
    }

    /// Writes it to a file, from which a floor reads it: to make it anew would take longer.
    pub(crate) fn save(&self, file: &Path) {
        fs::write(file, [&self.words[..], &self.noise].concat()).unwrap();
    }

    pub(crate) fn load(file: &Path) -> Self {
        let mut words = fs::read(file).unwrap();
        let noise = words.split_off(SOURCE_LEN);
        Self { words, noise }
    }

    /// Words or, for three in ten, noise: some 2,200 bytes on average.
    pub(crate) fn value(&self, number: u64) -> &[u8] {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let len = match next(&mut state) % 10 {
            0..5 => 50 + next(&mut state) % 450,
            5..9 => 500 + next(&mut state) % 3500,
            _ => 4000 + next(&mut state) % 16_000,
        } as usize;
        let is_text = next(&mut state) % 10 < 7;
        let source = if is_text { &self.words } else { &self.noise };
        let start = next(&mut state) as usize % (source.len() - len);
        &source[start..start + len]
    }
}

pub(crate) fn key(number: u64) -> String {
    let kind = ["profile", "session", "feed"][(number % 3) as usize];
    format!("user:{number}:{kind}")
}

/// Half of the items expire, in a day.
pub(crate) fn ttl(number: u64) -> u64 {
    if number.is_multiple_of(2) { 0 } else { 86_400 }
}

pub(crate) fn flags(number: u64) -> u64 {
    number % 3
}

fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}
