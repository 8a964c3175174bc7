//! What fetchers of values work for.

use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::select::{Candidate, Judgement, Selection};
use crate::engines::source::fetch::meaning::Reading;
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
    /// Of the connection.
    pub net: NetOptions,
    /// Most keys asked for at once; the brake may want fewer.
    pub batch_key_count_max: usize,
    /// Most bytes asked for at once, as far as the walk told sizes; one larger item
    /// is asked for last in its batch.
    pub batch_bytes_max: u64,
    /// Values longer than this come in pieces.
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

/// What a fetcher works for.
#[derive(Clone, Copy, Debug)]
pub struct FetchJob<'a> {
    /// Whom to ask.
    pub node: &'a NodeSpec,
    /// What it said of itself.
    pub server: &'a ServerReport,
    /// How to ask.
    pub strategy: ReadStrategy,
    /// How much at a time.
    pub options: &'a FetcherOptions,
    /// Which items to deliver.
    pub selection: &'a Selection,
    /// What was listed before; none where a walk lists every key once.
    pub seen: Option<&'a SeenKeys>,
    /// What every batch passes.
    pub brake: &'a NodeBrake,
    /// Stops it.
    pub cancel: &'a Cancel,
}

impl FetchJob<'_> {
    /// Judges by what the walk told; what that does not decide is judged again
    /// when the value is there.
    pub(in crate::engines::source) fn judge_early(
        &self,
        key: &[u8],
        walked: &WalkItem,
    ) -> Judgement {
        if self.selection.is_everything() {
            return Judgement::Keep;
        }
        let server = self.server;
        let reading = Reading::now(server);
        let key_len = to_u64(key.len());
        let candidate = Candidate {
            key,
            value_len: walked.exact_value_len(key_len, &server.settings),
            exptime: walked.exptime.map(|exptime| reading.to_host_clock(exptime)),
            last_access: walked.last_access.map(|at| server.to_host_time(at)),
            client_flags: walked.client_flags,
            slab_class: walked.class.map(SlabClass),
            now: reading.host_now,
        };
        let judgement = self.selection.judge_early(&candidate);
        let Some(value_lens) = walked.value_lens(key_len) else {
            return judgement;
        };
        // Most sizes that are asked for are far from an item's.
        if judgement == Judgement::Unknown && candidate.value_len.is_none() {
            return self.selection.judge_early_of(&candidate, value_lens);
        }
        judgement
    }
}
