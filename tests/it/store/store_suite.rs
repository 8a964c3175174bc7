//! The obligations of a store, checked for every kind of store that needs no server.

use std::fs;
use std::mem;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use mcsnap::ports::store::{CloudStore, FaultyStore, LocalStore, MapChoice, MemoryStore, Store};
use mcsnap::words::error::ErrorKind;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::runtime::Runtime;

use super::obligations::{assert_exists, assert_not_found, check_store, names, read, unfinished};

#[test]
fn memory_store_keeps_the_obligations() {
    check_store(&MemoryStore::new());
}

#[test]
fn faulty_store_without_a_fault_keeps_the_obligations() {
    check_store(&FaultyStore::counting(MemoryStore::new()));
}

#[test]
fn an_object_store_keeps_the_obligations() {
    // The client's own store in memory; the prefix is that of a user.
    for url in ["s3://bucket", "gs://bucket/of/backups"] {
        let client = Arc::new(InMemory::new());
        check_store(&CloudStore::with_client(client, url).unwrap());
    }
}

#[test]
fn what_others_keep_in_a_bucket_is_no_object_and_hides_nothing() {
    let client = Arc::new(InMemory::new());
    let put = |key: &str| {
        let path = Path::from(key);
        let put = client.put(&path, "foreign".into());
        Runtime::new().unwrap().block_on(put).unwrap();
    };
    for key in [
        "backups/.hidden",
        "backups/n/x.partial",
        "backupsx/a",
        "other/a",
    ] {
        put(key);
    }
    let store = CloudStore::with_client(client.clone(), "s3://bucket/backups").unwrap();
    store.put_new("n/manifest.json", b"{}").unwrap();
    assert_eq!(names(&store, ""), ["n/manifest.json"]);
    // Names are not encoded.
    for name in ["n/a b~[c]#%41", "n/\u{e9}"] {
        store.put_new(name, b"odd").unwrap();
        let key = Path::parse(format!("backups/{name}")).unwrap();
        let found = client.head(&key);
        Runtime::new().unwrap().block_on(found).unwrap();
        assert!(names(&store, "n").contains(&name.to_owned()));
        store.remove(name).unwrap();
    }
    assert_eq!(names(&store, "n"), ["n/manifest.json"]);
}

#[test]
fn an_upload_of_many_parts_is_one_object() {
    let client = Arc::new(InMemory::new());
    let store = CloudStore::with_client(client, "s3://bucket/b").unwrap();
    // Three parts, given in pieces that end nowhere near their ends.
    let bytes: Vec<u8> = (0..20_000_003_u32)
        .map(|n| n.to_le_bytes()[1] ^ n.to_le_bytes()[0])
        .collect();
    let mut writer = store.create("large.mcs").unwrap();
    for piece in bytes.chunks(3_333_333) {
        writer.write(piece).unwrap();
    }
    assert_eq!(names(&store, ""), [""; 0]);
    writer.finish().unwrap();
    assert_eq!(read(&store, "large.mcs"), bytes);
    // One that is given up leaves nothing, and one whose name is taken changes nothing.
    let mut writer = store.create("gone.mcs").unwrap();
    writer.write(&bytes).unwrap();
    drop(writer);
    let mut writer = store.create("large.mcs").unwrap();
    writer.write(&bytes[1..]).unwrap();
    assert_exists(&writer.finish().unwrap_err(), "s3://bucket/b/large.mcs");
    assert_eq!(names(&store, ""), ["large.mcs"]);
    assert_eq!(read(&store, "large.mcs"), bytes);
    assert_eq!(unfinished(&store, ""), [""; 0]);
}

#[test]
fn local_store_keeps_the_obligations() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("made/for/it");
    check_store(&LocalStore::create(&root).unwrap());
    let left: Vec<_> = fs::read_dir(&root).unwrap().collect();
    assert!(left.is_empty(), "{left:?} is left");
    for map_choice in [MapChoice::Always, MapChoice::Never] {
        check_store(&LocalStore::open(&root).unwrap().with_map(map_choice));
    }
}

#[test]
fn a_map_is_made_as_chosen_and_not_shown_once_the_file_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    store.put_new("object", b"text").unwrap();
    let unmapped = store.clone().with_map(MapChoice::Never);
    assert_eq!(unmapped.open("object").unwrap().as_bytes(), None);

    let reader = store.with_map(MapChoice::Always).open("object").unwrap();
    assert_eq!(reader.as_bytes(), Some(&b"text"[..]));
    fs::write(directory.path().join("object"), b"cut").unwrap();
    assert_eq!(reader.as_bytes(), None);
    let error = reader.read_at(0, &mut [0; 4]).unwrap_err();
    let wanted = format!("{}: at offset 0: cannot read", reader.describe());
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn an_unwritable_directory_is_named_in_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    store.put_new("file", b"x").unwrap();
    for error in [
        store.put_new("file/object", b"x").unwrap_err(),
        store.create("file/object").unwrap_err(),
    ] {
        let text = error.to_chain();
        assert!(text.starts_with(&store.describe("file/object")), "{text}");
        assert!(text.contains(": cannot create: "), "{text}");
    }

    let below_file = directory.path().join("file/below");
    let error = LocalStore::create(&below_file).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(below_file.to_str().unwrap()), "{text}");
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent");
    let error = LocalStore::open(&absent).unwrap_err();
    assert_not_found(&error, absent.to_str().unwrap());

    let file = directory.path().join("file");
    fs::write(&file, b"x").unwrap();
    let error = LocalStore::open(&file).unwrap_err();
    let is_invalid = matches!(error.kind(), ErrorKind::InvalidInput { .. });
    assert!(is_invalid, "{error}");
}

#[test]
fn foreign_entries_of_a_local_store_are_no_objects() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let store = LocalStore::open(root).unwrap();
    store.put_new("a/object", b"x").unwrap();
    fs::write(root.join(".hidden"), b"x").unwrap();
    fs::write(root.join("a/line\nbreak"), b"x").unwrap();
    fs::create_dir(root.join("lost+found")).unwrap();
    fs::write(root.join("lost+found/#12"), b"x").unwrap();
    fs::create_dir(root.join("b.partial")).unwrap();
    fs::write(root.join("b.partial/c"), b"x").unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink(".", root.join("loop")).unwrap();
    symlink("a/object", root.join("link")).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();

    assert_eq!(names(&store, ""), ["a/object", "link"]);
    assert_eq!(unfinished(&store, ""), [""; 0]);
    assert_eq!(read(&store, "link"), b"x");
    for name in ["socket", "dangling", "a"] {
        assert_not_found(&store.open(name).unwrap_err(), &store.describe(name));
    }
}

#[test]
fn what_a_killed_writer_left_can_be_listed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let mut writer = store.create("dump/segment").unwrap();
    writer.write(&[1; 1 << 20]).unwrap();
    // A killed process runs no destructor either.
    mem::forget(writer);

    assert_eq!(names(&store, ""), [""; 0]);
    assert_eq!(unfinished(&store, "dump"), ["dump/segment"]);
    assert_eq!(store.list_unfinished("").unwrap()[0].size, 1 << 20);
    store.remove_unfinished("dump/segment").unwrap();
    assert!(!directory.path().join("dump").exists());
}

#[test]
fn pruning_never_takes_a_directory_away_from_another_writer() {
    let directory = tempfile::tempdir().unwrap();
    let store = &LocalStore::open(directory.path()).unwrap();
    thread::scope(|scope| {
        for racer in 0..4 {
            scope.spawn(move || {
                for round in 0..50 {
                    let name = format!("shared/deep/{racer}-{round}");
                    store.put_new(&name, b"x").unwrap();
                    store.remove(&name).unwrap();
                    drop(store.create(&name).unwrap());
                }
            });
        }
    });
    assert!(!directory.path().join("shared").exists());
}
