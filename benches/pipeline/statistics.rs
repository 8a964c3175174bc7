//! The middle and the spread of a few numbers.

use std::fmt::{Display, Formatter, Result};

use serde::Serialize;

/// The median of some numbers, and the lowest and the highest of them.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let middle = numbers.len() / 2;
        let median = if numbers.len().is_multiple_of(2) {
            f64::midpoint(numbers[middle - 1], numbers[middle])
        } else {
            numbers[middle]
        };
        Self {
            min: numbers[0],
            median,
            max: numbers[numbers.len() - 1],
        }
    }
}

impl Display for Spread {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let Self { min, median, max } = self;
        write!(formatter, "{median:.2} [{min:.2} {max:.2}]")
    }
}
