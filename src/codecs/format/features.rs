//! Features that a reader must know: lists of names. FORMAT.md 7.

use serde::{Deserialize, Serialize};

use crate::words::defect::Defect;

/// What a job does with records. Reading, restoring and verifying may require different
/// features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Read records.
    Read,
    /// Restore records.
    Restore,
    /// Verify records.
    Verify,
    /// Write records anew. That needs every feature, since any job may read the result.
    Rewrite,
}

/// Features that a reader must know, by job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Needed to read records.
    pub read: Vec<String>,
    /// Needed to restore them.
    pub restore: Vec<String>,
    /// Needed to verify them.
    pub verify: Vec<String>,
}

/// The features of a text, whatever else is in it.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    features: Features,
}

impl Features {
    /// Returns whether no job needs any.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.restore.is_empty() && self.verify.is_empty()
    }

    /// Refuses features that this build does not know, which are all. Another job may be
    /// possible.
    ///
    /// # Errors
    ///
    /// - `Newer`: the job needs a feature.
    pub fn check(&self, need: Need) -> Result<(), Defect> {
        // Restoring and verifying also read.
        let lists: &[&Vec<String>] = match need {
            Need::Read => &[&self.read],
            Need::Restore => &[&self.restore, &self.read],
            Need::Verify => &[&self.verify, &self.read],
            Need::Rewrite => &[&self.restore, &self.verify, &self.read],
        };
        match lists.iter().copied().flatten().next() {
            Some(name) => Err(Defect::Newer {
                what: format!("feature \"{name}\""),
            }),
            None => Ok(()),
        }
    }

    /// Checks the features of a text before anything else of it: with a feature that is
    /// not known, the rest may have another form. A text that cannot be parsed passes: the
    /// error comes when all of it is parsed.
    ///
    /// # Errors
    ///
    /// - `Newer`: the job needs a feature.
    pub fn check_in(text: &[u8], need: Need) -> Result<(), Defect> {
        match serde_json::from_slice::<Envelope>(text) {
            Ok(Envelope { features }) => features.check(need),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_refused_by_the_jobs_that_need_it() {
        let text = br#"{"features": {"restore": ["deltas"]}, "later": 1}"#;
        let is_refused = |need| Features::check_in(text, need).is_err();
        assert!(!is_refused(Need::Read) && !is_refused(Need::Verify));
        assert!(is_refused(Need::Restore) && is_refused(Need::Rewrite));
        let text = br#"{"features": {"read": ["deltas"]}}"#;
        for need in [Need::Read, Need::Restore, Need::Verify, Need::Rewrite] {
            let defect = Features::check_in(text, need).unwrap_err();
            assert_eq!(
                defect.to_string(),
                "feature \"deltas\": made by a newer mcsnap; upgrade"
            );
        }
        assert_eq!(Features::check_in(b"{", Need::Read), Ok(()));
    }
}
