//! Chooses how a server is written to, from its answers.

use crate::codecs::protocol::binary::parse_binary_noop;
use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::reply::{check_connection, is_refusal};
use crate::codecs::protocol::request::{BINARY_NOOP, EXPLICIT_CAS_PROBE, SET_PROBE, SetSyntax};
use crate::codecs::protocol::stats::ServerVersion;
use crate::codecs::protocol::text::{Step, parse_line};
use crate::ports::net::{Connection, NetOptions, Received, ServerReport};
use crate::words::cancel::Cancel;
use crate::words::error::{ErrorKind, Result};
use crate::words::item::{Attribute, ItemMeta};
use crate::words::node::NodeSpec;

/// The commands that store items by the text protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetProtocol {
    /// `ms KEY LENGTH ...`, in 1.6.10 and later.
    Meta,
    /// `ms KEY S<length> ...`, in 1.6.0 to 1.6.9.
    OldMeta,
    /// `set` and `add`, in every version.
    Classic,
}

impl SetProtocol {
    /// Returns the name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::OldMeta => "old-meta",
            Self::Classic => "classic",
        }
    }

    /// Interprets the answer to [`SET_PROBE`]; `None` if no known server gives it.
    fn of_answer(line: &[u8]) -> Option<Self> {
        match line {
            // 1.6.10 and later. The second is the answer of memcached's own proxy.
            b"CLIENT_ERROR bad command line format" | b"CLIENT_ERROR parsing request" => {
                Some(Self::Meta)
            }
            b"CLIENT_ERROR invalid length" => Some(Self::OldMeta),
            // 1.5.19 to 1.5.22 have another `ms`, which reads the value of a set that it
            // refuses as commands. Older versions have no `ms`.
            b"CLIENT_ERROR invalid or duplicate flag" | b"ERROR" => Some(Self::Classic),
            _ => None,
        }
    }

    fn of_version(version: ServerVersion) -> Self {
        if version >= ServerVersion::META_COMMANDS {
            Self::Meta
        } else if version >= ServerVersion::META_GET {
            Self::OldMeta
        } else {
            Self::Classic
        }
    }

    /// Returns the syntax of meta sets, or `None` if sets are classic sets.
    pub(super) fn syntax(self) -> Option<SetSyntax> {
        match self {
            Self::Meta => Some(SetSyntax::Today),
            Self::OldMeta => Some(SetSyntax::FlagS),
            Self::Classic => None,
        }
    }
}

/// The protocol that sends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyProtocol {
    /// The text protocol.
    Text(KeyForm),
    /// The binary protocol, which can carry every key.
    Binary,
}

/// How a server is written to, and which properties of items it can store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteStrategy {
    /// How most items are stored.
    pub set_protocol: SetProtocol,
    /// Whether the binary protocol sends what text cannot carry.
    pub has_binary_protocol: bool,
    /// Whether the node knows `gets`, and not only `get`.
    pub has_gets: bool,
    /// Whether an item can be given its CAS.
    pub holds_cas: bool,
    /// The greatest client flags that it stores.
    pub client_flags_max: u64,
}

/// A property of a record that a node cannot hold, which makes it *unheld*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unheld {
    /// The CAS: the item is stored with a CAS that the node assigns.
    Cas,
    /// The stale mark: the item is refused, since it would come back as fresh.
    StaleMark,
    /// Client flags above 32 bits: the item is refused.
    WideFlags,
}

impl WriteStrategy {
    /// Probes the server with lines that no server acts on; `set_protocol` is what the
    /// caller wants, if anything.
    ///
    /// # Errors
    ///
    /// - Those of [`Connection::connect`] and [`Connection::exchange`].
    pub fn probe(
        node: &NodeSpec,
        server: &ServerReport,
        set_protocol: Option<SetProtocol>,
        options: &NetOptions,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut connection = Connection::connect(node, options, cancel)?;
        let set_protocol = match set_protocol {
            Some(set_protocol) => set_protocol,
            None => {
                let answer = ask_line(&mut connection, SET_PROBE)?;
                check_connection(&answer)?;
                let told = SetProtocol::of_answer(&answer);
                told.unwrap_or_else(|| SetProtocol::of_version(server.stats.version))
            }
        };
        // A proxy forwards the flag to servers whose versions are unknown.
        let may_hold_cas =
            set_protocol == SetProtocol::Meta && server.settings.has_cas && !server.is_proxy;
        let holds_cas =
            may_hold_cas && !is_refusal(&ask_line(&mut connection, EXPLICIT_CAS_PROBE)?);
        let may_speak_binary = server.settings.has_binary_protocol && !server.is_proxy;
        Ok(Self {
            set_protocol,
            has_binary_protocol: may_speak_binary && speaks_binary(node, options, cancel)?,
            has_gets: server.stats.version >= ServerVersion::GETS,
            holds_cas,
            client_flags_max: server.settings.client_flags_max,
        })
    }

    /// Returns how text carries a key; `None` if it cannot.
    pub(super) fn text_form(&self, key: &[u8]) -> Option<KeyForm> {
        match KeyForm::of(key) {
            Some(KeyForm::Base64) if self.set_protocol != SetProtocol::Meta => {
                KeyForm::is_text(key).then_some(KeyForm::Text)
            }
            form => form,
        }
    }

    /// Returns the protocol that sends a key; `None` if the key cannot be sent at all.
    pub(super) fn protocol_for(&self, key: &[u8]) -> Option<KeyProtocol> {
        let is_odd = KeyForm::of(key) != Some(KeyForm::Text);
        // Odd keys that text can still carry are safer where no parser splits words.
        if is_odd && self.set_protocol != SetProtocol::Meta && self.has_binary_protocol {
            return Some(KeyProtocol::Binary);
        }
        match self.text_form(key) {
            Some(form) => Some(KeyProtocol::Text(form)),
            None => self.has_binary_protocol.then_some(KeyProtocol::Binary),
        }
    }

    /// Describes how items are stored, for display.
    pub fn name(&self) -> &'static str {
        match (self.set_protocol, self.has_binary_protocol) {
            (SetProtocol::Meta, true) => {
                "meta set; long odd keys and times beyond 2038 by the binary protocol"
            }
            (SetProtocol::OldMeta, true) => {
                "meta set as of 1.6.0; odd keys and times beyond 2038 by the binary protocol"
            }
            (SetProtocol::Classic, true) => {
                "classic set; odd keys and times beyond 2038 by the binary protocol"
            }
            (SetProtocol::Meta, false) => "meta set",
            (SetProtocol::OldMeta, false) => "meta set as of 1.6.0",
            (SetProtocol::Classic, false) => "classic set",
        }
    }

    /// Reports whether the node can hold a property, for items whose keys and times text
    /// can carry.
    pub fn holds(&self, what: Unheld) -> bool {
        match what {
            Unheld::Cas => self.holds_cas,
            Unheld::StaleMark => self.set_protocol != SetProtocol::Classic,
            Unheld::WideFlags => self.client_flags_max > u32::MAX.into(),
        }
    }

    /// Returns why the node cannot hold a property of some items, for display.
    pub fn why_not(&self, what: Unheld, server: &ServerReport) -> &'static str {
        match what {
            Unheld::Cas if self.holds_cas => "what goes by the binary protocol gets a new one",
            Unheld::Cas if server.is_proxy => "a proxy does not report what is behind it",
            Unheld::Cas if !server.settings.has_cas => "the node was started with -C",
            Unheld::Cas => "that takes memcached 1.6.27 or later",
            Unheld::StaleMark if self.holds(what) => "no text command carries their keys",
            Unheld::StaleMark => "that takes memcached 1.6.0 or later",
            Unheld::WideFlags => "that takes a memcached with --enable-large-client-flags",
        }
    }

    /// Returns the property of a record that the node cannot hold, as far as the metadata
    /// shows.
    pub fn unheld(&self, key: &[u8], meta: &ItemMeta, is_beyond_text: bool) -> Option<Unheld> {
        if meta.client_flags.unwrap_or(0) > self.client_flags_max {
            return Some(Unheld::WideFlags);
        }
        let is_stale = meta.attributes.has(Attribute::Stale);
        if is_stale && (!self.holds(Unheld::StaleMark) || self.text_form(key).is_none()) {
            return Some(Unheld::StaleMark);
        }
        let is_binary = self.protocol_for(key) == Some(KeyProtocol::Binary)
            || (is_beyond_text && self.has_binary_protocol);
        // The mark of a stale item sets its CAS, whichever protocol stored it.
        let has_its_cas = self.holds_cas && (!is_binary || is_stale);
        (meta.cas.is_some() && !has_its_cas).then_some(Unheld::Cas)
    }
}

/// Sends a line and reads a line as its answer.
fn ask_line(connection: &mut Connection, request: &'static [u8]) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    connection.exchange_short("question", request, |bytes| {
        Ok(match parse_line(bytes, "a line")? {
            Step::Need => Received::More(0),
            Step::Done(line, len) => {
                answer.extend_from_slice(line);
                Received::Done(len)
            }
        })
    })?;
    Ok(answer)
}

/// Checks that a server answers the binary protocol if it reports that it does.
fn speaks_binary(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> Result<bool> {
    let mut connection = Connection::connect(node, options, cancel)?;
    // The usual prompt for a silent server is text.
    connection.be_patient(options.timeout);
    let mut is_spoken = true;
    let asked = connection.exchange_short("question", BINARY_NOOP, |bytes| {
        Ok(match parse_binary_noop(bytes) {
            Ok(Step::Need) => Received::More(0),
            Ok(Step::Done((), len)) => Received::Done(len),
            Err(error) if *error.kind() == ErrorKind::TooManyConnections => return Err(error),
            Err(_) => {
                is_spoken = false;
                Received::Done(bytes.len())
            }
        })
    });
    match asked {
        Ok(()) => Ok(is_spoken),
        Err(error) if error.is_canceled() => Err(error),
        Err(error) if *error.kind() == ErrorKind::TooManyConnections => Err(error),
        Err(error) => {
            // The server closes the connection, or waits for a line that never ends.
            tracing::debug!("no binary protocol: {}", error.to_chain());
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::item::Cas;

    fn strategy(set_protocol: SetProtocol) -> WriteStrategy {
        WriteStrategy {
            set_protocol,
            has_binary_protocol: true,
            has_gets: true,
            holds_cas: set_protocol == SetProtocol::Meta,
            client_flags_max: u32::MAX.into(),
        }
    }

    #[test]
    fn the_answer_to_a_probe_tells_the_way() {
        for (line, set_protocol) in [
            (&b"ERROR"[..], Some(SetProtocol::Classic)),
            (
                b"CLIENT_ERROR invalid or duplicate flag",
                Some(SetProtocol::Classic),
            ),
            (b"CLIENT_ERROR invalid length", Some(SetProtocol::OldMeta)),
            (
                b"CLIENT_ERROR bad command line format",
                Some(SetProtocol::Meta),
            ),
            (b"CLIENT_ERROR parsing request", Some(SetProtocol::Meta)),
            (b"SERVER_ERROR", None),
        ] {
            assert_eq!(SetProtocol::of_answer(line), set_protocol);
        }
        let of_version = |text| SetProtocol::of_version(ServerVersion::parse(text));
        assert_eq!(of_version("1.6.10"), SetProtocol::Meta);
        assert_eq!(of_version("1.6.9"), SetProtocol::OldMeta);
        assert_eq!(of_version("1.5.22"), SetProtocol::Classic);
    }

    #[test]
    fn a_key_is_carried_by_what_the_node_has() {
        let text = |form| Some(KeyProtocol::Text(form));
        let protocols = [
            SetProtocol::Meta,
            SetProtocol::OldMeta,
            SetProtocol::Classic,
        ];
        for (key, with_binary, without) in [
            (
                &b"user:1"[..],
                [text(KeyForm::Text); 3],
                [text(KeyForm::Text); 3],
            ),
            (
                b"a b",
                [
                    text(KeyForm::Base64),
                    Some(KeyProtocol::Binary),
                    Some(KeyProtocol::Binary),
                ],
                [text(KeyForm::Base64), None, None],
            ),
            // Odd, but without a character that ends a word or a line.
            (
                b"a\tb",
                [
                    text(KeyForm::Base64),
                    Some(KeyProtocol::Binary),
                    Some(KeyProtocol::Binary),
                ],
                [
                    text(KeyForm::Base64),
                    text(KeyForm::Text),
                    text(KeyForm::Text),
                ],
            ),
            (&[b' '; 187], [Some(KeyProtocol::Binary); 3], [None; 3]),
        ] {
            let binary = protocols.map(|set_protocol| strategy(set_protocol).protocol_for(key));
            assert_eq!(binary, with_binary, "{key:?}");
            let text_only = protocols.map(|set_protocol| {
                let strategy = WriteStrategy {
                    has_binary_protocol: false,
                    ..strategy(set_protocol)
                };
                strategy.protocol_for(key)
            });
            assert_eq!(text_only, without, "{key:?}");
        }
    }

    #[test]
    fn what_a_node_cannot_hold_is_known_by_the_metadata() {
        let mut stale = ItemMeta {
            cas: Some(Cas(5)),
            ..ItemMeta::default()
        };
        stale.attributes.set(Attribute::Stale, true);
        let plain = ItemMeta {
            cas: Some(Cas(5)),
            ..ItemMeta::default()
        };
        let wide = ItemMeta {
            client_flags: Some(1 << 32),
            ..plain
        };
        let unheld = |set_protocol, key: &[u8], meta, is_beyond_text| {
            strategy(set_protocol).unheld(key, meta, is_beyond_text)
        };
        assert_eq!(unheld(SetProtocol::Meta, b"k", &plain, false), None);
        let cas = Some(Unheld::Cas);
        assert_eq!(unheld(SetProtocol::Meta, b"k", &plain, true), cas);
        assert_eq!(unheld(SetProtocol::Meta, &[b' '; 200], &plain, false), cas);
        assert_eq!(unheld(SetProtocol::Classic, b"k", &plain, false), cas);
        // Stored by the binary protocol and marked by text.
        assert_eq!(unheld(SetProtocol::Meta, b"k", &stale, true), None);
        let mark = Some(Unheld::StaleMark);
        assert_eq!(unheld(SetProtocol::Meta, &[b' '; 200], &stale, false), mark);
        assert_eq!(unheld(SetProtocol::OldMeta, b"a b", &stale, false), mark);
        assert_eq!(unheld(SetProtocol::OldMeta, b"k", &stale, false), cas);
        assert_eq!(unheld(SetProtocol::Classic, b"k", &stale, false), mark);
        let flags = Some(Unheld::WideFlags);
        assert_eq!(unheld(SetProtocol::Meta, b"k", &wide, false), flags);
    }
}
