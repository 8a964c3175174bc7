//! Random expressions, compared with an evaluator that shares no code with the real one.

use std::sync::Arc;

use proptest::prelude::*;

use crate::codecs::select::{Candidate, Judgement, OwnerAnswer, OwnerQuestion, Selection};
use crate::words::item::{Exptime, ItemMeta, SlabClass};
use crate::words::node::NodeSpec;
use crate::words::units::UnixSecs;

const NOW: u64 = 1_795_140_000;

/// An item that owns its data.
#[derive(Clone, Debug)]
struct Item {
    key: &'static str,
    value_len: Option<u64>,
    meta: ItemMeta,
}

impl Item {
    fn candidate(&self) -> Candidate<'_> {
        Candidate::new(
            self.key.as_bytes(),
            self.value_len,
            &self.meta,
            UnixSecs(NOW),
        )
    }
}

/// 0 is false, 1 unknown, 2 true: `and` is the minimum, `or` the maximum.
type Truth = u8;

fn truth(is_true: Option<bool>) -> Truth {
    is_true.map_or(1, |is_true| if is_true { 2 } else { 0 })
}

/// Terms as they are written, with what they mean in plain code.
type Meaning = fn(&Item) -> Option<bool>;

fn left(item: &Item) -> Option<i128> {
    item.meta.exptime.map(|exptime| match exptime {
        Exptime::Never => i128::MAX,
        Exptime::At(UnixSecs(at)) => (i128::from(at) - i128::from(NOW)).max(0),
    })
}

fn idle(item: &Item) -> Option<i128> {
    let access = item.meta.last_access?;
    Some((i128::from(NOW) - i128::from(access.0)).max(0))
}

const TERMS: [(&str, Meaning); 29] = [
    ("prefix=user:", |item| Some(item.key.starts_with("user:"))),
    ("prefix!=user:", |item| Some(!item.key.starts_with("user:"))),
    ("prefix=\"\"", |_| Some(true)),
    ("prefix=\"a b\"", |item| Some(item.key.starts_with("a b"))),
    ("key=user:1", |item| Some(item.key == "user:1")),
    ("key='a b(c)'", |item| Some(item.key == "a b(c)")),
    ("glob=*:?", |item| Some(item.key.ends_with(":1"))),
    ("regex=^(user|sess):", |item| {
        Some(item.key.starts_with("user:") || item.key.starts_with("sess:"))
    }),
    ("regex!=\"\\(\"", |item| Some(!item.key.contains('('))),
    ("ttl>1h", |item| left(item).map(|left| left > 3600)),
    ("ttl<=60", |item| left(item).map(|left| left <= 60)),
    ("ttl=1m..1h", |item| {
        left(item).map(|left| (60..=3600).contains(&left))
    }),
    ("ttl!=1m", |item| left(item).map(|left| left != 60)),
    ("ttl=..1m", |item| left(item).map(|left| left <= 60)),
    ("ttl=never", |item| left(item).map(|left| left == i128::MAX)),
    ("ttl=unknown", |item| Some(left(item).is_none())),
    ("ttl!=unknown", |item| Some(left(item).is_some())),
    ("size>=1KiB", |item| item.value_len.map(|len| len >= 1024)),
    ("size<1k", |item| item.value_len.map(|len| len < 1000)),
    ("size=1000..1024", |item| {
        item.value_len.map(|len| (1000..=1024).contains(&len))
    }),
    ("size=unknown", |item| Some(item.value_len.is_none())),
    ("class=5", |item| {
        item.meta.slab_class.map(|class| class.0 == 5)
    }),
    ("class=unknown", |item| Some(item.meta.slab_class.is_none())),
    ("idle<1d", |item| idle(item).map(|idle| idle < 86_400)),
    ("idle=1d..", |item| idle(item).map(|idle| idle >= 86_400)),
    ("flags=0x10", |item| {
        item.meta.client_flags.map(|flags| flags == 16)
    }),
    ("flags>15", |item| {
        item.meta.client_flags.map(|flags| flags > 15)
    }),
    ("sample=0%", |_| Some(false)),
    ("owner=a:1/modula/a:1,b:1", |item| {
        Some(item.key.len() % 2 == 0)
    }),
];

#[derive(Clone, Debug)]
enum Plain {
    Term(usize),
    Not(Box<Plain>),
    All(Vec<Plain>),
    Any(Vec<Plain>),
    /// Redundant parentheses and spaces.
    Loose(Box<Plain>),
}

impl Plain {
    fn text(&self) -> String {
        let enclosed = |part: &Self| match part {
            Self::Term(_) | Self::Loose(_) => part.text(),
            Self::Not(_) | Self::All(_) | Self::Any(_) => format!("({})", part.text()),
        };
        let joined =
            |parts: &[Self], word: &str| parts.iter().map(enclosed).collect::<Vec<_>>().join(word);
        match self {
            Self::Term(number) => TERMS[*number].0.to_owned(),
            Self::Not(part) => format!("not {}", enclosed(part)),
            Self::All(parts) => joined(parts, " and "),
            Self::Any(parts) => joined(parts, "  or "),
            Self::Loose(part) => format!("( {}\t)", part.text()),
        }
    }

    fn judge(&self, item: &Item) -> Truth {
        match self {
            Self::Term(number) => truth(TERMS[*number].1(item)),
            Self::Not(part) => 2 - part.judge(item),
            Self::All(parts) => parts.iter().map(|part| part.judge(item)).min().unwrap(),
            Self::Any(parts) => parts.iter().map(|part| part.judge(item)).max().unwrap(),
            Self::Loose(part) => part.judge(item),
        }
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let term = (0..TERMS.len()).prop_map(Plain::Term);
    term.prop_recursive(4, 30, 4, |inner| {
        let parts = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.clone().prop_map(|part| Plain::Not(Box::new(part))),
            inner.prop_map(|part| Plain::Loose(Box::new(part))),
            parts.clone().prop_map(Plain::All),
            parts.prop_map(Plain::Any),
        ]
    })
}

fn item() -> impl Strategy<Value = Item> {
    let key = prop::sample::select(vec!["user:1", "sess:1", "a b(c)", "a", "x:22"]);
    let value_len = prop::sample::select(vec![0_u64, 999, 1000, 1023, 1024, 1025]);
    let left = prop::sample::select(vec![-5_i64, 0, 1, 59, 60, 61, 3600, 3601]);
    let exptime = prop_oneof![
        Just(Exptime::Never),
        left.prop_map(|left| Exptime::At(UnixSecs(NOW).saturating_add_signed(left))),
    ];
    let idle = prop::sample::select(vec![-5_i64, 0, 86_399, 86_400, 86_401]);
    let flags = prop::sample::select(vec![0_u64, 15, 16, 17, u64::MAX]);
    let class = prop::sample::select(vec![0_u8, 4, 5, 63]).prop_map(SlabClass);
    (
        key,
        prop::option::of(value_len),
        prop::option::of(exptime),
        prop::option::of(idle),
        prop::option::of(flags),
        prop::option::of(class),
    )
        .prop_map(
            |(key, value_len, exptime, idle, client_flags, slab_class)| Item {
                key,
                value_len,
                meta: ItemMeta {
                    client_flags,
                    exptime,
                    last_access: idle.map(|idle| UnixSecs(NOW).saturating_add_signed(-idle)),
                    slab_class,
                    ..ItemMeta::default()
                },
            },
        )
}

/// Node a owns the keys of even length.
fn bound(text: &str) -> Selection {
    let selection = Selection::parse(text).unwrap();
    let mut answer = |_: &OwnerQuestion<'_>| {
        Ok(OwnerAnswer {
            ring: "modula".to_owned(),
            nodes: vec![NodeSpec::new("a", 1), NodeSpec::new("b", 1)],
            owns: Arc::new(|key| key.len() % 2 == 0),
        })
    };
    selection.bind(&mut answer).unwrap()
}

fn to_truth(judgement: Judgement) -> Truth {
    match judgement {
        Judgement::Drop => 0,
        Judgement::Unknown => 1,
        Judgement::Keep => 2,
    }
}

proptest! {
    #[test]
    fn a_selection_judges_as_plain_words_do(plain in plain(), items in prop::collection::vec(item(), 20)) {
        let text = plain.text();
        let selection = bound(&text);
        for item in &items {
            let judged = to_truth(selection.judge(&item.candidate()));
            prop_assert_eq!(judged, plain.judge(item), "{} of {:?}", text, item);
        }
    }

    #[test]
    fn what_is_written_is_read_back(plain in plain()) {
        let selection = bound(&plain.text());
        let text = selection.to_string();
        let again = Selection::parse(&text).unwrap();
        prop_assert_eq!(&again, &selection, "{}", text);
        prop_assert_eq!(again.to_string(), text);
        prop_assert_eq!(again.needs(), selection.needs());
    }

    #[test]
    fn what_is_judged_early_stays_so(plain in plain(), item in item(), hidden in any::<[bool; 5]>()) {
        let selection = bound(&plain.text());
        let mut early = item.candidate();
        let [len, exptime, access, flags, class] = hidden;
        early.value_len = early.value_len.filter(|_| !len);
        early.exptime = early.exptime.filter(|_| !exptime);
        early.last_access = early.last_access.filter(|_| !access);
        early.client_flags = early.client_flags.filter(|_| !flags);
        early.slab_class = early.slab_class.filter(|_| !class);
        let late = selection.judge(&item.candidate());
        match selection.judge_early(&early) {
            Judgement::Unknown => {}
            decided @ (Judgement::Keep | Judgement::Drop) => prop_assert_eq!(decided, late, "{}", selection),
        }
    }

    #[test]
    fn what_is_not_needed_is_not_looked_at(plain in plain(), item in item()) {
        let selection = bound(&plain.text());
        let needs = selection.needs();
        let mut poor = item.candidate();
        poor.value_len = poor.value_len.filter(|_| needs.value_len);
        poor.exptime = poor.exptime.filter(|_| needs.exptime);
        poor.last_access = poor.last_access.filter(|_| needs.last_access);
        poor.client_flags = poor.client_flags.filter(|_| needs.client_flags);
        poor.slab_class = poor.slab_class.filter(|_| needs.slab_class);
        if !needs.now() {
            poor.now = UnixSecs(0);
        }
        prop_assert_eq!(selection.judge(&poor), selection.judge(&item.candidate()));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}") {
        let _ = Selection::parse(&text);
    }

    #[test]
    fn any_words_are_read_or_refused_and_read_back(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "(", ")", "not", "and", "or", " ", "ttl", "size", "prefix", "glob", "regex", "=", "!=",
                "<", ">=", "..", "1h", "5", "\"", "'", "\\x41", "\\", "a(b)", "%", "owner", "a:1", "/",
            ]),
            0..20,
        )
    ) {
        let text = words.concat();
        if let Ok(selection) = Selection::parse(&text) {
            let again = Selection::parse(&selection.to_string()).unwrap();
            prop_assert_eq!(again, selection, "{}", text);
        }
    }
}

#[test]
fn all_is_kept_where_nothing_is_said() {
    let everything = Selection::default();
    assert!(everything.is_everything());
    assert_eq!(everything.to_string(), "");
    let candidate = Candidate::new(b"k", None, &ItemMeta::default(), UnixSecs(0));
    assert_eq!(everything.judge(&candidate), Judgement::Keep);
    let some = Selection::parse("class=5").unwrap();
    assert_eq!(everything.clone().and(some.clone()).unwrap(), some);
    assert_eq!(some.clone().and(everything).unwrap(), some);
    assert_eq!(some.judge(&candidate), Judgement::Unknown);
    let owned = Selection::parse("owner=a:1").unwrap();
    assert_eq!(owned.judge(&candidate), Judgement::Unknown);
}
