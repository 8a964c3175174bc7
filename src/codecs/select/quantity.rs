//! Numbers of an item: how they are written and compared.

use std::fmt;

use crate::codecs::select::candidate::{Candidate, Needs};
use crate::words::item::{Exptime, SlabClass};
use crate::words::units::UnixSecs;

/// A number that an item may have, as far as its server reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Seconds until the item expires; 0 if it has expired.
    Ttl,
    /// Length of the value in bytes.
    Size,
    /// Slab class.
    Class,
    /// Seconds since a client last read the item.
    Idle,
    /// The client's opaque number.
    Flags,
}

/// A condition on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// It is within bounds.
    Is(Comparison),
    /// It has no end; only for a TTL.
    Never,
    /// It was not reported.
    Unknown,
}

/// Bounds on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal(u64),
    Below(u64),
    AtMost(u64),
    Above(u64),
    AtLeast(u64),
    /// Both bounds are included.
    Between(u64, u64),
}

impl Comparison {
    fn holds(self, number: u64) -> bool {
        match self {
            Self::Equal(bound) => number == bound,
            Self::Below(bound) => number < bound,
            Self::AtMost(bound) => number <= bound,
            Self::Above(bound) => number > bound,
            Self::AtLeast(bound) => number >= bound,
            Self::Between(least, most) => (least..=most).contains(&number),
        }
    }
}

/// The TTL of an item that never expires: more than any bound that can be written.
const FOR_EVER: u64 = u64::MAX;
/// Longest time that can be written, in seconds: some 300,000 years.
const TIME_MAX: u64 = 10_000_000_000_000;
/// Greatest size that can be written: 1 EiB. Up to this, sizes in binary units are read
/// without rounding.
const SIZE_MAX: u64 = 1 << 60;

const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;
const MINUTE: u64 = 60;

impl Quantity {
    pub(super) const ALL: [Self; 5] = [Self::Ttl, Self::Size, Self::Class, Self::Idle, Self::Flags];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Size => "size",
            Self::Class => "class",
            Self::Idle => "idle",
            Self::Flags => "flags",
        }
    }

    pub(super) fn needs(self) -> Needs {
        let mut needs = Needs::default();
        let need = match self {
            Self::Ttl => &mut needs.exptime,
            Self::Size => &mut needs.value_len,
            Self::Class => &mut needs.slab_class,
            Self::Idle => &mut needs.last_access,
            Self::Flags => &mut needs.client_flags,
        };
        *need = true;
        needs
    }

    /// Returns whether a candidate's number meets a condition; `None` if the number was
    /// not reported.
    pub(super) fn test(self, test: Test, candidate: &Candidate<'_>) -> Option<bool> {
        let number = self.of(candidate);
        match test {
            Test::Is(comparison) => number.map(|number| comparison.holds(number)),
            Test::Never => candidate.exptime.map(|exptime| exptime == Exptime::Never),
            Test::Unknown => Some(number.is_none()),
        }
    }

    fn of(self, candidate: &Candidate<'_>) -> Option<u64> {
        let UnixSecs(now) = candidate.now;
        match self {
            Self::Ttl => candidate.exptime.map(|exptime| match exptime {
                Exptime::Never => FOR_EVER,
                Exptime::At(UnixSecs(at)) => at.saturating_sub(now),
            }),
            Self::Size => candidate.value_len,
            Self::Class => candidate.slab_class.map(|SlabClass(class)| class.into()),
            Self::Idle => candidate
                .last_access
                .map(|UnixSecs(access)| now.saturating_sub(access)),
            Self::Flags => candidate.client_flags,
        }
    }

    /// Parses a number in the notation of this quantity.
    pub(super) fn parse_number(self, text: &str) -> Option<u64> {
        match self {
            Self::Ttl | Self::Idle => parse_time(text),
            Self::Size => parse_size(text),
            Self::Class => parse_digits(text).filter(|&class| class <= u8::MAX.into()),
            Self::Flags => parse_flags(text),
        }
    }

    /// Describes how a number is written.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Ttl => "a length of time such as 90s, 1h or 7d, a range of two, never or unknown",
            Self::Idle => "a length of time such as 90s, 1h or 7d, a range of two, or unknown",
            Self::Size => "a number of bytes such as 100, 4KiB or 1MB, a range of two, or unknown",
            Self::Class => "a slab class, 0 to 255, a range of two, or unknown",
            Self::Flags => "client flags such as 0, 4 or 0x10, a range of two, or unknown",
        }
    }

    fn write(self, number: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttl | Self::Idle => write_time(number, f),
            Self::Size => write_size(number, f),
            Self::Class | Self::Flags => write!(f, "{number}"),
        }
    }

    /// Writes operator and value; `is_negated` writes `!=` instead of `=`.
    pub(super) fn write_test(
        self,
        test: Test,
        is_negated: bool,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let equal = if is_negated { "!=" } else { "=" };
        let (operator, number) = match test {
            Test::Never => return write!(f, "{equal}never"),
            Test::Unknown => return write!(f, "{equal}unknown"),
            Test::Is(Comparison::Between(least, most)) => {
                f.write_str(equal)?;
                self.write(least, f)?;
                f.write_str("..")?;
                return self.write(most, f);
            }
            Test::Is(Comparison::Equal(number)) => (equal, number),
            Test::Is(Comparison::Below(number)) => ("<", number),
            Test::Is(Comparison::AtMost(number)) => ("<=", number),
            Test::Is(Comparison::Above(number)) => (">", number),
            Test::Is(Comparison::AtLeast(number)) => (">=", number),
        };
        f.write_str(operator)?;
        self.write(number, f)
    }
}

impl Test {
    /// Returns whether the test is written with `=`, so that `!=` is its opposite.
    pub(super) fn is_equality(self) -> bool {
        match self {
            Self::Never | Self::Unknown => true,
            Self::Is(comparison) => match comparison {
                Comparison::Equal(_) | Comparison::Between(..) => true,
                Comparison::Below(_)
                | Comparison::AtMost(_)
                | Comparison::Above(_)
                | Comparison::AtLeast(_) => false,
            },
        }
    }
}

/// Parses digits and nothing else: `parse` would also accept a sign.
fn parse_digits(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn parse_flags(text: &str) -> Option<u64> {
    let Some(digits) = text.strip_prefix("0x") else {
        return parse_digits(text);
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_number)
}

/// Parses whole seconds, with or without a unit.
fn parse_time(text: &str) -> Option<u64> {
    let seconds = parse_digits(text).or_else(|| {
        let span: jiff::Span = text.parse().ok()?;
        let day = jiff::SpanRelativeTo::days_are_24_hours();
        let length = span.to_duration(day).ok()?;
        (length.subsec_nanos() == 0).then_some(())?;
        u64::try_from(length.as_secs()).ok()
    });
    seconds.filter(|&seconds| seconds <= TIME_MAX)
}

fn write_time(seconds: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")];
    let fitting = units
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    // jiff's spans end at some 20,000 years.
    match fitting {
        Some((unit, name)) if seconds <= TIME_MAX / 1000 => write!(f, "{}{name}", seconds / unit),
        Some(_) => write!(f, "{seconds}"),
        None if seconds <= TIME_MAX / 1000 => write!(f, "{seconds}s"),
        None => write!(f, "{seconds}"),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let starts_well = text.starts_with(|letter: char| letter.is_ascii_digit());
    let size: bytesize::ByteSize = text.parse().ok().filter(|_| starts_well)?;
    Some(size.as_u64()).filter(|&size| size <= SIZE_MAX)
}

fn write_size(bytes: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = units
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    match fitting {
        Some((shift, name)) => write!(f, "{}{name}", bytes >> shift),
        None => write!(f, "{bytes}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_with_their_units() {
        for (quantity, text, number) in [
            (Quantity::Ttl, "90", Some(90)),
            (Quantity::Ttl, "90s", Some(90)),
            (Quantity::Ttl, "1h30m", Some(5400)),
            (Quantity::Ttl, "1.5h", Some(5400)),
            (Quantity::Idle, "7d", Some(604_800)),
            (Quantity::Idle, "1w", Some(604_800)),
            (Quantity::Idle, "PT1M", Some(60)),
            (Quantity::Idle, "500ms", None),
            (Quantity::Idle, "1mo", None),
            (Quantity::Idle, "1h ago", None),
            (Quantity::Idle, "-1h", None),
            (Quantity::Idle, "+1", None),
            (Quantity::Size, "100", Some(100)),
            (Quantity::Size, "4KiB", Some(4096)),
            (Quantity::Size, "1.5k", Some(1500)),
            (Quantity::Size, "1EiB", Some(1 << 60)),
            (Quantity::Size, "2EiB", None),
            (Quantity::Size, "+1", None),
            (Quantity::Size, "-1", None),
            (Quantity::Size, ".5k", None),
            (Quantity::Size, "1 q", None),
            (Quantity::Class, "63", Some(63)),
            (Quantity::Class, "256", None),
            (Quantity::Flags, "0x1F", Some(31)),
            (Quantity::Flags, "0x", None),
            (Quantity::Flags, "0x+1", None),
            (Quantity::Flags, "18446744073709551615", Some(u64::MAX)),
            (Quantity::Flags, "18446744073709551616", None),
        ] {
            assert_eq!(quantity.parse_number(text), number, "{quantity:?} {text}");
        }
    }

    #[test]
    fn what_never_expires_has_more_left_than_any_time() {
        let meta = crate::words::item::ItemMeta {
            exptime: Some(Exptime::Never),
            ..Default::default()
        };
        let never = Candidate::new(b"k", None, &meta, UnixSecs(5));
        let test = |comparison| Quantity::Ttl.test(Test::Is(comparison), &never);
        assert_eq!(test(Comparison::Above(TIME_MAX)), Some(true));
        assert_eq!(test(Comparison::AtMost(TIME_MAX)), Some(false));
        assert_eq!(test(Comparison::Between(0, TIME_MAX)), Some(false));
        assert_eq!(Quantity::Ttl.test(Test::Never, &never), Some(true));
        assert_eq!(Quantity::Ttl.test(Test::Unknown, &never), Some(false));
        assert_eq!(Quantity::Size.test(Test::Unknown, &never), Some(true));
        assert_eq!(
            Quantity::Size.test(Test::Is(Comparison::Above(0)), &never),
            None
        );
    }

    struct Written(Quantity, u64);

    impl fmt::Display for Written {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.write(self.1, f)
        }
    }

    proptest! {
        #[test]
        fn every_number_is_written_so_that_it_is_read_back(
            number in prop_oneof![any::<u64>(), 0_u64..10_000_000, (0_u64..64).prop_map(|bit| 1 << bit)],
            factor in prop::sample::select(vec![1_u64, 60, 3600, 86_400, 1 << 10, 1 << 20, 1 << 30]),
        ) {
            let number = number.saturating_mul(factor);
            for quantity in Quantity::ALL {
                let most = match quantity {
                    Quantity::Ttl | Quantity::Idle => TIME_MAX,
                    Quantity::Size => SIZE_MAX,
                    Quantity::Class => 255,
                    Quantity::Flags => u64::MAX,
                };
                let number = number.min(most);
                let text = Written(quantity, number).to_string();
                prop_assert_eq!(quantity.parse_number(&text), Some(number), "{}", text);
            }
        }
    }
}
