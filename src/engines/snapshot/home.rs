//! Where the objects of a snapshot are: below its name, or, in a store that cannot keep
//! writers apart, below a name that the run alone has.

use crate::codecs::format::ids::{SnapshotId, parse_hex};
use crate::engines::snapshot::files::{JOURNAL, MANIFEST};
use crate::ports::store::Store;
use crate::words::error::{Error, ErrorKind, Result};

/// Begins the last component of a home that is not the name itself; the id of the snapshot
/// that began there follows.
const RUN: &str = "run-";

/// What is in the homes of a name.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// Those with a manifest.
    pub(super) finished: Vec<String>,
    /// Those with a journal and no manifest.
    unfinished: Vec<String>,
}

/// Makes the home of a snapshot that begins now.
///
/// # Errors
///
/// - `Io`: the store cannot be asked.
pub(super) fn new_home(store: &dyn Store, name: &str, id: SnapshotId) -> Result<String> {
    if store.keeps_writers_apart()? {
        return Ok(name.to_owned());
    }
    let run = uuid::Uuid::from_bytes(id.0).simple().to_string();
    Ok(format!("{name}/{RUN}{run}"))
}

/// Returns the home of a copy of the snapshot with this id.
///
/// # Errors
///
/// - `AlreadyExists`: another snapshot has the name.
/// - `Io`.
pub fn home_of_copy(store: &dyn Store, name: &str, id: SnapshotId) -> Result<String> {
    let home = new_home(store, name, id)?;
    if home == name {
        return Ok(home);
    }
    let files = store.list_below(name)?;
    let finished = homes_among(store, name, &files)?.finished;
    if files.iter().any(|file| file == MANIFEST) || finished.iter().any(|other| *other != home) {
        let what = format!("snapshot {}", store.describe(name));
        return Err(Error::new(ErrorKind::AlreadyExists { what }));
    }
    Ok(home)
}

/// Returns other snapshots of the name of this home, for messages, or why it is not known
/// whether there are any.
pub fn rivals_of(store: &dyn Store, home: &str) -> Vec<String> {
    let name = name_of(home);
    if home == name {
        return Vec::new();
    }
    match find_homes(store, name) {
        Ok(homes) => {
            let others = homes.finished.iter().filter(|other| *other != home);
            others.map(|other| store.describe(other)).collect()
        }
        Err(error) => vec![format!("not known: {}", error.to_chain())],
    }
}

/// Returns the name of the snapshot whose home this is.
pub(super) fn name_of(home: &str) -> &str {
    match home.rsplit_once('/') {
        Some((name, last)) if is_run(last) => name,
        Some(_) | None => home,
    }
}

fn is_run(component: &str) -> bool {
    component
        .strip_prefix(RUN)
        .is_some_and(|id| id.len() == 32 && parse_hex::<16>(id).is_some())
}

/// Finds the homes of a name, without the name itself.
///
/// # Errors
///
/// - `Io`.
pub(super) fn find_homes(store: &dyn Store, name: &str) -> Result<Homes> {
    homes_among(store, name, &store.list_below(name)?)
}

fn homes_among(store: &dyn Store, name: &str, below: &[String]) -> Result<Homes> {
    let mut homes = Homes::default();
    for run in below.iter().filter(|component| is_run(component)) {
        let home = format!("{name}/{run}");
        let files = store.list_below(&home)?;
        let has = |wanted: &str| files.iter().any(|file| file == wanted);
        if has(MANIFEST) {
            homes.finished.push(home);
        } else if has(JOURNAL) {
            homes.unfinished.push(home);
        }
    }
    Ok(homes)
}

/// How far the dump of a name has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is a manifest.
    Finished,
    /// There is a journal, and no manifest.
    Unfinished,
    /// There is neither.
    Neither,
}

/// Finds out how far the dump of a name has come.
///
/// # Errors
///
/// - `Io`.
pub(super) fn stage_of(store: &dyn Store, name: &str) -> Result<Stage> {
    let files = store.list_below(name)?;
    let has = |wanted: &str| files.iter().any(|file| file == wanted);
    let homes = homes_among(store, name, &files)?;
    Ok(match () {
        () if has(MANIFEST) || !homes.finished.is_empty() => Stage::Finished,
        () if has(JOURNAL) || !homes.unfinished.is_empty() => Stage::Unfinished,
        () => Stage::Neither,
    })
}

/// Returns the home of a snapshot, or else of an unfinished dump; the name itself if
/// there is no other.
///
/// # Errors
///
/// - `InvalidInput`: several runs have written below one name.
/// - `Io`.
pub(super) fn home_of(store: &dyn Store, name: &str) -> Result<String> {
    let homes = find_homes(store, name)?;
    let candidates = match homes.finished.is_empty() {
        true => homes.unfinished,
        false => homes.finished,
    };
    match candidates.as_slice() {
        [] => Ok(name.to_owned()),
        [home] => Ok(home.clone()),
        _ => Err(several(store, name, &candidates)),
    }
}

/// Reports whether there is an unfinished dump of this name that can be resumed.
pub fn can_resume(store: &dyn Store, name: &str) -> bool {
    let Ok(home) = home_of(store, name) else {
        return false;
    };
    let exists = |object: &str| store.open(&format!("{home}/{object}")).is_ok();
    exists(JOURNAL) && !exists(MANIFEST)
}

fn several(store: &dyn Store, name: &str, homes: &[String]) -> Error {
    let places: Vec<String> = homes.iter().map(|home| store.describe(home)).collect();
    let allowed = format!(
        "several runs have written there at once, since this store keeps no writers apart; name one \
         of them: {}",
        places.join(", ")
    );
    Error::invalid_input("snapshot", store.describe(name), allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::store::MemoryStore;

    const RUN_1: &str = "n/run-0123456789abcdef0123456789abcdef";
    const RUN_2: &str = "n/run-fedcba9876543210fedcba9876543210";

    #[test]
    fn only_the_name_of_a_run_is_a_home() {
        assert_eq!(name_of(RUN_1), "n");
        assert_eq!(name_of("n"), "n");
        assert_eq!(name_of("n/run-0123"), "n/run-0123");
    }

    #[test]
    fn a_finished_run_goes_before_others_and_two_are_refused() {
        let store = MemoryStore::default();
        let put = |object: &str| store.put_new(object, b"x").unwrap();
        assert_eq!(home_of(&store, "n").unwrap(), "n");
        assert_eq!(stage_of(&store, "n").unwrap(), Stage::Neither);
        put(&format!("{RUN_1}/dump.json"));
        assert_eq!(stage_of(&store, "n").unwrap(), Stage::Unfinished);
        put("n/run-x/manifest.json");
        assert_eq!(home_of(&store, "n").unwrap(), RUN_1);
        put(&format!("{RUN_2}/manifest.json"));
        assert_eq!(home_of(&store, "n").unwrap(), RUN_2);
        assert_eq!(stage_of(&store, "n").unwrap(), Stage::Finished);
        put(&format!("{RUN_1}/manifest.json"));
        let error = home_of(&store, "n").unwrap_err().to_string();
        assert!(error.contains(RUN_1) && error.contains(RUN_2), "{error}");
    }
}
