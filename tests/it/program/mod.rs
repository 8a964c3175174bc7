//! The program around the jobs.

pub(crate) mod bad_input;
pub(crate) mod event_log;
pub(crate) mod failure_reports;
pub(crate) mod held_signals;
pub(crate) mod metrics;
pub(crate) mod option_ranges;
pub(crate) mod screens;
pub(crate) mod stopped_jobs;
