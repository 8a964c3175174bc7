//! Dumps and restores beside what they cannot be faster than, in rounds.

use std::thread::available_parallelism;

use comfy_table::Table;
use serde::Serialize;

use crate::arguments::{Arguments, Part};
use crate::cost::Cost;
use crate::order::order;
use crate::scene::{Compression, Job, Scene, Who};
use crate::statistics::Spread;
use crate::table::markdown;

/// How much longer than the bar a job may take.
const RATIO_MAX: f64 = 1.10;

/// What the runs of one job came to.
#[derive(Debug, Serialize)]
pub(crate) struct JobResult {
    job: Job,
    rows: Vec<Row>,
    /// Wall time of the program with the store, to the bar of the same round.
    to_bar: Spread,
    rounds_to_bar: Vec<f64>,
    /// The bar of each round, in seconds.
    bars_s: Vec<f64>,
    is_met: bool,
}

/// What one of the three took.
#[derive(Debug, Serialize)]
struct Row {
    who: Who,
    wall_s: Spread,
    cpu_s: Spread,
    memcached_cpu_s: Spread,
    store_cpu_s: Spread,
    peak_resident_mib: f64,
    peak_anonymous_mib: f64,
    rounds: Vec<Cost>,
}

/// The least that a job with the store could take: the longer of its two halves; or, where
/// they would share the processors, the work of both.
fn bar(directory: &Cost, plain: &Cost) -> f64 {
    let processors = available_parallelism().unwrap().get() as f64;
    let work = (directory.all_cpu_s() + plain.all_cpu_s()) / processors;
    directory.wall_s.max(plain.wall_s).max(work)
}

/// Runs all jobs in all rounds.
pub(crate) fn run(scene: &Scene, arguments: &Arguments) -> Vec<JobResult> {
    let is_wanted = |job: &Job| {
        let part = if job.is_dump {
            Part::Dump
        } else {
            Part::Restore
        };
        arguments.parts.contains(&part)
    };
    let jobs = [true, false].into_iter().flat_map(|is_dump| {
        Compression::ALL.map(|compression| Job {
            is_dump,
            compression,
        })
    });
    let jobs: Vec<Job> = jobs.filter(is_wanted).collect();
    let mut costs: Vec<[Vec<Cost>; 3]> = jobs.iter().map(|_| Default::default()).collect();
    let rounds = arguments.warm_up + arguments.rounds;
    for round in 0..rounds {
        for (job, costs) in jobs.iter().zip(&mut costs) {
            for at in order(round, Who::ALL.len()) {
                let cost = scene.run(*job, Who::ALL[at]);
                if round >= arguments.warm_up {
                    costs[at].push(cost);
                }
            }
        }
        eprintln!("dump and restore: round {} of {rounds}", round + 1);
    }
    let results = jobs.into_iter().zip(costs);
    results.map(|(job, costs)| result(job, costs)).collect()
}

fn result(job: Job, costs: [Vec<Cost>; 3]) -> JobResult {
    let [store, directory, plain] = &costs;
    let halves = directory.iter().zip(plain);
    let bars_s: Vec<f64> = halves.map(|(one, other)| bar(one, other)).collect();
    let ratios = store
        .iter()
        .zip(&bars_s)
        .map(|(cost, bar)| cost.wall_s / bar);
    let rounds_to_bar: Vec<f64> = ratios.collect();
    let to_bar = Spread::of(rounds_to_bar.iter().copied());
    let rows = Who::ALL.into_iter().zip(costs);
    JobResult {
        job,
        rows: rows.map(|(who, costs)| row(who, costs)).collect(),
        is_met: to_bar.median <= RATIO_MAX,
        to_bar,
        rounds_to_bar,
        bars_s,
    }
}

fn row(who: Who, rounds: Vec<Cost>) -> Row {
    let spread = |pick: fn(&Cost) -> f64| Spread::of(rounds.iter().map(pick));
    let peak = |pick: fn(&Cost) -> f64| rounds.iter().map(pick).fold(0.0, f64::max);
    Row {
        who,
        wall_s: spread(|cost| cost.wall_s),
        cpu_s: spread(|cost| cost.cpu_s),
        memcached_cpu_s: spread(|cost| cost.memcached_cpu_s),
        store_cpu_s: spread(|cost| cost.store_cpu_s),
        peak_resident_mib: peak(|cost| cost.peak_resident_mib),
        peak_anonymous_mib: peak(|cost| cost.peak_anonymous_mib),
        rounds,
    }
}

/// Shows the results.
pub(crate) fn table(results: &[JobResult]) -> Table {
    let mut table = markdown(&[
        "job",
        "by",
        "wall s",
        "to bar (1.10)",
        "CPU s",
        "memcached's",
        "store's",
        "peak MiB",
        "of its own",
    ]);
    for result in results {
        for row in &result.rows {
            let to_bar = match row.who {
                Who::Store => result.to_bar.to_string(),
                Who::Directory | Who::Plain => "-".to_owned(),
            };
            table.add_row([
                result.job.name(),
                row.who.name(result.job).to_owned(),
                row.wall_s.to_string(),
                to_bar,
                row.cpu_s.to_string(),
                row.memcached_cpu_s.to_string(),
                row.store_cpu_s.to_string(),
                format!("{:.1}", row.peak_resident_mib),
                format!("{:.1}", row.peak_anonymous_mib),
            ]);
        }
    }
    table
}
