//! Writers that want one name at one moment.

use std::sync::Barrier;
use std::thread;

use mcsnap::ports::store::Store as _;
use mcsnap::words::error::ErrorKind;

use crate::place::Place;

const RACER_COUNT: usize = 16;
const ROUND_COUNT: usize = 20;

/// Each racer has a client of its own, as a process has.
pub(crate) fn one_of_sixteen_creators_wins(place: &Place) {
    let stores: Vec<_> = (0..RACER_COUNT).map(|_| place.store("race")).collect();
    for round in 0..ROUND_COUNT {
        let (barrier, name) = (Barrier::new(RACER_COUNT), format!("round-{round}"));
        let outcomes: Vec<_> = thread::scope(|scope| {
            let racers: Vec<_> = stores
                .iter()
                .enumerate()
                .map(|(racer, store)| {
                    let (barrier, name) = (&barrier, &name);
                    scope.spawn(move || {
                        barrier.wait();
                        store.put_new(name, racer.to_string().as_bytes())
                    })
                })
                .collect();
            racers.into_iter().map(|r| r.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..RACER_COUNT).filter(|&i| outcomes[i].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            let what = stores[0].describe(&name);
            assert_eq!(*error.kind(), ErrorKind::AlreadyExists { what });
        }
        let reader = stores[0].open(&name).unwrap();
        let mut found = vec![0; usize::try_from(reader.size()).unwrap()];
        reader.read_at(0, &mut found).unwrap();
        assert_eq!(found, winners[0].to_string().as_bytes());
    }
}
