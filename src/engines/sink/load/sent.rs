//! A record on its way: what is sent of it, and what came of it.

use crate::codecs::protocol::exptime::{BINARY_EXPTIME_MAX, TEXT_EXPTIME_MAX, TtlToken};
use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::request::{SetFields, SetMode};
use crate::engines::sink::rebase::rebase;
use crate::engines::sink::strategy::{KeyProtocol, Unheld, WriteStrategy};
use crate::engines::sink::tally::SetOutcome;
use crate::ports::net::ServerReport;
use crate::words::item::{Attribute, Exptime, ItemMeta};
use crate::words::units::{UnixSecs, to_u64};

/// A record on its way, by its number in the batch.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) index: usize,
    pub(super) protocol: KeyProtocol,
    /// How text carries the key, for the commands that follow a set; `None` where
    /// it does not.
    pub(super) text_form: Option<KeyForm>,
    pub(super) ttl: u64,
    pub(super) is_clamped: bool,
    /// It takes a mark after its set.
    pub(super) is_stale: bool,
    /// It is kept in chunks, and a server whose memory ends between them answers
    /// a quiet set with nothing, as if it had stored the item.
    pub(super) is_chunked: bool,
    /// It was given to a connection, so that the node may have it.
    pub(super) was_sent: bool,
    /// The node has the item, which waits for its mark.
    pub(super) is_set: bool,
    /// `None` while nobody has told.
    pub(super) outcome: Option<SetOutcome>,
}

impl Sent {
    /// Says whether the item is to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.outcome.is_none() && !self.is_set
    }

    /// Takes what came of the set.
    pub(super) fn settle(&mut self, outcome: SetOutcome) {
        if self.is_stale && outcome == SetOutcome::Stored {
            self.is_set = true;
        } else {
            self.outcome = Some(outcome);
        }
    }
}

/// What a loader knows of its node and of the records to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) server: &'a ServerReport,
    pub(super) strategy: WriteStrategy,
    pub(super) mode: SetMode,
    /// The exptime of records whose own the snapshot does not tell.
    pub(super) exptime_if_unknown: Option<Exptime>,
}

impl Rules<'_> {
    /// Decides what to send of a record; what is not sent has its fate already.
    pub(super) fn decide(
        &self,
        index: usize,
        key: &[u8],
        value_len: u64,
        meta: &ItemMeta,
        host_now: UnixSecs,
    ) -> Sent {
        let is_stale = meta.attributes.has(Attribute::Stale);
        let client_flags = meta.client_flags.unwrap_or(0);
        let item_size = self.item_size(key, value_len, client_flags);
        let settings = &self.server.settings;
        let mut sent = Sent {
            index,
            protocol: KeyProtocol::Text(KeyForm::Text),
            text_form: self.strategy.text_form(key),
            ttl: 0,
            is_clamped: false,
            is_stale,
            is_chunked: self.may_be_chunked(item_size),
            was_sent: false,
            is_set: false,
            outcome: None,
        };
        sent.outcome = self.choose(&mut sent, key, meta, host_now).err();
        if sent.outcome.is_none() && item_size > settings.item_size_max {
            sent.outcome = Some(SetOutcome::TooLarge);
        }
        sent
    }

    fn choose(
        &self,
        sent: &mut Sent,
        key: &[u8],
        meta: &ItemMeta,
        host_now: UnixSecs,
    ) -> Result<(), SetOutcome> {
        let refuse = |reason| Err(SetOutcome::Refused(reason));
        let Some(exptime) = meta.exptime.or(self.exptime_if_unknown) else {
            return refuse("the snapshot does not tell the exptime; --ttl-if-unknown gives one");
        };
        let token = |exptime_max| rebase(exptime, self.server, host_now, exptime_max);
        let text_token = token(TEXT_EXPTIME_MAX);
        if text_token == TtlToken::Expired {
            return Err(SetOutcome::Expired);
        }
        let Some(protocol) = self.strategy.protocol_for(key) else {
            return refuse(
                "a key with a space, NUL or line end, which this node's text commands cannot \
                 carry, and it speaks no binary protocol",
            );
        };
        let client_flags = meta.client_flags.unwrap_or(0);
        if client_flags > self.strategy.client_flags_max {
            return refuse("client flags above 32 bits, which this node cuts");
        }
        let is_wide = client_flags > u32::MAX.into();
        if is_wide && protocol == KeyProtocol::Binary {
            return refuse("client flags above 32 bits, which the binary protocol cannot carry");
        }
        if sent.is_stale && !self.strategy.holds(Unheld::StaleMark) {
            return refuse(
                "stale, and this node has no stale marks: the item would come back as fresh",
            );
        }
        if sent.is_stale && sent.text_form.is_none() {
            return refuse(
                "stale, with a key that no text command of this node can carry to mark it so",
            );
        }
        let is_late = matches!(text_token, TtlToken::Clamped(_));
        sent.protocol = if is_late && self.strategy.has_binary_protocol && !is_wide {
            KeyProtocol::Binary
        } else {
            protocol
        };
        let token = match sent.protocol {
            KeyProtocol::Text(_) => text_token,
            KeyProtocol::Binary => token(BINARY_EXPTIME_MAX),
        };
        match token {
            TtlToken::Send(ttl) => sent.ttl = ttl,
            TtlToken::Clamped(ttl) => {
                sent.ttl = ttl;
                sent.is_clamped = true;
            }
            TtlToken::Expired => return Err(SetOutcome::Expired),
        }
        Ok(())
    }

    /// Returns the least that memcached will count for the item: `item_make_header`
    /// in items.c, and in versions before 1.6.0 a few bytes more. An item that is
    /// surely too large is not even tried, since a meta set that fails so deletes
    /// what the server has under the key, in mode *add*, too.
    fn item_size(&self, key: &[u8], value_len: u64, client_flags: u64) -> u64 {
        const HEADER: u64 = 48;
        let cas = if self.server.settings.has_cas { 8 } else { 0 };
        let flags = match client_flags {
            0 => 0,
            _ if self.server.settings.client_flags_max > u32::MAX.into() => 8,
            _ => 4,
        };
        let text = to_u64(key.len()).saturating_add(value_len);
        // One NUL behind the key, CRLF behind the value.
        text.saturating_add(HEADER + cas + flags + 3)
    }

    /// Says whether the node may keep an item of this size in chunks.
    fn may_be_chunked(&self, item_size: u64) -> bool {
        /// More than what versions differ by.
        const MARGIN: u64 = 64;
        item_size.saturating_add(MARGIN) > self.server.settings.chunk_size_max
    }

    pub(super) fn set_fields(
        &self,
        meta: &ItemMeta,
        sent: &Sent,
        opaque: usize,
        is_quiet: bool,
    ) -> SetFields {
        SetFields {
            mode: self.mode,
            ttl: sent.ttl,
            client_flags: meta.client_flags.unwrap_or(0),
            cas: self.cas_to_restore(meta),
            opaque,
            is_quiet,
        }
    }

    /// Says whether the item, once stored, has the CAS that the snapshot tells, if it
    /// tells one. The mark of a stale item brings it, however it was stored.
    pub(super) fn restores_cas(&self, sent: &Sent, meta: &ItemMeta) -> bool {
        let is_carried = sent.protocol != KeyProtocol::Binary || sent.is_stale;
        meta.cas.is_none() || (self.strategy.holds_cas && is_carried)
    }

    /// Returns the version to give an item, where the node can.
    pub(super) fn cas_to_restore(&self, meta: &ItemMeta) -> Option<u64> {
        meta.cas
            .filter(|_| self.strategy.holds_cas)
            .map(|cas| cas.0)
    }
}
