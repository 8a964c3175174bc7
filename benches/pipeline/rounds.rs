//! The order of runs: one after the other, in another order each round.

use crate::arguments::Arguments;
use crate::cost::Cost;
use crate::job::{Job, Who};
use crate::order::order;
use crate::scene::Scene;

/// What the runs of one job took, by who did it; one a round, in the order of the rounds.
#[derive(Debug)]
pub(crate) struct JobRounds {
    pub(crate) job: Job,
    pub(crate) costs: Vec<(Who, Vec<Cost>)>,
}

/// Runs all jobs in all rounds.
pub(crate) fn run(scene: &Scene, arguments: &Arguments) -> Vec<JobRounds> {
    let mut all: Vec<JobRounds> = arguments
        .jobs
        .iter()
        .map(|job| JobRounds {
            job: *job,
            costs: Vec::new(),
        })
        .collect();
    for of_job in &mut all {
        let contenders = scene.contenders(of_job.job);
        of_job.costs = contenders.iter().map(|who| (*who, Vec::new())).collect();
    }
    for round in 0..arguments.warm_up + arguments.rounds {
        for of_job in &mut all {
            for at in order(round, of_job.costs.len()) {
                let (who, costs) = &mut of_job.costs[at];
                let cost = scene.run(of_job.job, *who);
                if round >= arguments.warm_up {
                    costs.push(cost);
                }
            }
        }
        eprintln!(
            "round {} of {}",
            round + 1,
            arguments.warm_up + arguments.rounds
        );
    }
    all
}
