//! No bytes make a decoder panic, return what is not there, or take memory for
//! what is only claimed. `tools/fuzz` looks for the same with more patience.

use std::collections::BTreeMap;
use std::ops::Range;

use mcsnap::codecs::format::block::BlockHeader;
use mcsnap::codecs::format::bytes::ByteReader;
use mcsnap::codecs::format::checkpoint::Checkpoint;
use mcsnap::codecs::format::column::Columns;
use mcsnap::codecs::format::compression::{Codec, SectionDescriptor, SectionReader};
use mcsnap::codecs::format::features::Need;
use mcsnap::codecs::format::file_header::FileHeader;
use mcsnap::codecs::format::frame::FrameHeader;
use mcsnap::codecs::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use mcsnap::codecs::format::key_index::{KeyIndex, KeyIndexHeader, KeyIndexShape};
use mcsnap::codecs::format::segment_meta::SegmentMeta;
use mcsnap::codecs::format::tail::Tail;
use mcsnap::codecs::format::toc::{Toc, TocEntry};
use mcsnap::codecs::protocol::metadump::parse_item;
use mcsnap::codecs::protocol::stats::ServerVersion;
use mcsnap::codecs::protocol::text::LINE_LEN_MAX;
use mcsnap::words::defect::Structure;
use mcsnap::words::limits::Limits;
use mcsnap::words::units::to_u64;
use proptest::prelude::*;

use crate::harness::decoder_checks::{
    check_binary, check_config, check_gets, check_listing, check_look_up, check_manifest,
    check_replies, check_ring, check_salvage, check_segment, check_select, check_statistics,
    check_stats, check_walk, check_warm_file,
};
use crate::harness::forge::Forge;
use crate::harness::{forge_manifest, forge_recipe, forge_warm_file, sound_segments};

/// Sections of a few MiB at most: a bomb takes its time to go off.
fn limits() -> Limits {
    Limits {
        key_section_len_max: 4 << 20,
        value_section_len_max: 4 << 20,
        large_value_len_max: 4 << 20,
        ..Limits::default()
    }
}

/// The ids of every sound segment.
const IDS: SegmentIds = SegmentIds {
    segment: SegmentId([0x11; 16]),
    snapshot: SnapshotId([0x22; 16]),
    sync: SyncMarker([0x33; 8]),
};

fn bytes(len: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

/// A few changes of single bytes, some of them only of a bit.
fn changes() -> impl Strategy<Value = Vec<(usize, u8, bool)>> {
    prop::collection::vec((any::<usize>(), any::<u8>(), any::<bool>()), 1..6)
}

fn change(bytes: &mut [u8], changes: &[(usize, u8, bool)]) {
    for &(at, byte, is_bit) in changes {
        let at = at % bytes.len();
        bytes[at] = if is_bit {
            bytes[at] ^ 1 << (byte % 8)
        } else {
            byte
        };
    }
}

/// Text out of words, as a server or a hostile one would send it.
fn text(words: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => bytes(0..6),
        1 => any::<u64>().prop_map(|number| number.to_string().into_bytes()),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

#[test]
fn forged_segments_get_to_every_check() {
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    let (mut opened, mut records) = (0, 0);
    let mut state = 1_u64;
    for _ in 0..600 {
        let recipe: Vec<u8> = (0..40)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_le_bytes()[7]
            })
            .collect();
        let seen = check_segment(&forge_recipe::forge(&recipe), &limits());
        opened += usize::from(seen.is_open);
        records += seen.records.len();
        for complaint in seen.complaints {
            let code = complaint.split(' ').next().unwrap();
            *codes.entry(code.to_owned()).or_default() += 1;
        }
    }
    assert!(opened > 50, "{opened} opened, {codes:?}");
    assert!(records > 500, "{records} records, {codes:?}");
    for number in (1..=12).filter(|&number| number != 3) {
        let code = format!("MCS{number:03}");
        assert!(codes.contains_key(&code), "{code} is not in {codes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_forged_segment_is_read_or_refused(recipe in bytes(0..160)) {
        let forged = forge_recipe::forge(&recipe);
        check_segment(&forged, &limits());
        check_salvage(&forged, &limits());
    }

    #[test]
    fn look_up_objects_out_of_any_bytes_are_refused_or_as_they_say(
        any in bytes(0..300),
        blocks in 0..100_u32,
    ) {
        check_look_up(&any, blocks);
    }

    #[test]
    fn changed_statistics_are_read_or_refused(changes in changes(), any in bytes(0..300)) {
        let segment = sound_segments::plain();
        let forge = Forge::new(&segment);
        let payload = segment[forge.payload(forge.frame_count() - 2)].to_vec();
        assert!(check_statistics(&payload, &limits()));
        let mut changed = payload.clone();
        for (at, byte, is_bit) in changes {
            let len = changed.len();
            let place = &mut changed[at % len];
            *place = if is_bit { *place ^ (1 << (byte % 8)) } else { byte };
        }
        check_statistics(&changed, &limits());
        check_statistics(&any, &limits());
        check_statistics(&[&payload[..76], &any].concat(), &limits());
    }

    #[test]
    fn a_changed_segment_is_read_or_refused(
        choice in 0..3_usize,
        changes in changes(),
        cut in 0..40_usize,
    ) {
        let (_, mut segment) = sound_segments::short().swap_remove(choice);
        change(&mut segment, &changes);
        let resealed = forge_recipe::reseal(&segment);
        let cut = segment[..segment.len() - cut].to_vec();
        for bytes in [segment, resealed, cut] {
            check_segment(&bytes, &limits());
            check_salvage(&bytes, &limits());
        }
    }

    #[test]
    fn a_changed_manifest_is_read_or_refused(
        changes in changes(),
        cut in any::<(usize, usize)>(),
        inserted in text(&[
            b"\"", b":", b",", b"[", b"]", b"{", b"}", b"null", b"-1", b"1e999", b"\"0\"",
            b"\"later\": 1,", b"\\u0000", b"\"18446744073709551615\"", b"../", b"\n",
        ]),
    ) {
        let root = forge_manifest::manifest();
        let [part, record] = forge_manifest::others();
        for sound in [forge_manifest::sound(), part, record] {
            assert!(check_manifest(&sound, &root, &limits()));
            let mut changed = sound.clone();
            change(&mut changed, &changes);
            check_manifest(&changed, &root, &limits());
            check_manifest(&forge_manifest::reseal(&changed), &root, &limits());
            let start = cut.0 % sound.len();
            let end = sound.len().min(start + cut.1 % 40);
            let spliced = [&sound[..start], &inserted, &sound[end..]].concat();
            check_manifest(&forge_manifest::reseal(&spliced), &root, &limits());
        }
    }

    #[test]
    fn any_manifest_is_read_or_refused(any in bytes(0..200)) {
        let root = forge_manifest::manifest();
        check_manifest(&any, &root, &limits());
        let within = [b"{\"format\": \"mcsnap\", \"x\": ", &any[..], b"}"].concat();
        check_manifest(&within, &root, &limits());
    }
}

proptest! {
    #[test]
    fn the_lines_of_a_walk_are_the_same_whatever_the_pieces(
        lines in text(&[
            b"key=", b"k", b"%20", b"%0a", b"%", b"%f", b" exp=", b"-1", b"0", b" la=", b" cas=",
            b" fetch=yes", b" cls=", b"256", b" size=", b" flags=", b" ext_page=1 ", b"\r\n",
            b"\n", b"\r", b"END\r\n", b"BUSY", b"OK\r\n", b" ", b"=", b"-9223372036854775809",
        ]),
        any in bytes(0..300),
        piece_len in 1..50_usize,
    ) {
        check_walk(&lines, piece_len);
        check_walk(&any, piece_len);
        let mut key = Vec::new();
        let _ = parse_item(&[b"key=", &any[..]].concat(), &mut key);
        prop_assert!(key.capacity() <= 2 * (4 + any.len()));
    }

    #[test]
    fn replies_are_the_same_whatever_the_pieces(
        replies in text(&[
            b"VA ", b"0", b"3 ", b"1024", b"HD", b"EN\r\n", b"NS", b"EX", b"NF", b"MN\r\n",
            b" O1", b" f30", b" t-1", b" c7", b" W", b"\r\n", b"\n", b"VA 2 c1\r\nab\r\n",
            b"ERROR", b"CLIENT_ERROR ", b"SERVER_ERROR out of memory\r\n",
            b"ERROR Too many open connections\r\n", b"18446744073709551615",
            // Too long for a line, with what follows it and alone.
            &[b'x'; LINE_LEN_MAX - 2], &[b' '; 4],
        ]),
        any in bytes(0..300),
        value_len_max in 0..2000_u64,
        piece_len in 1..50_usize,
    ) {
        check_replies(&replies, value_len_max, piece_len);
        check_replies(&any, value_len_max, piece_len);
    }

    #[test]
    fn statistics_are_the_same_whatever_the_pieces(
        lines in text(&[
            b"STAT ", b"pid 1\r\n", b"version 1.6.18\r\n", b"curr_items ", b"time", b" ", b"\r\n",
            b"hash_power_level 64\r\n", b"hash_power_level 18446744073709551615\r\n", b"\n",
            b"END\r\n", b"ERROR\r\n", b"SERVER_ERROR x\r\n", b"STAT a b\r\n", b"\xff",
            &[b'x'; LINE_LEN_MAX - 2],
        ]),
        any in bytes(0..300),
        piece_len in 1..50_usize,
    ) {
        check_stats(&lines, piece_len);
        check_stats(&any, piece_len);
        let _ = ServerVersion::parse(&String::from_utf8_lossy(&any));
    }

    #[test]
    fn expressions_are_refused_or_read_written_and_judged(
        words in text(&[
            b"(", b")", b"not ", b" and ", b" or ", b" ", b"ttl", b"size", b"idle", b"class=5",
            b"flags", b"prefix=", b"glob=", b"regex=", b"sample=5%", b"owner=a:1", b"/ketama/a:1,b",
            b"=", b"!=", b"<", b">=", b"..", b"1h", b"1KiB", b"never", b"unknown", b"\"", b"'",
            b"\\xff", b"\\", b"[a-z]", b"{a,b}", b"*", b"(a|b)+", b"\n",
        ]),
        any in bytes(0..300),
        told in any::<u8>(),
    ) {
        check_select(&String::from_utf8_lossy(&words), told);
        check_select(&String::from_utf8_lossy(&any), told);
    }

    #[test]
    fn rings_are_refused_or_read_written_and_asked(
        ring in text(&[
            b"ketama", b"modula", b"dalli", b"twemproxy", b"evcache", b"mcrouter:weighted-ch3",
            b"pymemcache:bytes-keys", b"memcached-proxy", b"libmemcached:virtual-bucket",
            b",hash=", b"md5", b"java", b"xxh3", b",char=unsigned", b",prefix=", b"%2C", b",tag={}",
            b",stop=|#|", b",salt=x", b",order=natural", b",label=host-port", b",weights=f32",
            b",points=", b"10", b",point-hash=sha1", b",search=enyim", b",ties=last",
            b",buckets=0:1", b",seed=a", b",route=skipped",
        ]),
        nodes in text(&[b"a", b",", b"b:1", b"10.0.0.1", b"=::1", b"*3", b"@x", b"/run/m.sock"]),
        key in bytes(0..260),
    ) {
        check_ring(&String::from_utf8_lossy(&ring), &String::from_utf8_lossy(&nodes), &key);
        check_ring(&String::from_utf8_lossy(&key), "a,b", &key);
    }

    #[test]
    fn lists_of_endpoints_are_the_same_whatever_the_pieces(
        lines in text(&[
            b"CONFIG cluster 0 1\r\n", b"VALUE AmazonElastiCache:cluster 0 9\r\n", b"12\n",
            b"a.b|10.0.0.1|11211", b"a|", b"fe80::1||1", b"|::1|1", b" ", b"\n", b"\r\n",
            b"END\r\n", b"ERROR\r\n", b"unix|", b"cfg||65535", b"@x", b"*2", b"\xff",
        ]),
        any in bytes(0..300),
        piece_len in 1..50_usize,
    ) {
        check_config(&lines, piece_len);
        check_config(&any, piece_len);
        let wrapped = [b"CONFIG cluster 0 1\r\n1\n", &any[..], b"\r\nEND\r\n"].concat();
        check_config(&wrapped, piece_len);
    }

    #[test]
    fn no_restart_file_leads_astray_or_in_circles(
        any in bytes(0..9000),
        recipe in bytes(0..60),
        changes in changes(),
        of_meta in changes(),
    ) {
        let mut meta = forge_warm_file::meta();
        let mut file = forge_warm_file::forge(&recipe);
        check_warm_file(&meta, &file);
        change(&mut file, &changes);
        check_warm_file(&meta, &file);
        file[..any.len()].copy_from_slice(&any);
        check_warm_file(&meta, &file);
        change(&mut meta, &of_meta);
        check_warm_file(&meta, &file);
        check_warm_file(&any, &any);
    }

    #[test]
    fn listings_and_old_replies_are_the_same_whatever_the_pieces(
        listing in text(&[
            b"ITEM ", b"a", b" [", b"3", b" b; ", b"1700000000", b" s]", b"\r\n", b"\n", b"END\r\n",
            b"VERSION 1\r\n", b"ERROR\r\n", b"18446744073709551616", &[b'x'; 250],
        ]),
        gets in text(&[
            b"VALUE ", b"a", b" 0", b" 3", b" 18446744073709551615", b"\r\n", b"\n", b"END\r\n",
            b"SERVER_ERROR x\r\n", b"ERROR Too many open connections\r\n",
        ]),
        binary in text(&[
            b"\x81\0\0\0\x04\0\0\0", b"\x81\0\0\0\0\0\0\x01", b"\0\0\0\x04", b"\0\0\0\0",
            b"\xff\xff\xff\xff", b"\0\0\x10\x01", b"ERROR Too many", b" open connections", b"\r\n",
        ]),
        any in bytes(0..300),
        piece_len in 1..50_usize,
    ) {
        check_listing(&listing, piece_len);
        check_gets(&gets, piece_len);
        check_binary(&binary, piece_len);
        check_listing(&any, piece_len);
        check_gets(&any, piece_len);
        check_binary(&any, piece_len);
    }

    #[test]
    fn structures_out_of_any_bytes_are_refused_or_as_they_say(
        any in bytes(0..300),
        number in any::<u64>(),
        count in any::<u32>(),
    ) {
        let limits = limits();
        let _ = FileHeader::decode(&any);
        let _ = FrameHeader::decode(&any, &IDS, number);
        let _ = BlockHeader::decode(&any, number, &IDS, number, &limits);
        let _ = Checkpoint::decode(&any, &IDS, number);
        let _ = Tail::decode(&any, number);
        let _ = SegmentMeta::decode(&any, &IDS, Need::Read, &limits);
        let _ = Toc::decode(&any, number, &limits);
        let _ = KeyIndexHeader::decode(&any, number, &IDS);
        let _ = KeyIndex::decode(&any, &IDS);
        let shape = KeyIndexShape {
            seed: number,
            page_count: count,
        };
        let table = shape.table(&IDS, number);
        let _ = table.decode_page(count, &any);
        let (page, _) = table.place(&any);
        prop_assert!(page < count.max(1));
        let mut reader = ByteReader::new(&any, Structure::Toc);
        if let Ok(entry) = TocEntry::decode(&mut reader) {
            let mut again = Vec::new();
            entry.encode(&mut again);
            prop_assert_eq!(TocEntry::decode(&mut ByteReader::new(&again, Structure::Toc)), Ok(entry));
        }
    }

    #[test]
    fn columns_out_of_any_bytes_are_refused_or_as_they_say(
        // The directory is sound more often than chance would have it.
        lens in prop::collection::vec(prop_oneof![Just(1_u32), 0..9_u32, any::<u32>()], 4..6),
        any in bytes(0..40),
        record_count in prop_oneof![Just(1_u32), 0..4_u32, any::<u32>()],
    ) {
        let mut raw = vec![u8::try_from(lens.len()).unwrap(), 0, 0, 0];
        for (id, len) in (1_u8..).zip(&lens) {
            raw.extend_from_slice(&[id, u8::from(id < 5), 0, 0]);
            raw.extend_from_slice(&len.to_le_bytes());
        }
        raw.extend_from_slice(&any);
        let claimed_len = raw.len();
        if let Ok(columns) = Columns::decode(raw, record_count) {
            prop_assert_eq!(to_u64(columns.len()), u64::from(record_count));
            prop_assert_eq!(columns.iter().count(), columns.len());
            prop_assert!(columns.len() <= claimed_len);
            let sum: u64 = columns.iter().map(|record| u64::from(record.value_len)).sum();
            prop_assert_eq!(columns.value_bytes(), sum);
        }
    }

    #[test]
    fn no_memory_is_taken_for_a_length_that_is_only_claimed(
        any in bytes(0..100),
        raw_len in any::<u32>(),
        flips in changes(),
    ) {
        let mut stored = zstd::bulk::compress(&[&any[..], &[7; 1000]].concat(), 1).unwrap();
        change(&mut stored, &flips);
        for stored in [stored, any] {
            let descriptor = SectionDescriptor {
                codec: Codec::Zstd,
                stored_len: u32::try_from(stored.len()).unwrap(),
                raw_len,
                stored_crc: crc32fast::hash(&stored),
                raw_crc: 0,
            };
            let mut raw = Vec::new();
            let read = SectionReader::default()
                .read(&descriptor, &stored, Structure::ValueSection, &mut raw);
            prop_assert!(read.is_err());
            let claimed = zstd::zstd_safe::get_frame_content_size(&stored);
            let is_claimed_twice = matches!(claimed, Ok(Some(len)) if len == u64::from(raw_len));
            prop_assert!(raw.capacity() == 0 || is_claimed_twice);
        }
    }
}

#[test]
fn a_forged_restart_file_is_sound_unless_changed() {
    let meta = forge_warm_file::meta();
    let names = |keys: Option<Vec<Vec<u8>>>| {
        let keys = keys.unwrap().into_iter();
        keys.map(|key| String::from_utf8(key).unwrap())
            .collect::<Vec<_>>()
    };
    let sound = forge_warm_file::sound();
    assert_eq!(names(check_warm_file(&meta, &sound)), ["a", "b", "long"]);
    assert_eq!(forge_warm_file::forge(&[]), sound);
    // The chain of the long value leads into a circle, or to itself.
    for (from, to) in [(6, 3), (4, 3), (3, 3), (0, 0)] {
        let changed = forge_warm_file::forge(&[0, from, to]);
        assert_eq!(names(check_warm_file(&meta, &changed)), ["a", "b"]);
        let both = forge_warm_file::forge(&[0, from, to, 1, to, from]);
        assert_eq!(names(check_warm_file(&meta, &both)), ["a", "b"]);
    }
    // And of no file is anything read beyond what there is.
    for len in 0..sound.len() {
        assert_eq!(check_warm_file(&meta, &sound[..len]), None, "{len} bytes");
    }
}
