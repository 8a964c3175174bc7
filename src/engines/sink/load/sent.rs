//! A record being sent: what is sent for it, and its outcome.

use crate::codecs::protocol::exptime::{BINARY_EXPTIME_MAX, TEXT_EXPTIME_MAX, TtlToken};
use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::request::{SetFields, SetMode};
use crate::engines::sink::rebase::rebase;
use crate::engines::sink::strategy::{KeyProtocol, Unheld, WriteStrategy};
use crate::engines::sink::tally::SetOutcome;
use crate::ports::net::ServerReport;
use crate::words::item::{Attribute, Exptime, ItemMeta};
use crate::words::units::{UnixSecs, to_u64};

/// A record being sent, identified by its index in the batch.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) index: usize,
    pub(super) protocol: KeyProtocol,
    /// How the text protocol carries the key, for the commands that follow a set; `None`
    /// if it cannot.
    pub(super) text_form: Option<KeyForm>,
    pub(super) ttl: u64,
    pub(super) is_clamped: bool,
    /// The item is marked stale after its set.
    pub(super) is_stale: bool,
    /// The item is kept in chunks. If a server runs out of memory between two chunks, it
    /// sends no reply to a quiet set, as if it had stored the item.
    pub(super) is_chunked: bool,
    /// The record was given to a connection, so the node may have it.
    pub(super) was_sent: bool,
    /// The node has the item, but it is not marked yet.
    pub(super) is_set: bool,
    /// `None` as long as it is unknown.
    pub(super) outcome: Option<SetOutcome>,
}

impl Sent {
    /// Reports whether the item still has to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.outcome.is_none() && !self.is_set
    }

    /// Records the outcome of the set.
    pub(super) fn settle(&mut self, outcome: SetOutcome) {
        if self.is_stale && outcome == SetOutcome::Stored {
            self.is_set = true;
        } else {
            self.outcome = Some(outcome);
        }
    }
}

/// What a loader knows about its node and about all records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) server: &'a ServerReport,
    pub(super) strategy: WriteStrategy,
    pub(super) mode: SetMode,
    /// The exptime of records for which the snapshot has none.
    pub(super) exptime_if_unknown: Option<Exptime>,
}

impl Rules<'_> {
    /// Decides what to send for a record. A record that is not sent has its outcome
    /// already.
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

    /// Returns the least size that memcached counts for the item: `item_make_header` in
    /// items.c; versions before 1.6.0 count a few bytes more. An item that is certainly
    /// too large is not sent at all, since a meta set that fails for its size deletes the
    /// existing item, even in mode *add*.
    fn item_size(&self, key: &[u8], value_len: u64, client_flags: u64) -> u64 {
        const HEADER: u64 = 48;
        let cas = if self.server.settings.has_cas { 8 } else { 0 };
        let flags = match client_flags {
            0 => 0,
            _ if self.server.settings.client_flags_max > u32::MAX.into() => 8,
            _ => 4,
        };
        let text = to_u64(key.len()).saturating_add(value_len);
        // One NUL after the key, CRLF after the value.
        text.saturating_add(HEADER + cas + flags + 3)
    }

    /// Reports whether the node may keep an item of this size in chunks.
    fn may_be_chunked(&self, item_size: u64) -> bool {
        /// More than the difference between versions.
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

    /// Reports whether the stored item has the CAS of the snapshot; true if the snapshot
    /// has none. The mark of a stale item sets the CAS, whichever protocol stored it.
    pub(super) fn restores_cas(&self, sent: &Sent, meta: &ItemMeta) -> bool {
        let is_carried = sent.protocol != KeyProtocol::Binary || sent.is_stale;
        meta.cas.is_none() || (self.strategy.holds_cas && is_carried)
    }

    /// Returns the CAS to give an item, if the node can be given one.
    pub(super) fn cas_to_restore(&self, meta: &ItemMeta) -> Option<u64> {
        meta.cas
            .filter(|_| self.strategy.holds_cas)
            .map(|cas| cas.0)
    }
}
