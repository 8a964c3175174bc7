//! Values as text on stdout, for programs.

use std::cell::Cell;
use std::fmt;
use std::io::Write as _;

use base64::engine::general_purpose::STANDARD;
use base64::write::{EncoderStringWriter, StrConsumer};
use mcsnap::jobs::get::CopyValue;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{Error, Result};
use mcsnap::words::pieces::LargeValue as _;
use serde::{Serialize, Serializer};

/// A value in base64, made as it is written: it is never whole in memory.
pub(super) struct Base64Value<'a> {
    pub(super) value: &'a CopyValue,
    pub(super) cancel: &'a Cancel,
    /// Why a value that was sound a moment ago cannot be read now, or was not to
    /// be any more; what is written of it then ends early.
    pub(super) failure: &'a Cell<Option<Error>>,
}

impl Serialize for Base64Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Base64Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Text {
            formatter: f,
            written: Ok(()),
        };
        let mut encoder = EncoderStringWriter::from_consumer(text, &STANDARD);
        let read = encode(self.value, self.cancel, &mut encoder);
        let written = encoder.into_inner().written;
        if let Err(error) = read {
            // An error of this function would be taken for one of the output.
            self.failure.set(Some(error));
        }
        written
    }
}

fn encode(
    value: &CopyValue,
    cancel: &Cancel,
    encoder: &mut EncoderStringWriter<'_, base64::engine::GeneralPurpose, impl StrConsumer>,
) -> Result<()> {
    match value {
        // Into text, writing cannot fail.
        CopyValue::Whole(value) => {
            let _ = encoder.write_all(value);
        }
        CopyValue::Large(value) => {
            let mut pieces = value.open();
            while let Some(piece) = pieces.next_piece()? {
                cancel.check()?;
                let _ = encoder.write_all(piece);
            }
        }
    }
    Ok(())
}

/// Takes the text of an encoder, whose consumers cannot fail.
struct Text<'a, 'f> {
    formatter: &'a mut fmt::Formatter<'f>,
    written: fmt::Result,
}

impl StrConsumer for Text<'_, '_> {
    fn consume(&mut self, text: &str) {
        if self.written.is_ok() {
            self.written = self.formatter.write_str(text);
        }
    }
}
