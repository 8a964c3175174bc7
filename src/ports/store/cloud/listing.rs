//! Removes names from the pages of a listing that no object of ours can have.
//!
//! The client beneath refuses a whole page for one key that it cannot take, such as
//! `backups//a`, which other programs put into buckets.

use std::ops::Range;

use object_store::path::Path;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// What a listing is made of, and which element of it has the name: of S3 and Google, and of
/// Azure.
const ENTRIES: [(&[u8], &[u8]); 4] = [
    (b"Contents", b"Key"),
    (b"CommonPrefixes", b"Prefix"),
    (b"Blob", b"Name"),
    (b"BlobPrefix", b"Name"),
];

/// Reports whether a request with this query asks for a listing.
pub(super) fn is_listing(query: &str) -> bool {
    let mut pairs = query.split('&');
    pairs.any(|pair| matches!(pair, "list-type=2" | "comp=list"))
}

/// Removes the entries whose names the client refuses. Returns the new page, and how many
/// entries were removed; `None` if there are none, or if this is no page of a listing.
pub(super) fn without_strange_names(page: &[u8]) -> Option<(Vec<u8>, usize)> {
    // The reader leaves this mark out when it tells where it is.
    let page = page.strip_prefix(b"\xef\xbb\xbf").unwrap_or(page);
    let strange = find_strange(page)?;
    let mut kept = Vec::with_capacity(page.len());
    let mut end = 0;
    for entry in &strange {
        kept.extend_from_slice(page.get(end..entry.start)?);
        end = entry.end;
    }
    kept.extend_from_slice(page.get(end..)?);
    (!strange.is_empty()).then_some((kept, strange.len()))
}

/// An entry that is being read.
struct Entry {
    start: usize,
    /// The element that has its name.
    named_by: &'static [u8],
    depth: usize,
    is_strange: bool,
}

/// Returns where in a page the entries are whose names the client cannot take.
fn find_strange(page: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut reader = Reader::from_reader(page);
    let mut strange = Vec::new();
    let (mut depth, mut entry, mut name): (usize, Option<Entry>, Option<String>) = (0, None, None);
    loop {
        let start = usize::try_from(reader.buffer_position()).ok()?;
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                let tag = tag.local_name();
                let found = ENTRIES.iter().find(|(entry, _)| *entry == tag.as_ref());
                match &entry {
                    None => {
                        entry = found.map(|(_, named_by)| Entry {
                            start,
                            named_by,
                            depth,
                            is_strange: false,
                        });
                    }
                    Some(entry) => {
                        let is_name = entry.named_by == tag.as_ref();
                        let is_own = depth == entry.depth.saturating_add(1);
                        name = (is_name && is_own).then(String::new);
                    }
                }
                depth = depth.saturating_add(1);
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                if let (Some(entry), Some(name)) = (&mut entry, name.take()) {
                    entry.is_strange |= Path::parse(name).is_err();
                }
                if let Some(ended) = entry.take_if(|entry| entry.depth == depth)
                    && ended.is_strange
                {
                    let end = usize::try_from(reader.buffer_position()).ok()?;
                    strange.push(ended.start..end);
                }
            }
            Event::Text(text) => {
                if let Some(name) = &mut name {
                    name.push_str(&text.decode().ok()?);
                }
            }
            Event::CData(text) => {
                if let Some(name) = &mut name {
                    name.push_str(&text.decode().ok()?);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(name) = &mut name {
                    match reference.resolve_char_ref().ok()? {
                        Some(char) => name.push(char),
                        None => {
                            let entity = reference.decode().ok()?;
                            name.push_str(resolve_predefined_entity(&entity)?);
                        }
                    }
                }
            }
            Event::Eof => return Some(strange),
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_known_by_its_query() {
        assert!(is_listing("delimiter=%2F&list-type=2&prefix=a"));
        assert!(is_listing("restype=container&comp=list"));
        assert!(!is_listing("uploads&prefix=list-type=2"));
        assert!(!is_listing("comp=block"));
    }

    fn s3(entries: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"x\"><Name>b//c</Name>\
             <Prefix>a//</Prefix>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>"
        )
    }

    fn filtered(page: &str) -> Option<(String, usize)> {
        let (kept, count) = without_strange_names(page.as_bytes())?;
        Some((String::from_utf8(kept).unwrap(), count))
    }

    #[test]
    fn strange_names_go_and_all_others_stay_as_they_are() {
        let good = "<Contents><Key>a/b&amp;c &#x2F;d</Key><Size>1</Size></Contents>\n\
                    <Contents><Key>a/marker/</Key><Owner><ID>//</ID></Owner></Contents>";
        assert_eq!(filtered(&s3(good)), None);
        let more = "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>";
        for strange in ["a//b", "a/../b", "a/&#x2F;/b", "a/./b", "a/&#x1;", "//"] {
            for entry in [
                format!("<Contents><Key>{strange}</Key><Size>1</Size></Contents>"),
                format!("<CommonPrefixes><Prefix>{strange}</Prefix></CommonPrefixes>"),
            ] {
                let page = s3(&format!("{good}{entry}{more}{entry}"));
                let wanted = s3(&format!("{good}{more}"));
                assert_eq!(filtered(&page), Some((wanted, 2)), "{entry}");
            }
        }
    }

    #[test]
    fn an_entry_of_azure_is_known_by_its_own_name_alone() {
        let page = |entry: &str| {
            format!("<EnumerationResults><Blobs>{entry}</Blobs></EnumerationResults>")
        };
        let tagged = "<Blob><Name>a</Name><Metadata><Name>b//c</Name></Metadata></Blob>";
        assert_eq!(filtered(&page(tagged)), None);
        let strange = "<Blob><Name>a//b</Name></Blob><BlobPrefix><Name>a//</Name></BlobPrefix>";
        let both = page(&format!("{strange}{tagged}"));
        assert_eq!(filtered(&both), Some((page(tagged), 2)));
        // As Azure marks its pages.
        let marked = format!("\u{feff}{both}");
        assert_eq!(filtered(&marked), Some((page(tagged), 2)));
    }

    #[test]
    fn a_damaged_page_is_cut_short_at_most() {
        let page = s3("<Contents><Key>a//b&amp;&#x2F;</Key></Contents><Contents/>").into_bytes();
        for at in 0..page.len() {
            for byte in [b'<', b'>', b'/', b'&', b';', 0, 0xff, page[at] ^ 0x20] {
                let mut damaged = page.clone();
                damaged[at] = byte;
                for damaged in [&damaged[..], &damaged[..at]] {
                    let kept = without_strange_names(damaged);
                    let is_shorter = |(kept, _): &(Vec<u8>, usize)| kept.len() < damaged.len();
                    assert!(kept.as_ref().is_none_or(is_shorter));
                }
            }
        }
    }

    #[test]
    fn what_is_no_listing_is_left_to_the_client() {
        for page in ["", "no <xml", "<a><b></a>", "<Contents><Key>a//b</Key>"] {
            assert_eq!(filtered(page), None, "{page}");
        }
    }
}
