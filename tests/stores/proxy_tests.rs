//! The proxy does what it says, in front of a real client and a real server.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
};
use tokio::runtime::Runtime;

use crate::moto::{BUCKET, Moto};
use crate::proxy::{Fault, Kind, Proxy, Rule};

/// A client that tries once, behind a proxy.
struct Arena {
    moto: Moto,
    proxy: Proxy,
    client: Arc<dyn ObjectStore>,
    runtime: Runtime,
}

impl Arena {
    fn new() -> Self {
        let moto = Moto::start();
        let proxy = Proxy::start(moto.address());
        let once = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let client = moto
            .account()
            .at(proxy.url())
            .place_with(BUCKET, once)
            .client();
        let runtime = Runtime::new().unwrap();
        Self {
            moto,
            proxy,
            client,
            runtime,
        }
    }

    fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        let limit = Duration::from_secs(60);
        self.runtime
            .block_on(async { tokio::time::timeout(limit, call).await })
            .expect("a call hangs")
    }

    fn create(&self, key: &str, bytes: &'static [u8]) -> Result<(), Error> {
        let (path, payload) = (Path::from(key), PutPayload::from_static(bytes));
        let options = PutOptions::from(PutMode::Create);
        let put = self.client.put_opts(&path, payload, options);
        self.wait(put).map(drop)
    }

    fn get(&self, key: &str) -> Result<Bytes, Error> {
        let path = Path::from(key);
        self.wait(async { self.client.get(&path).await?.bytes().await })
    }

    fn list(&self) -> Vec<String> {
        let listed = self.client.list(None).try_collect::<Vec<_>>();
        let listed = self.wait(listed).unwrap();
        listed.into_iter().map(|o| o.location.to_string()).collect()
    }

    /// What the server has, whatever the proxy does.
    fn is_there(&self, key: &str) -> bool {
        let (client, path) = (self.moto.place().client(), Path::from(key));
        self.wait(async { client.head(&path).await }).is_ok()
    }
}

#[test]
fn requests_are_forwarded_and_counted() {
    let arena = Arena::new();
    arena.create("a/one", b"first").unwrap();
    arena.create("a/one", b"again").unwrap_err();
    assert_eq!(arena.get("a/one").unwrap(), "first");
    assert_eq!(arena.list(), ["a/one"]);
    let long = vec![7; 6 << 20];
    arena.wait(async {
        let path = Path::from("long");
        let mut upload = arena.client.put_multipart(&path).await.unwrap();
        upload.put_part(long.into()).await.unwrap();
        upload.complete().await.unwrap();
        arena.client.delete(&path).await.unwrap();
    });
    let counts: Vec<_> = arena.proxy.counts().into_iter().collect();
    let wanted = [
        ("GET", Kind::Get, 1),
        ("GET", Kind::List, 1),
        ("POST", Kind::RemoveMany, 1),
        ("POST", Kind::BeginUpload, 1),
        ("POST", Kind::CompleteUpload, 1),
        ("PUT", Kind::Create, 2),
        ("PUT", Kind::PutPart, 1),
    ];
    let mut wanted = wanted.map(|(method, kind, count)| ((method.to_owned(), kind), count));
    wanted.sort();
    assert_eq!(counts, wanted);
    let told: Vec<_> = arena.proxy.seen().iter().map(|seen| seen.status).collect();
    assert_eq!(&told[..3], [Some(200), Some(412), Some(200)]);
    let part = &arena.proxy.seen()[5];
    assert_eq!(
        (part.asked.key.as_str(), part.asked.body_len),
        ("long", 6 << 20)
    );
    arena.proxy.forget();
    assert_eq!(arena.proxy.count(Kind::Create), 0);
}

#[test]
fn an_answer_of_the_proxy_comes_before_or_after_the_deed() {
    let arena = Arena::new();
    for (fault, happens) in [
        (Fault::Status(403), false),
        (Fault::Status(404), false),
        (Fault::Status(500), false),
        (Fault::Status(503), false),
        (Fault::LostReply(500), true),
        (Fault::ResetBefore, false),
        (Fault::ResetAfter, true),
    ] {
        let key = format!("{fault:?}").to_lowercase().replace(['(', ')'], "-");
        let rule = Rule::new(fault).on(Kind::Create).key(&key).nth(1..2);
        let hits = arena.proxy.add(rule);
        // The first is not due.
        arena.create(&format!("{key}/0"), b"x").unwrap();
        let error = arena.create(&format!("{key}/1"), b"x").unwrap_err();
        assert_eq!(
            arena.is_there(&format!("{key}/1")),
            happens,
            "{fault:?}: {error}"
        );
        arena.create(&format!("{key}/2"), b"x").unwrap();
        assert_eq!(hits.count(), 1);
    }
    let statuses = arena.proxy.seen().into_iter();
    let statuses: Vec<_> = statuses
        .filter(|seen| seen.fault.is_some())
        .map(|seen| seen.status.unwrap_or_default())
        .collect();
    assert_eq!(statuses, [403, 404, 500, 503, 500, 0, 0]);
    let head = Rule::new(Fault::Status(404)).method("HEAD");
    arena.proxy.add(head);
    let path = Path::from("hang");
    let found = arena.wait(arena.client.head(&path));
    assert!(matches!(found, Err(Error::NotFound { .. })), "{found:?}");
}

#[test]
fn a_body_is_cut_or_changed() {
    let arena = Arena::new();
    static BYTES: [u8; 1 << 20] = [7; 1 << 20];
    arena.create("long", &BYTES).unwrap();
    let of = |fault| Rule::new(fault).on(Kind::Get).nth(0..1);
    arena.proxy.add(of(Fault::FlipByte));
    let found = arena.get("long").unwrap();
    let wrong: Vec<_> = (0..found.len()).filter(|&i| found[i] != 7).collect();
    assert_eq!((wrong, found.len()), (vec![BYTES.len() / 2], BYTES.len()));
    // The client cannot ask for the rest: it tries once.
    arena.proxy.add(of(Fault::CutBody));
    arena.get("long").unwrap_err();
    assert_eq!(arena.get("long").unwrap(), BYTES.as_slice());
}

#[test]
fn a_list_can_be_an_earlier_one() {
    let arena = Arena::new();
    arena.create("one", b"x").unwrap();
    assert_eq!(arena.list(), ["one"]);
    arena.create("two", b"x").unwrap();
    arena.proxy.add(Rule::new(Fault::StaleList));
    assert_eq!(arena.list(), ["one"]);
    assert_eq!(arena.get("two").unwrap(), "x");
    arena.proxy.clear();
    assert_eq!(arena.list(), ["one", "two"]);
}

#[test]
fn requests_hang_wait_and_trickle() {
    let arena = Arena::new();
    static BYTES: [u8; 40 << 10] = [7; 40 << 10];
    let took = |call: &dyn Fn()| {
        let start = Instant::now();
        call();
        start.elapsed()
    };
    arena.proxy.set_delay(Duration::from_millis(30));
    let delayed = took(&|| arena.create("slow", &BYTES).unwrap());
    assert!(delayed >= Duration::from_millis(30), "{delayed:?}");
    arena.proxy.set_delay(Duration::ZERO);
    let more = Fault::Delay(Duration::from_millis(50));
    arena.proxy.add(Rule::new(more).on(Kind::Head));
    let delayed = took(&|| {
        arena.wait(arena.client.head(&Path::from("slow"))).unwrap();
    });
    assert!(delayed >= Duration::from_millis(50), "{delayed:?}");
    // A fifth of a second each way.
    arena
        .proxy
        .add(Rule::new(Fault::Trickle(200 << 10)).key("slow"));
    let trickled = took(&|| assert_eq!(arena.get("slow").unwrap(), BYTES.as_slice()));
    assert!(trickled >= Duration::from_millis(130), "{trickled:?}");
    let trickled = took(&|| arena.create("slow/up", &BYTES).unwrap());
    assert!(trickled >= Duration::from_millis(130), "{trickled:?}");
    arena.proxy.add(Rule::new(Fault::Hang).key("hang"));
    let path = Path::from("hang");
    let hangs = arena.runtime.block_on(async {
        let call = arena.client.get(&path);
        tokio::time::timeout(Duration::from_millis(200), call).await
    });
    assert!(hangs.is_err(), "{hangs:?}");
    assert_eq!(arena.proxy.seen().last().unwrap().status, None);
}
