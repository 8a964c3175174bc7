//! How a text command carries a key. protocol.txt, "Keys" and "Meta commands".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest key that base64 can carry, in bytes; its text has at most 250.
pub const BASE64_KEY_LEN_MAX: usize = 186;

/// How a key is written in a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// Unchanged.
    Text,
    /// As base64, with the meta flag `b`.
    Base64,
}

impl KeyForm {
    /// Chooses the form of a key; `None` if no text command can carry it, because it is
    /// longer than 186 bytes and has a space, a NUL, a line feed, or a carriage return at
    /// its end.
    ///
    /// Bytes that memcached accepts as text though they look odd (tab: measured on 1.4 to
    /// 1.6) are still sent as base64 if possible, since a proxy in between may be
    /// stricter.
    pub fn of(key: &[u8]) -> Option<Self> {
        let is_plain = |&byte: &u8| byte > b' ' && byte != 0x7f;
        if key.iter().all(is_plain) {
            return Some(Self::Text);
        }
        if key.len() <= BASE64_KEY_LEN_MAX {
            return Some(Self::Base64);
        }
        Self::is_text(key).then_some(Self::Text)
    }

    /// Returns whether memcached itself accepts a key as text, however odd it looks.
    ///
    /// A NUL ends the command before 1.6.45 (measured on 1.6.18 and 1.6.38), so the
    /// command would name a different key, the bytes before the NUL.
    pub fn is_text(key: &[u8]) -> bool {
        let breaks_text = |&byte: &u8| byte == b' ' || byte == b'\n' || byte == 0;
        !key.iter().any(breaks_text) && key.last() != Some(&b'\r')
    }

    /// Appends the key in this form.
    pub fn write(self, key: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text => out.extend_from_slice(key),
            Self::Base64 => {
                // At most 250 bytes, by the check above.
                let mut text = String::with_capacity(256);
                STANDARD.encode_string(key, &mut text);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Returns the meta flag that goes with the form.
    pub fn flag(self) -> &'static [u8] {
        match self {
            Self::Text => b"",
            Self::Base64 => b" b",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_go_as_base64_and_what_nothing_carries_is_refused() {
        assert_eq!(KeyForm::of(b"user:1"), Some(KeyForm::Text));
        assert_eq!(KeyForm::of("na\u{ef}ve".as_bytes()), Some(KeyForm::Text));
        assert_eq!(KeyForm::of(b"a b"), Some(KeyForm::Base64));
        assert_eq!(KeyForm::of(b"a\r\nflush_all\r\n"), Some(KeyForm::Base64));
        let odd = |byte: u8, len: usize| {
            let mut key = vec![b'k'; len];
            key[3] = byte;
            KeyForm::of(&key)
        };
        assert_eq!(odd(b' ', 186), Some(KeyForm::Base64));
        assert_eq!(odd(b' ', 187), None);
        assert_eq!(odd(b'\n', 187), None);
        assert_eq!(odd(0, 186), Some(KeyForm::Base64));
        assert_eq!(odd(0, 187), None);
        assert_eq!(odd(b'\t', 187), Some(KeyForm::Text));
        let mut text = Vec::new();
        KeyForm::Base64.write(b"a b", &mut text);
        assert_eq!(text, b"YSBi");
    }
}
