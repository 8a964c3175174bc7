//! SIGUSR1: a running job takes over the limits of the configuration file as it is
//! now.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Result;
use mcsnap::ports::net::{Brake, BrakeOptions};
use signal_hook::consts::SIGUSR1;

use crate::brake::{limits_text, rates_json};
use crate::context::{Context, SeenJob};
use crate::settings::{Resolved, Section};

/// Raised by the signal.
static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// How often the flag is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Has the signal raise a flag, and no longer end the program. Commands without
/// limits do not look at it.
pub(crate) fn catch_signal() -> io::Result<()> {
    signal_hook::flag::register(SIGUSR1, Arc::clone(&ASKED)).map(drop)
}

/// Does the work, and changes the limits of its brake whenever the signal comes.
pub(crate) fn during<T: Section + Sync, R>(
    context: &Context,
    args: &T,
    brake: &Brake,
    progress: &SeenJob<'_>,
    read: fn(&Resolved<T>) -> Result<BrakeOptions>,
    work: impl FnOnce() -> R,
) -> R {
    let (end, ended) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if !ASKED.swap(false, Ordering::Relaxed) {
                    continue;
                }
                let changed = context
                    .reread(args)
                    .and_then(|resolved| read(&resolved))
                    .and_then(|options| {
                        brake.set_rates(options.rates)?;
                        Ok(options.latency_bound)
                    });
                match changed {
                    Ok(latency_bound) => {
                        if latency_bound != brake.options().latency_bound {
                            tracing::warn!(
                                "SIGUSR1: latency-bound and full-speed stay as they were when the \
                                 job began; only limits change while it runs"
                            );
                        }
                        let rates = brake.rates();
                        let text = limits_text(rates);
                        tracing::info!("SIGUSR1: the limits are now: {text}");
                        progress.tell_limits(&text, rates_json(rates));
                    }
                    Err(error) => {
                        tracing::warn!("SIGUSR1: the limits stay as they are: {error:#}");
                    }
                }
            }
        });
        // Dropped when the work ends, however it does.
        let _end = end;
        work()
    })
}
