//! The obligations of a store, whatever kind of store it is.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mcsnap::ports::store::{ObjectInfo, Store};
use mcsnap::words::error::{Error, ErrorKind};

type Obligation = fn(&dyn Store);

/// Checks every obligation that `Store`, `ObjectWriter` and `ObjectReader`
/// state; the store starts and ends empty.
pub(crate) fn check_store(store: &dyn Store) {
    check_store_but(store, &[]);
}

/// An obligation that a server cannot meet, and words of the panic by which it shows.
pub(crate) type Exception = (&'static str, &'static str);

/// Does the same with a server that is known not to meet some obligations, and panics too
/// if it meets one of these.
pub(crate) fn check_store_but(store: &dyn Store, exceptions: &[Exception]) {
    for (name, _) in exceptions {
        let is_known = OBLIGATIONS.iter().any(|(known, _)| known == name);
        assert!(is_known, "there is no obligation {name:?}");
    }
    for (name, check) in OBLIGATIONS {
        let Some((_, words)) = exceptions.iter().find(|(known, _)| *known == name) else {
            check(store);
            assert_clean(store, name);
            continue;
        };
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| check(store)));
        let panic = outcome.expect_err("an obligation is met that the server is said not to meet");
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or_default();
        assert!(text.contains(words), "{name}: {text}");
        for name in names(store, "") {
            store.remove(&name).unwrap();
        }
        assert_clean(store, name);
    }
}

fn assert_clean(store: &dyn Store, name: &str) {
    assert_eq!(names(store, ""), [""; 0], "{name} left objects");
    assert_eq!(unfinished(store, ""), [""; 0], "{name} left parts");
}

const OBLIGATIONS: [(&str, Obligation); 15] = [
    ("illegal names", illegal_names_are_refused_by_every_call),
    ("round trip", bytes_come_back_as_they_were_written),
    ("absent objects", absent_objects_are_not_found),
    ("put_new", put_new_never_replaces),
    ("replace", replace_compares_first),
    ("replace, seen", an_object_that_is_replaced_is_always_there),
    ("finish", finish_never_replaces),
    ("put_new race", one_of_many_racing_puts_wins),
    ("second writer", a_name_has_one_unfinished_object_at_a_time),
    ("visibility", nothing_is_visible_before_finish),
    ("dropped writer", a_dropped_writer_leaves_nothing),
    ("removed writer", a_writer_whose_object_was_removed_fails),
    ("lock", a_prefix_is_locked_whether_or_not_it_has_objects),
    ("listing", listings_are_sorted_and_end_at_a_component),
    ("removal", removal_frees_the_name_and_its_prefixes),
];

fn illegal_names_are_refused_by_every_call(store: &dyn Store) {
    let illegal = [
        "..",
        "a/../b",
        "../a",
        ".",
        "a/./b",
        "/a",
        "a/",
        "a//b",
        "/",
        "a\0b",
        "a\nb",
        ".a",
        "a/.b",
        "a.partial",
        "a.partial/b",
    ];
    for name in illegal {
        let errors = [
            store.create(name).map(drop),
            store.put_new(name, b"x"),
            store.replace(name, b"x", b"y").map(drop),
            store.lock_prefix(name).map(drop),
            store.open(name).map(drop),
            store.list(name).map(drop),
            store.list_unfinished(name).map(drop),
            store.remove(name),
            store.remove_unfinished(name),
        ];
        for error in errors {
            assert_invalid(&error.unwrap_err(), name);
        }
    }
    for error in [
        store.create("").map(drop),
        store.put_new("", b"x"),
        store.open("").map(drop),
        store.remove(""),
        store.remove_unfinished(""),
    ] {
        assert_invalid(&error.unwrap_err(), "");
    }
}

fn bytes_come_back_as_they_were_written(store: &dyn Store) {
    // Small writes, writes around the size of a likely buffer, and one above.
    let lengths = [1, 0, 7, 65_536, 3, 262_143, 2, 262_144, 5, 1_000_000];
    let mut wanted = Vec::new();
    let mut writer = store.create("trip/streamed").unwrap();
    for (i, len) in (0_u8..).zip(lengths) {
        let part = vec![i; len];
        writer.write(&part).unwrap();
        wanted.extend_from_slice(&part);
    }
    writer.finish().unwrap();
    store.put_new("trip/put", &wanted).unwrap();
    store.put_new("trip/empty", b"").unwrap();
    store.create("trip/empty-stream").unwrap().finish().unwrap();

    for name in ["trip/streamed", "trip/put"] {
        assert!(read(store, name) == wanted, "{name} has other bytes");
        reads_keep_inside_the_object(store, name, &wanted);
    }
    for name in ["trip/empty", "trip/empty-stream"] {
        assert_eq!(read(store, name), b"");
    }
    for name in names(store, "trip") {
        store.remove(&name).unwrap();
    }
}

fn reads_keep_inside_the_object(store: &dyn Store, name: &str, wanted: &[u8]) {
    let reader = store.open(name).unwrap();
    assert_eq!(reader.describe(), store.describe(name));
    let size = reader.size();
    assert_eq!(usize::try_from(size).unwrap(), wanted.len());
    if let Some(bytes) = reader.as_bytes() {
        assert!(bytes == wanted, "{name} is mapped to other bytes");
    }

    let mut buffer = [0; 5];
    reader.read_at(size - 5, &mut buffer).unwrap();
    assert_eq!(buffer, wanted[wanted.len() - 5..]);
    reader.read_at(size, &mut []).unwrap();
    for (offset, len) in [(size - 4, 5), (size, 1), (size + 1, 0), (u64::MAX, 1)] {
        let error = reader.read_at(offset, &mut buffer[..len]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(reader.describe()), "{text}");
        assert!(text.contains(&format!("at offset {offset}")), "{text}");
    }
}

fn absent_objects_are_not_found(store: &dyn Store) {
    store.put_new("here/file", b"x").unwrap();
    // The first is the start of another name, the second goes on after one.
    for name in ["here", "here/file/more", "here/other", "gone/file"] {
        assert_not_found(&store.open(name).unwrap_err(), &store.describe(name));
        store.remove(name).unwrap();
        let error = store.remove_unfinished(name).unwrap_err();
        assert_not_found(&error, &store.describe(name));
    }
    for prefix in ["here/file", "her", "gone", "here/file/more"] {
        assert_eq!(names(store, prefix), [""; 0]);
        assert_eq!(unfinished(store, prefix), [""; 0]);
    }
    assert_eq!(read(store, "here/file"), b"x");
    store.remove("here/file").unwrap();
}

fn put_new_never_replaces(store: &dyn Store) {
    store.put_new("put", b"first").unwrap();
    let error = store.put_new("put", b"second").unwrap_err();
    assert_exists(&error, &store.describe("put"));
    assert_eq!(read(store, "put"), b"first");
    store.remove("put").unwrap();
}

fn replace_compares_first(store: &dyn Store) {
    assert!(!store.replace("deep/a", b"", b"new").unwrap());
    store.put_new("deep/a", b"first").unwrap();
    let reader = store.open("deep/a").unwrap();
    assert!(!store.replace("deep/a", b"other", b"new").unwrap());
    assert_eq!(read(store, "deep/a"), b"first");
    assert!(store.replace("deep/a", b"first", b"the second").unwrap());
    assert!(!store.replace("deep/a", b"first", b"third").unwrap());
    assert_eq!(read(store, "deep/a"), b"the second");
    // A reader keeps what it has opened.
    let mut buffer = [0; 5];
    reader.read_at(0, &mut buffer).unwrap();
    assert_eq!((&buffer, reader.size()), (b"first", 5));
    assert_eq!(names(store, ""), ["deep/a"]);
    store.remove("deep/a").unwrap();
}

fn an_object_that_is_replaced_is_always_there(store: &dyn Store) {
    let text = |number: u32| number.to_string().into_bytes();
    store.put_new("kept/a", &text(0)).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Whatever becomes of the replacing, the looking ends.
        let ends = SetAtEnd(&is_done);
        let looks = scope.spawn(|| {
            let mut last = 0;
            while !is_done.load(Ordering::SeqCst) {
                let found = String::from_utf8(read(store, "kept/a")).unwrap();
                let number: u32 = found.parse().unwrap();
                assert!(number >= last);
                last = number;
            }
        });
        for number in 0..100 {
            let (before, after) = (text(number), text(number + 1));
            assert!(store.replace("kept/a", &before, &after).unwrap());
        }
        drop(ends);
        looks.join().unwrap();
    });
    store.remove("kept/a").unwrap();
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn finish_never_replaces(store: &dyn Store) {
    let mut writer = store.create("stream").unwrap();
    writer.write(b"second").unwrap();
    store.put_new("stream", b"first").unwrap();
    assert_exists(&writer.finish().unwrap_err(), &store.describe("stream"));
    assert_eq!(read(store, "stream"), b"first");
    assert_eq!(unfinished(store, ""), [""; 0]);
    store.remove("stream").unwrap();
}

fn one_of_many_racing_puts_wins(store: &dyn Store) {
    const RACER_COUNT: usize = 8;
    for _ in 0..20 {
        let barrier = Barrier::new(RACER_COUNT);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACER_COUNT)
                .map(|racer| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        store.put_new("race/put", racer.to_string().as_bytes())
                    })
                })
                .collect();
            racers.into_iter().map(|r| r.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..RACER_COUNT).filter(|&i| outcomes[i].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert_eq!(read(store, "race/put"), winners[0].to_string().as_bytes());
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert_exists(&error, &store.describe("race/put"));
        }
        store.remove("race/put").unwrap();
    }
}

fn a_prefix_is_locked_whether_or_not_it_has_objects(store: &dyn Store) {
    let is_locked = || {
        let error = store.lock_prefix("deep/a").map(drop).unwrap_err();
        let what = store.describe("deep/a");
        assert_eq!(*error.kind(), ErrorKind::Locked { what });
    };
    let lock = store.lock_prefix("deep/a").unwrap();
    is_locked();
    store.put_new("deep/a/object", b"x").unwrap();
    store.remove("deep/a/object").unwrap();
    is_locked();
    drop(store.lock_prefix("deep/b").unwrap());
    assert_eq!(names(store, ""), [""; 0]);
    assert_eq!(unfinished(store, ""), [""; 0]);
    drop(lock);
    drop(store.lock_prefix("deep/a").unwrap());
}

fn a_name_has_one_unfinished_object_at_a_time(store: &dyn Store) {
    let first = store.create("twice/stream").unwrap();
    let error = store.create("twice/stream").unwrap_err();
    let unfinished_name = format!("unfinished object {}", store.describe("twice/stream"));
    assert_exists(&error, &unfinished_name);
    assert_eq!(unfinished(store, ""), ["twice/stream"]);
    first.finish().unwrap();
    store.remove("twice/stream").unwrap();
}

fn nothing_is_visible_before_finish(store: &dyn Store) {
    let mut writer = store.create("dir/seen").unwrap();
    // More than any buffer, so that something must have been stored.
    writer.write(&[7; 3 << 20]).unwrap();
    assert_eq!(names(store, ""), [""; 0]);
    assert_not_found(
        &store.open("dir/seen").unwrap_err(),
        &store.describe("dir/seen"),
    );
    assert_eq!(unfinished(store, "dir"), ["dir/seen"]);
    assert!(store.list_unfinished("").unwrap()[0].size > 0);

    writer.finish().unwrap();
    let info = ObjectInfo {
        name: "dir/seen".into(),
        size: 3 << 20,
    };
    assert_eq!(store.list("").unwrap(), [info]);
    assert_eq!(unfinished(store, ""), [""; 0]);
    store.remove("dir/seen").unwrap();
}

fn a_dropped_writer_leaves_nothing(store: &dyn Store) {
    let mut writer = store.create("dropped/deep/object").unwrap();
    writer.write(b"some").unwrap();
    drop(writer);
    assert_eq!(names(store, ""), [""; 0]);
    assert_eq!(unfinished(store, ""), [""; 0]);
    // Not even a directory is left that would take the name.
    store.put_new("dropped", b"x").unwrap();
    store.remove("dropped").unwrap();
}

fn a_writer_whose_object_was_removed_fails(store: &dyn Store) {
    let mut slow = store.create("taken").unwrap();
    slow.write(b"slow").unwrap();
    store.remove_unfinished("taken").unwrap();
    let mut second = store.create("taken").unwrap();
    second.write(b"second").unwrap();

    let error = slow.finish().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    assert_eq!(unfinished(store, ""), ["taken"]);
    second.finish().unwrap();
    assert_eq!(read(store, "taken"), b"second");
    store.remove("taken").unwrap();
}

fn listings_are_sorted_and_end_at_a_component(store: &dyn Store) {
    // '-' and '.' sort before '/', so a directory walk alone gets this wrong.
    let sorted = ["a-b/x", "a.mcs", "a/b/c", "a/d", "b"];
    for name in ["b", "a/d", "a-b/x", "a.mcs", "a/b/c"] {
        store.put_new(name, name.as_bytes()).unwrap();
    }
    assert_eq!(names(store, ""), sorted);
    assert_eq!(names(store, "a"), ["a/b/c", "a/d"]);
    assert_eq!(names(store, "a/b"), ["a/b/c"]);
    assert_eq!(names(store, "b"), [""; 0]);
    let sizes: Vec<_> = store.list("").unwrap().iter().map(|o| o.size).collect();
    assert_eq!(sizes, [5, 5, 5, 3, 1]);
    for name in sorted {
        store.remove(name).unwrap();
    }
}

fn removal_frees_the_name_and_its_prefixes(store: &dyn Store) {
    store.put_new("old/deep/object", b"old").unwrap();
    let reader = store.open("old/deep/object").unwrap();
    store.remove("old/deep/object").unwrap();
    // There is nothing to remove, and nothing is wrong about it.
    store.remove("old/deep/object").unwrap();
    assert_eq!(names(store, "old"), [""; 0]);

    let mut buffer = [0; 3];
    reader.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"old");

    store.put_new("old", b"new").unwrap();
    assert_eq!(read(store, "old"), b"new");
    store.remove("old").unwrap();
}

pub(crate) fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    let objects = store.list(prefix).unwrap();
    objects.into_iter().map(|object| object.name).collect()
}

pub(crate) fn unfinished(store: &dyn Store, prefix: &str) -> Vec<String> {
    let objects = store.list_unfinished(prefix).unwrap();
    objects.into_iter().map(|object| object.name).collect()
}

pub(crate) fn read(store: &dyn Store, name: &str) -> Vec<u8> {
    let reader = store.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(reader.size()).unwrap()];
    reader.read_at(0, &mut bytes).unwrap();
    bytes
}

fn assert_invalid(error: &Error, name: &str) {
    let is_invalid = matches!(error.kind(), ErrorKind::InvalidInput { .. });
    assert!(is_invalid, "{name:?}: {error}");
}

pub(crate) fn assert_not_found(error: &Error, described: &str) {
    let what = described.to_owned();
    assert_eq!(*error.kind(), ErrorKind::NotFound { what });
}

pub(crate) fn assert_exists(error: &Error, described: &str) {
    let what = described.to_owned();
    assert_eq!(*error.kind(), ErrorKind::AlreadyExists { what });
}
