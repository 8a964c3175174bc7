//! What all parts come to, as it is printed and written to a file.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::machine::Machine;
use crate::memory;
use crate::object_server::ServerKind;
use crate::requests;
use crate::rounds::{self, JobResult};

#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) items: u64,
    pub(crate) rounds: u64,
    pub(crate) warm_up: u64,
    pub(crate) server: ServerKind,
    pub(crate) machine: Machine,
    pub(crate) jobs: Vec<JobResult>,
    pub(crate) requests: Option<requests::Results>,
    pub(crate) memory: Vec<memory::Row>,
}

impl Results {
    pub(crate) fn print(&self, is_each_request_shown: bool) {
        let Self {
            items,
            rounds,
            server,
            machine,
            ..
        } = self;
        println!("{items} items, {rounds} rounds, {server:?}, median [lowest highest]; {machine}");
        if !self.jobs.is_empty() {
            println!("{}", rounds::table(&self.jobs));
        }
        if let Some(requests) = &self.requests {
            println!("\n{}\n{}", requests.headline(), requests.table());
            println!("\n{}", requests.table_of_groups());
            if is_each_request_shown {
                println!("\n{}", requests.table_of_requests());
            }
        }
        if !self.memory.is_empty() {
            println!("\n{}", memory::table(&self.memory));
        }
    }

    pub(crate) fn save(&self, file: &Path) {
        let mut text = serde_json::to_string_pretty(self).unwrap();
        text.push('\n');
        fs::write(file, text).unwrap();
    }
}
