//! What is measured, and who does it.

use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Job {
    /// A dump without compression.
    DumpNone,
    /// A dump with zstd, level 1.
    DumpZstd,
    /// Read every byte of a snapshot and check the stored checksums.
    VerifyData,
    /// Decode every record of a snapshot.
    VerifyDeep,
    /// A restore as it comes: by quiet meta sets.
    Restore,
    /// A restore as to a server without meta commands.
    RestoreClassic,
}

impl Job {
    pub(crate) const ALL: [Self; 6] = [
        Self::DumpNone,
        Self::DumpZstd,
        Self::VerifyData,
        Self::VerifyDeep,
        Self::Restore,
        Self::RestoreClassic,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DumpNone => "dump, no compression",
            Self::DumpZstd => "dump, zstd:1",
            Self::VerifyData => "verify --data",
            Self::VerifyDeep => "verify --deep",
            Self::Restore => "restore",
            Self::RestoreClassic => "restore, classic sets",
        }
    }

    /// What its floor does.
    pub(crate) fn floor(self) -> &'static str {
        match self {
            Self::DumpNone | Self::DumpZstd => "read, append, fsync",
            Self::VerifyData | Self::VerifyDeep => "read the files",
            Self::Restore => "quiet sets",
            Self::RestoreClassic => "classic sets",
        }
    }

    /// The command of the program, and the flags that it needs.
    pub(crate) fn command(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::DumpNone | Self::DumpZstd => ("dump", &["--to", "--name", "--compression"]),
            Self::VerifyData => ("verify", &["--data"]),
            Self::VerifyDeep => ("verify", &["--deep"]),
            Self::Restore | Self::RestoreClassic => ("restore", &["--to"]),
        }
    }

    pub(crate) fn is_dump(self) -> bool {
        matches!(self, Self::DumpNone | Self::DumpZstd)
    }

    pub(crate) fn is_restore(self) -> bool {
        matches!(self, Self::Restore | Self::RestoreClassic)
    }
}

/// Who does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    Floor,
    This,
    Other,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::This => "this build",
            Self::Other => "other build",
        }
    }
}
