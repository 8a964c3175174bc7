//! What `mcsnap ring detect` says.

use serde::Deserialize;

use crate::workdir::{Run, Workdir};

#[derive(Debug, Deserialize)]
struct Report {
    /// Best first.
    found: Vec<Found>,
}

#[derive(Debug, Deserialize)]
struct Found {
    ring: String,
    /// Of the sampled keys, those that are where this ring has them: 0 to 1.
    share: f64,
    /// Other names of the same ring.
    #[serde(default)]
    same_as: Vec<String>,
    /// Rings that are others elsewhere, and not to be told apart here.
    #[serde(default)]
    alike_here: Vec<String>,
}

/// Panics unless this ring is the best, perhaps among others that are as good.
pub(crate) fn check_detection(workdir: &Workdir, nodes: &[String], ring: &str) {
    let detect = workdir.mcsnap(&["ring", "detect", "--format", "json"]);
    let output = nodes.iter().fold(detect, Run::arg).run();
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    // A client that sorts its nodes is none too many, and then one of two answers.
    let code = if report.found.len() == 1 { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(code), "{report:?}");
    let best = report.found.first().map_or(0.0, |found| found.share);
    let names: Vec<&str> = report
        .found
        .iter()
        .take_while(|found| found.share >= best)
        .flat_map(|found| {
            let names = [&found.ring].into_iter().chain(&found.same_as);
            names.chain(&found.alike_here)
        })
        .map(String::as_str)
        .collect();
    assert!(
        names.contains(&ring),
        "{ring} is not in {names:?}: {report:?}"
    );
    assert!(best >= 1.0, "only {best} of the keys: {report:?}");
}
