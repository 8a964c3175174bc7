//! The test client against a real server.

use crate::harness::client::{Fetched, Item, meta_flag};
use crate::harness::memcached::Memcached;

#[test]
fn values_come_back_as_they_were_set() {
    let server = Memcached::start();
    let mut client = server.client();
    client.set("plain", 7, 0, b"a\r\nEND\r\nb");
    assert_eq!(client.get("plain"), Some((7, b"a\r\nEND\r\nb".to_vec())));
    assert_eq!(client.get("absent"), None);
    assert_eq!(client.mg(b"absent", "v"), None);
    let (header, value) = client.mg(b"plain", "t f s v").unwrap();
    assert_eq!(value, b"a\r\nEND\r\nb");
    assert_eq!(meta_flag(&header, 't'), "-1");
    assert_eq!(meta_flag(&header, 's'), "9");
    let (header, value) = client.mg(b"plain", "f").unwrap();
    assert_eq!((header.as_str(), value.len()), ("HD f7", 0));
    client.flush_all();
    assert_eq!(client.get("plain"), None);
    assert_eq!(client.command("nonsense"), "ERROR");
}

#[test]
fn keys_of_every_byte_are_stored_and_listed() {
    let server = Memcached::start();
    let mut client = server.client();
    let mut keys: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    keys.extend((0..=255_u8).map(|byte| vec![b'k', byte, b'k']));
    for key in &keys {
        assert_eq!(client.ms(key, key, "F9 T0"), "HD", "{key:?}");
    }
    keys.sort();
    let listed = client.keys();
    assert!(listed.keys().eq(&keys), "{listed:?}");
    assert_eq!(listed[&keys[0]]["exp"], "-1");
    let fetched = client.fetch_all(&keys);
    assert_eq!(fetched.len(), keys.len());
    for (key, item) in &fetched {
        let expected = Fetched {
            value: key.clone(),
            flags: 9,
            ttl: -1,
        };
        assert_eq!(item, &expected, "{key:?}");
    }
}

#[test]
fn a_load_of_many_items_is_listed_and_fetched() {
    const COUNT: usize = 100_000;
    let server = Memcached::start_with(&["-m", "256"]);
    let mut client = server.client();
    let items = (0..COUNT).map(|number| {
        Item::new(format!("key:{number}"), format!("value {number}"))
            .flags(3)
            .ttl(5000)
    });
    assert_eq!(client.load(items), COUNT);
    assert_eq!(client.stats("")["curr_items"], COUNT.to_string());
    let keys = client.keys();
    assert_eq!(keys.len(), COUNT);
    let fetched = client.fetch_all(keys.keys());
    assert_eq!(fetched.len(), COUNT);
    let item = &fetched[b"key:4711".as_slice()];
    assert_eq!((item.value.as_slice(), item.flags), (&b"value 4711"[..], 3));
    assert!((4900..=5000).contains(&item.ttl), "{}", item.ttl);
}

#[test]
fn a_refused_store_is_not_silent() {
    let server = Memcached::start();
    let mut client = server.client();
    let too_large = vec![b'x'; 2 << 20];
    let load = std::panic::AssertUnwindSafe(|| client.load([Item::new("large", too_large)]));
    assert!(std::panic::catch_unwind(load).is_err());
}
