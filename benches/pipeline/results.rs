//! What all rounds come to, as it is printed and written to a file.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::arguments::Arguments;
use crate::build::Build;
use crate::cost::Cost;
use crate::job::{Job, Who};
use crate::machine::Machine;
use crate::rounds::JobRounds;
use crate::scene::Scene;
use crate::statistics::Spread;
use crate::syscalls::FileCalls;

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    items: u64,
    rounds: u64,
    warm_up: u64,
    is_full_speed: bool,
    machine: Machine,
    this: Build,
    other: Option<Build>,
    notes: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// Empty unless asked for.
    pub(crate) file_calls: Vec<FileCalls>,
}

/// One of the three at one job.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) job: Job,
    pub(crate) who: Who,
    pub(crate) wall_s: Spread,
    pub(crate) cpu_s: Spread,
    pub(crate) servers_cpu_s: Spread,
    pub(crate) peak_resident_mib: f64,
    pub(crate) peak_anonymous_mib: f64,
    /// Wall time to that of the floor in the same round; none of the floor itself.
    pub(crate) wall_to_floor: Option<Spread>,
    /// The same of each round.
    pub(crate) rounds_to_floor: Vec<f64>,
    /// To the other build in the same round; of this build only.
    pub(crate) wall_to_other: Option<Spread>,
    pub(crate) cpu_to_other: Option<Spread>,
    pub(crate) servers_cpu_to_other: Option<Spread>,
    pub(crate) rounds: Vec<Cost>,
}

impl Results {
    pub(crate) fn new(
        arguments: &Arguments,
        machine: Machine,
        scene: &Scene,
        jobs: &[JobRounds],
        file_calls: Vec<FileCalls>,
    ) -> Self {
        Self {
            items: arguments.items,
            rounds: arguments.rounds,
            warm_up: arguments.warm_up,
            is_full_speed: arguments.full_speed,
            machine,
            this: scene.this.clone(),
            other: scene.other.clone(),
            notes: scene.notes(&arguments.jobs),
            rows: jobs.iter().flat_map(rows).collect(),
            file_calls,
        }
    }

    pub(crate) fn headline(&self) -> String {
        let Self {
            items,
            rounds,
            machine,
            ..
        } = self;
        format!("{items} items, {rounds} rounds, median [lowest highest]; {machine}")
    }

    /// In one line, what is compared.
    pub(crate) fn subject(&self) -> String {
        let Self { items, rounds, .. } = self;
        let other = match &self.other {
            Some(_) => ", this build and another one",
            None => "",
        };
        format!("mcsnap{other}: {items} items, {rounds} rounds")
    }

    pub(crate) fn save(&self, file: &Path) {
        let mut text = serde_json::to_string_pretty(self).unwrap();
        text.push('\n');
        fs::write(file, text).unwrap();
    }
}

fn rows(of_job: &JobRounds) -> Vec<Row> {
    let of = |wanted: Who| {
        let mut costs = of_job.costs.iter();
        costs.find_map(|(who, costs)| (*who == wanted).then_some(costs))
    };
    let row = |(who, costs): &(Who, Vec<Cost>)| {
        let spread = |pick: fn(&Cost) -> f64| Spread::of(costs.iter().map(pick));
        let peak = |pick: fn(&Cost) -> f64| costs.iter().map(pick).fold(0.0, f64::max);
        let ratio = |pick: fn(&Cost) -> f64, others: &[Cost]| {
            let pairs = costs.iter().zip(others);
            Spread::of(pairs.map(|(cost, other)| pick(cost) / pick(other)))
        };
        let floor = of(Who::Floor).filter(|_| *who != Who::Floor);
        let other = of(Who::Other).filter(|_| *who == Who::This);
        let has_servers = costs.iter().any(|cost| cost.servers_cpu_s > 0.0);
        Row {
            job: of_job.job,
            who: *who,
            wall_s: spread(|cost| cost.wall_s),
            cpu_s: spread(|cost| cost.cpu_s),
            servers_cpu_s: spread(|cost| cost.servers_cpu_s),
            peak_resident_mib: peak(|cost| cost.peak_resident_mib),
            peak_anonymous_mib: peak(|cost| cost.peak_anonymous_mib),
            rounds_to_floor: floor.map_or(Vec::new(), |floor| {
                let pairs = costs.iter().zip(floor);
                pairs
                    .map(|(cost, floor)| cost.wall_s / floor.wall_s)
                    .collect()
            }),
            wall_to_floor: floor.map(|floor| ratio(|cost| cost.wall_s, floor)),
            wall_to_other: other.map(|other| ratio(|cost| cost.wall_s, other)),
            cpu_to_other: other.map(|other| ratio(|cost| cost.cpu_s, other)),
            servers_cpu_to_other: other
                .filter(|_| has_servers)
                .map(|other| ratio(|cost| cost.servers_cpu_s, other)),
            rounds: costs.clone(),
        }
    };
    of_job.costs.iter().map(row).collect()
}
