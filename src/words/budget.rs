//! How much memory and how many open files a job may use, and how wide it can be with
//! that.

use crate::words::error::{Error, Result};
use crate::words::units::to_u64;

/// What a part of a job needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes of memory.
    pub memory: u64,
    /// Open files and sockets.
    pub files: u64,
}

impl Need {
    /// What every process needs, however little it does: its program, the tables of its
    /// allocator, its log.
    pub const PROCESS_MEMORY: u64 = 12 << 20;
    /// The stack of a thread as far as it is used, and the allocator's share for it.
    pub const THREAD_MEMORY: u64 = 256 << 10;

    /// Returns what this many such parts need.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self {
            memory: self.memory.saturating_mul(to_u64(count)),
            files: self.files.saturating_mul(to_u64(count)),
        }
    }

    /// Returns what both need.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_add(other.memory),
            files: self.files.saturating_add(other.files),
        }
    }
}

/// How much memory a job may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryLimit {
    /// As much as the job's other options allow.
    #[default]
    None,
    /// What the host grants. A job that needs more is made as narrow as possible, and
    /// runs.
    OfHost(u64),
    /// What the caller asked for. A job that needs more is refused.
    Asked(u64),
}

impl MemoryLimit {
    /// The lowest limit that may be asked for.
    pub const LEAST: u64 = 16 << 20;

    /// Returns the limit in bytes.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::OfHost(bytes) | Self::Asked(bytes) => Some(bytes),
        }
    }
}

/// What a job may use.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Memory.
    pub memory: MemoryLimit,
    /// Open files and sockets.
    pub files: u64,
}

/// What keeps a job from being as wide as was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// Memory.
    Memory,
    /// Open files and sockets.
    Files,
}

/// How wide a job can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// How many parts can run at a time; at least 1 if any were wanted.
    pub count: usize,
    /// Why that is fewer than wanted.
    pub scarce: Option<Scarce>,
    /// Bytes of memory that are left; `None` without a limit.
    pub memory_left: Option<u64>,
}

impl Budget {
    /// The least memory of a job for what waits between its threads.
    pub const QUEUES_LEAST: u64 = 2 << 20;

    /// Returns how much memory is set aside for what waits between threads: a quarter of
    /// what a job does not need to do one thing at a time, from [`Self::QUEUES_LEAST`] to
    /// `most`.
    fn set_aside(&self, least: Need, most: u64) -> u64 {
        let all = self.memory.bytes().unwrap_or(0);
        let beyond = all.saturating_sub(least.memory);
        (beyond / 4).min(most).max(Self::QUEUES_LEAST)
    }

    /// Returns how many of `wanted` parts can run at a time beside what is `fixed`, and
    /// how much memory is left for what waits between their threads. For that, up to
    /// `queues_most` bytes are set aside that more parts could have had.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the memory that was asked for is too little for one part.
    pub fn fit_with_queues(
        &self,
        fixed: Need,
        part: Need,
        wanted: usize,
        queues_most: u64,
    ) -> Result<Fit> {
        let memory = self.set_aside(fixed.and(part), queues_most);
        let queues = Need { memory, files: 0 };
        let fit = self.fit(fixed.and(queues), part, wanted)?;
        let memory_left = fit.memory_left.map(|left| left.saturating_add(memory));
        Ok(Fit { memory_left, ..fit })
    }

    /// Returns how many of `wanted` parts can run at a time beside what is `fixed`.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the memory that was asked for is too little for one part.
    pub fn fit(&self, fixed: Need, part: Need, wanted: usize) -> Result<Fit> {
        let count_of = |all: u64, fixed: u64, part: u64| {
            let rest = all.saturating_sub(fixed);
            let count = rest.checked_div(part).unwrap_or(u64::MAX);
            usize::try_from(count).unwrap_or(usize::MAX)
        };
        let by_files = count_of(self.files, fixed.files, part.files).max(1);
        let by_memory = match self.memory.bytes() {
            Some(all) => count_of(all, fixed.memory, part.memory),
            None => usize::MAX,
        };
        if by_memory == 0
            && wanted > 0
            && let MemoryLimit::Asked(limit) = self.memory
        {
            return Err(too_little(limit, fixed.and(part).memory));
        }
        let by_memory = by_memory.max(1);
        let count = wanted.min(by_files).min(by_memory);
        let scarce = if count == wanted {
            None
        } else if by_files <= by_memory {
            Some(Scarce::Files)
        } else {
            Some(Scarce::Memory)
        };
        let used = fixed.and(part.times(count)).memory;
        let memory_left = self.memory.bytes().map(|all| all.saturating_sub(used));
        Ok(Fit {
            count,
            scarce,
            memory_left,
        })
    }
}

/// Makes the error for a limit below what the job needs at least.
fn too_little(limit: u64, least: u64) -> Error {
    const MEBIBYTE: u64 = 1 << 20;
    let limit = if limit.is_multiple_of(MEBIBYTE) {
        format!("{}MiB", limit / MEBIBYTE)
    } else {
        limit.to_string()
    };
    let least = least.div_ceil(MEBIBYTE);
    let allowed = format!("this job needs at least {least}MiB to do one thing at a time");
    Error::invalid_input("mem-limit", limit, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::error::ErrorKind;

    const FIXED: Need = Need {
        memory: 10 << 20,
        files: 10,
    };
    const PART: Need = Need {
        memory: 20 << 20,
        files: 5,
    };

    fn fit(memory: MemoryLimit, files: u64, wanted: usize) -> Fit {
        Budget { memory, files }.fit(FIXED, PART, wanted).unwrap()
    }

    #[test]
    fn as_many_parts_run_as_there_is_memory_and_files_for() {
        let asked = |mebibytes: u64| MemoryLimit::Asked(mebibytes << 20);
        for (memory, files, wanted, count, scarce) in [
            (MemoryLimit::None, 1000, 8, 8, None),
            (MemoryLimit::None, 34, 8, 4, Some(Scarce::Files)),
            (MemoryLimit::None, 0, 8, 1, Some(Scarce::Files)),
            (asked(170), 1000, 8, 8, None),
            (asked(169), 1000, 8, 7, Some(Scarce::Memory)),
            (asked(30), 1000, 8, 1, Some(Scarce::Memory)),
            (asked(70), 20, 8, 2, Some(Scarce::Files)),
            (MemoryLimit::OfHost(0), 1000, 8, 1, Some(Scarce::Memory)),
            (asked(0), 1000, 0, 0, None),
        ] {
            let fit = fit(memory, files, wanted);
            assert_eq!(
                (fit.count, fit.scarce),
                (count, scarce),
                "{memory:?} {files}"
            );
        }
        assert_eq!(fit(asked(100), 1000, 2).memory_left, Some(50 << 20));
        assert_eq!(fit(MemoryLimit::None, 1000, 2).memory_left, None);
    }

    #[test]
    fn queues_get_a_share_of_what_a_job_could_do_without() {
        let queues = |mebibytes: u64| {
            let memory = MemoryLimit::Asked(mebibytes << 20);
            let queues = Budget { memory, files: 0 }.set_aside(FIXED, 64 << 20);
            queues >> 20
        };
        assert_eq!([0, 10, 50, 1000].map(queues), [2, 2, 10, 64]);
    }

    #[test]
    fn too_little_memory_is_an_error_that_says_how_much_is_enough() {
        let memory = MemoryLimit::Asked((30 << 20) - 1);
        let budget = Budget { memory, files: 9 };
        let error = budget.fit(FIXED, PART, 3).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidInput { .. }));
        assert!(error.to_string().contains("at least 30MiB"), "{error}");
    }
}
