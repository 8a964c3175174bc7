//! What the fetchers of a node share.

use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::select::{Candidate, Judgement, Selection};
use crate::engines::source::fetch::reply_context::ReplyContext;
use crate::engines::source::seen_keys::SeenKeys;
use crate::engines::source::strategy::ReadStrategy;
use crate::ports::net::{NetOptions, NodeBrake, ServerReport};
use crate::words::cancel::Cancel;
use crate::words::item::SlabClass;
use crate::words::limits::{LARGE_VALUE_LEN_MAX, VALUE_INLINE_LEN_MAX};
use crate::words::node::NodeSpec;
use crate::words::units::to_u64;

/// How values are read.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// Connection options.
    pub net: NetOptions,
    /// The most keys requested at once; the brake may allow fewer.
    pub batch_key_count_max: usize,
    /// The most bytes requested at once, as far as the walk reported sizes. One larger
    /// item may end a batch.
    pub batch_bytes_max: u64,
    /// Values longer than this are read in pieces.
    pub whole_value_len_max: u64,
    /// Values longer than this are refused.
    pub value_len_max: u64,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        Self {
            net: NetOptions::default(),
            batch_key_count_max: 1024,
            batch_bytes_max: 1 << 20,
            whole_value_len_max: VALUE_INLINE_LEN_MAX,
            value_len_max: LARGE_VALUE_LEN_MAX,
        }
    }
}

/// The node to fetch from, and how to fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchJob<'a> {
    /// The node.
    pub node: &'a NodeSpec,
    /// What the node reported about itself.
    pub server: &'a ServerReport,
    /// The commands to use.
    pub strategy: ReadStrategy,
    /// How much to request at a time.
    pub options: &'a FetcherOptions,
    /// Which items are wanted.
    pub selection: &'a Selection,
    /// The keys listed so far; `None` if the walk lists every key once.
    pub seen: Option<&'a SeenKeys>,
    /// The brake that every batch passes.
    pub brake: &'a NodeBrake,
    /// Stops the fetchers.
    pub cancel: &'a Cancel,
}

impl FetchJob<'_> {
    /// Judges a key by its walk line. If that does not decide it, the item is judged
    /// again when the value arrives.
    pub(in crate::engines::source) fn judge_early(
        &self,
        key: &[u8],
        walked: &WalkItem,
    ) -> Judgement {
        if self.selection.is_everything() {
            return Judgement::Keep;
        }
        let server = self.server;
        let context = ReplyContext::now(server);
        let key_len = to_u64(key.len());
        let candidate = Candidate {
            key,
            value_len: walked.exact_value_len(key_len, &server.settings),
            exptime: walked.exptime.map(|exptime| context.to_host_clock(exptime)),
            last_access: walked.last_access.map(|at| server.to_host_time(at)),
            client_flags: walked.client_flags,
            slab_class: walked.class.map(SlabClass),
            now: context.host_now,
        };
        let judgement = self.selection.judge_early(&candidate);
        let Some(value_lens) = walked.value_lens(key_len) else {
            return judgement;
        };
        // Most size limits in selections are far from an item's size.
        if judgement == Judgement::Unknown && candidate.value_len.is_none() {
            return self.selection.judge_early_of(&candidate, value_lens);
        }
        judgement
    }
}
