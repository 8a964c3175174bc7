//! A build of the program, and which flags it knows.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::machine::first_line;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Build {
    pub(crate) program: String,
    version: String,
}

impl Build {
    pub(crate) fn this() -> Self {
        Self::other(Path::new(env!("CARGO_BIN_EXE_mcsnap")))
    }

    pub(crate) fn other(program: &Path) -> Self {
        let program = program.display().to_string();
        let version = first_line(&program, "--version");
        Self { program, version }
    }

    /// Whether the help of a command names a flag.
    pub(crate) fn knows(&self, command: &str, flag: &str) -> bool {
        let output = Command::new(&self.program)
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8_lossy(&output.stdout);
        help.split(|letter: char| letter.is_whitespace() || ",=[]".contains(letter))
            .any(|word| word == flag)
    }
}
