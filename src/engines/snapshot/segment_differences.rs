//! Compares a segment with what the manifest says of it.

use crate::codecs::format::manifest::{Digest128, ManifestSegment};
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::words::defect::{Defect, Structure};
use crate::words::units::to_u64;

impl SegmentReader {
    /// Returns where the table of contents says something else than the manifest (N8): of
    /// the counts, and of the content digests.
    pub fn differences_from(&self, named: &ManifestSegment) -> Vec<Defect> {
        let structure = Structure::Manifest;
        let toc = self.toc();
        let counts = [
            ("records", named.records, toc.record_count),
            ("blocks", named.blocks, to_u64(self.block_count())),
            ("key_bytes", named.key_bytes, toc.key_bytes),
            ("value_bytes", named.value_bytes, toc.value_bytes),
        ];
        let counts = counts.into_iter();
        let counts = counts.filter(|(_, stored, computed)| stored != computed);
        let counts = counts.map(|(field, stored, computed)| Defect::CountMismatch {
            structure,
            field,
            stored,
            computed,
        });
        let digests = [
            ("content_digest", named.content_digest, toc.digests.content),
            (
                "content_digest_exptime",
                named.content_digest_exptime,
                toc.digests.content_exptime,
            ),
        ];
        let digests = digests.into_iter();
        let digests = digests.filter(|(_, stored, computed)| stored.0 != *computed);
        let digests = digests.map(|(field, stored, computed)| Defect::DigestMismatch {
            structure,
            field,
            stored: stored.to_string(),
            computed: Digest128(computed).to_string(),
        });
        counts.chain(digests).collect()
    }
}
