//! Keys that are no text, and rings whose clients hash text: they are stored, and
//! told.

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const WARNING: &str = r#"3 keys are no UTF-8, such as "\xff\xfe1": pymemcache hashes text, so that no client with it can have them; they are placed by their bytes"#;

#[test]
fn keys_that_the_rings_client_cannot_have_are_placed_and_told() {
    let server = Memcached::start();
    let text = (0..40).map(|number| Item::new(format!("user:\u{e9}:{number}"), "value"));
    let bytes = [&b"\xff\xfe3"[..], b"\xff\xfe1", b"\xff\xfe2"].map(|key| Item::new(key, "value"));
    server.client().load(text.chain(bytes));
    let workdir = Workdir::new("ring-of-text");
    let dump = ["dump", "--to=s", "--name=a", &server.address()];
    workdir.mcsnap(&dump).succeeds();

    let fresh = [Memcached::start(), Memcached::start()];
    let to = format!("--to={},{}", fresh[0].address(), fresh[1].address());
    let report = |command: &[&str], ring: &str| -> (Value, String) {
        let rest = ["s/a", &to, "--ring", ring, "--format=json"];
        let output = workdir
            .mcsnap(&[command, &rest].concat())
            .arg("--progress=none")
            .succeeds();
        let report = serde_json::from_slice(&output.stdout).unwrap();
        // Before 1.6.27 a server takes no CAS, which is told apart.
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines = stderr.split_inclusive('\n');
        let stderr: String = lines.filter(|line| !line.contains("the CAS of")).collect();
        (report, stderr)
    };
    let (plan, dry_run) = (&["ring", "plan"][..], &["restore", "--dry-run"][..]);
    let restore = &["restore", "--mode=set"][..];
    for command in [plan, dry_run, restore] {
        let (told, stderr) = report(command, "pymemcache");
        assert_eq!(told["not_text"], 3, "{command:?}: {told}");
        assert_eq!(told["not_text_example"], r"\xff\xfe1");
        assert_eq!(stderr.matches(WARNING).count(), 1, "{command:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        // Of bytes this ring takes any.
        let (told, stderr) = report(command, "modula");
        assert_eq!(
            (&told["not_text"], &told["not_text_example"]),
            (&0.into(), &Value::Null)
        );
        assert_eq!(stderr, "", "{command:?}");
    }
    assert_eq!(report(restore, "pymemcache").0["stored"], 43);

    // What is not selected is not told, and people are told, too.
    let (some, _) = report(&["ring", "plan", "--select=prefix=user:"], "pymemcache");
    assert_eq!(some["not_text"], 0);
    for command in [plan, dry_run, restore] {
        let rest = ["s/a", &to, "--ring=pymemcache", "--progress=none"];
        let output = workdir.mcsnap(&[command, &rest].concat()).succeeds();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let note = "3 keys are no UTF-8, so that no client of this ring has them\n";
        assert!(stdout.contains(note), "{stdout}");
    }
    let from = ["--from", "a,b", "--from-ring=memjs"];
    let (old, stderr) = report(&[plan, &from].concat(), "modula");
    assert_eq!(old["not_text"], 3);
    assert!(stderr.contains("memjs hashes text"), "{stderr}");
}
