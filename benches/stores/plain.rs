//! The least that is done with an object store: puts and gets by `object_store` alone, and
//! one long object by the library's writer and reader alone.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mcsnap::ports::store::create_directory;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{MultipartUpload as _, ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio::runtime::{Builder, Runtime};

use crate::place::{BUCKET, set_ciphers};

/// Those of the program: bytes of a part, and parts of an object on their way.
const PART_LEN: u64 = 8 << 20;
const PARTS_IN_FLIGHT: usize = 2;
/// As many as a dump has shards, unless told otherwise.
const OBJECTS_IN_FLIGHT: usize = 2;

/// The name of the long object.
const LONG: &str = "long-object";
/// What it is written and read by.
const CHUNK_LEN: u64 = 1 << 20;

/// As the program has it.
fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Connects by the variables that the program reads, too.
fn client() -> Arc<dyn ObjectStore> {
    set_ciphers();
    let builder = AmazonS3Builder::from_env().with_bucket_name(BUCKET);
    Arc::new(builder.with_allow_http(true).build().unwrap())
}

/// Puts all files below a directory, as they are: long ones in parts, others in one request.
pub(crate) fn put_files(directory: &FilePath, prefix: &str) {
    let client = client();
    let mut files = Vec::new();
    find_files(directory, &mut files);
    let puts = files.into_iter().map(|file| {
        let name = file.strip_prefix(directory).unwrap();
        let path = Path::from(format!("{prefix}/{}", name.display()));
        let client = Arc::clone(&client);
        async move { tokio::spawn(put_file(client, file, path)).await.unwrap() }
    });
    runtime().block_on(async {
        stream::iter(puts)
            .buffer_unordered(OBJECTS_IN_FLIGHT)
            .collect::<Vec<()>>()
            .await
    });
}

fn find_files(directory: &FilePath, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            find_files(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

async fn put_file(client: Arc<dyn ObjectStore>, file: PathBuf, path: Path) {
    let file = File::open(file).unwrap();
    let len = file.metadata().unwrap().len();
    if len < PART_LEN {
        let whole = read_part(&file);
        client.put(&path, whole).await.unwrap();
        return;
    }
    let mut upload = client.put_multipart(&path).await.unwrap();
    // On threads of the runtime, where they are signed.
    let sent = (0..len.div_ceil(PART_LEN)).map(|_| tokio::spawn(upload.put_part(read_part(&file))));
    stream::iter(sent)
        .buffer_unordered(PARTS_IN_FLIGHT)
        .for_each(|sent| {
            sent.unwrap().unwrap();
            std::future::ready(())
        })
        .await;
    upload.complete().await.unwrap();
}

/// Reads what comes next, a part at most.
fn read_part(file: &File) -> PutPayload {
    let mut part = Vec::new();
    file.take(PART_LEN).read_to_end(&mut part).unwrap();
    PutPayload::from_bytes(Bytes::from(part))
}

/// Gets all objects below a prefix and drops what comes, as many at a time as a restore has
/// threads.
pub(crate) fn get_objects(prefix: &str) {
    let client = client();
    let prefix = Path::from(prefix);
    runtime().block_on(async {
        let listed = client.list(Some(&prefix));
        let found: Vec<_> = listed.try_collect().await.unwrap();
        assert!(!found.is_empty(), "nothing below {prefix}");
        let gets = found.into_iter().map(|object| {
            let client = Arc::clone(&client);
            async move { tokio::spawn(get_object(client, object.location, object.size)).await }
        });
        stream::iter(gets)
            .buffer_unordered(available_parallelism().unwrap().get())
            .try_collect::<Vec<()>>()
            .await
            .unwrap();
    });
}

async fn get_object(client: Arc<dyn ObjectStore>, path: Path, size: u64) {
    let mut body = client.get(&path).await.unwrap().into_stream();
    let mut len = 0;
    while let Some(chunk) = body.try_next().await.unwrap() {
        len += chunk.len() as u64;
    }
    assert_eq!(len, size, "{path}");
}

/// Writes an object of so many bytes below a place, by the library.
pub(crate) fn write_long(place: &str, len: u64) {
    let store = create_directory(place).unwrap();
    let mut writer = store.create(LONG).unwrap();
    let chunk = vec![7; CHUNK_LEN as usize];
    for _ in 0..len / CHUNK_LEN {
        writer.write(&chunk).unwrap();
    }
    writer.finish().unwrap();
}

/// Reads it from front to back.
pub(crate) fn read_long(place: &str) {
    let store = create_directory(place).unwrap();
    let reader = store.open(LONG).unwrap();
    let mut chunk = vec![0; CHUNK_LEN as usize];
    for number in 0..reader.size() / CHUNK_LEN {
        reader.read_at(number * CHUNK_LEN, &mut chunk).unwrap();
    }
}
