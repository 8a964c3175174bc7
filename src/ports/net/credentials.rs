//! A user and a password, which are never printed.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ports::host;
use crate::words::error::{Error, ErrorKind, Result};

/// A user and a password, for servers with a list of users (`-Y`).
pub struct Credentials {
    user: String,
    password: String,
    was_useless: AtomicBool,
}

impl Credentials {
    /// Longest file that is read, in bytes: a longer one holds no password, but is the
    /// wrong file.
    const FILE_LEN_MAX: u64 = 4096;

    /// Parses `user:password`.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`, which does not show the text: there is no colon, nothing before
    ///   or after it, a space in the user (which would end the user on its way to the
    ///   server), or a control character.
    pub fn parse(text: &str) -> Result<Self> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Self::new(user, password)
    }

    /// Reads a file with one line, `user:password`, in memcached's own format, or with
    /// two lines, the user and the password.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`, which does not show what the file holds.
    pub fn read_file(path: &Path) -> Result<Self> {
        let wrong =
            |allowed: &str| Error::invalid_input("auth-file", path.to_string_lossy(), allowed);
        let read = host::read_named_file("auth-file", path, Self::FILE_LEN_MAX);
        let text = read.map_err(|error| {
            let is_too_long = matches!(error.kind(), ErrorKind::LimitExceeded { .. });
            if is_too_long {
                return wrong("wanted a text of at most 4096 bytes");
            }
            error
        })?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let made = match lines.as_slice() {
            [line] => Self::parse(line),
            [user, password] if !user.contains(':') => Self::new(user, password),
            _ => return Err(wrong("wanted one line, user:password, or a line for each")),
        };
        made.map_err(|_| wrong(Self::ALLOWED))
    }

    const ALLOWED: &str = "wanted user:password, without control characters, and no space in the \
                           user";

    fn new(user: &str, password: &str) -> Result<Self> {
        let is_legal = !user.is_empty()
            && !password.is_empty()
            && !user.contains(' ')
            && !user.chars().chain(password.chars()).any(char::is_control);
        if !is_legal {
            return Err(Error::invalid_input("auth", "(hidden)", Self::ALLOWED));
        }
        Ok(Self {
            user: user.to_owned(),
            password: password.to_owned(),
            was_useless: AtomicBool::new(false),
        })
    }

    /// Returns the command that logs in; its key has no meaning. protocol.txt,
    /// "Authentication".
    pub(super) fn to_command(&self) -> Vec<u8> {
        let text = format!("{} {}", self.user, self.password);
        format!("set auth 0 0 {}\r\n{text}\r\n", text.len()).into_bytes()
    }

    /// Warns once that a server did not ask for them.
    pub(super) fn note_useless(&self, node: &str) {
        if !self.was_useless.swap(true, Ordering::Relaxed) {
            tracing::warn!(node, "the server asks for no password, and was told none");
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_password_are_read_and_never_shown() {
        let made = Credentials::parse("joe:pa:ss wd").unwrap();
        assert_eq!(made.to_command(), b"set auth 0 0 12\r\njoe pa:ss wd\r\n");
        assert_eq!(format!("{made:?}"), "Credentials(hidden)");
        for text in [
            "",
            "secret",
            ":secret",
            "joe:",
            "jo e:secret",
            "joe:sec\rret",
        ] {
            let error = Credentials::parse(text).unwrap_err().to_chain();
            assert!(error.starts_with("auth \"(hidden)\": wanted"), "{error}");
        }
    }

    #[test]
    fn a_file_has_one_line_or_two() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Credentials::read_file(&path)
        };
        for text in [
            "joe:secret\n",
            "joe:secret",
            "joe\nsecret\n",
            "joe\r\nsecret\r\n",
        ] {
            let made = read(text).unwrap();
            assert_eq!(made.to_command(), b"set auth 0 0 10\r\njoe secret\r\n");
        }
        let long = "x".repeat(5000);
        for text in [
            "",
            "secret\n",
            "a:secret\nb:secret\n",
            "a\nsecret\nc\n",
            &long,
        ] {
            let error = read(text).unwrap_err().to_chain();
            assert!(error.starts_with("auth-file \""), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Credentials::read_file(&directory.path().join("none")).is_err());
    }
}
