//! What a user sees of a running job: bars, lines, or JSON lines, on stderr.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mcsnap::progress::{Event, Progress};
use serde_json::{Value, json};

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

    /// Chooses bars on a terminal, lines elsewhere.
    pub(crate) fn resolve(self) -> Self {
        match self {
            Self::Auto if io::stderr().is_terminal() => Self::Bars,
            Self::Auto => Self::Lines,
            Self::Bars | Self::Lines | Self::Json | Self::None => self,
        }
    }
}

/// Shows the events of one job.
#[derive(Debug)]
pub(crate) struct Renderer {
    kind: ProgressKind,
    bars: MultiProgress,
    items: AtomicU64,
    bytes: AtomicU64,
    /// Milliseconds after the start at which the next line is due.
    next_line_ms: AtomicU64,
    started: Instant,
    job: Mutex<Option<Job>>,
}

#[derive(Debug)]
struct Job {
    name: &'static str,
    items_total: u64,
    bar: Option<ProgressBar>,
}

impl Renderer {
    const LINE_INTERVAL: Duration = Duration::from_secs(10);
    const JSON_INTERVAL: Duration = Duration::from_secs(1);

    pub(crate) fn new(kind: ProgressKind, bars: &MultiProgress) -> Self {
        Self {
            kind,
            bars: bars.clone(),
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            next_line_ms: AtomicU64::new(0),
            started: Instant::now(),
            job: Mutex::new(None),
        }
    }

    fn start(&self, name: &'static str, items_total: u64, bytes_total: u64) {
        let bar = (self.kind == ProgressKind::Bars).then(|| {
            let bar = ProgressBar::new(items_total)
                .with_style(bar_style())
                .with_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(200));
            self.bars.add(bar)
        });
        *self.lock() = Some(Job {
            name,
            items_total,
            bar,
        });
        self.put_off(self.interval());
        self.write_json(|| {
            json!({"event": "started", "job": name, "items_total": items_total,
                   "bytes_total": bytes_total})
        });
    }

    fn advance(&self, items: u64, bytes: u64) {
        let items_done = self
            .items
            .fetch_add(items, Ordering::Relaxed)
            .saturating_add(items);
        let bytes_done = self
            .bytes
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        if self.kind == ProgressKind::Bars {
            if let Some(Job { bar: Some(bar), .. }) = &*self.lock() {
                bar.set_position(items_done);
                bar.set_message(ByteSize(bytes_done).to_string());
            }
            return;
        }
        if self.is_due() {
            self.report(items_done, bytes_done);
        }
    }

    fn report(&self, items: u64, bytes: u64) {
        self.write_json(|| json!({"event": "advanced", "items": items, "bytes": bytes}));
        if self.kind != ProgressKind::Lines {
            return;
        }
        let seconds = self.started.elapsed().as_secs();
        let job = self.lock();
        let (name, total) = job
            .as_ref()
            .map_or(("", 0), |job| (job.name, job.items_total));
        let size = ByteSize(bytes);
        let rate = items.checked_div(seconds).unwrap_or(items);
        self.write_line(&format!(
            "{name}: {items} of {total} items, {size}, {rate} items/s"
        ));
    }

    fn finish_node(&self, node: &str, items: u64, failure: Option<&str>) {
        self.write_json(
            || json!({"event": "node_finished", "node": node, "items": items, "failure": failure}),
        );
        let line = match failure {
            Some(failure) => format!("{node}: failed after {items} items: {failure}"),
            None => format!("{node}: {items} items"),
        };
        match self.kind {
            ProgressKind::Bars => {
                // The terminal is the user's; a lost line there is no loss.
                let _ = self.bars.println(line);
            }
            ProgressKind::Lines => self.write_line(&line),
            ProgressKind::Auto | ProgressKind::Json | ProgressKind::None => {}
        }
    }

    fn finish(&self) {
        if let Some(Job { bar: Some(bar), .. }) = &*self.lock() {
            bar.finish_and_clear();
        }
        let items = self.items.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.write_json(|| json!({"event": "finished", "items": items, "bytes": bytes}));
    }

    fn interval(&self) -> Duration {
        match self.kind {
            ProgressKind::Json => Self::JSON_INTERVAL,
            ProgressKind::Auto | ProgressKind::Bars | ProgressKind::Lines | ProgressKind::None => {
                Self::LINE_INTERVAL
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn put_off(&self, interval: Duration) {
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.next_line_ms.store(
            self.elapsed_ms().saturating_add(interval),
            Ordering::Relaxed,
        );
    }

    /// Says whether a line is due, to one of the threads that ask.
    fn is_due(&self) -> bool {
        let due = self.next_line_ms.load(Ordering::Relaxed);
        let now = self.elapsed_ms();
        let interval = u64::try_from(self.interval().as_millis()).unwrap_or(u64::MAX);
        let next = now.saturating_add(interval);
        let swap = |next| {
            self.next_line_ms
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        now >= due && swap(next).is_ok()
    }

    fn write_json(&self, event: impl Fn() -> Value) {
        if self.kind == ProgressKind::Json {
            self.write_line(&event().to_string());
        }
    }

    fn write_line(&self, line: &str) {
        // A closed stderr is no reason to stop the job.
        let _ = writeln!(io::stderr(), "{line}");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bar_style() -> ProgressStyle {
    let template = "{prefix} [{bar:30}] {human_pos}/{human_len} items  {msg}  {per_sec}  ETA {eta}";
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
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
            Event::Advanced { items, bytes } => self.advance(items, bytes),
            Event::NodeFinished {
                node,
                items,
                failure,
            } => {
                self.finish_node(&node, items, failure.as_deref());
            }
            Event::Finished => self.finish(),
            // Events of a newer library are none of this program's.
            _ => {}
        }
    }
}
