//! Who may read and write the files of a local store.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt,
};
use std::path::Path;
use std::str::FromStr;

use crate::words::error::{Error, Result};

/// The permissions of new files, whatever the umask. A new directory can also be entered
/// by everyone who may read the files in it. Existing files and directories keep their
/// permissions.
///
/// The default is 600, since a snapshot holds whatever the cache held, which may include
/// session tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

/// The permission bits proper, without setuid, setgid and sticky.
const BITS: u32 = 0o777;

impl Default for FileMode {
    fn default() -> Self {
        Self(0o600)
    }
}

impl FromStr for FileMode {
    type Err = Error;

    /// Parses an octal number such as `640`: the owner's digit is 6, those of the group
    /// and of others are 0, 4 or 6.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix('0').unwrap_or(text).as_bytes();
        let part = |digit: &u8| match digit {
            b'0' => Some(0),
            b'4' => Some(0o4),
            b'6' => Some(0o6),
            _ => None,
        };
        let mode = match digits {
            [b'6', group, others] => part(group).zip(part(others)),
            _ => None,
        };
        mode.map(|(group, others)| Self(0o600 | group << 3 | others))
            .ok_or_else(|| {
                let allowed = "wanted 6 and two of 0, 4 and 6, for group and others, such as 640";
                Error::invalid_input("file-mode", text, allowed)
            })
    }
}

impl FileMode {
    fn of_directory(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }

    /// Creates a file that must not exist yet, and opens it for writing.
    pub(super) fn create_file(self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(self.0)
            .open(path)?;
        self.mend(self.0, file.metadata(), |mode| file.set_permissions(mode));
        Ok(file)
    }

    /// Opens a file for reading and writing, and creates it if it is missing.
    pub(super) fn open_or_create(self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(self.0);
        match options.clone().create_new(true).open(path) {
            Ok(file) => {
                self.mend(self.0, file.metadata(), |mode| file.set_permissions(mode));
                Ok(file)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Open without creating: the file may have been removed since.
                options.open(path)
            }
            Err(e) => Err(e),
        }
    }

    /// Creates a directory.
    pub(super) fn create_directory(self, path: &Path) -> io::Result<()> {
        let mode = self.of_directory();
        DirBuilder::new().mode(mode).create(path)?;
        self.mend(mode, fs::symlink_metadata(path), |mode| {
            fs::set_permissions(path, mode)
        });
        Ok(())
    }

    /// Restores the permissions that the umask removed.
    fn mend(
        self,
        wanted: u32,
        found: io::Result<Metadata>,
        set: impl FnOnce(Permissions) -> io::Result<()>,
    ) {
        if found.is_ok_and(|found| found.mode() & BITS == wanted) {
            return;
        }
        // A file system without permissions refuses this, and loses nothing by it.
        if let Err(error) = set(Permissions::from_mode(wanted)) {
            tracing::debug!("cannot set the permissions {wanted:o}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_nothing_can_be_run() {
        for (text, file, directory) in [
            ("600", 0o600, 0o700),
            ("0640", 0o640, 0o750),
            ("660", 0o660, 0o770),
            ("644", 0o644, 0o755),
            ("666", 0o666, 0o777),
        ] {
            let mode: FileMode = text.parse().unwrap();
            assert_eq!((mode.0, mode.of_directory()), (file, directory), "{text}");
        }
        assert_eq!(FileMode::default(), "600".parse().unwrap());
        for text in [
            "", "0", "6", "400", "700", "620", "755", "66", "06400", "rw", "-600",
        ] {
            let error = text.parse::<FileMode>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("file-mode \"{text}\": wanted")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_made_has_the_mode_and_what_is_there_keeps_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let mode_of = |name: &str| {
            let path = directory.path().join(name);
            fs::metadata(path).unwrap().mode() & BITS
        };
        let mode: FileMode = "666".parse().unwrap();
        mode.create_directory(&directory.path().join("d")).unwrap();
        mode.create_file(&directory.path().join("f")).unwrap();
        mode.open_or_create(&directory.path().join("l")).unwrap();
        assert_eq!(
            (mode_of("d"), mode_of("f"), mode_of("l")),
            (0o777, 0o666, 0o666)
        );
        let private = FileMode::default();
        private.open_or_create(&directory.path().join("l")).unwrap();
        assert_eq!(mode_of("l"), 0o666);
        private.create_file(&directory.path().join("p")).unwrap();
        assert_eq!(mode_of("p"), 0o600);
        assert!(private.create_file(&directory.path().join("p")).is_err());
    }
}
