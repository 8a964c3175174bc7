//! Samples the stored items to find out whether they are still there.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codecs::protocol::classic::{
    GETS_KEY_COUNT_MAX, GetsHead, end_gets, parse_gets, start_gets, write_gets_key,
};
use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::reply::{Reply, parse_reply};
use crate::codecs::protocol::request::write_is_there;
use crate::codecs::protocol::text::Step;
use crate::engines::sink::strategy::{SetProtocol, WriteStrategy};
use crate::ports::net::{Connection, Received};
use crate::words::error::{Error, Result};
use crate::words::units::{UnixSecs, to_u64};

/// A key of a sample. Two are equal if their keys are.
#[derive(Clone, Debug)]
struct SampledKey {
    /// A hash of the key, by which keys are chosen.
    order: u64,
    key: Vec<u8>,
    is_base64: bool,
    /// On this host's clock; `None` for an item that never expires.
    expires_at: Option<u64>,
    value_len: u64,
}

impl Ord for SampledKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.order.cmp(&other.order);
        order.then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for SampledKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SampledKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SampledKey {}

/// A random sample of the stored keys, each with the same chance: those with the lowest
/// hashes. This makes samples of several loaders easy to merge, and a key that is stored
/// twice counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySample {
    keys: BTreeSet<SampledKey>,
}

impl KeySample {
    /// The most keys in a sample.
    pub const COUNT_MAX: usize = 1000;
    /// A seed used for nothing else.
    const SEED: u64 = 0x6d63_736e_6170_2e6b;

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Reports whether the sample is empty.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key if its hash is among the lowest.
    pub(super) fn offer(
        &mut self,
        key: &[u8],
        form: KeyForm,
        expires_at: Option<UnixSecs>,
        value_len: u64,
    ) {
        let order = xxh3_64_with_seed(key, Self::SEED);
        if self.is_wanted(order) {
            self.insert(SampledKey {
                order,
                key: key.to_vec(),
                is_base64: form == KeyForm::Base64,
                expires_at: expires_at.map(|at| at.0),
                value_len,
            });
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for key in &other.keys {
            if self.is_wanted(key.order) {
                self.insert(key.clone());
            }
        }
    }

    fn is_wanted(&self, order: u64) -> bool {
        let is_full = self.keys.len() >= Self::COUNT_MAX;
        !is_full || self.keys.last().is_some_and(|last| order < last.order)
    }

    fn insert(&mut self, key: SampledKey) {
        // A key that is there already stays as it is.
        self.keys.insert(key);
        if self.keys.len() > Self::COUNT_MAX {
            self.keys.pop_last();
        }
    }
}

/// The result of looking for a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Keys that were looked for.
    pub looked: u64,
    /// Keys that are no longer there.
    pub gone: u64,
    /// Whether the sample was all stored keys that can be looked for.
    pub is_all: bool,
}

impl Presence {
    /// Returns the share of the stored keys that are gone, and the limits of its 95
    /// percent confidence interval (Wilson's), all from 0 to 1.
    pub fn share_gone(&self) -> (f64, f64, f64) {
        /// The two-sided 95 percent quantile of the normal distribution.
        const Z: f64 = 1.959_964;
        if self.looked == 0 {
            return (0.0, 0.0, 1.0);
        }
        let (looked, gone) = (to_f64(self.looked), to_f64(self.gone));
        let share = gone / looked;
        if self.is_all {
            return (share, share, share);
        }
        let z2 = Z * Z;
        let scale = 1.0 + z2 / looked;
        let middle = (share + z2 / (2.0 * looked)) / scale;
        let spread =
            Z / scale * (share * (1.0 - share) / looked + z2 / (4.0 * looked * looked)).sqrt();
        let least = if self.gone == 0 { 0.0 } else { middle - spread };
        let most = if self.gone == self.looked {
            1.0
        } else {
            middle + spread
        };
        (share, least.max(0.0), most.min(1.0))
    }
}

/// Counts of a sample are far below 2^53.
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Looks for the keys of a sample, except those that have expired at `host_now`.
///
/// `mg` leaves no trace, except that it takes the win token of an item that was marked
/// stale since. `gets`, on a server without `mg`, counts as a use of the items and
/// returns their values, which are dropped as they arrive: at most 256 MiB of them.
///
/// Returns `None` if no key of the sample can be there any more, and a presence with
/// nothing looked at if the server refuses all requests.
///
/// # Errors
///
/// - Those of [`Connection::exchange`].
pub fn look_for(
    sample: &KeySample,
    strategy: &WriteStrategy,
    connection: &mut Connection,
    host_now: UnixSecs,
) -> Result<Option<Presence>> {
    /// A server's clock ticks once a second, and may be one more second late.
    const CLOCK_TOLERANCE: u64 = 2;
    let now = host_now.0.saturating_add(CLOCK_TOLERANCE);
    let keys = &sample.keys;
    let alive: Vec<&SampledKey> = keys
        .iter()
        .filter(|key| key.expires_at.is_none_or(|at| at > now))
        .collect();
    if alive.is_empty() {
        return Ok(None);
    }
    let mut presence = match strategy.set_protocol {
        SetProtocol::Meta | SetProtocol::OldMeta => look_by_mg(&alive, connection)?,
        SetProtocol::Classic => look_by_get(&alive, strategy.has_gets, connection)?,
    };
    presence.is_all = keys.len() < KeySample::COUNT_MAX && presence.looked == to_u64(alive.len());
    Ok(Some(presence))
}

fn look_by_mg(keys: &[&SampledKey], connection: &mut Connection) -> Result<Presence> {
    let mut request = Vec::new();
    for key in keys {
        let form = if key.is_base64 {
            KeyForm::Base64
        } else {
            KeyForm::Text
        };
        write_is_there(&key.key, form, &mut request);
    }
    let mut presence = Presence::default();
    let mut left = keys.len();
    connection.exchange("look", &request, |bytes| {
        let mut consumed: usize = 0;
        while left > 0 {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let (reply, len) = match parse_reply(rest, 0)? {
                Step::Need => return Ok(Received::More(consumed)),
                Step::Done(reply, len) => (reply, len),
            };
            consumed = consumed.saturating_add(len);
            left = left.saturating_sub(1);
            match reply {
                Reply::Done(_) => presence.looked = presence.looked.saturating_add(1),
                Reply::Miss(_) => {
                    presence.looked = presence.looked.saturating_add(1);
                    presence.gone = presence.gone.saturating_add(1);
                }
                // Unknown.
                Reply::Refused(_) => {}
                Reply::Value { .. }
                | Reply::NotStored(_)
                | Reply::Exists(_)
                | Reply::NotFound(_)
                | Reply::Noop => return Err(Error::protocol("HD or EN", rest)),
            }
        }
        Ok(Received::Done(consumed))
    })?;
    Ok(presence)
}

/// The most bytes of values that are read only to find their keys.
const CLASSIC_BYTES_MAX: u64 = 256 << 20;

fn look_by_get(
    keys: &[&SampledKey],
    has_gets: bool,
    connection: &mut Connection,
) -> Result<Presence> {
    let mut presence = Presence::default();
    let mut bytes_left = CLASSIC_BYTES_MAX;
    for keys in keys.chunks(GETS_KEY_COUNT_MAX) {
        let affordable = keys.iter().take_while(|key| {
            let left = bytes_left.checked_sub(key.value_len);
            bytes_left = left.unwrap_or(0);
            left.is_some()
        });
        let keys: Vec<&SampledKey> = affordable.copied().collect();
        if keys.is_empty() {
            break;
        }
        let (found, is_answered) = count_by_get(&keys, has_gets, connection)?;
        if is_answered {
            let count = to_u64(keys.len());
            presence.looked = presence.looked.saturating_add(count);
            presence.gone = presence.gone.saturating_add(count.saturating_sub(found));
        }
    }
    Ok(presence)
}

/// Returns how many of these keys are there, and whether the server answered.
fn count_by_get(
    keys: &[&SampledKey],
    has_gets: bool,
    connection: &mut Connection,
) -> Result<(u64, bool)> {
    let mut request = Vec::new();
    start_gets(has_gets, &mut request);
    for key in keys {
        write_gets_key(&key.key, &mut request);
    }
    end_gets(&mut request);
    let (mut found, mut is_answered): (u64, bool) = (0, true);
    // Bytes of a value still to come, including CRLF.
    let mut unread: u64 = 0;
    connection.exchange("look", &request, |bytes| {
        let mut consumed: usize = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            if unread > 0 {
                let skipped = rest
                    .len()
                    .min(usize::try_from(unread).unwrap_or(usize::MAX));
                consumed = consumed.saturating_add(skipped);
                unread = unread.saturating_sub(to_u64(skipped));
                if unread > 0 {
                    return Ok(Received::More(consumed));
                }
                continue;
            }
            let (head, len) = match parse_gets(rest)? {
                Step::Need => return Ok(Received::More(consumed)),
                Step::Done(head, len) => (head, len),
            };
            consumed = consumed.saturating_add(len);
            match head {
                GetsHead::Value { value_len, .. } => {
                    found = found.saturating_add(1);
                    unread = value_len.saturating_add(2);
                }
                GetsHead::End => return Ok(Received::Done(consumed)),
                GetsHead::Refused(_) => {
                    is_answered = false;
                    return Ok(Received::Done(consumed));
                }
            }
        }
    })?;
    Ok((found, is_answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(keys: std::ops::Range<u32>) -> KeySample {
        let mut sample = KeySample::default();
        for number in keys {
            let key = format!("key:{number}");
            sample.offer(key.as_bytes(), KeyForm::Text, None, 1);
        }
        sample
    }

    #[test]
    fn samples_of_parts_merge_to_that_of_the_whole() {
        let whole = sample(0..5000);
        assert_eq!(whole.len(), KeySample::COUNT_MAX);
        let mut merged = sample(0..1500);
        merged.merge(&sample(1000..3000));
        merged.merge(&sample(3000..5000));
        assert_eq!(merged, whole);
        // A tenth of the keys has about a tenth of the sample.
        for tenth in 0..10 {
            let is_in = |key: &SampledKey| {
                let number = std::str::from_utf8(&key.key[4..]).unwrap();
                number.parse::<u32>().unwrap() / 500 == tenth
            };
            let count = whole.keys.iter().filter(|key| is_in(key)).count();
            assert!((60..140).contains(&count), "{count} of tenth {tenth}");
        }
        assert_eq!(sample(0..7).len(), 7);
    }

    #[test]
    fn the_share_that_is_gone_has_bounds() {
        let rounded = |looked, gone, is_all| {
            let presence = Presence {
                looked,
                gone,
                is_all,
            };
            let (share, least, most) = presence.share_gone();
            let round = |share: f64| (share * 10_000.0).round();
            (round(share), round(least), round(most))
        };
        // Computed by hand: 0.0 to 0.38 % and 8.3 to 12.0 %.
        assert_eq!(rounded(1000, 0, false), (0.0, 0.0, 38.0));
        assert_eq!(rounded(1000, 100, false), (1000.0, 829.0, 1202.0));
        assert_eq!(rounded(1000, 1000, false), (10_000.0, 9962.0, 10_000.0));
        assert_eq!(rounded(10, 1, true), (1000.0, 1000.0, 1000.0));
        assert_eq!(rounded(0, 0, false), (0.0, 0.0, 10_000.0));
    }
}
