//! A job that moves items is a combination: what reads, what takes, and the pump.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use mcsnap::engines::pump::{ItemSink as _, Load, Outlet, PumpOptions, Queues, Sink, Taken, pump};
use mcsnap::ports::threads::side_by_side;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{Error, ErrorKind, Result};
use mcsnap::words::item::{ItemMeta, Record};

/// Reads numbers: the value of each is as long as it says, the thousandth comes in
/// pieces.
fn read_numbers(queues: &Queues, numbers: std::ops::Range<usize>) -> Result<usize> {
    let route = |key: &[u8]| usize::from(key[0] % 2);
    let mut outlet = Outlet::new(queues, &route);
    for number in numbers.clone() {
        let (key, value) = (number.to_string(), vec![b'v'; number]);
        let (key, meta) = (key.as_bytes(), ItemMeta::default());
        if number == 1000 {
            outlet.begin_large(key, &meta, 1000)?;
            value
                .chunks(300)
                .try_for_each(|piece| outlet.piece(piece))?;
            outlet.end_large()?;
        } else {
            let value = &value;
            outlet.item(&Record { key, value, meta })?;
        }
    }
    outlet.flush()?;
    Ok(numbers.len())
}

/// Remembers how long the value of each key is.
#[derive(Default)]
struct Lengths(BTreeMap<Vec<u8>, usize>);

impl Sink for Lengths {
    type Output = BTreeMap<Vec<u8>, usize>;

    fn take(&mut self, load: &Load) -> Result<Taken> {
        match load {
            Load::Batch(batch) => {
                let items = batch.iter().map(|it| (it.key.to_vec(), it.value.len()));
                self.0.extend(items);
            }
            Load::Large(item) => {
                let (mut pieces, mut len) = (item.value.open(), 0);
                while let Some(piece) = pieces.next_piece()? {
                    len += piece.len();
                }
                self.0.insert(item.key.clone(), len);
            }
        }
        Ok(Taken::More)
    }

    fn finish(self) -> Result<Self::Output> {
        Ok(self.0)
    }
}

fn options(sinks: Vec<usize>) -> PumpOptions {
    PumpOptions {
        name: "test",
        sinks,
        open_max: usize::MAX,
        outlet_count: 3,
        memory_max: 1 << 20,
    }
}

#[test]
fn whatever_is_read_arrives_once_and_in_its_queue() {
    let stop = Cancel::new();
    let read = |queues: &Queues| {
        let parts = vec![0..500, 500..1400, 1400..2000];
        let counts = side_by_side("read", parts, 3, &stop, |part| read_numbers(queues, part));
        counts?.into_iter().sum::<Result<usize>>()
    };
    let pumped = pump(
        &options(vec![2, 1]),
        &stop,
        |_, _| Ok(Lengths::default()),
        read,
    );
    let (count, queues) = pumped.into_result().unwrap();
    assert_eq!((count, queues[0].len(), queues[1].len()), (2000, 2, 1));
    let mut seen = BTreeMap::new();
    for (queue, taken) in queues.into_iter().enumerate() {
        for (key, len) in taken.into_iter().flatten() {
            assert_eq!(usize::from(key[0] % 2), queue);
            let number: usize = String::from_utf8(key).unwrap().parse().unwrap();
            assert_eq!(len, number);
            assert!(seen.insert(number, queue).is_none(), "{number} twice");
        }
    }
    assert_eq!(seen.len(), 2000);
    assert!(!stop.is_canceled());
}

#[test]
fn more_queues_than_there_is_room_for_batches_are_no_deadlock() {
    const QUEUES: usize = 500;
    let stop = Cancel::new();
    let narrow = PumpOptions {
        memory_max: 64 << 10,
        ..options(vec![1; QUEUES])
    };
    let fill = |queues: &Queues, part: usize| {
        let mut outlet = Outlet::new(queues, &|_| 0);
        for number in 0..20_000 {
            let key = format!("{part}:{number}");
            let (key, value, meta) = (key.as_bytes(), &[b'v'; 97][..], ItemMeta::default());
            outlet.push(&Record { key, value, meta }, number % QUEUES)?;
        }
        outlet.flush()
    };
    let read = |queues: &Queues| {
        let filled = side_by_side("read", vec![0, 1, 2], 3, &stop, |part| fill(queues, part));
        filled?.into_iter().collect::<Result<()>>()
    };
    let pumped = pump(&narrow, &stop, |_, _| Ok(Lengths::default()), read);
    let ((), queues) = pumped.into_result().unwrap();
    let keys = queues.iter().flatten().map(BTreeMap::len);
    assert_eq!(keys.sum::<usize>(), 60_000);
}

/// Fails at the third load, or has enough.
struct Failing {
    taken: usize,
    says: fn() -> Result<Taken>,
}

impl Sink for Failing {
    type Output = usize;

    fn take(&mut self, load: &Load) -> Result<Taken> {
        self.taken += usize::try_from(load.items()).unwrap();
        (self.says)()
    }

    fn finish(self) -> Result<usize> {
        Ok(self.taken)
    }
}

#[test]
fn the_first_cause_is_told_and_what_others_did_is_not_lost() {
    let stop = Cancel::new();
    let failing = |queue, _| {
        let says = match queue {
            0 => || Err(Error::new(ErrorKind::Closed)),
            _ => || Ok(Taken::More),
        };
        Ok(Failing { taken: 0, says })
    };
    let read = |queues: &Queues| {
        let parts = vec![0..900, 900..1800];
        let read = side_by_side("read", parts, 2, &stop, |part| read_numbers(queues, part));
        read?.into_iter().sum::<Result<usize>>()
    };
    let pumped = pump(&options(vec![1, 1]), &stop, failing, read);
    // Those who read were told that a sink has gone, which is not the cause.
    assert_eq!(*pumped.error.unwrap().kind(), ErrorKind::Closed);
    assert!(pumped.queues[0].is_empty() && pumped.queues[1].len() == 1);
    assert!(stop.is_canceled());
}

#[test]
fn the_last_sink_of_a_queue_takes_all_that_comes() {
    let stop = Cancel::new();
    let enough = |_, _| {
        Ok(Failing {
            taken: 0,
            says: || Ok(Taken::Enough),
        })
    };
    let read = |queues: &Queues| read_numbers(queues, 1..990);
    let pumped = pump(&options(vec![3, 3]), &stop, enough, read);
    let (count, queues) = pumped.into_result().unwrap();
    assert_eq!(count, 989);
    assert_eq!(queues.iter().flatten().sum::<usize>(), 989);
}

#[test]
fn a_few_threads_serve_many_queues_in_turn() {
    let stop = Cancel::new();
    let few = PumpOptions {
        open_max: 2,
        ..options(vec![3; 7])
    };
    let read = |queues: &Queues| {
        let mut outlet = Outlet::new(queues, &|_| 0);
        for number in 0..30_000_usize {
            let key = number.to_string();
            let (key, value, meta) = (key.as_bytes(), &[b'v'; 97][..], ItemMeta::default());
            outlet.push(&Record { key, value, meta }, number % 7)?;
        }
        outlet.flush()
    };
    let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counted = |_, _| Ok(Counted::new(&open, &most));
    let ((), queues) = pump(&few, &stop, counted, read).into_result().unwrap();
    assert_eq!(queues.len(), 7);
    for (queue, taken) in queues.iter().enumerate() {
        let keys = taken.iter().flat_map(BTreeMap::keys);
        let numbers: BTreeSet<usize> = keys
            .map(|key| str::from_utf8(key).unwrap().parse().unwrap())
            .collect();
        assert!(numbers.iter().all(|number| number % 7 == queue));
        assert!((4285..=4286).contains(&numbers.len()), "{}", numbers.len());
    }
    assert_eq!((open.into_inner(), most.into_inner() <= 2), (0, true));
}

/// Remembers how many are open at a time.
struct Counted<'a> {
    lengths: Lengths,
    open: &'a AtomicUsize,
}

impl<'a> Counted<'a> {
    fn new(open: &'a AtomicUsize, most: &AtomicUsize) -> Self {
        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let lengths = Lengths::default();
        Self { lengths, open }
    }
}

impl Sink for Counted<'_> {
    type Output = BTreeMap<Vec<u8>, usize>;

    fn take(&mut self, load: &Load) -> Result<Taken> {
        self.lengths.take(load)
    }

    fn finish(self) -> Result<Self::Output> {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.lengths.finish()
    }
}

#[test]
fn a_sink_that_cannot_be_opened_ends_the_pump() {
    let stop = Cancel::new();
    let none = |_, _| -> Result<Lengths> { Err(Error::new(ErrorKind::Busy)) };
    let read = |queues: &Queues| read_numbers(queues, 0..2000);
    let pumped = pump(&options(vec![1, 1]), &stop, none, read);
    assert_eq!(*pumped.error.unwrap().kind(), ErrorKind::Busy);
}
