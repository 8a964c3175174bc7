//! Inputs to start from: small, and the same each time.

use crate::forge::{Forge, STAT};
use crate::{forge_manifest, forge_warm_file, sound_segments};

/// A name for the file, and the input.
pub type Seed = (String, Vec<u8>);

/// Returns the seeds of every target, with the target's name.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<Seed>)> {
    vec![
        ("segment", segment()),
        ("salvage", segment()),
        ("stat_frame", statistics()),
        ("look_up", look_ups()),
        ("manifest", manifest()),
        ("metadump_line", streams(WALKS)),
        ("meta_response", streams(REPLIES)),
        ("stats", streams(STATISTICS)),
        ("cachedump_line", streams(LISTINGS)),
        ("classic_response", streams(CLASSIC_REPLIES)),
        ("binary_response", binary_replies()),
        ("select", streams(EXPRESSIONS)),
        ("ring", rings()),
        ("cluster_config", streams(LISTS)),
        ("warm_file", warm_file()),
    ]
}

/// Every sound segment in all modes; in that of recipes, one order of each
/// kind.
fn segment() -> Vec<Seed> {
    let tiny = include_bytes!("../../../testdata/valid/tiny.mcs").to_vec();
    let mut segments = sound_segments::short();
    segments.push(("tiny", tiny));
    let mut seeds = Vec::new();
    for (name, segment) in &segments {
        for (mode, word) in [(0, "raw"), (1, "resealed")] {
            seeds.push((format!("{word}-{name}"), [&[mode], &segment[..]].concat()));
        }
    }
    for base in 0..5 {
        seeds.push((format!("forged-{base}"), vec![2, base]));
        for kind in 0..16 {
            let order = [2, base, kind, 1, 2, 4, 3, 8, 0, 6, 7, 1, 1];
            seeds.push((format!("forged-{base}-{kind:02}"), order.to_vec()));
        }
    }
    seeds
}

/// A whole look-up object, and its page.
fn look_ups() -> Vec<Seed> {
    let id = "b1".repeat(16);
    let whole = include_bytes!(
        "../../../testdata/valid/looked-up/look-ups/b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1.mcl"
    );
    let page = whole.get(80..4176).unwrap_or_default();
    vec![
        (id, [&[1], &whole[..]].concat()),
        ("page".to_owned(), [&[1], page].concat()),
    ]
}

/// The payloads of the STAT frames of every sound segment.
fn statistics() -> Vec<Seed> {
    let segments = sound_segments::short().into_iter();
    let payload = |(name, segment): (&str, Vec<u8>)| {
        let forge = Forge::new(&segment);
        let frame = (0..forge.frame_count()).find(|&frame| forge.kind(frame) == STAT)?;
        Some((name.to_owned(), segment.get(forge.payload(frame))?.to_vec()))
    };
    segments.filter_map(payload).collect()
}

fn manifest() -> Vec<Seed> {
    let sound = forge_manifest::sound();
    let text = String::from_utf8_lossy(&sound).into_owned();
    let plain = text.replace(": ", ":").replace("\n  ", "\n");
    let features = text.replace("\"read\": []", "\"read\": [\"sealed\"]");
    let newer = text.replace("\"major\": 1", "\"major\": 2");
    let [part, record] = forge_manifest::others();
    let other = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let mut seeds = Vec::new();
    for (name, text) in [
        ("sound", text),
        ("plain", plain),
        ("features", features),
        ("newer", newer),
        ("part", other(part)),
        ("record", other(record)),
    ] {
        for (mode, word) in [(0, "raw"), (1, "resealed")] {
            seeds.push((
                format!("{word}-{name}"),
                [&[mode], text.as_bytes()].concat(),
            ));
        }
    }
    seeds
}

/// The sound file in all modes, and one order of each kind of recipe.
fn warm_file() -> Vec<Seed> {
    let (meta, file) = (forge_warm_file::meta(), forge_warm_file::sound());
    let mut seeds = vec![
        ("sound".to_owned(), vec![0]),
        ("start".to_owned(), [&[1], &file[..]].concat()),
        (
            "whole".to_owned(),
            [&[2], &meta[..], &[0], &file[..]].concat(),
        ),
    ];
    for what in 0..8 {
        for place in 0..7 {
            let input = vec![0, what, place, 3, what, place, 11];
            seeds.push((format!("forged-{what}-{place}"), input));
        }
    }
    seeds
}

const WALKS: &[&str] = &[
    "key=a%20b exp=1700000000 la=1699999999 cas=7 fetch=yes\n\
     key=k exp=-1 la=1 cas=0 fetch=no cls=3 size=64\nEND\r\n",
    "OK\r\nkey=k exp=-1 la=1 cas=0 fetch=no cls=3 size=64 flags=4294967295 \
     ext_page=1 ext_offset=2 \nEND\r\n",
    "BUSY currently processing crawler request\r\n",
    "NOTSTARTED no items to crawl\r\n",
    "ERROR locked try again later\r\n",
    "BADCLASS invalid class id\r\n",
];

const REPLIES: &[&str] = &[
    "VA 4 f30 t-1 c7 W\r\n\r\nEN\r\nHD\r\nMN\r\n",
    "EN\r\nEN\r\nMN\r\n",
    "VA 0 f0 t60 c1 Z\r\n\r\nVA 3 s3 X\r\nabc\r\nMN\r\n",
    "NS O17\r\nEX O18\r\nNF O19\r\nHD O20\r\nMN\r\n",
    "SERVER_ERROR out of memory storing object\r\nMN\r\n",
    "CLIENT_ERROR bad data chunk\r\nERROR\r\n",
    "ERROR Too many open connections\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
];

const STATISTICS: &[&str] = &[
    "STAT pid 42\r\nSTAT uptime 9\r\nSTAT time 1700000000\r\nSTAT version 1.6.18\r\n\
     STAT curr_items 98000\r\nSTAT evictions 0\r\nSTAT cmd_flush 0\r\n\
     STAT lru_crawler_running 0\r\nSTAT hash_is_expanding 0\r\n\
     STAT hash_power_level 16\r\nSTAT empty \r\nEND\r\n",
    "STAT item_size_max 1048576\r\nSTAT cas_enabled yes\r\nSTAT dump_enabled no\r\n\
     STAT client_flags_size 8\r\nEND\r\n",
    "SERVER_ERROR out of memory\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
];

const EXPRESSIONS: &[&str] = &[
    "prefix=user:",
    "glob=sess:*[0-9]{a,b}\\xff",
    "regex=^a(b|c)[0-9]+$ and ttl>1h",
    "not (prefix=tmp: or ttl<60s) and size<1MiB",
    "ttl=never or ttl=1h..2h or ttl=unknown",
    "size=1k.. and class!=5 and idle<=7d and flags=0x10",
    "sample=0.0001% or key=\"a \"\"b\"\"\" or key='it''s'",
    "owner=a:1,b:2/ketama-weighted/a:1,b:2*3@x",
];

/// Every ring that has a name, and some parts.
fn rings() -> Vec<Seed> {
    const PARTS: &[&str] = &[
        "twemproxy,hash=murmur2,tag={}",
        "modula,prefix=app%2C1:,char=unsigned",
        "evcache,points=800,ties=first,search=enyim",
        "libmemcached:virtual-bucket,buckets=0:1:1:0",
        "memcached-proxy,seed=abc,stop=|#|",
        "mcrouter,salt=s,route=skipped",
    ];
    let names = mcsnap::codecs::ring::Preset::ALL
        .iter()
        .map(|preset| preset.name);
    names
        .chain(PARTS.iter().copied())
        .map(|ring| {
            let text = format!("{ring}\na=10.0.0.1*2,10.0.0.2:1,c=::1@x\nuser:{{1}}|#|a");
            (ring.replace([':', ',', '|', '%'], "-"), text.into_bytes())
        })
        .collect()
}

const LISTS: &[&str] = &[
    "CONFIG cluster 0 55\r\n12\na.cfg|10.0.0.1|11211 b.cfg|10.0.0.2|11211\n\r\nEND\r\n",
    "VALUE AmazonElastiCache:cluster 0 9\r\n1\r\na||1 |::1|2\r\n\r\nEND\r\n",
    "ERROR\r\nEND\r\n",
];

/// Streams that arrive in pieces of 7 bytes.
fn streams(texts: &[&str]) -> Vec<Seed> {
    let seeds = texts.iter().enumerate();
    seeds
        .map(|(number, text)| (number.to_string(), [&[7], text.as_bytes()].concat()))
        .collect()
}

const LISTINGS: &[&str] = &[
    "ITEM a [3 b; 1700000000 s]\r\nITEM b c [0 b; 0 s]\r\nEND\r\nVERSION 1.4.13\r\n",
    "ITEM a [1 b; 2 s] [18446744073709551615 b; 938 s]\r\nEND\r\n",
    "ITEM a\r\nEND\r\nb [3 b; 0 s]\r\n",
    "CLIENT_ERROR stats cachedump not allowed\r\n",
];

const CLASSIC_REPLIES: &[&str] = &[
    "VALUE a 0 0 18446744073709551615\r\nEND\r\n",
    "VALUE a 4294967295 3\r\nEND\r\n",
    "SERVER_ERROR out of memory writing get response\r\nEND\r\n",
    "ERROR Too many open connections\r\n",
];

/// A value's head, a miss, a refusal, and a server at its limit.
fn binary_replies() -> Vec<Seed> {
    let reply = |status: u8, extras_len: u8, body: &[u8]| {
        let len = u8::try_from(body.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![7, 0x81, 0, 0, 0, extras_len, 0, 0, status, 0, 0, 0, len];
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(body);
        bytes
    };
    vec![
        ("value".to_owned(), reply(0, 4, b"\0\0\0\x07")),
        ("miss".to_owned(), reply(1, 0, b"Not found")),
        ("refused".to_owned(), reply(0x82, 0, b"Out of memory")),
        (
            "full".to_owned(),
            b"\x07ERROR Too many open connections\r\n".to_vec(),
        ),
    ]
}
