//! The win tokens of stale items that were read, until they are given back.

use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::reply::{Reply, parse_reply};
use crate::codecs::protocol::request::{write_get_cas, write_mark_stale};
use crate::codecs::protocol::stats::ServerVersion;
use crate::codecs::protocol::text::{Step, parse_u64};
use crate::engines::source::fetch::batch::Batch;
use crate::engines::source::fetch::job::FetchJob;
use crate::engines::source::fetch::tally::FetchTally;
use crate::ports::net::{Connection, Pass, Received};
use crate::words::error::Result;
use crate::words::item::Cas;
use crate::words::units::to_u64;

/// A stale item whose win token this job holds.
#[derive(Debug)]
struct HeldToken {
    /// Index of the key in the batch.
    index: usize,
    form: KeyForm,
    /// `None` on a server without CAS.
    cas: Option<u64>,
}

/// The win tokens that this job holds.
#[derive(Debug, Default)]
pub(super) struct HeldTokens(Vec<HeldToken>);

impl HeldTokens {
    /// Remembers a win token that came with the value of a key.
    pub(super) fn hold(&mut self, index: usize, form: KeyForm, cas: Option<Cas>) {
        let cas = cas.map(|cas| cas.0);
        self.0.push(HeldToken { index, form, cas });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the tokens that are still held as kept, and forgets them.
    pub(super) fn give_up(&mut self, tally: &mut FetchTally) {
        let kept = to_u64(self.0.len());
        tally.win_tokens_kept = tally.win_tokens_kept.saturating_add(kept);
        self.0.clear();
    }

    /// Gives back the right to recache that reading a stale item takes. The next client
    /// that asks gets it, as if this job had never asked.
    ///
    /// # Errors
    ///
    /// - Those of the connection; what is still held can be given back over another one.
    pub(super) fn give_back(
        &mut self,
        connection: &mut Connection,
        batch: &Batch,
        job: &FetchJob<'_>,
        tally: &mut FetchTally,
        pass: &Pass<'_>,
    ) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let version = job.strategy.version;
        let keeps_cas = version >= ServerVersion::EXPLICIT_CAS;
        let compares = version >= ServerVersion::META_DELETE_COMPARES;
        if !compares {
            self.drop_changed(connection, batch, pass)?;
        }
        let mut request = Vec::new();
        for token in &self.0 {
            let key = batch.key(token.index);
            let keep = token.cas.filter(|_| keeps_cas);
            let compare = token.cas.filter(|_| compares);
            write_mark_stale(key, token.form, compare, keep, &mut request);
        }
        ask_all(connection, &request, self.0.len(), |reply| {
            match reply {
                Reply::Done(_) => {
                    tally.win_tokens_returned = tally.win_tokens_returned.saturating_add(1);
                }
                Reply::Refused(_) => {
                    tally.win_tokens_kept = tally.win_tokens_kept.saturating_add(1);
                }
                // The item has changed or gone, and the token with it.
                Reply::Value { .. }
                | Reply::Miss(_)
                | Reply::NotStored(_)
                | Reply::Exists(_)
                | Reply::NotFound(_)
                | Reply::Noop => {}
            }
        })?;
        self.0.clear();
        Ok(())
    }

    /// Drops the tokens of items that were changed since they were read.
    ///
    /// Before 1.6.13 the server always refuses a stale mark that compares the CAS, so the
    /// CAS is compared here. If a client changes the item between the comparison and the
    /// mark, its fresh value is marked stale, and one client is asked to recache it.
    fn drop_changed(
        &mut self,
        connection: &mut Connection,
        batch: &Batch,
        pass: &Pass<'_>,
    ) -> Result<()> {
        let mut request = Vec::new();
        for token in &self.0 {
            write_get_cas(batch.key(token.index), token.form, &mut request);
        }
        pass.count_sent(to_u64(self.0.len()), 0);
        let mut is_ours = Vec::with_capacity(self.0.len());
        let held = &self.0;
        ask_all(connection, &request, held.len(), |reply| {
            let cas = if let Reply::Done(flags) = reply {
                flags.get(b'c').and_then(parse_u64)
            } else {
                None
            };
            let wanted = held.get(is_ours.len()).and_then(|token| token.cas);
            is_ours.push(cas.is_some() && cas == wanted);
        })?;
        let mut is_ours = is_ours.into_iter();
        // If the item has changed or gone, its token is gone as well.
        self.0.retain(|_| is_ours.next().unwrap_or(false));
        Ok(())
    }
}

/// Sends requests and reads one reply to each; no reply has a value.
fn ask_all(
    connection: &mut Connection,
    request: &[u8],
    count: usize,
    mut take: impl FnMut(&Reply<'_>),
) -> Result<()> {
    let mut left = count;
    if left == 0 {
        return Ok(());
    }
    connection.exchange("win token", request, |bytes| {
        let mut consumed: usize = 0;
        while left > 0 {
            let rest = bytes.get(consumed..).unwrap_or_default();
            match parse_reply(rest, 0)? {
                Step::Need => return Ok(Received::More(consumed)),
                Step::Done(reply, len) => {
                    consumed = consumed.saturating_add(len);
                    left -= 1;
                    take(&reply);
                }
            }
        }
        Ok(Received::Done(consumed))
    })
}
