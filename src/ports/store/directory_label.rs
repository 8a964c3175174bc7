//! How a directory of snapshots is called where the same one must always have one name.

use std::path::Path;

use crate::codecs::format::segment_name::FOLDER as SEGMENTS;
#[cfg(feature = "cloud")]
use crate::ports::store::cloud::CloudPlace;
use crate::ports::store::url::{MANIFEST, local_path};
use crate::words::error::{Error, Operation, Result};

/// Returns the one name of a directory of snapshots: its absolute path, or its URL,
/// without slashes at the end. Nothing is looked at, so that the name is the same before
/// the directory is created.
///
/// # Errors
///
/// - `InvalidInput`: this is no place, or a URL with a secret, which is not repeated.
/// - `Io`: the current directory cannot be determined.
pub fn directory_label(place: &str) -> Result<String> {
    #[cfg(feature = "cloud")]
    if let Some(place) = CloudPlace::parse(place)? {
        return Ok(place.describe(""));
    }
    absolute_text(local_path(place)?)
}

/// Returns the one name of the directory that contains a snapshot, whose own name may
/// have the date in it. `place` is the snapshot's directory, its manifest or one of its
/// segments.
///
/// # Errors
///
/// - As for [`directory_label`].
pub fn directory_label_of(place: &str) -> Result<String> {
    #[cfg(feature = "cloud")]
    if let Some(place) = CloudPlace::parse(place)? {
        return Ok(directory_of_url(place).describe(""));
    }
    let path = absolute_text(local_path(place)?)?;
    let path = Path::new(&path);
    let parent = path.parent().unwrap_or(path);
    let snapshot = if path.ends_with(MANIFEST) {
        parent
    } else if parent.ends_with(SEGMENTS) {
        parent.parent().unwrap_or(parent)
    } else {
        path
    };
    let directory = snapshot.parent().unwrap_or(snapshot);
    Ok(directory.to_string_lossy().into_owned())
}

#[cfg(feature = "cloud")]
fn directory_of_url(place: CloudPlace) -> CloudPlace {
    let Some((outer, name)) = place.split_last() else {
        return place;
    };
    let snapshot = match outer.split_last() {
        _ if name == MANIFEST => &outer,
        Some((above, inner)) if inner == SEGMENTS => &above.clone(),
        _ => return outer,
    };
    match snapshot.split_last() {
        Some((directory, _)) => directory,
        None => snapshot.clone(),
    }
}

/// Makes a path absolute, without `.` and without a slash at the end.
fn absolute_text(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Error::io(Operation::Open, path.display().to_string(), error))?;
    let tidy: std::path::PathBuf = absolute.components().collect();
    Ok(tidy.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_name_however_it_is_written() {
        for place in [
            "/backup",
            "/backup/",
            "/backup/.",
            "//backup",
            "file:///backup/",
        ] {
            assert_eq!(directory_label(place).unwrap(), "/backup", "{place}");
        }
        let here = std::env::current_dir().unwrap();
        let below = here.join("s").display().to_string();
        assert_eq!(directory_label("./s/").unwrap(), below);
        assert!(directory_label("").is_err());
    }

    #[test]
    fn the_name_of_a_snapshot_is_not_part_of_it() {
        for place in [
            "/backup/night-2026-12-01",
            "/backup/latest/",
            "/backup/n/manifest.json",
            "/backup/n/segments/n0000-s00-0000.mcs",
        ] {
            assert_eq!(directory_label_of(place).unwrap(), "/backup", "{place}");
        }
        assert_eq!(directory_label_of("/night").unwrap(), "/");
    }

    #[cfg(feature = "cloud")]
    #[test]
    fn a_bucket_is_named_by_its_url_and_no_secret_is_repeated() {
        assert_eq!(directory_label("s3://b/a/").unwrap(), "s3://b/a");
        for place in [
            "s3://b/a/night",
            "s3://b/a/night/manifest.json",
            "s3://b/a/night/segments/n0000-s00-0000.mcs",
        ] {
            assert_eq!(directory_label_of(place).unwrap(), "s3://b/a", "{place}");
        }
        assert_eq!(directory_label_of("s3://b/night").unwrap(), "s3://b");
        for label in [directory_label, directory_label_of] {
            let error = label("s3://user:SECRET@b/a").unwrap_err().to_string();
            assert!(!error.contains("SECRET"), "{error}");
        }
    }
}
