//! What an inspection shows, in whatever form.

use mcsnap::codecs::format::manifest::{Manifest, ManifestNode};
use mcsnap::codecs::statistics::LargeValue;
use mcsnap::jobs::inspect::{InspectReport, NodeShare};

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inspection<'a> {
    /// As the user named the snapshot.
    pub(super) place: &'a str,
    pub(super) manifest: &'a Manifest,
    /// One segment by itself; the manifest is made up of what that says.
    pub(super) is_lone_segment: bool,
    pub(super) report: &'a InspectReport,
}

impl<'a> Inspection<'a> {
    /// Visits the nodes that were looked at.
    pub(super) fn nodes(self) -> impl Iterator<Item = (&'a ManifestNode, &'a NodeShare)> {
        let nodes = self.manifest.nodes.iter().zip(&self.report.nodes);
        nodes.filter_map(|(node, share)| Some((node, share.as_ref()?)))
    }

    /// Returns the address of a record's node.
    pub(super) fn address(self, large: &LargeValue<'_>) -> &'a str {
        let node = self.manifest.nodes.get(large.node_index);
        node.map_or("", |node| node.address.as_str())
    }
}
