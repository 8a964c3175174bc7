//! The watcher: who else uses a node, and how long its answers take.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::codecs::protocol::reply::check_connection;
use crate::codecs::protocol::request::{STATS, VERSION};
use crate::codecs::protocol::stats::CommandCounts;
use crate::codecs::protocol::text::{Step, parse_line};
use crate::codecs::throttle::Rate;
use crate::ports::net::brake::gate::{Mode, rate};
use crate::ports::net::brake::node::NodeBrake;
use crate::ports::net::connection::{Connection, Received};
use crate::ports::net::options::NetOptions;
use crate::ports::net::server::ask;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// How long to leave a node that accepts no connection for probes alone before trying
/// again.
const BLIND_RETRY: Duration = Duration::from_secs(3);

/// Items after which a node is watched. A smaller job is over before anything could be
/// learned, and goes carefully.
const LOOK_AFTER_ITEMS: u64 = 512;

/// When counters are compared for the first time, and how often after that.
const FIRST_COUNT_AFTER: Duration = Duration::from_millis(100);
const COUNT_INTERVAL: Duration = Duration::from_millis(500);

/// How long a node counts as used by others after their last command.
const SHARED_FOR: Duration = Duration::from_secs(5);

/// How often a probe is sent while others use the node.
const PROBE_INTERVAL: Duration = Duration::from_millis(2);

/// How often requests pause so that probes show the delays that are not ours; how many
/// probes are sent then, and the pause between them. A distant server gets fewer probes:
/// the silence ends after `QUIET_MAX` if `QUIET_PROBES_MIN` are answered by then.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);
const QUIET_PROBES: usize = 50;
const QUIET_PROBES_MIN: usize = 10;
const QUIET_MAX: Duration = Duration::from_millis(100);
const QUIET_PAUSE: Duration = Duration::from_millis(1);

/// How many of these silences count together.
const QUIET_KEPT: usize = 4;

/// When a silence is tried again after it failed.
const QUIET_RETRY: Duration = Duration::from_secs(1);

/// How long to wait for everything in flight to return, at least and at most; in between,
/// `DRAIN_ANSWERS` times as long as the server takes for an answer.
const DRAIN_MIN: Duration = Duration::from_millis(50);
const DRAIN_MAX: Duration = Duration::from_secs(1);
const DRAIN_ANSWERS: u32 = 4;

/// After the job was held up for a look at the server, it is left alone for this many
/// times as long. This matters when each answer takes long.
const LEFT_ALONE: u32 = 20;

/// The shortest time over which the lowest rate is computed.
const RATE_SPAN: Duration = Duration::from_secs(1);

/// The commands a server counted, and how many of them were ours, at least and at most.
#[derive(Clone, Copy, Debug)]
struct Count {
    commands: CommandCounts,
    ours_min: CommandCounts,
    ours_max: CommandCounts,
}

/// Watches one node over a connection of its own.
struct Watcher<'a> {
    brake: &'a NodeBrake,
    connection: Connection,
    /// How long the server took for its last answer.
    answer_time: Duration,
    last_count: Option<Count>,
    last_used_by_others: Option<Instant>,
    /// Times of probes without our load, one list per silence.
    quiet: VecDeque<Vec<Duration>>,
    next_quiet: Option<Instant>,
    /// When the current span of the rate began, and how much was done by then.
    span: Option<(Instant, u64)>,
    /// When the last probe was recorded, and how much was done by then.
    last_note: Option<(Instant, u64)>,
}

impl NodeBrake {
    /// Watches the node and sets its pace until its [`Watched`](super::Watched) is
    /// dropped. Returns at once at full speed. Run it on a thread of its own.
    ///
    /// If the node accepts no connection for this, or closes it, the job continues at a
    /// careful rate until there is one again, and the report says so.
    pub fn watch(&self, node: &NodeSpec, net: &NetOptions, cancel: &Cancel) {
        if self.node.bound.is_none() || !self.waits_for_load() {
            return;
        }
        loop {
            let watched = Connection::connect(node, net, cancel)
                .and_then(|connection| Watcher::new(self, connection).run());
            let Err(error) = watched else { return };
            if error.is_canceled() || self.lock().is_closed {
                break;
            }
            self.go_blind(&error);
            if self.sleep(BLIND_RETRY) {
                break;
            }
        }
        self.end_blindness();
    }

    /// Has the job continue at a careful rate, where there are too few descriptors for
    /// probes of all nodes.
    pub fn do_without_probes(&self) {
        if self.node.bound.is_none() {
            return;
        }
        self.lock().mode = Mode::Blind;
        self.limit(Rate {
            items: Some(Self::BLIND_ITEMS_PER_SECOND),
            bytes: None,
        });
        self.refresh();
    }

    /// Sleeps; returns true if the job is done with the node.
    fn sleep(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut gate = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if gate.is_closed || left.is_zero() {
                return gate.is_closed;
            }
            let waited = self.node.settled.wait_timeout(gate, left);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the node is worth watching; returns false if the job ends before that.
    fn waits_for_load(&self) -> bool {
        let mut gate = self.lock();
        while gate.done < LOOK_AFTER_ITEMS {
            if gate.is_closed {
                return false;
            }
            let waited = self.node.settled.wait_timeout(gate, DRAIN_MIN);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !gate.is_closed
    }

    fn go_blind(&self, error: &Error) {
        let why = error.to_chain();
        let mut record = self.record();
        if record.blind_since.is_some() {
            // This was already reported.
            return;
        }
        record.blind_since = Some(Instant::now());
        record.blind = Some(why.clone());
        drop(record);
        self.lock().mode = Mode::Blind;
        self.limit(Rate {
            items: Some(Self::BLIND_ITEMS_PER_SECOND),
            bytes: None,
        });
        self.refresh();
        tracing::warn!(
            "{why}; no connection tells how long the server's other clients wait, so it is gone on \
             with at {} items/s at most until one does",
            Self::BLIND_ITEMS_PER_SECOND
        );
    }

    /// Starts carefully again if there were no probes before.
    fn resume_probing(&self) {
        if !self.end_blindness() {
            return;
        }
        let mut gate = self.lock();
        if gate.mode == Mode::Blind {
            gate.mode = Mode::Careful;
        }
        drop(gate);
        self.limit(Rate::default());
        self.refresh();
        let node = &self.node.name;
        tracing::info!(node, "the server gives a connection for probes again");
    }

    /// Ends a time without probes; returns false if there was none.
    fn end_blindness(&self) -> bool {
        let mut record = self.record();
        let Some(since) = record.blind_since.take() else {
            return false;
        };
        record.blind_time = record.blind_time.saturating_add(since.elapsed());
        true
    }
}

impl<'a> Watcher<'a> {
    fn new(brake: &'a NodeBrake, connection: Connection) -> Self {
        Self {
            brake,
            connection,
            answer_time: Duration::ZERO,
            last_count: None,
            last_used_by_others: None,
            quiet: VecDeque::new(),
            next_quiet: None,
            span: None,
            last_note: None,
        }
    }

    fn run(&mut self) -> Result<()> {
        self.count()?;
        self.probe()?;
        self.brake.resume_probing();
        let mut next_count = Instant::now() + FIRST_COUNT_AFTER;
        loop {
            if Instant::now() >= next_count {
                let began = Instant::now();
                self.count()?;
                next_count = next_look(began, COUNT_INTERVAL);
            }
            let is_shared = self.brake.lock().mode == Mode::Shared;
            let pause = if !is_shared {
                next_count.saturating_duration_since(Instant::now())
            } else if self.next_quiet.is_none_or(|next| Instant::now() >= next) {
                self.measure_quiet()?;
                continue;
            } else {
                let latency = self.probe()?;
                self.note(latency);
                PROBE_INTERVAL.saturating_sub(latency)
            };
            if self.brake.sleep(pause) {
                return Ok(());
            }
        }
    }

    /// Sends a command without effect, and returns how long the answer took.
    fn probe(&mut self) -> Result<Duration> {
        let asked = Instant::now();
        self.connection.exchange_short("probe", VERSION, |bytes| {
            let Step::Done(line, len) = parse_line(bytes, "VERSION")? else {
                return Ok(Received::More(0));
            };
            check_connection(line)?;
            if !line.starts_with(b"VERSION") {
                return Err(Error::protocol("VERSION", line));
            }
            Ok(Received::Done(len))
        })?;
        self.answer_time = asked.elapsed();
        Ok(self.answer_time)
    }

    /// Lets nothing through until the result is dropped.
    fn hold(&self) -> Held<'a> {
        let drain_max = self.answer_time.saturating_mul(DRAIN_ANSWERS);
        Held::new(self.brake, drain_max.clamp(DRAIN_MIN, DRAIN_MAX))
    }

    fn note(&mut self, latency: Duration) {
        let mut gate = self.brake.lock();
        let is_beside_load = gate.note_probe(latency);
        let items = gate.governor.pace().items;
        let done = gate.done;
        drop(gate);
        let now = Instant::now();
        let (began, before) = *self.span.get_or_insert((now, done));
        let span = now.saturating_duration_since(began);
        let (last, last_done) = self.last_note.replace((now, done)).unwrap_or((now, done));
        let mut record = self.brake.record();
        if is_beside_load {
            record.busy.add(latency);
        }
        let time = now.saturating_duration_since(last);
        record.shared_time = record.shared_time.saturating_add(time);
        let items_since = done.saturating_sub(last_done);
        record.shared_items = record.shared_items.saturating_add(items_since);
        record.in_flight_min = Some(record.in_flight_min.unwrap_or(u64::MAX).min(items));
        if span >= RATE_SPAN {
            // A job that has nothing to request is not being held back.
            self.span = Some((now, done));
            let items = done.saturating_sub(before);
            if items > 0 {
                let least = record.rate_min.unwrap_or(u64::MAX);
                record.rate_min = Some(least.min(rate(items, span)));
            }
        }
        drop(record);
        self.brake.adjust();
    }

    /// Lets nothing through and sends some probes; the time these take is not our fault.
    /// If something of ours stays in flight, this is tried again later.
    fn measure_quiet(&mut self) -> Result<()> {
        let began = Instant::now();
        let held = self.hold();
        if !held.is_drained {
            self.next_quiet = Some(next_look(began, QUIET_RETRY));
            return Ok(());
        }
        let quiet_since = Instant::now();
        let mut times = Vec::with_capacity(QUIET_PROBES);
        while !is_silence_over(times.len(), quiet_since.elapsed()) {
            times.push(self.probe()?);
            std::thread::sleep(QUIET_PAUSE);
        }
        drop(held);
        let mut record = self.brake.record();
        times.iter().for_each(|time| record.quiet.add(*time));
        drop(record);
        if self.quiet.len() == QUIET_KEPT {
            self.quiet.pop_front();
        }
        self.quiet.push_back(times);
        let mut all: Vec<Duration> = self.quiet.iter().flatten().copied().collect();
        self.brake.lock().governor.rebase(&mut all);
        self.next_quiet = Some(next_look(began, QUIET_INTERVAL));
        (self.span, self.last_note) = (None, None);
        Ok(())
    }

    /// Compares the server's counters with what we have sent.
    fn count(&mut self) -> Result<()> {
        // Hold until the mode is set: if there are other clients, no batch that is sized for a
        // server without them may go before that.
        let _held = self.hold();
        let ours_min = self.brake.lock().answered;
        let asked = Instant::now();
        let stats = ask(&mut self.connection, STATS)?;
        self.answer_time = asked.elapsed();
        let ours_max = self.brake.lock().sent;
        let Some(commands) = CommandCounts::of(&stats) else {
            // A server that reports no counters may have any number of clients.
            self.last_used_by_others = Some(Instant::now());
            self.set_mode();
            return Ok(());
        };
        let count = Count {
            commands,
            ours_min,
            ours_max,
        };
        if let Some(last) = self.last_count.replace(count) {
            let others = last.commands_of_others(&count);
            let node = &self.brake.node.name;
            tracing::debug!(node, others, "commands since the last look");
            if others > 0 {
                self.last_used_by_others = Some(Instant::now());
                let mut record = self.brake.record();
                record.commands_of_others = record.commands_of_others.saturating_add(others);
            }
            self.set_mode();
        }
        Ok(())
    }

    fn set_mode(&mut self) {
        let is_shared = self
            .last_used_by_others
            .is_some_and(|last| last.elapsed() < SHARED_FOR);
        let mode = if is_shared { Mode::Shared } else { Mode::Alone };
        let mut gate = self.brake.lock();
        let before = std::mem::replace(&mut gate.mode, mode);
        drop(gate);
        if before != mode {
            let node = &self.brake.node.name;
            match mode {
                Mode::Shared => tracing::info!(node, "others use the server; braking"),
                Mode::Alone => tracing::info!(node, "nobody else uses the server; at full speed"),
                Mode::Free | Mode::Careful | Mode::Blind => {}
            }
            self.next_quiet = None;
            (self.span, self.last_note) = (None, None);
            self.brake.refresh();
        }
    }
}

/// Returns whether enough probes were sent without our load.
fn is_silence_over(count: usize, lasted: Duration) -> bool {
    count >= QUIET_PROBES || (count >= QUIET_PROBES_MIN && lasted >= QUIET_MAX)
}

/// Returns when to look again after a look that ends now.
fn next_look(began: Instant, interval: Duration) -> Instant {
    let now = Instant::now();
    now + pause_after(now.saturating_duration_since(began), interval)
}

/// Returns the pause after a look that took this long.
fn pause_after(took: Duration, interval: Duration) -> Duration {
    interval.max(took.saturating_mul(LEFT_ALONE))
}

/// A node to which nothing is let through until this is dropped.
struct Held<'a> {
    brake: &'a NodeBrake,
    /// Whether everything in flight has returned.
    is_drained: bool,
}

impl<'a> Held<'a> {
    /// Waits for what is in flight, but not for long, since a large value may be among
    /// it.
    fn new(brake: &'a NodeBrake, drain_max: Duration) -> Self {
        let until = Instant::now() + drain_max;
        brake.lock().is_held = true;
        brake.refresh();
        let mut gate = brake.lock();
        while gate.batches() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = brake.node.settled.wait_timeout(gate, left);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let is_drained = gate.batches() == 0;
        drop(gate);
        Self { brake, is_drained }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.brake.lock().is_held = false;
        self.brake.refresh();
    }
}

impl Count {
    /// Returns the least number of commands of others that a server has counted between
    /// this look and a later one.
    fn commands_of_others(&self, later: &Self) -> u64 {
        // Counters that were reset start from 0.
        let since = |before: u64, after: u64| after.checked_sub(before).unwrap_or(after);
        let (before, after) = (&self.commands, &later.commands);
        let all = CommandCounts {
            gets: since(before.gets, after.gets),
            sets: since(before.sets, after.sets),
            others: since(before.others, after.others),
        };
        let others = all.beyond(later.ours_max.beyond(self.ours_min));
        others
            .gets
            .saturating_add(others.sets)
            .saturating_add(others.others)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::ports::net::brake::{Asked, Brake};

    fn commands(gets: u64, sets: u64, others: u64) -> CommandCounts {
        CommandCounts { gets, sets, others }
    }

    #[test]
    fn what_is_not_ours_is_of_others() {
        let others = |after: CommandCounts, ours_max: CommandCounts| {
            let first = Count {
                commands: commands(100, 50, 7),
                ours_min: commands(40, 20, 0),
                ours_max: commands(45, 20, 0),
            };
            first.commands_of_others(&Count {
                commands: after,
                ours_min: CommandCounts::default(),
                ours_max,
            })
        };
        let gets = commands(100, 20, 0);
        assert_eq!(others(commands(160, 50, 7), gets), 0);
        assert_eq!(others(commands(161, 50, 7), gets), 1);
        // Five more of ours may have been answered.
        assert_eq!(others(commands(161, 50, 7), commands(105, 20, 0)), 0);
        assert_eq!(others(commands(160, 51, 9), commands(105, 20, 0)), 3);
        let sets = commands(40, 80, 0);
        assert_eq!(others(commands(100, 110, 7), sets), 0);
        assert_eq!(others(commands(102, 110, 7), sets), 2);
        // A job may send gets and sets.
        assert_eq!(others(commands(103, 110, 7), commands(43, 80, 0)), 0);
        // The counters were reset.
        assert_eq!(others(commands(60, 0, 0), gets), 0);
        assert_eq!(others(commands(65, 0, 0), gets), 5);
    }

    #[test]
    fn a_far_server_is_looked_at_less_often_and_never_held_up_for_long() {
        let millis = Duration::from_millis;
        let mut silences = Vec::new();
        for answer_time in [0, 1, 5, 70, 300].map(millis) {
            let (mut count, mut lasted) = (0, Duration::ZERO);
            while !is_silence_over(count, lasted) {
                count += 1;
                lasted += answer_time + QUIET_PAUSE;
            }
            silences.push((count, lasted));
        }
        let wanted = [(50, 50), (50, 100), (17, 102), (10, 710), (10, 3010)];
        assert_eq!(
            silences,
            wanted.map(|(count, lasted)| (count, millis(lasted)))
        );
        let pauses = [1, 25, 140, 5000].map(|took| pause_after(millis(took), COUNT_INTERVAL));
        assert_eq!(pauses, [500, 500, 2800, 100_000].map(millis));
    }

    /// Makes a server answer one connection.
    fn serve(listener: &TcpListener) {
        let (stream, _) = listener.accept().unwrap();
        for line in BufReader::new(&stream).lines().map_while(|line| line.ok()) {
            let reply = match line.as_str() {
                "version" => "VERSION 1.6.18\r\n",
                _ => "STAT cmd_get 0\r\nEND\r\n",
            };
            (&stream).write_all(reply.as_bytes()).unwrap();
        }
    }

    #[test]
    fn probes_beside_a_batch_of_ours_are_no_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let node: NodeSpec = listener.local_addr().unwrap().to_string().parse().unwrap();
        let brake = Brake::default().node("a:1", Asked::Gets);
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&listener));
            let net = NetOptions::default();
            let connection = Connection::connect(&node, &net, &cancel).unwrap();
            let mut watcher = Watcher::new(&brake, connection);
            let baseline = || brake.lock().governor.baseline();
            let pass = brake.enter(1, 1, &cancel).unwrap();
            watcher.measure_quiet().unwrap();
            assert_eq!(baseline(), None);
            assert!(watcher.next_quiet.is_some());
            drop(pass);
            watcher.measure_quiet().unwrap();
            assert!(baseline().is_some());
        });
    }
}
