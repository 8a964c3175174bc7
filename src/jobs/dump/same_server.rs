//! Checks whether two names lead to the same server, whose items would be dumped twice.

use crate::codecs::protocol::stats::ServerStats;
use crate::jobs::dump::node_plan::NodePlan;
use crate::ports::net::{Connection, NetOptions, ask_server};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// After this many rounds in which no other client connected, it is the same server.
const QUIET_ROUND_COUNT: u32 = 4;

/// After this many rounds, it stays unknown.
const ROUND_COUNT_MAX: u32 = 12;

/// What two names lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Two,
    One,
    Unknown,
}

/// Counts of connections ever made: as one name reported it before and after some were
/// opened to it, and as the other name reported it in between.
#[derive(Clone, Copy, Debug)]
struct Round {
    before: u64,
    opened: u64,
    between: u64,
    after: u64,
}

/// Refuses two names of one server. Warns if clients connect so often that this cannot be
/// determined.
///
/// Process id, start time and version can agree by chance: in containers every server is
/// process 1, and many start in the same second. Therefore a random number of connections
/// is opened to one name, and the count that the other name reports must grow by exactly
/// that number. This is repeated, alternating between the names. Two different servers
/// count separately, and differ after the first connection.
///
/// # Errors
///
/// - `InvalidInput`: one server has two names.
/// - `Canceled`.
pub(super) fn check_same_server(
    nodes: &[NodePlan],
    net: &NetOptions,
    cancel: &Cancel,
) -> Result<()> {
    for (node, other) in find_suspects(nodes, net, cancel)? {
        let mut probe = None;
        let verdict = judge(|number| {
            let probe = match &mut probe {
                Some(probe) => probe,
                none => none.insert(Probe::connect(node, other, net, cancel)?),
            };
            probe.play(number)
        });
        let verdict = match verdict {
            // If the error persists, the dump will meet it as well.
            Err(error) if !error.is_canceled() => Verdict::Two,
            verdict => verdict?,
        };
        match verdict {
            Verdict::Two => {}
            Verdict::One => {
                let allowed = format!(
                    "it is the same server as {}; its items would be dumped twice; leave one out",
                    node.address()
                );
                return Err(Error::invalid_input("node", other.address(), allowed));
            }
            Verdict::Unknown => tracing::warn!(
                "{} and {} may be one server, whose items would be dumped twice: they count the \
                 same, and clients connect too often to tell",
                node.address(),
                other.address()
            ),
        }
    }
    Ok(())
}

/// Plays rounds until they decide.
fn judge(mut play: impl FnMut(u32) -> Result<Round>) -> Result<Verdict> {
    let mut quiet_count = 0;
    for number in 0..ROUND_COUNT_MAX {
        let round = play(number)?;
        let least = round.before.saturating_add(round.opened);
        if round.between < least || round.between > round.after {
            return Ok(Verdict::Two);
        }
        quiet_count += u32::from(round.after == least);
        if quiet_count == QUIET_ROUND_COUNT {
            return Ok(Verdict::One);
        }
    }
    Ok(Verdict::Unknown)
}

/// A connection to each of two names.
struct Probe<'a> {
    sides: [(&'a NodeSpec, Connection); 2],
    net: &'a NetOptions,
    cancel: &'a Cancel,
}

impl<'a> Probe<'a> {
    fn connect(
        node: &'a NodeSpec,
        other: &'a NodeSpec,
        net: &'a NetOptions,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let open = |node: &'a NodeSpec| {
            let mut connection = Connection::connect(node, net, cancel)?;
            // A server counts a connection at the latest when it first answers.
            ask_server(&mut connection)?;
            Ok::<_, Error>((node, connection))
        };
        Ok(Self {
            sides: [open(node)?, open(other)?],
            net,
            cancel,
        })
    }

    /// Opens connections to one name in even rounds and to the other in odd ones.
    fn play(&mut self, number: u32) -> Result<Round> {
        let [one, other] = &mut self.sides;
        let (near, far) = if number.is_multiple_of(2) {
            (one, other)
        } else {
            (other, one)
        };
        let before = count_of(&mut near.1)?;
        let opened = 1 + u64::from(uuid::Uuid::new_v4().as_bytes()[0] & 3);
        for _ in 0..opened {
            ask_server(&mut Connection::connect(near.0, self.net, self.cancel)?)?;
        }
        Ok(Round {
            before,
            opened,
            between: count_of(&mut far.1)?,
            after: count_of(&mut near.1)?,
        })
    }
}

fn count_of(connection: &mut Connection) -> Result<u64> {
    Ok(ask_server(connection)?.stats.total_connections)
}

/// Finds pairs of names that look like one server: they report the same about themselves,
/// and two counters that never fall are in order across both names.
fn find_suspects<'a>(
    nodes: &'a [NodePlan],
    net: &NetOptions,
    cancel: &Cancel,
) -> Result<Vec<(&'a NodeSpec, &'a NodeSpec)>> {
    let told: Vec<(&NodeSpec, &ServerStats)> = nodes
        .iter()
        .filter_map(|plan| Some((&plan.node, &plan.source.as_ref().ok()?.server.stats)))
        // A server that does not count connections cannot be checked.
        .filter(|(_, stats)| stats.total_connections > 0)
        .collect();
    let has_like = |at: usize, stats: &ServerStats| {
        let others = told.iter().enumerate();
        others
            .filter(|(index, _)| *index != at)
            .any(|(_, (_, other))| is_alike(stats, other))
    };
    let alike: Vec<(&NodeSpec, &ServerStats)> = told
        .iter()
        .enumerate()
        .filter(|(at, (_, stats))| has_like(*at, stats))
        .map(|(_, entry)| *entry)
        .collect();
    let read = || -> Result<Vec<Option<ServerStats>>> {
        let ask = |node| {
            let mut connection = Connection::connect(node, net, cancel)?;
            ask_server(&mut connection).map(|server| server.stats)
        };
        let reads = alike.iter().map(|(node, _)| match ask(node) {
            Err(error) if error.is_canceled() => Err(error),
            stats => Ok(stats.ok()),
        });
        reads.collect()
    };
    let (first, second) = (read()?, read()?);
    let counts: Vec<_> = alike
        .iter()
        .zip(first.into_iter().zip(second))
        .filter_map(|((node, _), (first, second))| Some((*node, first?, second?)))
        .collect();
    let mut suspects = Vec::new();
    for (at, one) in counts.iter().enumerate() {
        for other in counts.iter().skip(at.saturating_add(1)) {
            // In the order in which they were read.
            let reads = [&one.1, &other.1, &one.2, &other.2];
            let grows =
                |count: fn(&ServerStats) -> u64| reads.is_sorted_by_key(|stats| count(stats));
            if is_alike(&one.1, &other.1)
                && grows(|stats| stats.total_connections)
                && grows(|stats| stats.bytes_read)
            {
                suspects.push((one.0, other.0));
            }
        }
    }
    Ok(suspects)
}

/// Reports whether two servers are one process, according to their own reports.
fn is_alike(one: &ServerStats, other: &ServerStats) -> bool {
    // Both times are whole seconds, and were not read at the same moment.
    const START_TOLERANCE: u64 = 2;
    let started = one.started_at().0.abs_diff(other.started_at().0);
    one.pid == other.pid && one.version_text == other.version_text && started <= START_TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays rounds on counters. The other name has the same counter or one of its own;
    /// `others` clients connect to every server in each step.
    fn verdict(is_one: bool, offset: u64, others: u64) -> Verdict {
        let mut counts = [1000, 1000 + offset];
        judge(|number| {
            let near = usize::try_from(number % 2).unwrap();
            let far = if is_one { near } else { 1 - near };
            let opened = 1 + u64::from(number % 4);
            let before = counts[near];
            let mut step = |more| {
                counts[near] += more;
                counts = counts.map(|count| count + others);
                if is_one {
                    counts = [counts[near]; 2];
                }
                counts
            };
            step(opened);
            let between = step(0)[far];
            let after = step(0)[near];
            Ok(Round {
                before,
                opened,
                between,
                after,
            })
        })
        .unwrap()
    }

    #[test]
    fn one_server_is_told_from_two_that_are_alike_in_all_they_count() {
        assert_eq!(verdict(true, 0, 0), Verdict::One);
        assert_eq!(verdict(true, 0, 3), Verdict::Unknown);
        for offset in 0..5 {
            assert_eq!(verdict(false, offset, 0), Verdict::Two, "{offset}");
        }
        // Clients that connect to both servers at once never make them look like one.
        for others in 1..50 {
            assert_ne!(verdict(false, 0, others), Verdict::One, "{others}");
        }
    }
}
