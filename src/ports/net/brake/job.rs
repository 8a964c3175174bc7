//! The brake of a whole job.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::codecs::throttle::Rates;
use crate::ports::net::brake::node::{Asked, NodeBrake};
use crate::ports::net::brake::report::BrakeReport;
use crate::ports::net::brake::shared::Shared;
use crate::words::error::{Error, Result};

/// How a job is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeOptions {
    /// Limits that always hold.
    pub rates: Rates,
    /// How far the 99th percentile of answers to other clients may rise, from 0.1 ms to
    /// 10 s; `None` means full speed. It applies while a server has other clients.
    pub latency_bound: Option<Duration>,
}

impl BrakeOptions {
    /// The default bound.
    pub const LATENCY_BOUND: Duration = Duration::from_millis(1);

    const LATENCY_BOUND_MIN: Duration = Duration::from_micros(100);
    const LATENCY_BOUND_MAX: Duration = Duration::from_secs(10);

    /// Checks that every option is in its range.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with the name of the option.
    pub fn validate(&self) -> Result<()> {
        self.rates.validate()?;
        let range = Self::LATENCY_BOUND_MIN..=Self::LATENCY_BOUND_MAX;
        match self.latency_bound {
            Some(bound) if !range.contains(&bound) => {
                let allowed = "wanted a length of time from 100us to 10s";
                Err(Error::invalid_input(
                    "latency_bound",
                    format!("{bound:?}"),
                    allowed,
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Default for BrakeOptions {
    /// One millisecond, and no limits.
    fn default() -> Self {
        Self {
            rates: Rates::default(),
            latency_bound: Some(Self::LATENCY_BOUND),
        }
    }
}

/// The brake of a job, for all its nodes; clones share it.
///
/// Each job needs its own brake, since the brake counts what the job requests.
#[derive(Clone, Debug)]
pub struct Brake {
    options: BrakeOptions,
    shared: Arc<Shared>,
    nodes: Arc<Mutex<Vec<NodeBrake>>>,
}

impl Brake {
    /// Makes a brake. The caller checks its options.
    pub fn new(options: BrakeOptions) -> Self {
        Self {
            options,
            shared: Arc::new(Shared::new(options.rates)),
            nodes: Arc::default(),
        }
    }

    /// Makes a brake that never holds anything back.
    pub fn full_speed() -> Self {
        Self::new(BrakeOptions {
            latency_bound: None,
            ..BrakeOptions::default()
        })
    }

    /// Returns the options; the rates in them are the initial ones.
    pub fn options(&self) -> BrakeOptions {
        self.options
    }

    /// Returns the current limits.
    pub fn rates(&self) -> Rates {
        self.shared.lock().rates
    }

    /// Sets the limits from now on; waiting threads see them at once.
    ///
    /// # Errors
    ///
    /// - As for [`Rates::validate`]; nothing is changed then.
    pub fn set_rates(&self, rates: Rates) -> Result<()> {
        rates.validate()?;
        self.shared.set(rates);
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        for node in nodes.iter() {
            node.refresh();
        }
        Ok(())
    }

    /// Makes the brake of a node, at which the job does `asked`.
    pub fn node(&self, node: &str, asked: Asked) -> NodeBrake {
        let bound = self.options.latency_bound;
        let brake = NodeBrake::new(node, asked, bound, &self.shared);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.push(brake.clone());
        brake
    }

    /// Returns what was done so far at each node, in the order in which they were
    /// started.
    pub fn reports(&self) -> Vec<BrakeReport> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().map(NodeBrake::report).collect()
    }
}

impl Default for Brake {
    fn default() -> Self {
        Self::new(BrakeOptions::default())
    }
}
