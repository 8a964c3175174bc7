//! The file that a collector of text files reads, such as that of Prometheus'
//! node_exporter.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::exit::UsageError;
use crate::metrics::families::LAST_SUCCESS;

/// The collector reads files that end so, and no others.
const ENDING: &str = ".prom";

/// What a file has while it is written: the collector must not read half of it.
const UNFINISHED: &str = ".tmp";

/// Collectors run as users of their own.
const MODE: u32 = 0o644;

/// No file of ours is larger.
const SIZE_MAX: u64 = 1 << 20;

/// A file of metrics, and what an earlier run left in it.
#[derive(Debug)]
pub(super) struct Textfile {
    path: PathBuf,
    /// Its name without the ending: no two files of a folder have the same.
    pub(super) label: String,
    earlier: String,
}

impl Textfile {
    /// Looks at what an earlier run left, and whether a new one can be written. The file
    /// itself stays as it is.
    pub(super) fn open(path: &str, command: &str) -> Result<Self, UsageError> {
        let refuse = |why: String| UsageError(format!("--metrics-file {path}: {why}"));
        let path = PathBuf::from(path);
        let name = path.file_name().and_then(|name| name.to_str());
        let label = name.and_then(|name| name.strip_suffix(ENDING));
        let Some(label) = label.filter(|label| !label.is_empty()) else {
            let why = format!(
                "wanted a file whose name ends in {ENDING}: no other is read by a collector"
            );
            return Err(refuse(why));
        };
        let earlier = read_earlier(&path).map_err(|e| refuse(format!("cannot read it: {e}")))?;
        if let Some(why) = owner_complaint(&earlier, command) {
            return Err(refuse(why));
        }
        let unfinished = create_beside(&path);
        unfinished.map_err(|e| refuse(format!("cannot write metrics there: {e}")))?;
        Ok(Self {
            label: label.to_owned(),
            path,
            earlier,
        })
    }

    /// Returns the directory that the last run of the job had, if there was one.
    pub(super) fn earlier_directory(&self) -> Option<String> {
        label_value(last_success(&self.earlier)?, "directory")
    }

    /// Returns the last number of a series.
    ///
    /// Another run may have ended since this one began.
    pub(super) fn earlier_value(&self, series: &str) -> Option<f64> {
        let now = read_earlier(&self.path).unwrap_or_default();
        let of_text = |text: &str| {
            let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
            let (_, value) = lines.find(|(name, _)| *name == series)?;
            value.parse().ok().filter(|value: &f64| value.is_finite())
        };
        of_text(&now).or_else(|| of_text(&self.earlier))
    }

    /// Puts a new text in place of the old one. Who reads sees the one or the other.
    pub(super) fn write(&self, text: &str) -> Result<(), String> {
        let written = self.try_write(text);
        written.map_err(|error| {
            let path = self.path.display();
            format!("{path}: the metrics of this run are not in it: {error}")
        })
    }

    fn try_write(&self, text: &str) -> io::Result<()> {
        let mut file = create_beside(&self.path)?;
        // Whatever the umask is.
        let permissions = Permissions::from_mode(MODE);
        file.as_file().set_permissions(permissions)?;
        // By the file itself, whose errors do not name it by chance.
        file.as_file_mut().write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(folder_of(&self.path))?.sync_all()
    }
}

/// Creates the file that is written first, under a name of its own.
fn create_beside(path: &Path) -> io::Result<NamedTempFile> {
    // What is wrong with the folder is told in the system's words.
    File::open(folder_of(path))?;
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(UNFINISHED)
        .tempfile_in(folder_of(path))
        // Its own message has the name by chance, which says nothing to anybody.
        .map_err(|error| error.kind().into())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Reads the file; one that is not there has nothing.
fn read_earlier(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the series that every file of ours has, with its labels and value.
fn last_success(text: &str) -> Option<&str> {
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(LAST_SUCCESS.name);
        rest.is_some_and(|rest| rest.starts_with('{'))
    };
    text.lines().find(is_it)
}

/// Says why a file that is there already may not be replaced, if so.
fn owner_complaint(text: &str, command: &str) -> Option<String> {
    if text.trim().is_empty() {
        return None;
    }
    let Some(series) = last_success(text) else {
        return Some("it is there, and has no metrics of mcsnap: pass another name".to_owned());
    };
    match label_value(series, "command") {
        Some(other) if other != command => Some(format!(
            "it has the metrics of {other}, and {command} would replace them: each job wants a \
             file of its own"
        )),
        Some(_) | None => None,
    }
}

/// Returns the value of a label as it was before it was written.
fn label_value(series: &str, label: &str) -> Option<String> {
    let (_, labels) = series.split_once('{')?;
    let start = format!("{label}=\"");
    // What stands in quotes has its own quotes escaped, so that this is no value's part.
    let rest = labels
        .strip_prefix(&start)
        .or_else(|| Some(labels.split_once(&format!("\",{start}"))?.1))?;
    let mut value = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return Some(value),
            '\\' => value.push(match letters.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::{Sample, render};

    fn text(command: &str, directory: &str, value: f64) -> String {
        let samples = [Sample::of(&LAST_SUCCESS, value)];
        let common = [
            ("command", command),
            ("directory", directory),
            ("file", "night"),
        ];
        render(&samples, &common).unwrap()
    }

    #[test]
    fn labels_are_read_as_they_were_before_they_were_written() {
        for directory in [
            "/backup",
            "",
            "a\"b\\n\nc\\",
            "x\",directory=\"y",
            ",file=\"",
        ] {
            let text = text("dump", directory, 3.0);
            let series = last_success(&text).unwrap();
            assert_eq!(label_value(series, "directory").unwrap(), directory);
            assert_eq!(label_value(series, "command").unwrap(), "dump");
            assert_eq!(label_value(series, "file").unwrap(), "night");
            assert_eq!(label_value(series, "node"), None);
        }
    }

    #[test]
    fn a_number_is_found_by_its_series_and_labels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night.prom");
        let open = || Textfile::open(path.to_str().unwrap(), "dump").unwrap();
        let series = |text: &str| {
            let line = last_success(text).unwrap();
            line.rsplit_once(' ').unwrap().0.to_owned()
        };
        let wanted = series(&text("dump", "/b", 0.0));
        let file = open();
        assert_eq!(file.earlier_value(&wanted), None);
        file.write(&text("dump", "/b", 17.5)).unwrap();
        // Also for a run that had begun before.
        assert_eq!(file.earlier_value(&wanted), Some(17.5));
        let file = open();
        assert_eq!(file.earlier_directory().as_deref(), Some("/b"));
        let other = series(&text("dump", "/c", 0.0));
        assert_eq!(file.earlier_value(&other), None);
        // What was read at the start outlives a file that is gone.
        fs::remove_file(&path).unwrap();
        assert_eq!(file.earlier_value(&wanted), Some(17.5));
    }

    #[test]
    fn a_file_of_somebody_else_is_not_replaced() {
        let refused = |text: &str| owner_complaint(text, "dump");
        assert_eq!(refused(""), None);
        assert_eq!(refused("\n"), None);
        assert_eq!(refused(&text("dump", "/other", 1.0)), None);
        assert!(
            refused(&text("verify", "/b", 1.0))
                .unwrap()
                .contains("verify")
        );
        assert!(
            refused("node_load1 3\n")
                .unwrap()
                .contains("no metrics of mcsnap")
        );
    }
}
