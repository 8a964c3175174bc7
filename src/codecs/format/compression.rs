//! Sections, which are compressed if that pays, and have checksums of both forms.
//! FORMAT.md 5.5.

use std::fmt;
use std::io::Read as _;
use std::str::FromStr;

use zstd::bulk::{Compressor, Decompressor};

use crate::codecs::format::bytes::{ByteReader, check_bound, check_count};
use crate::codecs::format::checksum::{check_crc, crc32};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::units::{counted, to_u64};

/// How a writer compresses its sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Every section is stored plain.
    None,
    /// zstd at this level, 1 to 22, or plain if compression does not pay.
    Zstd(i32),
}

impl Default for Compression {
    /// zstd at level 1, which keeps up with a server on two spare cores.
    fn default() -> Self {
        Self::Zstd(1)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let level = match text {
            "none" => return Ok(Self::None),
            "zstd" => Some(1),
            _ => text
                .strip_prefix("zstd:")
                .and_then(|level| level.parse().ok())
                .filter(|level| (1..=22).contains(level)),
        };
        level.map(Self::Zstd).ok_or_else(|| {
            Error::invalid_input(
                "compression",
                text,
                "wanted none, or zstd:LEVEL with 1 to 22",
            )
        })
    }
}

/// How a section is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Uncompressed.
    Plain,
    /// As one zstd frame.
    Zstd,
}

/// The descriptor of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionDescriptor {
    /// How the section is stored.
    pub codec: Codec,
    /// Length in the file, in bytes.
    pub stored_len: u32,
    /// Length when decompressed, in bytes.
    pub raw_len: u32,
    /// CRC32 of the stored bytes.
    pub stored_crc: u32,
    /// CRC32 of the raw bytes.
    pub raw_crc: u32,
}

impl SectionDescriptor {
    /// Writes the descriptor, 20 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.codec {
            Codec::Plain => 0,
            Codec::Zstd => 1,
        });
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(&self.stored_len.to_le_bytes());
        out.extend_from_slice(&self.raw_len.to_le_bytes());
        out.extend_from_slice(&self.stored_crc.to_le_bytes());
        out.extend_from_slice(&self.raw_crc.to_le_bytes());
    }

    /// Parses a descriptor whose `raw_len` may be at most `bound`.
    ///
    /// # Errors
    ///
    /// - The defect for a broken rule B2 or B3.
    pub fn decode(
        reader: &mut ByteReader<'_>,
        structure: Structure,
        bound: u64,
    ) -> std::result::Result<Self, Defect> {
        let codec = reader.u8()?;
        reader.reserved(3, "section flags")?;
        let descriptor = Self {
            codec: match codec {
                0 => Codec::Plain,
                1 => Codec::Zstd,
                _ => {
                    return Err(Defect::UnknownValue {
                        structure,
                        field: "codec",
                        stored: codec.into(),
                    });
                }
            },
            stored_len: reader.u32()?,
            raw_len: reader.u32()?,
            stored_crc: reader.u32()?,
            raw_crc: reader.u32()?,
        };
        check_bound(structure, "raw_len", descriptor.raw_len.into(), bound)?;
        // Writers never store a section larger than its raw bytes, and a reader must not accept
        // one: a small claim could hide a large read.
        check_bound(
            structure,
            "stored_len",
            descriptor.stored_len.into(),
            descriptor.raw_len.into(),
        )?;
        if descriptor.codec == Codec::Plain {
            check_count(
                structure,
                "stored_len",
                descriptor.stored_len.into(),
                descriptor.raw_len.into(),
            )?;
        }
        Ok(descriptor)
    }

    /// Checks only the stored bytes (first half of B6).
    ///
    /// # Errors
    ///
    /// - `ChecksumMismatch`: they are damaged.
    pub fn check_stored(
        &self,
        stored: &[u8],
        structure: Structure,
    ) -> std::result::Result<(), Defect> {
        check_crc(structure, self.stored_crc, crc32(stored))
    }
}

/// Compresses sections; reuses the compressor's tables.
pub struct SectionWriter {
    compressor: Option<Compressor<'static>>,
    stored: Vec<u8>,
}

impl fmt::Debug for SectionWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionWriter").finish_non_exhaustive()
    }
}

impl SectionWriter {
    /// How many bytes are compressed on trial.
    const TRIAL_LEN: usize = 32 << 10;

    /// Creates a compressor.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: zstd does not support the level.
    pub fn new(compression: Compression) -> Result<Self> {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd(level) => Some(Compressor::new(level).map_err(|error| {
                Error::invalid_input("compression", compression.to_string(), error.to_string())
            })?),
        };
        Ok(Self {
            compressor,
            stored: Vec::new(),
        })
    }

    /// Returns how many bytes of memory a compressor takes once it has compressed a section
    /// of this length.
    ///
    /// # Errors
    ///
    /// - As [`SectionWriter::new`].
    pub fn memory(compression: Compression, section_len: usize) -> Result<u64> {
        let mut writer = Self::new(compression)?;
        // zstd chooses the sizes of its tables by the level and the length alone, so any
        // bytes will do. It has no stable function that returns them beforehand.
        writer.compress(&vec![0; section_len]);
        let tables = writer.compressor.as_mut();
        let tables = tables.map_or(0, |compressor| compressor.context_mut().sizeof());
        Ok(to_u64(tables.saturating_add(writer.stored.capacity())))
    }

    /// Appends a section to `out`, compressed if that pays, or else plain.
    pub fn write(&mut self, raw: &[u8], out: &mut Vec<u8>) -> SectionDescriptor {
        let raw_crc = crc32(raw);
        // Callers keep sections within Limits, far below 4 GiB.
        let len_of = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let raw_len = len_of(raw);
        if self.compress(raw) {
            out.extend_from_slice(&self.stored);
            return SectionDescriptor {
                codec: Codec::Zstd,
                stored_len: len_of(&self.stored),
                raw_len,
                stored_crc: crc32(&self.stored),
                raw_crc,
            };
        }
        out.extend_from_slice(raw);
        SectionDescriptor {
            codec: Codec::Plain,
            stored_len: raw_len,
            raw_len,
            stored_crc: raw_crc,
            raw_crc,
        }
    }

    /// Compresses into `self.stored`; returns false if that does not pay.
    fn compress(&mut self, raw: &[u8]) -> bool {
        let Some(compressor) = &mut self.compressor else {
            return false;
        };
        if let Some(sample) = raw.get(..Self::TRIAL_LEN)
            && !compress_into(compressor, sample, &mut self.stored)
        {
            return false;
        }
        compress_into(compressor, raw, &mut self.stored)
    }
}

/// Compresses `raw`; returns false if that saves less than 3 percent.
fn compress_into(compressor: &mut Compressor<'_>, raw: &[u8], stored: &mut Vec<u8>) -> bool {
    stored.clear();
    stored.reserve(zstd::zstd_safe::compress_bound(raw.len()));
    // With room for the worst case, compression can only fail for lack of memory; storing
    // the section plain is right then, too.
    let Ok(stored_len) = compressor.compress_to_buffer(raw, stored) else {
        return false;
    };
    to_u64(stored_len).saturating_mul(100) <= to_u64(raw.len()).saturating_mul(97)
}

/// The first bytes of a zstd frame. RFC 8878, 3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Decompresses sections; reuses the decompressor's tables.
pub struct SectionReader(Decompressor<'static>);

impl fmt::Debug for SectionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionReader").finish_non_exhaustive()
    }
}

impl Default for SectionReader {
    fn default() -> Self {
        // It can only fail to allocate, and a Rust program aborts on that.
        Self(Decompressor::new().unwrap_or_default())
    }
}

impl SectionReader {
    /// Checks and decompresses a section into `raw`, which is overwritten.
    ///
    /// # Errors
    ///
    /// - The defect for a broken rule B6 or B7.
    ///
    /// # Memory
    ///
    /// `raw_len` bytes, which [`SectionDescriptor::decode`] has bounded.
    pub fn read(
        &mut self,
        descriptor: &SectionDescriptor,
        stored: &[u8],
        structure: Structure,
        raw: &mut Vec<u8>,
    ) -> std::result::Result<(), Defect> {
        descriptor.check_stored(stored, structure)?;
        raw.clear();
        match descriptor.codec {
            Codec::Plain => raw.extend_from_slice(stored),
            Codec::Zstd => {
                let raw_len = descriptor.raw_len.into();
                let failed = |reason: String| Defect::Decompression {
                    structure,
                    raw_len,
                    reason,
                };
                // Besides zstd frames, the library reads the formats before RFC 8878, with old
                // code that none of our files needs, and also any further frames after the first.
                let frame_len = zstd::zstd_safe::find_frame_compressed_size(stored);
                if !stored.starts_with(&ZSTD_MAGIC) || frame_len != Ok(stored.len()) {
                    return Err(failed("it is not one whole zstd frame".to_owned()));
                }
                // The zstd frame states its own size. Refuse a false one before memory is
                // reserved for it.
                match zstd::zstd_safe::get_frame_content_size(stored) {
                    Ok(Some(len)) if len == raw_len => {}
                    Ok(Some(len)) => {
                        let stated = counted(len, "byte");
                        return Err(failed(format!("its zstd frame states {stated}")));
                    }
                    Ok(None) | Err(_) => {
                        let reason = "its zstd frame does not state its content size";
                        return Err(failed(reason.to_owned()));
                    }
                }
                let len = usize::try_from(raw_len).map_err(|error| failed(error.to_string()))?;
                raw.reserve_exact(len);
                let len = self
                    .0
                    .decompress_to_buffer(stored, raw)
                    .map_err(|error| failed(error.to_string()))?;
                if to_u64(len) != raw_len {
                    return Err(failed(format!("it gives {}", counted(to_u64(len), "byte"))));
                }
            }
        }
        check_crc(structure, descriptor.raw_crc, crc32(raw))
    }
}

/// Recovers what it can from a damaged or truncated section: raw bytes from its start on,
/// unchecked. For values, which have hashes.
///
/// # Memory
///
/// At most `raw_len` bytes, which [`SectionDescriptor::decode`] has bounded, and a window
/// of twice that size.
pub fn salvage_section(descriptor: &SectionDescriptor, stored: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    match descriptor.codec {
        Codec::Plain => raw.extend_from_slice(stored),
        Codec::Zstd => {
            // A writer never uses a window larger than the section.
            const WINDOW_LOG_MIN: u32 = 10;
            let window = u64::from(descriptor.raw_len).next_power_of_two();
            let window_log = window.trailing_zeros().max(WINDOW_LOG_MIN);
            let decoder = zstd::stream::read::Decoder::with_buffer(stored);
            if stored.starts_with(&ZSTD_MAGIC)
                && let Ok(mut decoder) = decoder
                && decoder.window_log_max(window_log).is_ok()
            {
                // Keep what was decompressed before an error.
                let _ = decoder
                    .take(descriptor.raw_len.into())
                    .read_to_end(&mut raw);
            }
        }
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_far_above_the_section_is_not_made() {
        let section = |window: u8| {
            // Magic number, a window size, and a last block of five raw bytes.
            let start = [0x28, 0xb5, 0x2f, 0xfd, 0, window, 5 << 3 | 1, 0, 0];
            [&start[..], b"value"].concat()
        };
        let salvage = |stored: &[u8]| {
            let descriptor = SectionDescriptor {
                codec: Codec::Zstd,
                stored_len: u32::try_from(stored.len()).unwrap(),
                raw_len: 5000,
                stored_crc: 0,
                raw_crc: 0,
            };
            salvage_section(&descriptor, stored)
        };
        // Windows of 8 KiB, which a section of 5,000 bytes may have, and of 128 MiB.
        assert_eq!(salvage(&section(3 << 3)), b"value");
        assert_eq!(salvage(&section(17 << 3)), b"");
    }

    #[test]
    fn a_cut_section_gives_its_start() {
        let raw: Vec<u8> = (0..60_000_u32)
            .flat_map(|n| (n / 3).to_le_bytes())
            .collect();
        for compression in [Compression::None, Compression::Zstd(1)] {
            let mut stored = Vec::new();
            let descriptor = SectionWriter::new(compression)
                .unwrap()
                .write(&raw, &mut stored);
            assert_eq!(salvage_section(&descriptor, &stored), raw);
            let start = salvage_section(&descriptor, &stored[..stored.len() * 9 / 10]);
            assert!(
                start.len() > raw.len() / 4 && raw.starts_with(&start),
                "{compression}"
            );
            assert_eq!(salvage_section(&descriptor, b""), b"");
        }
    }

    fn round_trip(compression: Compression, raw: &[u8]) -> (SectionDescriptor, Vec<u8>) {
        let mut out = Vec::new();
        let descriptor = SectionWriter::new(compression)
            .unwrap()
            .write(raw, &mut out);
        let mut back = Vec::new();
        SectionReader::default()
            .read(&descriptor, &out, Structure::ValueSection, &mut back)
            .unwrap();
        assert_eq!(back, raw);
        (descriptor, out)
    }

    #[test]
    fn what_does_not_shrink_is_stored_plain() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_le_bytes()[7]
            })
            .collect();
        assert_eq!(
            round_trip(Compression::Zstd(1), &noise).0.codec,
            Codec::Plain
        );
        assert_eq!(
            round_trip(Compression::Zstd(1), &[7; 100_000]).0.codec,
            Codec::Zstd
        );
        assert_eq!(
            round_trip(Compression::None, &[7; 100_000]).0.codec,
            Codec::Plain
        );
        assert_eq!(round_trip(Compression::Zstd(1), &[]).0.raw_len, 0);
    }

    #[test]
    fn a_section_that_claims_another_length_is_refused() {
        let (descriptor, stored) = round_trip(Compression::Zstd(3), &[7; 100_000]);
        for raw_len in [99_999, 100_001] {
            let lie = SectionDescriptor {
                raw_len,
                ..descriptor
            };
            let defect = SectionReader::default()
                .read(&lie, &stored, Structure::ValueSection, &mut Vec::new())
                .unwrap_err();
            assert_eq!(defect.code(), "MCS011");
        }
    }

    /// Reads a stored zstd section that should decompress to `raw`.
    fn read_zstd(stored: &[u8], raw: &[u8]) -> std::result::Result<Vec<u8>, Defect> {
        let descriptor = SectionDescriptor {
            codec: Codec::Zstd,
            stored_len: u32::try_from(stored.len()).unwrap(),
            raw_len: u32::try_from(raw.len()).unwrap(),
            stored_crc: crc32(stored),
            raw_crc: crc32(raw),
        };
        let mut found = Vec::new();
        SectionReader::default()
            .read(&descriptor, stored, Structure::ValueSection, &mut found)
            .map(|()| found)
    }

    #[test]
    fn a_section_is_one_zstd_frame_of_the_published_format_and_nothing_else() {
        let raw = [b'a'; 200];
        let frame = zstd::bulk::compress(&raw, 1).unwrap();
        assert_eq!(read_zstd(&frame, &raw), Ok(raw.to_vec()));
        let empty = zstd::bulk::compress(&[], 1).unwrap();
        // Magic number, length 2, and two bytes that every decoder skips.
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, b'x', b'x'];
        // A frame of zstd 0.7, which the library still reads: magic number, content size 200, a
        // block of 200 equal bytes, end.
        let old = [
            0x27, 0xb5, 0x2f, 0xfd, 0x20, 200, 0x80, 0, 200, b'a', 0xc0, 0, 0,
        ];
        for (what, stored) in [
            ("two frames", [&frame[..], &empty].concat()),
            ("a skipped frame behind", [&frame[..], &skipped].concat()),
            ("a skipped frame in front", [&skipped[..], &frame].concat()),
            ("a byte behind", [&frame[..], b"x"].concat()),
            ("a frame before RFC 8878", old.to_vec()),
        ] {
            let defect = read_zstd(&stored, &raw).expect_err(what);
            assert_eq!(defect.code(), "MCS011", "{what}");
        }
    }

    #[test]
    fn bytes_behind_the_frame_are_refused_even_if_they_hold_nothing() {
        let (descriptor, stored) = round_trip(Compression::Zstd(3), &[7; 100_000]);
        // A skippable frame of four bytes, and an empty frame.
        let skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip".to_vec();
        let empty = zstd::bulk::compress(b"", 1).unwrap();
        for more in [skippable, empty, vec![0]] {
            let stored = [stored.as_slice(), &more].concat();
            let longer = SectionDescriptor {
                stored_len: descriptor.stored_len + u32::try_from(more.len()).unwrap(),
                stored_crc: crc32(&stored),
                ..descriptor
            };
            let defect = SectionReader::default()
                .read(&longer, &stored, Structure::ValueSection, &mut Vec::new())
                .unwrap_err();
            assert_eq!(defect.code(), "MCS011");
        }
    }

    #[test]
    fn compression_is_read_from_text() {
        assert_eq!(
            "zstd:3".parse::<Compression>().unwrap(),
            Compression::Zstd(3)
        );
        assert_eq!("none".parse::<Compression>().unwrap().to_string(), "none");
        for text in ["", "lz4", "zstd:0", "zstd:23", "zstd:x"] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }
}
