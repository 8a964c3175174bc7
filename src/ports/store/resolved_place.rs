//! Where a place is, however the user spells it.

use std::path::{Path, PathBuf};

#[cfg(feature = "cloud")]
use crate::ports::store::cloud::CloudPlace;
use crate::ports::store::url::{MANIFEST, local_path};
use crate::words::error::{Error, Operation, Result};

/// A place that can be compared with others: relative paths, symbolic links, schemes and
/// slashes make no difference, nor does the name of a manifest at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedPlace(Resolved);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Resolved {
    /// The URL of a prefix of a bucket, in its one form.
    #[cfg(feature = "cloud")]
    Remote(String),
    /// A path without links, as far as it exists.
    Local(PathBuf),
}

impl ResolvedPlace {
    /// Resolves a place. It need not exist.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: it is no place.
    /// - `Io`: the current directory cannot be determined.
    pub fn of(place: &str) -> Result<Self> {
        #[cfg(feature = "cloud")]
        if let Some(parsed) = CloudPlace::parse(place)? {
            let url = match parsed.split_last() {
                Some((outer, name)) if name == MANIFEST => outer.describe(""),
                _ => parsed.describe(""),
            };
            return Ok(Self(Resolved::Remote(url)));
        }
        let path = local_path(place)?;
        let path = std::path::absolute(path)
            .map_err(|error| Error::io(Operation::Open, path.display().to_string(), error))?;
        let mut path = without_links(&path);
        if path.file_name().is_some_and(|name| name == MANIFEST) {
            path.pop();
        }
        Ok(Self(Resolved::Local(path)))
    }

    /// Returns the place of a name below this place.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(match &self.0 {
            #[cfg(feature = "cloud")]
            Resolved::Remote(url) => Resolved::Remote(format!("{url}/{name}")),
            Resolved::Local(path) => Resolved::Local(without_links(&path.join(name))),
        })
    }

    /// Reports whether this is the other place, or one below it.
    pub fn is_within(&self, outer: &Self) -> bool {
        match (&self.0, &outer.0) {
            #[cfg(feature = "cloud")]
            (Resolved::Remote(url), Resolved::Remote(outer)) => {
                let rest = url.strip_prefix(outer.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (Resolved::Local(path), Resolved::Local(outer)) => {
                path.ancestors().any(|path| is_same_directory(path, outer))
            }
            #[cfg(feature = "cloud")]
            (Resolved::Remote(_), Resolved::Local(_))
            | (Resolved::Local(_), Resolved::Remote(_)) => false,
        }
    }
}

/// Reports whether two paths lead to one directory, also where it is mounted twice.
fn is_same_directory(first: &Path, second: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    first == second || id(first).is_some_and(|first| id(second) == Some(first))
}

/// Resolves links, `.` and `..` of the longest part of a path that exists.
fn without_links(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(resolved) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            // Nothing behind a directory that does not exist makes the path end in a slash.
            return resolved.join(rest).components().collect();
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(place: &str) -> ResolvedPlace {
        ResolvedPlace::of(place).unwrap()
    }

    #[test]
    fn one_directory_is_one_place_however_it_is_spelled() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display().to_string();
        std::fs::create_dir_all(directory.path().join("a/night")).unwrap();
        std::os::unix::fs::symlink("a", directory.path().join("link")).unwrap();
        std::os::unix::fs::symlink("night", directory.path().join("a/alias")).unwrap();
        let night = resolved(&format!("{root}/a/night"));
        for place in [
            format!("{root}/a/night/"),
            format!("{root}/./a//night"),
            format!("{root}/a/../a/night"),
            format!("{root}/link/night"),
            format!("{root}/link/alias"),
            format!("file://{root}/link/night/"),
            format!("{root}/a/night/manifest.json"),
            format!("{root}/a/alias/manifest.json"),
        ] {
            assert_eq!(resolved(&place), night, "{place}");
        }
        let outer = resolved(&format!("{root}/link"));
        assert_eq!(outer.join("night"), night);
        assert_eq!(outer.join("alias"), night);
        assert!(outer.join("night").join("new").is_within(&night));
        assert!(!outer.join("nights").is_within(&night) && !outer.is_within(&night));
        // What does not exist is resolved as far as it does.
        let new = resolved(&format!("{root}/link/new/deep/"));
        assert_eq!(new, resolved(&format!("{root}/a/new/deep")));
    }

    #[cfg(feature = "cloud")]
    #[test]
    fn one_prefix_of_a_bucket_is_one_place_however_it_is_spelled() {
        let night = resolved("s3://b/a/night");
        for place in [
            "s3a://b//a/night/",
            "S3://b/a/night",
            "s3://b/a/night/manifest.json",
        ] {
            assert_eq!(resolved(place), night, "{place}");
        }
        assert_eq!(resolved("s3://b/a/").join("night"), night);
        assert_eq!(resolved("s3://b/").join("a"), resolved("s3://b/a"));
        assert!(night.join("new").is_within(&night));
        for other in ["s3://b/a/nights", "gs://b/a/night", "s3://b", "/b/a/night"] {
            assert!(!resolved(other).is_within(&night), "{other}");
            assert!(!night.join("x").is_within(&resolved(other)) || other == "s3://b");
        }
    }
}
