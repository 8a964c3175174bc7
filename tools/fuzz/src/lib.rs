//! What `cargo fuzz` runs: one function a target, from any bytes to a panic
//! where mcsnap owes them something else.
//!
//! The checks themselves are those of the property tests in `tests/it`.

#[path = "../../../tests/it/harness/decoder_checks.rs"]
mod decoder_checks;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../../tests/it/harness/forge.rs"]
mod forge;
#[path = "../../../tests/it/harness/forge_manifest.rs"]
mod forge_manifest;
#[path = "../../../tests/it/harness/forge_recipe.rs"]
mod forge_recipe;
#[path = "../../../tests/it/harness/forge_warm_file.rs"]
mod forge_warm_file;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../../tests/it/harness/sound_segments.rs"]
mod sound_segments;

pub mod seeds;

use std::borrow::Cow;
use std::sync::LazyLock;

use mcsnap::codecs::format::manifest::Manifest;
use mcsnap::words::limits::Limits;

/// Raw sections of a segment are kept this short, in bytes: what a bomb of 64
/// MiB shows, one of 1 MiB shows in a tenth of the time and memory.
const SECTION_LEN_MAX: u64 = 1 << 20;

fn limits() -> Limits {
    Limits {
        key_section_len_max: SECTION_LEN_MAX,
        value_section_len_max: SECTION_LEN_MAX,
        value_part_len_max: SECTION_LEN_MAX,
        large_value_len_max: SECTION_LEN_MAX,
        ..Limits::default()
    }
}

/// Returns the segment that an input stands for, by its first byte: the rest
/// as it is (0), the rest with its checksums made right (1), the rest as a
/// recipe for a forged one (2, and so on in turn).
#[must_use]
pub fn segment_of(input: &[u8]) -> Cow<'_, [u8]> {
    match input.split_first() {
        None => Cow::Borrowed(input),
        Some((mode, rest)) => match mode % 3 {
            0 => Cow::Borrowed(rest),
            1 => Cow::Owned(forge_recipe::reseal(rest)),
            _ => Cow::Owned(forge_recipe::forge(rest)),
        },
    }
}

/// Reads all there is in a segment.
pub fn segment(input: &[u8]) {
    decoder_checks::check_segment(&segment_of(input), &limits());
}

/// Brings out of a segment what can be brought.
pub fn salvage(input: &[u8]) {
    decoder_checks::check_salvage(&segment_of(input), &limits());
}

/// Returns the manifest that an input stands for, by its first byte: the rest
/// as it is (0), or with its checksum made right (1).
#[must_use]
pub fn manifest_of(input: &[u8]) -> Cow<'_, [u8]> {
    match input.split_first() {
        None => Cow::Borrowed(input),
        Some((mode, rest)) if mode.is_multiple_of(2) => Cow::Borrowed(rest),
        Some((_, rest)) => Cow::Owned(forge_manifest::reseal(rest)),
    }
}

/// Reads a manifest for every need, and the same bytes as the other texts of a snapshot.
pub fn manifest(input: &[u8]) {
    static ROOT: LazyLock<Manifest> = LazyLock::new(forge_manifest::manifest);
    decoder_checks::check_manifest(&manifest_of(input), &ROOT, &limits());
}

/// Reads parts of a look-up object; the first byte is the number of its blocks.
pub fn look_up(input: &[u8]) {
    let (&blocks, rest) = input.split_first().unwrap_or((&0, input));
    decoder_checks::check_look_up(rest, blocks.into());
}

/// Reads the statistics of a segment.
pub fn stat_frame(input: &[u8]) {
    decoder_checks::check_statistics(input, &limits());
}

/// Takes the first byte for the length of the pieces in which the rest comes.
fn in_pieces(input: &[u8]) -> (usize, &[u8]) {
    match input.split_first() {
        Some((&len, stream)) => (usize::from(len).max(2), stream),
        None => (2, input),
    }
}

/// Reads the lines of a walk.
pub fn metadump_line(input: &[u8]) {
    let (piece_len, stream) = in_pieces(input);
    decoder_checks::check_walk(stream, piece_len);
}

/// Reads replies to meta commands.
pub fn meta_response(input: &[u8]) {
    let (piece_len, stream) = in_pieces(input);
    // A value of this length arrives within an input.
    decoder_checks::check_replies(stream, 512, piece_len);
}

/// Takes the first byte for what is known of the item that the expression in
/// the rest judges.
pub fn select(input: &[u8]) {
    let (told, text) = input
        .split_first()
        .map_or((0, input), |(&told, text)| (told, text));
    decoder_checks::check_select(&String::from_utf8_lossy(text), told);
}

/// Takes the first line for a ring, the second for its nodes, and the rest for a
/// key.
pub fn ring(input: &[u8]) {
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (ring, nodes) = (text(), text());
    let key = lines.next().unwrap_or_default();
    decoder_checks::check_ring(&ring, &nodes, key);
}

/// Reads statistics and settings.
pub fn stats(input: &[u8]) {
    let (piece_len, stream) = in_pieces(input);
    decoder_checks::check_stats(stream, piece_len);
}

/// Reads the list of a configuration endpoint.
pub fn cluster_config(input: &[u8]) {
    let (piece_len, stream) = in_pieces(input);
    decoder_checks::check_config(stream, piece_len);
}

/// Returns the `.meta` and the restart file that an input stands for, by its
/// first byte: the rest as a recipe for a forged file (0), the rest in place of
/// the start of a sound file (1), a `.meta` up to a zero byte and a file (2, and
/// so on in turn).
#[must_use]
pub fn warm_file_of(input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mode, rest) = input.split_first().unwrap_or((&0, &[]));
    match mode % 3 {
        0 => (forge_warm_file::meta(), forge_warm_file::forge(rest)),
        1 => {
            let mut file = forge_warm_file::sound();
            let len = rest.len().min(file.len());
            file[..len].copy_from_slice(&rest[..len]);
            (forge_warm_file::meta(), file)
        }
        _ => {
            let end = rest.iter().position(|&byte| byte == 0);
            let (meta, file) = rest.split_at(end.unwrap_or(rest.len()));
            (meta.to_vec(), file.get(1..).unwrap_or_default().to_vec())
        }
    }
}

/// Reads the restart file of a stopped server.
pub fn warm_file(input: &[u8]) {
    let (meta, file) = warm_file_of(input);
    decoder_checks::check_warm_file(&meta, &file);
}

/// Reads the lines of a listing.
pub fn cachedump_line(input: &[u8]) {
    let (piece_len, stream) = in_pieces(input);
    decoder_checks::check_listing(stream, piece_len);
}

/// Reads replies to `gets` and to sets.
pub fn classic_response(input: &[u8]) {
    let (piece_len, stream) = in_pieces(input);
    decoder_checks::check_gets(stream, piece_len);
}

/// Reads replies of the binary protocol.
pub fn binary_response(input: &[u8]) {
    let (piece_len, stream) = in_pieces(input);
    decoder_checks::check_binary(stream, piece_len);
}
