//! Names of segments, by which a look-up object leads to them. FORMAT.md 5.15.

use crate::codecs::format::ids::SegmentId;

/// The folder of the segments, beside the manifest.
pub const FOLDER: &str = "segments";

/// Makes the name of a segment, relative to the manifest's directory.
pub fn segment_object(node: u32, shard: u64, sequence: u32, id: SegmentId) -> String {
    let file = segment_file_name(node, shard, sequence, id);
    format!("{FOLDER}/{file}")
}

/// Makes the name of a segment's file, below [`FOLDER`].
pub fn segment_file_name(node: u32, shard: u64, sequence: u32, id: SegmentId) -> String {
    let id = id.to_string();
    let id = id.get(..8).unwrap_or(&id);
    format!("n{node:04}-s{shard:03}-{sequence:05}-{id}.mcs")
}

/// Reports whether a file name has the form that [`segment_file_name`] makes.
pub fn is_segment_file_name(file: &str) -> bool {
    let is_number = |text: &str, least: usize| {
        text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<&str> = file
        .strip_suffix(".mcs")
        .map(|stem| stem.split('-').collect())
        .unwrap_or_default();
    let &[node, shard, sequence, id] = parts.as_slice() else {
        return false;
    };
    node.strip_prefix('n')
        .is_some_and(|node| is_number(node, 4))
        && shard
            .strip_prefix('s')
            .is_some_and(|shard| is_number(shard, 3))
        && is_number(sequence, 5)
        && id.len() == 8
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the index of a segment's node, from the name of its file.
pub fn node_of_file(file: &str) -> Option<u32> {
    let (node, _) = file.strip_prefix('n')?.split_once('-')?;
    node.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_segment_is_one() {
        let name = segment_file_name(3, 1, 12, SegmentId([0xab; 16]));
        assert_eq!(name, "n0003-s001-00012-abababab.mcs");
        assert!(is_segment_file_name(&name));
        assert!(is_segment_file_name("n12345-s1000-123456-00000000.mcs"));
        assert_eq!(node_of_file(&name), Some(3));
        for other in [
            "manifest.json",
            "n0003-s001-00012-abababab",
            "n0003-s001-00012-abababax.mcs",
            "n003-s001-00012-abababab.mcs",
            "0003-s001-00012-abababab.mcs",
            "n0003-s001-00012-abababab-x.mcs",
        ] {
            assert!(!is_segment_file_name(other), "{other}");
        }
    }
}
