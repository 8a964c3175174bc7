//! Any bytes as orders to a forger, so that what makes random bytes makes
//! segments that lie.

use std::sync::OnceLock;

use mcsnap::codecs::format::compression::{Codec, Compression, SectionWriter};

use super::forge::{Forge, Place, Side};
use super::sound_segments;

/// Orders carried out at most.
const STEP_COUNT_MAX: usize = 24;

/// Nothing is added to a segment that is longer than this.
const LEN_MAX: usize = 1 << 20;

/// Carries out a recipe: its first byte chooses a sound segment, the rest says
/// what to do with it. Every recipe has a result, the same each time.
pub(crate) fn forge(recipe: &[u8]) -> Vec<u8> {
    static SOUND: OnceLock<Vec<Forge>> = OnceLock::new();
    let sound = SOUND.get_or_init(|| {
        let segments = sound_segments::short().into_iter();
        segments.map(|(_, segment)| Forge::new(&segment)).collect()
    });
    let mut steps = Steps { recipe, cut_len: 0 };
    let mut forge = sound[steps.index(sound.len())].clone();
    for _ in 0..STEP_COUNT_MAX {
        if steps.recipe.is_empty() {
            break;
        }
        steps.carry_out(&mut forge);
    }
    let mut bytes = forge.seal();
    bytes.truncate(bytes.len().saturating_sub(steps.cut_len));
    bytes
}

/// Makes the checksums of a changed segment right; bytes that are too unlike
/// one are returned as they are.
pub(crate) fn reseal(bytes: &[u8]) -> Vec<u8> {
    Forge::of_any(bytes).map_or_else(|| bytes.to_vec(), Forge::seal)
}

/// Both sections of every block.
fn sections(forge: &Forge) -> Vec<(usize, Side)> {
    let blocks = 0..forge.block_count();
    blocks
        .flat_map(|block| [(block, Side::Keys), (block, Side::Values)])
        .collect()
}

struct Steps<'a> {
    recipe: &'a [u8],
    cut_len: usize,
}

impl<'a> Steps<'a> {
    fn carry_out(&mut self, forge: &mut Forge) {
        // All but the table of contents, which the others make.
        let frame_count = forge.frame_count() - 1;
        let may_grow = forge.bytes().len() < LEN_MAX;
        match self.byte() % 16 {
            0..=5 => self.set_field(forge),
            6 | 7 => {
                forge.link();
            }
            8 => self.overwrite(forge),
            9 if frame_count > 0 => {
                let frame = self.index(frame_count);
                forge.set_payload(frame, self.run());
            }
            10 if may_grow => {
                let at = self.index(forge.frame_count());
                let (kind, flags) = (self.byte(), self.byte());
                forge.insert_frame(at, kind, flags, self.run());
            }
            11 if frame_count > 1 => {
                forge.remove_frame(self.index(frame_count));
            }
            12 if frame_count > 0 && may_grow => {
                // A frame once more, somewhere else.
                let (from, to) = (self.index(frame_count), self.index(forge.frame_count()));
                let payload = forge.bytes()[forge.payload(from)].to_vec();
                let [flags, ..] = forge.get(Place::Frame(from), "flags").to_le_bytes();
                forge.insert_frame(to, forge.kind(from), flags, &payload);
            }
            13 | 14 if may_grow => self.change_section(forge),
            _ => self.cut_len = self.index(1 << 16),
        }
    }

    /// Sets a field somewhere to something.
    fn set_field(&mut self, forge: &mut Forge) {
        let places = forge.places();
        let place = places[self.index(places.len())];
        let fields = Forge::fields(place);
        let field = fields[self.index(fields.len())];
        let bits = u32::try_from(field.size.min(8) * 8).expect("a field is short");
        let now = forge.get_field(place, field);
        let value = match self.byte() % 8 {
            0 => self.number(8),
            1 => now.wrapping_add(1),
            2 => now.wrapping_sub(1),
            3 => u64::MAX,
            4 => self.number(1),
            5 => now ^ 1_u64.rotate_left(self.byte().into()),
            6 => {
                let other = places[self.index(places.len())];
                let fields = Forge::fields(other);
                forge.get_field(other, fields[self.index(fields.len())])
            }
            _ => now.wrapping_add(self.number(2)),
        };
        forge.set_field(place, field, value & (u64::MAX >> (64 - bits)));
    }

    /// Writes a few bytes into a payload, or into a stored section.
    fn overwrite(&mut self, forge: &mut Forge) {
        let sections = sections(forge);
        let range = if self.byte().is_multiple_of(2) || sections.is_empty() {
            forge.payload(self.index(forge.frame_count()))
        } else {
            let (block, side) = sections[self.index(sections.len())];
            forge.section_range(block, side)
        };
        let start = range.start + self.index(range.len().max(1));
        let bytes = self.run();
        let bytes = &bytes[..bytes.len().min(range.end.saturating_sub(start))];
        forge.write(start, bytes);
    }

    /// Puts another content into a section, plain or compressed, with lengths
    /// and checksums that are true.
    fn change_section(&mut self, forge: &mut Forge) {
        let sections = sections(forge);
        if sections.is_empty() {
            return;
        }
        let (block, side) = sections[self.index(sections.len())];
        let choice = self.byte();
        let mut raw = forge.bytes()[forge.section_range(block, side)].to_vec();
        if choice & 1 != 0 {
            // Long, and of next to no length when compressed.
            raw.resize(raw.len() + (1 << (self.byte() % 17)), self.byte());
        }
        let start = self.index(raw.len() + 1);
        let end = (start + usize::from(self.byte())).min(raw.len());
        raw.splice(start..end, self.run().iter().copied());
        if choice & 2 == 0 {
            forge.set_section(block, side, 0, &raw, &raw);
            return;
        }
        let mut stored = Vec::new();
        let mut writer = SectionWriter::new(Compression::Zstd(1)).expect("1 is a level");
        let codec = match writer.write(&raw, &mut stored).codec {
            Codec::Plain => 0,
            Codec::Zstd => 1,
        };
        forge.set_section(block, side, codec, &stored, &raw);
    }

    /// Up to 63 bytes as they are.
    fn run(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte() % 64).min(self.recipe.len());
        let (run, rest) = self.recipe.split_at(len);
        self.recipe = rest;
        run
    }

    /// An index below `len`, which is not 0.
    fn index(&mut self, len: usize) -> usize {
        // One byte where that reaches, so that small changes have small effects.
        let number = self.number(if len > 256 { 2 } else { 1 });
        usize::try_from(number).expect("two bytes") % len
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.number(1).to_le_bytes();
        byte
    }

    fn number(&mut self, len: usize) -> u64 {
        let (taken, rest) = self.recipe.split_at(len.min(self.recipe.len()));
        self.recipe = rest;
        taken
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}
