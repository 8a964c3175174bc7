//! `mcsnap ring`: what a user asks of rings without any server.

use crate::harness::workdir::Workdir;

fn output(workdir: &Workdir, arguments: &[&str]) -> String {
    let output = workdir.mcsnap(arguments).succeeds();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_ring_is_listed_with_its_client() {
    let workdir = Workdir::new("ring-list");
    let text = output(&workdir, &["ring", "list"]);
    for preset in mcsnap::codecs::ring::Preset::ALL {
        assert!(text.contains(preset.name) && text.contains(preset.client));
    }
    let json = output(&workdir, &["ring", "list", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rings = json["rings"].as_array().unwrap();
    assert_eq!(rings.len(), mcsnap::codecs::ring::Preset::ALL.len());
    let parts = output(&workdir, &["ring", "list", "--parts"]);
    assert!(parts.contains("char: ") && parts.contains("signed, unsigned"));
}

#[test]
fn keys_are_located_as_the_client_does() {
    let workdir = Workdir::new("ring-locate");
    // 2297466611, the one-at-a-time hash of "apple", leaves 2.
    let nodes = "mc1,mc2:1,mc3*2";
    let arguments = ["ring", "locate", "--ring", "modula", "--nodes", nodes];
    let text = output(
        &workdir,
        &[&arguments[..], &["apple", "\\x61pple"]].concat(),
    );
    assert_eq!(text, "mc3:11211*2  apple\nmc3:11211*2  apple\n");
    let json = output(
        &workdir,
        &[&arguments[..], &["apple", "--format", "json"]].concat(),
    );
    assert_eq!(
        json,
        "{\"key\":\"apple\",\"node\":\"mc3:11211*2\",\"node_index\":2}\n"
    );
}

#[test]
fn what_no_ring_can_place_is_told_in_one_line() {
    let workdir = Workdir::new("ring-refused");
    let long = "k".repeat(251);
    for (arguments, message) in [
        (
            vec!["--ring", "dali", "--nodes", "a,b", "k"],
            "ring \"dali\": there is dalli; `mcsnap ring list` shows all".to_owned(),
        ),
        (
            vec!["--ring", "dalli", "--nodes", "a,b"],
            "no key; name some, or pass - to read them".to_owned(),
        ),
        (
            vec!["--ring", "dalli", "k"],
            "no nodes; pass --nodes with all nodes of the ring".to_owned(),
        ),
        (
            vec!["--nodes", "a,b", "k"],
            "no ring; pass --ring, of those that mcsnap ring list shows".to_owned(),
        ),
        (
            vec!["--ring", "dalli", "--nodes", "a@x,b@x", "k"],
            "node \"b:11211@x\": has the same label as node \"a:11211@x\" before it".to_owned(),
        ),
        (
            vec!["--ring", "dalli", "--nodes", "a*-1", "k"],
            "node \"a*-1\": wanted HOST[:PORT][=IP][*WEIGHT][@LABEL], such as 10.0.0.1:11211, \
             [::1]:11211 or mc1*2, or unix:PATH"
                .to_owned(),
        ),
        (
            vec!["--ring", "gomemcache", "--nodes", "a*4000000000,b", "k"],
            "weights \"4000000001 buckets\": at most 16777216; give smaller weights of the same \
             proportions"
                .to_owned(),
        ),
        (
            vec![
                "--ring",
                "xmemcached:ketama",
                "--nodes",
                "a=::1*4000000000,b=::2",
                "k",
            ],
            "weights \"640000000160 points\": at most 16777216; give smaller weights of the same \
             proportions"
                .to_owned(),
        ),
        (
            vec!["--ring", "spymemcached:ketama", "--nodes", "a,b", "k"],
            "node \"a:11211\": this ring hashes the address of a node, too; write \
             a:11211=ADDRESS, with the address that the client resolves it to, or a:11211@LABEL"
                .to_owned(),
        ),
        (
            vec!["--ring", "memjs", "--nodes", "a,b", "k\\xff"],
            "key \"k\\xff\": memjs hashes text, and this is no UTF-8".to_owned(),
        ),
        (
            vec!["--ring", "dalli", "--nodes", "a*0,b*0", "k"],
            "weights \"0\": give at least one node a weight above 0".to_owned(),
        ),
        (
            vec!["--ring", "dalli", "--nodes", "a,b", &long],
            format!("key \"{long}\": 251 bytes; memcached keeps keys of 1 to 250"),
        ),
        (
            vec!["--ring", "node-for-node", "--nodes", "a,b", "k"],
            "ring \"node-for-node\": no key says where it belongs; name a client's ring".to_owned(),
        ),
        (
            vec![
                "--ring",
                "libmemcached:virtual-bucket,buckets=0:2",
                "--nodes",
                "a,b",
                "k",
            ],
            "virtual bucket \"2\": wanted the index of one of 2 nodes".to_owned(),
        ),
    ] {
        let all = [&["ring", "locate"], &arguments[..]].concat();
        let done = workdir.mcsnap(&all).exits(2);
        let stderr = String::from_utf8(done.stderr).unwrap();
        assert_eq!(stderr, format!("mcsnap: {message}\n"), "{arguments:?}");
    }
}

#[test]
fn a_wrong_ring_is_told_with_the_place_that_it_is_written_in() {
    let workdir = Workdir::new("ring-config");
    let dump = ["dump", "--to=s", "127.0.0.1:1"];
    for (yaml, place) in [
        ("dump: {ring: dali}", "dump: ring"),
        ("restore: {ring: dali}", "restore: ring"),
        ("ring-detect: {ring: dali}", "ring-detect: ring"),
        ("ring-locate: {ring: dali}", "ring-locate: ring"),
        ("ring-plan: {ring: dali}", "ring-plan: ring"),
        ("ring-plan: {from-ring: dali}", "ring-plan: from-ring: ring"),
    ] {
        std::fs::write(workdir.join("c.yaml"), yaml).unwrap();
        let done = workdir.mcsnap(&dump).arg("--config=c.yaml").exits(2);
        let stderr = String::from_utf8(done.stderr).unwrap();
        let wanted = format!(
            "mcsnap: c.yaml: {place} \"dali\": there is dalli; `mcsnap ring list` shows all\n"
        );
        assert_eq!(stderr, wanted);
    }
    // Of the dump alone it may be found.
    std::fs::write(workdir.join("c.yaml"), "dump: {ring: detect}").unwrap();
    let done = workdir.mcsnap(&dump).arg("--config=c.yaml").exits(1);
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert!(stderr.contains("127.0.0.1:1: cannot connect"), "{stderr}");
    for (command, variable) in [
        (&dump[..], "MCSNAP_DUMP_RING"),
        (&["restore"], "MCSNAP_RESTORE_RING"),
    ] {
        let done = workdir
            .mcsnap(command)
            .env(variable, "ketama,hash=md6")
            .exits(2);
        let stderr = String::from_utf8(done.stderr).unwrap();
        let told = stderr.starts_with(&format!(
            "mcsnap: {variable}: ring \"hash=md6\": wanted one of"
        ));
        assert!(told, "{stderr}");
    }
}
