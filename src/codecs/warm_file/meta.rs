//! The `.meta` beside a restart file: the server's settings, and when it stopped.
//! `_mc_meta_save_cb` in memcached.c.

use std::ops::RangeInclusive;

use crate::codecs::warm_file::refusal::{Refusal, shown};
use crate::words::units::UnixSecs;

/// What a stopped server has recorded about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The growth factor of chunk sizes (`-f`), or the sizes themselves separated by `-`
    /// (`-o slab_sizes`).
    pub slab_config: String,
    /// Size of the restart file in bytes (`-m`).
    pub file_size: u64,
    /// Bytes of key and value that fit in the smallest chunk (`-n`).
    pub chunk_size: u32,
    /// Size of the largest item in bytes (`-I`).
    pub item_size_max: u32,
    /// Size of the largest chunk in bytes; larger items are chains of chunks.
    pub slab_chunk_size_max: u32,
    /// Size of a page in bytes.
    pub slab_page_size: u32,
    /// Whether items have a CAS (false with `-C`).
    pub has_cas: bool,
    /// Whether pages may move between classes.
    pub slab_reassign: bool,
    /// The server's clock when it stopped: seconds since `process_started`, like all
    /// times of items.
    pub current_time: u32,
    /// The zero of the server's clock.
    pub process_started: UnixSecs,
    /// When the server stopped, on the clock of its host.
    pub stop_time: UnixSecs,
    /// Items last stored at this time or before are flushed (`flush_all`); 0 if nothing
    /// was flushed. Server's clock.
    pub oldest_live: u32,
    /// Older versions, such as 1.6.18, also flush items with a smaller CAS; 0 if nothing
    /// was flushed.
    pub oldest_cas: u64,
    /// The address of the file's first byte in the server's memory.
    pub old_base: u64,
}

impl Meta {
    /// Longest text that is read, in bytes. memcached writes some 350, and at most 4096
    /// for one value.
    pub const LEN_MAX: usize = 64 << 10;

    /// Seconds by which `process_started` is earlier than the start that the server's
    /// uptime implies: `ITEM_UPDATE_INTERVAL` in memcached.h.
    const START_LEAD: i64 = 60;
    /// Offsets within this range of seconds count as 0. `stop_time` is taken when all
    /// threads have ended and the file is on its disk, which can be long after the last
    /// tick of the server's clock. Ignoring a real offset this small makes items expire
    /// that much early, while applying a false one would make them expire late.
    const CLOCK_TOLERANCE: RangeInclusive<i64> = -2..=60;

    /// Parses the text of a `.meta`.
    ///
    /// # Errors
    ///
    /// - [`Refusal`]: the first field that is missing or that no server writes.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        const WORD: u64 = u32::MAX as u64;
        /// 64 TiB, so that no sum below can overflow.
        const FILE_SIZE_MAX: u64 = 1 << 46;
        /// `ITEM_SIZE_MAX_UPPER_LIMIT` in memcached.h.
        const ITEM_SIZE_MAX: u64 = 1 << 30;
        const TIME_MAX: u64 = 1 << 40;
        const ADDRESS_MAX: u64 = 1 << 57;

        let fields = Fields::of(text)?;
        let word = |name, range: RangeInclusive<u64>, wanted| {
            let number = fields.number(name, range, wanted)?;
            // The ranges make this fit.
            Ok(u32::try_from(number).unwrap_or(u32::MAX))
        };
        let slab_page_size = word(
            "slab_page_size",
            4096..=ITEM_SIZE_MAX,
            "a size from 4 KiB to 1 GiB",
        )?;
        let slab_chunk_size_max = word(
            "slab_chunk_size_max",
            1..=u64::from(slab_page_size),
            "a size of a page at most",
        )?;
        let file_size = fields.number("maxbytes", 1..=FILE_SIZE_MAX, "a size of at most 64 TiB")?;
        if slab_page_size.checked_rem(slab_chunk_size_max) != Some(0) {
            let wanted = "a number that divides slab_page_size";
            return Err(fields.wrong("slab_chunk_size_max", wanted));
        }
        if file_size.checked_rem(u64::from(slab_page_size)) != Some(0) {
            return Err(fields.wrong("maxbytes", "a multiple of slab_page_size"));
        }
        let meta = Self {
            slab_config: String::from_utf8_lossy(fields.text("slab_config")?).into_owned(),
            file_size,
            chunk_size: word("chunk_size", 1..=ITEM_SIZE_MAX, "a size from 1 to 1 GiB")?,
            item_size_max: word(
                "item_size_max",
                1..=ITEM_SIZE_MAX,
                "a size of at most 1 GiB",
            )?,
            slab_chunk_size_max,
            slab_page_size,
            has_cas: fields.switch("use_cas")?,
            slab_reassign: fields.switch("slab_reassign")?,
            current_time: word("current_time", 0..=WORD, "seconds of 32 bits")?,
            process_started: UnixSecs(fields.number(
                "process_started",
                0..=TIME_MAX,
                "seconds since 1970",
            )?),
            stop_time: UnixSecs(fields.number("stop_time", 1..=TIME_MAX, "seconds since 1970")?),
            oldest_live: word("oldest_live", 0..=WORD, "seconds of 32 bits")?,
            oldest_cas: match fields.find("oldest_cas") {
                Some(_) => fields.number("oldest_cas", 0..=u64::MAX, "a number of 64 bits")?,
                None => 0,
            },
            old_base: fields.address("mmap_oldbase", ADDRESS_MAX)?,
        };
        if meta.old_base <= WORD {
            return Err(Refusal::ForeignMachine { kind: "32 bits" });
        }
        if !meta.slab_reassign && slab_chunk_size_max == slab_page_size {
            return Err(Refusal::UnequalPages);
        }
        Ok(meta)
    }

    /// Returns the seconds to add to the server's times to get its host's time when it
    /// stopped.
    pub fn clock_offset(&self) -> i64 {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let by_server = signed(self.process_started.0).saturating_add(self.current_time.into());
        let offset = signed(self.stop_time.0).saturating_sub(by_server);
        if Self::CLOCK_TOLERANCE.contains(&offset) {
            0
        } else {
            offset
        }
    }

    /// Converts a time of an item to the clock of the server's host.
    pub fn to_host_time(&self, time: u32) -> UnixSecs {
        let server = UnixSecs(self.process_started.0.saturating_add(time.into()));
        server.saturating_add_signed(self.clock_offset())
    }

    /// Returns when the server was started, as its statistics report it.
    pub fn server_started_at(&self) -> UnixSecs {
        self.to_host_time(0).saturating_add_signed(Self::START_LEAD)
    }
}

/// The keys and values of the section `main`.
struct Fields<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Fields<'a> {
    fn of(text: &'a [u8]) -> Result<Self, Refusal> {
        let unknown = |line| Refusal::UnknownLine { line: shown(line) };
        // A number that was cut off must not be read as a shorter one.
        let Some((b'\n', text)) = text.split_last() else {
            return Err(Refusal::MissingField {
                field: "its last line",
            });
        };
        let mut fields = Vec::new();
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            match line.split_first() {
                Some((b'T', b"main")) if number == 0 => {}
                Some((b'T', section)) if number > 0 => {
                    return Err(if section.starts_with(b"ext") || section == b"storage" {
                        Refusal::Extstore
                    } else {
                        let section = shown(section);
                        Refusal::UnknownSection { section }
                    });
                }
                Some((b'K', rest)) if number > 0 => {
                    let mut parts = rest.splitn(2, |&byte| byte == b' ');
                    let (Some(key), Some(value)) = (parts.next(), parts.next()) else {
                        return Err(unknown(line));
                    };
                    if key.starts_with(b"ext") {
                        return Err(Refusal::Extstore);
                    }
                    if fields.iter().any(|(other, _)| *other == key) {
                        return Err(unknown(line));
                    }
                    fields.push((key, value));
                }
                Some(_) | None => return Err(unknown(line)),
            }
        }
        Ok(Self(fields))
    }

    fn find(&self, name: &str) -> Option<&'a [u8]> {
        let named = |(key, _): &&(&[u8], &'a [u8])| *key == name.as_bytes();
        self.0.iter().find(named).map(|(_, value)| *value)
    }

    fn text(&self, field: &'static str) -> Result<&'a [u8], Refusal> {
        self.find(field).ok_or(Refusal::MissingField { field })
    }

    fn wrong(&self, field: &'static str, wanted: &'static str) -> Refusal {
        Refusal::WrongField {
            field,
            found: shown(self.find(field).unwrap_or_default()),
            wanted,
        }
    }

    fn number(
        &self,
        field: &'static str,
        range: RangeInclusive<u64>,
        wanted: &'static str,
    ) -> Result<u64, Refusal> {
        let text = self.text(field)?;
        let number = parse_digits(text, 10).filter(|number| range.contains(number));
        number.ok_or_else(|| self.wrong(field, wanted))
    }

    fn address(&self, field: &'static str, most: u64) -> Result<u64, Refusal> {
        let text = self.text(field)?;
        let number = parse_digits(text.strip_prefix(b"0x").unwrap_or(text), 16);
        let number = number.filter(|&number| number > 0 && number <= most);
        number.ok_or_else(|| self.wrong(field, "an address in hexadecimal digits"))
    }

    fn switch(&self, field: &'static str) -> Result<bool, Refusal> {
        match self.text(field)? {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(self.wrong(field, "true or false")),
        }
    }
}

/// Parses digits and nothing else, not even a sign.
fn parse_digits(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_plain = text.bytes().all(|byte| char::from(byte).is_digit(radix));
    is_plain
        .then(|| u64::from_str_radix(text, radix).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Tmain\nKslab_config 1.25\nKmaxbytes 67108864\nKchunk_size 48\n\
        Kitem_size_max 1048576\nKslab_chunk_size_max 524288\nKslab_page_size 1048576\n\
        Kuse_cas true\nKslab_reassign true\nKcurrent_time 63\nKprocess_started 1795267233\n\
        Kstop_time 1795267296\nKcurrent_cas 2\nKoldest_cas 0\nKlogger_gid 1\nKhashpower 16\n\
        Koldest_live 0\nKmmap_oldbase 0x7f3ad5200000\n";

    fn refusal(old: &str, new: &str) -> String {
        assert!(TEXT.contains(old), "{old}");
        let text = TEXT.replace(old, new);
        Meta::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_a_server_wrote_is_read() {
        let meta = Meta::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((meta.file_size, meta.has_cas), (64 << 20, true));
        assert_eq!(meta.old_base, 0x7f3a_d520_0000);
        assert_eq!(meta.server_started_at(), UnixSecs(1_795_267_293));
        assert_eq!(meta.to_host_time(63), UnixSecs(1_795_267_296));
        // Fields that later versions add or drop do not matter.
        let other = TEXT.replace("Koldest_cas 0", "Knew thing");
        assert_eq!(Meta::parse(other.as_bytes()), Ok(meta));
    }

    #[test]
    fn a_clock_that_went_otherwise_than_the_hosts_is_set_right() {
        let offset = |stop_time: &str| {
            let text = TEXT.replace("Kstop_time 1795267296", &format!("Kstop_time {stop_time}"));
            Meta::parse(text.as_bytes()).unwrap().clock_offset()
        };
        // As long as it took to write a large file to a disk.
        assert_eq!(offset("1795267356"), 0);
        assert_eq!(offset("1795270896"), 3600);
        assert_eq!(offset("1795263696"), -3600);
    }

    #[test]
    fn every_field_is_needed_and_within_bounds() {
        for line in TEXT.lines().skip(1) {
            let name = line[1..].split(' ').next().unwrap();
            let is_used = !["current_cas", "oldest_cas", "logger_gid", "hashpower"].contains(&name);
            let without = TEXT.replace(&format!("{line}\n"), "");
            let found = Meta::parse(without.as_bytes());
            assert_eq!(found.is_err(), is_used, "{name}: {found:?}");
            for wrong in ["", "x", "-1", "+1", "1 ", "99999999999999999999999"] {
                let text = TEXT.replace(line, &format!("K{name} {wrong}"));
                let found = Meta::parse(text.as_bytes());
                // `SlabClasses` parses the factor.
                let is_read = (is_used || name == "oldest_cas") && name != "slab_config";
                assert_eq!(found.is_err(), is_read, "{name} {wrong:?}: {found:?}");
            }
        }
        for len in 0..TEXT.len() {
            assert!(Meta::parse(&TEXT.as_bytes()[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_is_refused_is_refused_with_a_reason() {
        let cases = [
            (
                "Kuse_cas true",
                "Kuse_cas yes",
                "use_cas yes, and wanted is true or false",
            ),
            ("Tmain\n", "Tmain\nKext_path /x\n", "extstore"),
            (
                "0x7f3ad5200000\n",
                "0x7f3ad5200000\nTextstore\n",
                "extstore",
            ),
            (
                "0x7f3ad5200000\n",
                "0x7f3ad5200000\nTnew\n",
                "a section \"new\"",
            ),
            ("0x7f3ad5200000", "0xb5200000", "a machine of 32 bits"),
            (
                "Kmaxbytes 67108864",
                "Kmaxbytes 67108865",
                "a multiple of slab_page_size",
            ),
            (
                "size_max 524288",
                "size_max 524287",
                "a number that divides",
            ),
            ("Tmain", "Tother", "the line \"Tother\""),
            (
                "Kchunk_size 48",
                "Kchunk_size 48\nKchunk_size 48",
                "the line \"Kchunk_size",
            ),
            ("Kchunk_size 48", "", "the line \"\""),
        ];
        for (old, new, reason) in cases {
            let found = refusal(old, new);
            assert!(found.contains(reason), "{found:?} has not {reason:?}");
        }
        let text = TEXT.replace("reassign true", "reassign false");
        assert!(Meta::parse(text.as_bytes()).is_ok());
        let whole = text.replace("size_max 524288", "size_max 1048576");
        assert_eq!(Meta::parse(whole.as_bytes()), Err(Refusal::UnequalPages));
    }
}
