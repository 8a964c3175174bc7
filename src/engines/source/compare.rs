//! Compares one listing of a server with items that an earlier run read.

use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::select::Judgement;
use crate::engines::source::fetch::FetchJob;
use crate::engines::source::kept_items::{ItemVersion, KeptItems};
use crate::engines::source::packed_walk::Walked;
use crate::engines::source::spool::{LineForm, WalkChunk};
use crate::engines::source::walk::{Walk, WalkReport};
use crate::ports::host;
use crate::ports::threads::with_crew;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::item::Exptime;
use crate::words::units::UnixSecs;

/// Lists the server once and marks the items of `kept` that it still has unchanged: those
/// that have not expired and are still selected. A walk can leave items out, so an item
/// that was not listed may still be there. The same holds for items that had no room, in
/// which case the walk reports that it was given up.
///
/// `walk` must have a spool of its own. `stop` is raised when the rest of the listing is
/// of no use; it must be the flag that `walk` checks.
///
/// # Errors
///
/// - Those of [`Walk::run`].
/// - `Io`: the spool cannot be read.
pub fn compare_listing(
    walk: &Walk<'_>,
    job: &FetchJob<'_>,
    kept: &mut KeptItems,
    stop: &Cancel,
) -> Result<WalkReport> {
    let (walked, compared) = with_crew(stop, |crew| -> Result<_> {
        let walker = crew.start("walk", || walk.run())?;
        crew.start("spool", || walk.spool.write_out(stop))?;
        let compared = compare_chunks(walk, job, kept, stop).inspect_err(|_| stop.cancel());
        Ok((walker.join(), compared))
    })?;
    match (walked, compared) {
        // The walk was stopped only because the comparison failed.
        (Err(error), Err(cause)) if error.is_canceled() => Err(cause),
        (walked, compared) => walked.and_then(|walked| compared.map(|()| walked)),
    }
}

fn compare_chunks(
    walk: &Walk<'_>,
    job: &FetchJob<'_>,
    kept: &mut KeptItems,
    stop: &Cancel,
) -> Result<()> {
    while let Some(chunk) = walk.spool.pop(stop)? {
        compare_chunk(&chunk, job, kept)?;
    }
    Ok(())
}

fn compare_chunk(chunk: &WalkChunk, job: &FetchJob<'_>, kept: &mut KeptItems) -> Result<()> {
    // No other form of listing reports the CAS.
    if chunk.form != LineForm::Metadump {
        return Ok(());
    }
    let host_now = host::now();
    let server_now = job.server.to_server_time(host_now);
    chunk.visit(&mut |walked| {
        let Walked::Item { key, item } = walked else {
            return Ok(());
        };
        if let Some(version) = version_of(key, &item)
            && !has_expired(version.exptime, server_now)
            && job.judge_early(key, &item) != Judgement::Drop
        {
            kept.see(&version)?;
        }
        Ok(())
    })
}

/// Returns the version that a line describes, if the line has all of it.
fn version_of<'a>(key: &'a [u8], walked: &WalkItem) -> Option<ItemVersion<'a>> {
    Some(ItemVersion {
        key,
        cas: walked.cas.filter(|&cas| cas != 0)?,
        exptime: walked.exptime?,
    })
}

/// Reports whether a listed item has expired.
fn has_expired(exptime: Exptime, now: UnixSecs) -> bool {
    matches!(exptime, Exptime::At(at) if at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::metadump::parse_item;
    use crate::codecs::select::Selection;
    use crate::engines::source::fetch::FetcherOptions;
    use crate::engines::source::packed_walk::WalkPacker;
    use crate::engines::source::strategy::ReadStrategy;
    use crate::ports::net::{Asked, Brake, ServerReport};
    use crate::words::node::NodeSpec;

    /// Returns how many of three items have still not been listed.
    fn waiting(form: LineForm, lines: &str, select: &str) -> u64 {
        let node: NodeSpec = "a:1".parse().unwrap();
        let server = ServerReport {
            clock_offset: 7,
            ..ServerReport::default()
        };
        let selection = Selection::parse(select).unwrap();
        let (options, cancel) = (FetcherOptions::default(), Cancel::new());
        let brake = Brake::full_speed().node("a:1", Asked::Gets);
        let job = FetchJob {
            node: &node,
            server: &server,
            strategy: ReadStrategy::OF_META_COMMANDS,
            options: &options,
            selection: &selection,
            seen: None,
            brake: &brake,
            cancel: &cancel,
        };
        let directory = tempfile::tempdir().unwrap();
        let mut kept = KeptItems::create(directory.path(), 3).unwrap();
        let far = Exptime::At(UnixSecs(9_000_000_000));
        for (key, cas, exptime) in [
            ("a", 1, Exptime::Never),
            ("b", 2, far),
            ("c", 3, Exptime::At(UnixSecs(1_000_000_000))),
        ] {
            let key = key.as_bytes();
            kept.insert(&ItemVersion { key, cas, exptime }).unwrap();
        }
        let mut packer = WalkPacker::new().unwrap();
        let mut key = Vec::new();
        for line in lines.lines() {
            match parse_item(line.as_bytes(), &mut key) {
                Some(item) => packer.push(&key, &item),
                None => packer.push_broken(line.as_bytes()),
            }
        }
        let items = packer.finish().unwrap().unwrap();
        let chunk = WalkChunk { items, form };
        compare_chunk(&chunk, &job, &mut kept).unwrap();
        kept.waiting()
    }

    #[test]
    fn only_a_line_that_tells_all_of_an_item_that_is_there_stands_for_it() {
        let of = |lines: &str| waiting(LineForm::Metadump, lines, "prefix=\"\"");
        let (a, b) = ("key=a exp=-1 la=1 cas=1\n", "key=b exp=9000000000 cas=2\n");
        assert_eq!(of(&[a, b].concat()), 1);
        assert_eq!(of("key=a exp=-1 cas=2\nkey=b exp=-1 cas=2\n"), 3);
        // No CAS, or an invalid one; no exptime; no item; a truncated line.
        assert_eq!(of("key=a exp=-1\nkey=a exp=-1 cas=0\nkey=a cas=1\n"), 3);
        assert_eq!(of("key=%zz exp=-1 cas=1\nkey=a exp=-1 cas=1x\n"), 3);
        // Listed, but expired.
        assert_eq!(of("key=c exp=1000000000 cas=3\n"), 3);
        let selected = waiting(LineForm::Metadump, &[a, b].concat(), "prefix=b");
        assert_eq!(selected, 2);
        let listing = LineForm::Cachedump { class: 1 };
        assert_eq!(waiting(listing, a, "prefix=\"\""), 3);
    }
}
