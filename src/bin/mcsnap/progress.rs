//! What a user sees of a running job: bars, lines, or JSON lines, on stderr.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{
    HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState,
    ProgressStyle,
};
use mcsnap::words::item::escape_controls;
use mcsnap::words::progress::{Event, Progress};
use mcsnap::words::units::{percent, plural, to_f64};
use serde_json::{Value, json};

use crate::render::table::fit_end;
use crate::render::{counted, millis, without_address};
use crate::stderr::{self, Priority, set_bars};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressKind {
    Auto,
    Bars,
    Lines,
    Json,
    None,
}

impl ProgressKind {
    pub(crate) const CHOICES: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("bars", Self::Bars),
        ("lines", Self::Lines),
        ("json", Self::Json),
        ("none", Self::None),
    ];

    /// Chooses bars on a terminal, lines elsewhere: bars that are asked for
    /// where none can be drawn would show nothing at all.
    pub(crate) fn resolve(self) -> Self {
        self.resolve_for(io::stderr().is_terminal())
    }

    fn resolve_for(self, is_terminal: bool) -> Self {
        match self {
            Self::Auto | Self::Bars if is_terminal => Self::Bars,
            Self::Auto | Self::Bars => Self::Lines,
            Self::Lines | Self::Json | Self::None => self,
        }
    }
}

/// Columns of the name before a bar, that of an IPv4 address with its port.
const NAME_WIDTH: usize = 21;

/// Shows the events of one job.
///
/// An event touches atomics and the clock; only a line that is due takes more.
#[derive(Debug)]
pub(crate) struct Renderer {
    kind: ProgressKind,
    bars: MultiProgress,
    items: AtomicU64,
    /// Shared with the bar, which reads it when it draws.
    bytes: Arc<AtomicU64>,
    /// Milliseconds after the start at which the next line is due.
    next_line_ms: AtomicU64,
    started: Instant,
    job: OnceLock<Job>,
    /// Nodes that are being worked on, by their place.
    nodes: RwLock<BTreeMap<u32, NodeView>>,
}

/// One node that is being worked on.
#[derive(Debug)]
struct NodeView {
    job: Job,
    items: AtomicU64,
    bytes: Arc<AtomicU64>,
    started: Instant,
}

#[derive(Debug)]
struct Job {
    name: String,
    /// 0 when unknown.
    items_total: u64,
    bar: Option<ProgressBar>,
}

impl Renderer {
    const LINE_INTERVAL_MS: u64 = 10_000;
    const JSON_INTERVAL_MS: u64 = 1_000;

    pub(crate) fn new(kind: ProgressKind, bars: &MultiProgress) -> Self {
        Self {
            kind,
            bars: bars.clone(),
            items: AtomicU64::new(0),
            bytes: Arc::default(),
            next_line_ms: AtomicU64::new(0),
            started: Instant::now(),
            job: OnceLock::new(),
            nodes: RwLock::default(),
        }
    }

    fn start(&self, name: &'static str, items_total: u64, bytes_total: u64) {
        let bar = || {
            let bar = self.make_bar(name, items_total, &self.bytes);
            // Among the bars before it is drawn for the first time: a bar of its
            // own would leave a line behind.
            self.bars.add(bar)
        };
        let is_new = self.job.set(Job {
            name: name.to_owned(),
            items_total,
            bar: (self.kind == ProgressKind::Bars).then(bar),
        });
        if is_new.is_err() {
            return;
        }
        set_bars(self.kind == ProgressKind::Bars);
        let due = self.elapsed_ms().saturating_add(self.interval_ms());
        self.next_line_ms.store(due, Ordering::Relaxed);
        self.write_json(|| {
            json!({"event": "started", "job": name, "items_total": items_total,
                   "bytes_total": bytes_total})
        });
        self.write_text(|| match items_total {
            0 => format!("{name}: started"),
            total => format!("{name}: started, about {}", counted(total, "item")),
        });
    }

    fn make_bar(&self, name: &str, items_total: u64, bytes: &Arc<AtomicU64>) -> ProgressBar {
        let length = (items_total > 0).then_some(items_total);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        bar.set_style(bar_style(length.is_some(), bytes));
        bar.set_prefix(fit_end(&escape_controls(name), NAME_WIDTH));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    fn start_node(&self, index: u32, node: &str, items_total: u64) {
        self.write_json(
            || json!({"event": "node_started", "node": node, "items_total": items_total}),
        );
        let bytes = Arc::default();
        let bar = || {
            let bar = self.make_bar(node, items_total, &bytes);
            match self.bar() {
                Some(total) => self.bars.insert_before(total, bar),
                None => self.bars.add(bar),
            }
        };
        let bar = (self.kind == ProgressKind::Bars).then(bar);
        let view = NodeView {
            job: Job {
                name: node.to_owned(),
                items_total,
                bar,
            },
            items: AtomicU64::new(0),
            bytes,
            started: Instant::now(),
        };
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(index, view);
    }

    fn advance_node(&self, index: u32, items: u64, bytes: u64) {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(&index) {
            node.items.fetch_add(items, Ordering::Relaxed);
            node.bytes.fetch_add(bytes, Ordering::Relaxed);
            if let Some(bar) = &node.job.bar {
                bar.inc(items);
            }
        }
    }

    fn advance(&self, items: u64, bytes: u64) {
        let add = |sum: &AtomicU64, more: u64| {
            sum.fetch_add(more, Ordering::Relaxed).saturating_add(more)
        };
        let (items_done, bytes_done) = (add(&self.items, items), add(&self.bytes, bytes));
        match self.kind {
            ProgressKind::Bars => {
                // By the difference: threads that set sums of different age
                // would move the bar backwards, and its rate to nothing.
                if let Some(bar) = self.bar() {
                    bar.inc(items);
                }
            }
            ProgressKind::Lines | ProgressKind::Json => {
                if self.is_due(self.elapsed_ms()) {
                    self.report(items_done, bytes_done);
                }
            }
            ProgressKind::Auto | ProgressKind::None => {}
        }
    }

    fn report(&self, items: u64, bytes: u64) {
        self.write_json(|| json!({"event": "advanced", "items": items, "bytes": bytes}));
        self.write_text(|| self.job().line(items, bytes, self.started.elapsed()));
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        // One node is the job.
        if nodes.len() < 2 && self.kind == ProgressKind::Lines {
            return;
        }
        for node in nodes.values() {
            let items = node.items.load(Ordering::Relaxed);
            let bytes = node.bytes.load(Ordering::Relaxed);
            self.write_json(|| {
                json!({"event": "node_advanced", "node": node.job.name, "items": items,
                       "bytes": bytes})
            });
            self.write_text(|| {
                let line = node.job.line(items, bytes, node.started.elapsed());
                format!("  {line}")
            });
        }
    }

    fn finish_node(&self, index: Option<u32>, node: &str, items: u64, failure: Option<&str>) {
        let view = index.and_then(|index| {
            let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
            nodes.remove(&index)
        });
        // Of one that failed, what it came to was counted here alone.
        let seen = view.as_ref().map(|view| view.items.load(Ordering::Relaxed));
        let items = items.max(seen.filter(|_| failure.is_some()).unwrap_or(0));
        if let Some(bar) = view.and_then(|view| view.job.bar) {
            bar.finish_and_clear();
        }
        self.write_json(
            || json!({"event": "node_finished", "node": node, "items": items, "failure": failure}),
        );
        let items = counted(items, "item");
        let line = match failure {
            Some(failure) => {
                let failure = without_address(failure, node);
                format!("{node}: failed after {items}: {failure}")
            }
            None => format!("{node}: {items}"),
        };
        self.write_above_bars(&escape_controls(&line));
        self.write_text(|| line.clone());
    }

    /// Takes all bars off the screen, also those of nodes that are left in the middle.
    fn clear(&self) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        for bar in nodes.values().filter_map(|node| node.job.bar.as_ref()) {
            bar.finish_and_clear();
        }
        nodes.clear();
        if let Some(bar) = self.bar() {
            bar.finish_and_clear();
        }
        if self.kind == ProgressKind::Bars {
            set_bars(false);
        }
    }

    fn finish(&self) {
        self.clear();
        let items = self.items.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.write_json(|| json!({"event": "finished", "items": items, "bytes": bytes}));
        self.write_text(|| {
            let seconds = self.started.elapsed().as_secs_f64();
            format!(
                "{}: ended after {}, {} in {seconds:.1} s",
                self.job().name,
                counted(items, "item"),
                ByteSize(bytes)
            )
        });
    }

    /// Writes a line above the bars, where there are any. Not by `println` of the bars:
    /// while none of them is drawn yet, that ends no line, and the next text would be
    /// written over it.
    fn write_above_bars(&self, line: &str) {
        if self.kind == ProgressKind::Bars {
            self.bars.suspend(|| {
                // The terminal is the user's; a lost line there is no loss.
                let _ = writeln!(io::stderr(), "{line}");
            });
        }
    }

    /// Tells that the limits have changed.
    pub(crate) fn tell_limits(&self, text: &str, limits: Value) {
        let mut event = json!({"event": "limits"});
        event["limits"] = limits;
        self.write_json(|| event.clone());
        let line = format!("{}: limits are now: {text}", self.job().name);
        self.write_above_bars(&line);
        self.write_text(|| line.clone());
    }

    /// Returns the job, or a nameless one where its start was never told.
    fn job(&self) -> &Job {
        static NAMELESS: Job = Job {
            name: String::new(),
            items_total: 0,
            bar: None,
        };
        self.job.get().unwrap_or(&NAMELESS)
    }

    fn bar(&self) -> Option<&ProgressBar> {
        self.job.get().and_then(|job| job.bar.as_ref())
    }

    fn interval_ms(&self) -> u64 {
        match self.kind {
            ProgressKind::Json => Self::JSON_INTERVAL_MS,
            ProgressKind::Auto | ProgressKind::Bars | ProgressKind::Lines | ProgressKind::None => {
                Self::LINE_INTERVAL_MS
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Says whether a line is due, to one of the threads that ask.
    fn is_due(&self, now_ms: u64) -> bool {
        let due = self.next_line_ms.load(Ordering::Relaxed);
        let next = now_ms.saturating_add(self.interval_ms());
        let put_off = || {
            self.next_line_ms
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        now_ms >= due && put_off().is_ok()
    }

    fn write_json(&self, event: impl Fn() -> Value) {
        if self.kind == ProgressKind::Json {
            write_line(event().to_string());
        }
    }

    fn write_text(&self, line: impl Fn() -> String) {
        if self.kind == ProgressKind::Lines {
            write_line(line());
        }
    }
}

impl Job {
    /// Writes how far the job is after some time.
    fn line(&self, items: u64, bytes: u64, elapsed: Duration) -> String {
        let Self {
            name, items_total, ..
        } = self;
        let items_total = *items_total;
        let mut line = format!("{name}: {} ", HumanCount(items));
        if items_total > 0 {
            // Totals are estimates; more than all of it would look wrong.
            let share = percent(items, items_total).min(100.0);
            line.push_str(&format!(
                "of {} ({share:.1} %)",
                counted(items_total, "item")
            ));
        } else {
            line.push_str(&plural(items, "item"));
        }
        let seconds = elapsed.as_secs().max(1);
        let rate = items / seconds;
        line.push_str(&format!(
            ", {}, {}/s",
            ByteSize(bytes),
            counted(rate, "item")
        ));
        let left = items_total.saturating_sub(items);
        if let Some(left_s) = left.checked_div(rate).filter(|_| left > 0) {
            let left = HumanDuration(Duration::from_secs(left_s));
            line.push_str(&format!(", about {left} left"));
        }
        line
    }
}

/// A job that panics or is never told to be over leaves no bar behind.
impl Drop for Renderer {
    fn drop(&mut self) {
        self.clear();
    }
}

fn write_line(line: String) {
    stderr::write_line(Priority::Info, &line);
}

fn bar_style(is_total_known: bool, bytes: &Arc<AtomicU64>) -> ProgressStyle {
    // The name and the figures are of one width in all lines of a job, and the bar takes
    // what is left of the screen: at 80 columns little, and never more than there is. At the
    // right is the margin of the screen.
    let template = if is_total_known {
        "{prefix:21} {wide_bar} {figures:>19} {size:>10} {rate:>11} {eta:>5}   "
    } else {
        "{prefix:21} {spinner} {figures:>19} {size:>10} {rate:>11}   "
    };
    let bytes = Arc::clone(bytes);
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key(
            "size",
            move |_: &ProgressState, out: &mut dyn fmt::Write| {
                // What cannot be drawn is drawn the next time.
                let _ = write!(out, "{}", ByteSize(bytes.load(Ordering::Relaxed)));
            },
        )
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{}/s", HumanCount(to_count(state.per_sec())));
        })
        .with_key(
            "figures",
            |state: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = match state.len() {
                    Some(total) => write!(out, "{} of {}", short(state.pos()), short(total)),
                    None => write!(out, "{}", HumanCount(state.pos())),
                };
            },
        )
}

/// Writes a count in seven characters at most: `123,456`, `12.35M`.
fn short(count: u64) -> String {
    match count {
        0..1_000_000 => HumanCount(count).to_string(),
        1_000_000..1_000_000_000 => format!("{:.2}M", to_f64(count) / 1e6),
        _ => format!("{:.2}G", to_f64(count) / 1e9),
    }
}

/// Rounds a rate, which may be no number at the start.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float stops at the ends, and a rate is for the eye"
)]
fn to_count(rate: f64) -> u64 {
    rate.round() as u64
}

impl Progress for Renderer {
    fn event(&self, event: Event) {
        match event {
            Event::Started {
                job,
                items_total,
                bytes_total,
            } => {
                self.start(job, items_total, bytes_total);
            }
            Event::NodeStarted {
                node_index,
                node,
                items_total,
            } => self.start_node(node_index, &node, items_total),
            // In text a warning has told it.
            Event::NodeAwaited {
                node,
                reason,
                limit,
            } => self.write_json(|| {
                json!({"event": "node_awaited", "node": node, "reason": reason,
                       "limit_ms": millis(limit)})
            }),
            Event::Advanced {
                node_index,
                items,
                bytes,
            } => {
                if let Some(index) = node_index {
                    self.advance_node(index, items, bytes);
                }
                self.advance(items, bytes);
            }
            Event::NodeFinished {
                node_index,
                node,
                items,
                failure,
            } => {
                self.finish_node(node_index, &node, items, failure.as_deref());
            }
            Event::Finished => self.finish(),
            // Events of a newer library are none of this program's.
            Event::WalkStarted { .. } | Event::WalkEnded { .. } | _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_for_terminals_only() {
        assert_eq!(ProgressKind::Auto.resolve_for(true), ProgressKind::Bars);
        for kind in [ProgressKind::Auto, ProgressKind::Bars] {
            assert_eq!(kind.resolve_for(false), ProgressKind::Lines);
        }
        assert_eq!(ProgressKind::Json.resolve_for(true), ProgressKind::Json);
    }

    #[test]
    fn a_line_tells_share_rate_and_time_left() {
        let line = |items_total, items, seconds| {
            let job = Job {
                name: "dump".to_owned(),
                items_total,
                bar: None,
            };
            job.line(items, 1 << 20, Duration::from_secs(seconds))
        };
        assert_eq!(
            line(200_000, 50_000, 10),
            "dump: 50,000 of 200,000 items (25.0 %), 1.0 MiB, 5,000 items/s, about 30 seconds left"
        );
        assert_eq!(line(0, 9, 0), "dump: 9 items, 1.0 MiB, 9 items/s");
        assert_eq!(
            line(10, 20, 1),
            "dump: 20 of 10 items (100.0 %), 1.0 MiB, 20 items/s"
        );
        assert_eq!(
            line(10, 0, 5),
            "dump: 0 of 10 items (0.0 %), 1.0 MiB, 0 items/s"
        );
    }

    #[test]
    fn one_thread_of_many_writes_the_line_that_is_due() {
        let renderer = Renderer::new(ProgressKind::Json, &MultiProgress::new());
        renderer.next_line_ms.store(500, Ordering::Relaxed);
        assert!(!renderer.is_due(499));
        let winners = std::thread::scope(|scope| {
            let ask = || scope.spawn(|| renderer.is_due(600));
            let handles: Vec<_> = (0..8).map(|_| ask()).collect();
            let answers = handles.into_iter().map(|handle| handle.join().unwrap());
            answers.filter(|&is_due| is_due).count()
        });
        assert_eq!(winners, 1);
        assert!(renderer.is_due(1600));
    }

    #[test]
    fn events_of_many_threads_add_up() {
        let renderer = Renderer::new(ProgressKind::None, &MultiProgress::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        renderer.event(Event::Advanced {
                            node_index: None,
                            items: 1,
                            bytes: 3,
                        });
                    }
                });
            }
        });
        assert_eq!(renderer.items.load(Ordering::Relaxed), 4000);
        assert_eq!(renderer.bytes.load(Ordering::Relaxed), 12_000);
    }
}
