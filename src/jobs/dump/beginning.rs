//! Decides where a dump begins: anew, or where an unfinished one stopped.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::codecs::format::ids::SnapshotId;
use crate::codecs::format::journal::{Journal, JournalNode};
use crate::codecs::format::manifest::{Manifest, ManifestSegment, Verdict};
use crate::codecs::format::moment::{moment_text, parse_moment};
use crate::engines::snapshot::{
    Leftover, SnapshotDraft, Unfinished, check_name_is_free, find_journal, find_manifest,
    find_sealed_nodes, list_unfinished_dumps, replace_unfinished,
};
use crate::engines::source::SourceNode;
use crate::jobs::dump::node::change_since;
use crate::jobs::dump::node_plan::NodePlan;
use crate::jobs::dump::plan::{DumpPlan, Start};
use crate::jobs::dump::report::Kept;
use crate::ports::host;
use crate::ports::net::ServerReport;
use crate::ports::store::Store;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::node::NodeSpec;
use crate::words::units::{UnixSecs, counted};

/// How far in the future an unfinished dump may seem to have begun, since it may have
/// used another host's clock.
const FUTURE_MAX: Duration = Duration::from_secs(5);

/// Why an unfinished dump cannot be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unfit {
    /// It began this long ago.
    Old(Duration),
    /// It began this far in the future.
    Future(Duration),
    /// All servers with sealed segments have lost their items since; this is one of them.
    Changed(String),
}

impl DumpPlan {
    /// Decides where the dump begins, and changes nothing. [`DumpPlan::run`] does this
    /// itself if it has not been done.
    ///
    /// Warns of each unfinished dump of these servers that this one does not resume.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the name belongs to a finished snapshot, or to an unfinished
    ///   dump with other servers, another order of them, another selection or other
    ///   shards.
    /// - `Corrupt`, `Newer`: the manifest of a finished one cannot be read.
    /// - `Io`.
    pub fn settle(mut self, store: &Arc<dyn Store>) -> Result<Self> {
        let Some(resume) = &self.options.resume else {
            self.start = Some(Start::Anew);
            return Ok(self);
        };
        let start = if resume.is_any_name {
            self.find_start(store)?
        } else {
            self.find_start_of_name(store)?
        };
        let name = match &start {
            Start::Resume { name } => name,
            Start::Anew | Start::Replace { .. } => &self.options.name,
        };
        // A number of shards that is not given again stays as it was.
        if resume.takes_shard_bits
            && matches!(start, Start::Resume { .. })
            && let Some(journal) = find_journal(&**store, name)
        {
            self.options.shard_bits = journal.shard_bits;
        }
        self.start = Some(start);
        Ok(self)
    }

    /// Returns the name that the snapshot will have. It differs from the requested name
    /// if the dump resumes one with another name.
    pub fn name(&self) -> &str {
        match &self.start {
            Some(Start::Resume { name }) => name,
            Some(Start::Anew | Start::Replace { .. }) | None => &self.options.name,
        }
    }

    /// Looks for a dump of these servers that can be resumed, under any name.
    fn find_start(&self, store: &Arc<dyn Store>) -> Result<Start> {
        if let Some(manifest) = find_manifest(store, &self.options.name)? {
            return Err(name_taken(&self.options.name, &manifest));
        }
        let store = &**store;
        let mut names = Vec::new();
        let mut unfit_dumps = Vec::new();
        for (name, journal) in list_unfinished_dumps(store)? {
            let addresses = addresses_of(&journal);
            let is_related = |plan: &NodePlan| addresses.contains(&plan.node.address());
            if !self.nodes.iter().any(is_related) {
                continue;
            }
            let place = store.describe(&name);
            if self.check_same(&journal).is_err() {
                // It may belong to another job, so it must not stop this one.
                tracing::warn!(
                    "{place} is an unfinished dump of {}, with the selection \"{}\" and {} a \
                     server; this one is another, and goes on with nothing of it",
                    addresses.join(" "),
                    journal.select.as_deref().unwrap_or("all"),
                    shards_text(journal.shard_bits),
                );
            } else if let Some(unfit) = self.find_unfit(store, &name, &journal)? {
                unfit_dumps.push((name, self.describe_unfit(&place, &journal, &unfit)));
            } else {
                names.push(name);
            }
        }
        let is_own = |name: &&String| **name == self.options.name;
        let start = match names.as_slice() {
            [name] => Start::Resume { name: name.clone() },
            // The name may contain the date, and today's first run did not finish.
            several => match several.iter().find(is_own) {
                Some(name) => Start::Resume { name: name.clone() },
                None => self.find_anew(store),
            },
        };
        for (name, unfit) in unfit_dumps {
            tracing::warn!("{unfit}; {}", self.describe_start(store, &start, &name));
        }
        if names.len() > 1 {
            let places: Vec<String> = names.iter().map(|name| store.describe(name)).collect();
            let what_now = match &start {
                Start::Resume { name } => {
                    format!("this dump goes on with {}. Remove", store.describe(name))
                }
                Start::Anew | Start::Replace { .. } => "this dump starts anew. To go on with one \
                                                        pass --resume with its --name; remove"
                    .to_owned(),
            };
            tracing::warn!(
                "there are several unfinished dumps of these servers: {}; {what_now} the \
                 directories of the others, or make snapshots of them by mcsnap salvage",
                places.join(", "),
            );
        }
        Ok(start)
    }

    /// Decides how a dump starts under the requested name if it resumes nothing. It
    /// replaces an unfinished dump of that name if that is the same dump.
    fn find_anew(&self, store: &dyn Store) -> Start {
        let own = find_journal(store, &self.options.name);
        match own.filter(|journal| self.check_same(journal).is_ok()) {
            Some(journal) => Start::Replace {
                id: journal.snapshot_id,
            },
            None => Start::Anew,
        }
    }

    /// Describes what happens instead of resuming an unfinished dump.
    fn describe_start(&self, store: &dyn Store, start: &Start, name: &str) -> String {
        let place = store.describe(name);
        let what_now = match start {
            Start::Replace { .. } if name == self.options.name => {
                return "this dump starts anew, in its place".to_owned();
            }
            Start::Replace { .. } | Start::Anew => "starts anew, under another name".to_owned(),
            Start::Resume { name } => format!("goes on with {}", store.describe(name)),
        };
        format!(
            "this dump {what_now}. Remove the directory {place}, or make a snapshot of it by mcsnap \
             salvage"
        )
    }

    /// Looks at what exists under the requested name.
    fn find_start_of_name(&self, store: &Arc<dyn Store>) -> Result<Start> {
        let name = &self.options.name;
        if let Some(manifest) = find_manifest(store, name)? {
            return Err(name_taken(name, &manifest));
        }
        let store = &**store;
        let resumed = Start::Resume { name: name.clone() };
        // If the journal cannot be read, the attempt to resume returns the reason.
        let Some(journal) = find_journal(store, name) else {
            return Ok(resumed);
        };
        self.check_same(&journal)?;
        let Some(unfit) = self.find_unfit(store, name, &journal)? else {
            return Ok(resumed);
        };
        let place = store.describe(name);
        tracing::warn!(
            "{}; this dump starts anew, in its place",
            self.describe_unfit(&place, &journal, &unfit),
        );
        let id = journal.snapshot_id;
        Ok(Start::Replace { id })
    }

    /// Returns why an unfinished dump of these servers cannot be resumed, if so.
    fn find_unfit(
        &self,
        store: &dyn Store,
        name: &str,
        journal: &Journal,
    ) -> Result<Option<Unfit>> {
        let age_max = self.options.resume.as_ref().map(|resume| resume.age_max);
        let now = host::now();
        let began_at = started_at(journal);
        let ahead = Duration::from_secs(began_at.0.saturating_sub(now.0));
        if ahead > FUTURE_MAX {
            return Ok(Some(Unfit::Future(ahead)));
        }
        let age = age_of(began_at, now);
        if age_max.is_some_and(|age_max| age > age_max) {
            return Ok(Some(Unfit::Old(age)));
        }
        let sealed = find_sealed_nodes(store, name)?;
        let mut changed = None;
        for &index in &sealed {
            match self.find_changed(index, journal) {
                // The items of this server are a reason to resume.
                None => return Ok(None),
                Some(address) => {
                    changed.get_or_insert(address);
                }
            }
        }
        Ok(changed.map(Unfit::Changed))
    }

    /// Returns the node's address if its server was restarted or flushed since the
    /// journal was written.
    fn find_changed(&self, index: u32, journal: &Journal) -> Option<String> {
        let index = usize::try_from(index).ok()?;
        let plan = self.nodes.get(index)?;
        let source = plan.source.as_ref().ok()?;
        change_since(journal.nodes.get(index)?, &source.server)?;
        Some(plan.node.address())
    }

    fn describe_unfit(&self, place: &str, journal: &Journal, unfit: &Unfit) -> String {
        let began = &journal.started_at;
        match unfit {
            Unfit::Old(age) => {
                let resume = self.options.resume.as_ref();
                let age_max = resume.map(|resume| resume.age_max).unwrap_or_default();
                format!(
                    "{place} is an unfinished dump of these servers that began at {began}, {} ago, \
                     and none that is older than {} is resumed",
                    span_text(*age),
                    span_text(age_max),
                )
            }
            Unfit::Future(ahead) => format!(
                "{place} is an unfinished dump of these servers that began at {began}, which is {} \
                 from now by this host's clock",
                span_text(*ahead),
            ),
            Unfit::Changed(node) => format!(
                "{place} is an unfinished dump of these servers that began at {began}, and {node} \
                 was restarted or flushed since"
            ),
        }
    }

    /// Reports what a run would keep of an unfinished dump, and changes nothing. Only a
    /// run finds out whether the servers still have those items.
    ///
    /// # Errors
    ///
    /// - Those with which [`DumpPlan::run`] would refuse to begin.
    pub fn preview(&self, store: Arc<dyn Store>) -> Result<Kept> {
        let plan = self.settled(&store)?;
        let name = match &plan.start {
            Some(Start::Resume { name }) => name,
            Some(Start::Replace { .. }) => return Ok(Kept::default()),
            Some(Start::Anew) | None => {
                check_name_is_free(&*store, &plan.options.name)?;
                return Ok(Kept::default());
            }
        };
        let found = match Leftover::preview(Arc::clone(&store), name) {
            Err(error) if plan.may_start_anew(&error) => {
                if plan.find_anew(&*store) == Start::Anew {
                    check_name_is_free(&*store, &plan.options.name)?;
                }
                return Ok(Kept::default());
            }
            found => found?,
        };
        match found {
            Leftover::Nothing => Ok(Kept::default()),
            Leftover::Finished(manifest) => Err(name_taken(name, &manifest)),
            Leftover::Unfinished(unfinished) => {
                plan.check_same(&unfinished.journal)?;
                let all = unfinished.kept.iter();
                let kept: Vec<ManifestSegment> = all
                    .filter(|segment| plan.may_keep(segment, &unfinished.journal))
                    .cloned()
                    .collect();
                let now = host::now();
                let began_at = started_at(&unfinished.journal);
                let age = age_of(began_at, now);
                Ok(Kept::of(&unfinished.kept, &kept).since(began_at, age))
            }
        }
    }

    /// Reports whether a segment may be kept, as far as is known before its server is
    /// listed.
    fn may_keep(&self, segment: &ManifestSegment, journal: &Journal) -> bool {
        let index = usize::try_from(segment.node_index).ok();
        let plan = index.and_then(|index| self.nodes.get(index));
        let is_comparable = match plan.map(|plan| &plan.source) {
            Some(Ok(source)) => source.lists_cas(),
            // It is kept in a partial snapshot in any case.
            Some(Err(_)) => true,
            None => false,
        };
        is_comparable && self.find_changed(segment.node_index, journal).is_none()
    }

    /// Returns the plan with its start decided.
    pub(super) fn settled(&self, store: &Arc<dyn Store>) -> Result<Self> {
        match self.start {
            Some(_) => Ok(self.clone()),
            None => self.clone().settle(store),
        }
    }

    /// Reports whether the job may start anew if a dump cannot be resumed, because the
    /// user did not name that dump.
    fn may_start_anew(&self, error: &Error) -> bool {
        let is_any_name = self.options.resume.as_ref();
        is_any_name.is_some_and(|resume| resume.is_any_name)
            && matches!(
                error.kind(),
                ErrorKind::Corrupt(_)
                    | ErrorKind::InvalidInput { .. }
                    | ErrorKind::Newer { .. }
                    | ErrorKind::LimitExceeded { .. }
            )
    }

    /// Begins the dump as decided.
    pub(super) fn begin(&self, store: Arc<dyn Store>) -> Result<StartedDump> {
        self.begin_as(store, self.start.as_ref().unwrap_or(&Start::Anew))
    }

    fn begin_as(&self, store: Arc<dyn Store>, start: &Start) -> Result<StartedDump> {
        let mut started = self.begin_somehow(store, start)?;
        let directory = self.options.spool_directory.clone();
        started.snapshot = started.snapshot.with_scratch_directory(directory);
        Ok(started)
    }

    fn begin_somehow(&self, store: Arc<dyn Store>, start: &Start) -> Result<StartedDump> {
        let name = match start {
            Start::Anew => return self.begin_anew(store, &self.options.name),
            Start::Replace { id } => {
                let name = &self.options.name;
                let journal = |id| self.journal(id);
                let (snapshot, journal) = replace_unfinished(store, name, *id, journal)?;
                return Ok(StartedDump::new(snapshot, journal, Vec::new()));
            }
            Start::Resume { name } => name,
        };
        match Leftover::find(Arc::clone(&store), name) {
            Ok(Leftover::Nothing) => self.begin_anew(store, name),
            Ok(Leftover::Finished(manifest)) => Err(name_taken(name, &manifest)),
            Ok(Leftover::Unfinished(unfinished)) => {
                self.check_same(&unfinished.journal)?;
                unfinished.take_over()?;
                Ok(StartedDump::resumed(*unfinished))
            }
            Err(error) if self.may_start_anew(&error) => {
                let start = self.find_anew(&*store);
                tracing::warn!(
                    "cannot resume an unfinished dump of these servers: {}; {}",
                    error.to_chain(),
                    self.describe_start(&*store, &start, name),
                );
                self.begin_somehow(store, &start)
            }
            Err(error) => Err(error),
        }
    }

    fn begin_anew(&self, store: Arc<dyn Store>, name: &str) -> Result<StartedDump> {
        let snapshot = SnapshotDraft::begin(store, name)?;
        let journal = self.journal(snapshot.id());
        if let Err(error) = snapshot.write_journal(&journal) {
            snapshot.discard();
            return Err(error);
        }
        Ok(StartedDump::new(snapshot, journal, Vec::new()))
    }

    /// Makes a journal of everything that must be equal for another run to resume this
    /// dump.
    fn journal(&self, id: SnapshotId) -> Journal {
        let node = |plan: &NodePlan| journal_node(&plan.node, plan.source.as_ref().ok());
        Journal {
            shard_bits: self.options.shard_bits,
            select: self.select_text(),
            nodes: self.nodes.iter().map(node).collect(),
            ..Journal::new(id, moment_text(host::now()))
        }
    }

    /// Returns the selection as text, unless it selects everything.
    pub(super) fn select_text(&self) -> Option<String> {
        let selection = &self.options.selection;
        (!selection.is_everything()).then(|| selection.to_string())
    }

    /// Refuses an unfinished dump that differs from the one wanted.
    fn check_same(&self, journal: &Journal) -> Result<()> {
        let refuse = |field, value: String, was: String| {
            let allowed = format!(
                "the dump to go on with was begun with {was}; give the same, or another --name to \
                 start anew"
            );
            Err(Error::invalid_input(field, value, allowed))
        };
        let addresses: Vec<String> = self.nodes.iter().map(|plan| plan.node.address()).collect();
        let (nodes, before) = (addresses.join(", "), addresses_of(journal).join(", "));
        if nodes != before {
            return refuse("nodes", nodes, before);
        }
        if self.select_text() != journal.select {
            let text = |select: &Option<String>| select.clone().unwrap_or_else(|| "all".to_owned());
            return refuse("select", text(&self.select_text()), text(&journal.select));
        }
        let resume = self.options.resume.as_ref();
        let takes_shard_bits = resume.is_some_and(|resume| resume.takes_shard_bits);
        if !takes_shard_bits && self.options.shard_bits != journal.shard_bits {
            let count = |bits: u8| 1_u64.checked_shl(bits.into()).unwrap_or(0).to_string();
            let (now, before) = (count(self.options.shard_bits), count(journal.shard_bits));
            return refuse("shards", now, before);
        }
        Ok(())
    }
}

fn addresses_of(journal: &Journal) -> Vec<String> {
    let nodes = journal.nodes.iter();
    nodes.map(|node| node.address.clone()).collect()
}

fn shards_text(bits: u8) -> String {
    counted(1_u64.checked_shl(bits.into()).unwrap_or(0), "shard")
}

/// Formats a duration for display: `3h 12m 5s`.
fn span_text(length: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    // For long spans, days are easier to understand than hours.
    if length.as_secs() >= 2 * DAY {
        return counted(length.as_secs() / DAY, "day");
    }
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    format!("{:#}", jiff::SignedDuration::from_secs(seconds))
}

fn age_of(began_at: UnixSecs, now: UnixSecs) -> Duration {
    Duration::from_secs(now.0.saturating_sub(began_at.0))
}

/// A name can be used once; a job that dumps each night needs another name each night.
fn name_taken(name: &str, manifest: &Manifest) -> Error {
    let finished_at = &manifest.finished_at;
    let by = match manifest.verdict {
        Verdict::Complete => format!("a complete snapshot of {finished_at}"),
        verdict @ (Verdict::Unsure | Verdict::Lossy | Verdict::Partial) => format!(
            "a snapshot of {finished_at} that is {}, and finished",
            verdict.as_str()
        ),
    };
    Error::invalid_input("name", name, format!("it is taken by {by}"))
}

/// Records which server process is dumped, and its flushes; empty for a node that did not
/// answer.
fn journal_node(node: &NodeSpec, source: Option<&SourceNode>) -> JournalNode {
    let server = source.map(|source| &source.server);
    let flushes = server.map(ServerReport::flush_marks).unwrap_or_default();
    JournalNode {
        address: node.address(),
        pid: server.map_or(0, |server| server.stats.pid),
        server_started_at: server.map_or(0, |server| server.stats.started_at().0),
        flushes: flushes.count,
        flushed_until: flushes.until,
        is_flush_ahead: flushes.is_ahead,
        is_crawler_off: source.is_some_and(|source| source.strategy.turns_crawler_on),
    }
}

/// A dump that has begun, in this run or an earlier one.
#[derive(Debug)]
pub(super) struct StartedDump {
    pub(super) snapshot: SnapshotDraft,
    pub(super) started_at: UnixSecs,
    /// How long before this run the dump began.
    pub(super) age: Duration,
    journal: Mutex<Journal>,
    /// Segments sealed by earlier runs.
    pub(super) kept: Vec<ManifestSegment>,
}

impl StartedDump {
    fn new(snapshot: SnapshotDraft, journal: Journal, kept: Vec<ManifestSegment>) -> Self {
        let started_at = started_at(&journal);
        let now = host::now();
        Self {
            snapshot,
            started_at,
            age: age_of(started_at, now),
            journal: Mutex::new(journal),
            kept,
        }
    }

    fn resumed(unfinished: Unfinished) -> Self {
        let started = Self::new(unfinished.draft, unfinished.journal, unfinished.kept);
        tracing::info!(
            name = started.snapshot.name(),
            began_at = moment_text(started.started_at),
            age_s = started.age.as_secs(),
            segments = started.kept.len(),
            "resuming an unfinished dump"
        );
        started
    }

    /// Returns the object names of the segments sealed by earlier runs.
    pub(super) fn sealed_before(&self) -> BTreeSet<&str> {
        let kept = self.kept.iter();
        kept.map(|segment| segment.object.as_str()).collect()
    }

    /// Returns the journal's entry of a node.
    pub(super) fn life(&self, index: usize) -> Option<JournalNode> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.nodes.get(index).cloned()
    }

    /// Records in the journal which life of a node is read from now on, if nothing is
    /// kept from another life.
    pub(super) fn settle_life(
        &self,
        index: usize,
        node: &NodeSpec,
        source: &SourceNode,
    ) -> Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = journal.nodes.get_mut(index) else {
            return Ok(());
        };
        if change_since(before, &source.server).is_some() {
            *before = journal_node(node, Some(source));
            self.snapshot.rewrite_journal(&journal)?;
        }
        Ok(())
    }
}

/// Returns when a dump started; the epoch if its journal does not say so in words that
/// can be read.
fn started_at(journal: &Journal) -> UnixSecs {
    parse_moment(&journal.started_at).unwrap_or_default()
}
