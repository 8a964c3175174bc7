//! How a client reads bytes that are not ASCII.

/// How the client's machine reads a byte of 0x80 or above as a C `char`.
///
/// The Jenkins one-at-a-time, FNV and Hsieh functions add plain `char`s, so their results
/// for keys that are not ASCII differ between machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CharSign {
    /// As a negative number, as on x86.
    #[default]
    Signed,
    /// As 128 to 255, as on Linux for ARM.
    Unsigned,
}

impl CharSign {
    pub(super) fn extend(self, byte: u8) -> u32 {
        match self {
            Self::Signed => i32::from(byte.cast_signed()).cast_unsigned(),
            Self::Unsigned => u32::from(byte),
        }
    }

    pub(super) fn extend_64(self, byte: u8) -> u64 {
        match self {
            Self::Signed => i64::from(byte.cast_signed()).cast_unsigned(),
            Self::Unsigned => u64::from(byte),
        }
    }
}
