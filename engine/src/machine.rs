//! What this machine leaves to the process, and what the process uses of it.

use std::{fs, io};

use fairpoll_core::mode::{MachineLimits, Resource};
use fairpoll_core::pressure::Reading;

use crate::cgroup::Cgroup;
use crate::ffi::descriptor_limit;

/// The process's limits. All of them are read anew each time: they may change while it runs.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    cgroup: Option<Cgroup>,
    /// The configuration's.
    connections: Option<u32>,
}

impl Machine {
    pub(crate) fn new(connection_limit: Option<u32>) -> Self {
        Self { cgroup: Cgroup::of_this_process(), connections: connection_limit }
    }

    /// What is in use of what is limited. Never fails: what cannot be read is not limited.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let of = |resource, used: Option<u64>, limit: Option<u64>| {
            Some(Reading { resource, used: used?, limit: limit? })
        };
        let memory = self.cgroup.as_ref().and_then(Cgroup::memory);
        let sockets = self.connections.and_then(|_| sockets().ok());
        let limit = descriptor_limit();
        [
            of(Resource::Descriptors, limit.map(descriptors), limit),
            of(Resource::MemoryBytes, memory.map(|memory| memory.used), memory.map(|memory| memory.limit)),
            of(Resource::Connections, sockets, self.connections.map(u64::from)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What is left.
    pub(crate) fn left(&self) -> MachineLimits {
        let readings = self.readings();
        let left = |resource| {
            let reading = readings.iter().find(|reading| reading.resource == resource)?;
            Some(reading.limit.saturating_sub(reading.used))
        };
        MachineLimits {
            descriptors: left(Resource::Descriptors),
            memory_bytes: left(Resource::MemoryBytes),
            connections: left(Resource::Connections),
        }
    }
}

/// Descriptors that this process has open. Where none is left to look with, that is all of them.
fn descriptors(limit: u64) -> u64 {
    // Newer kernels tell without opening anything.
    let told = fs::metadata(OPEN).map_or(0, |folder| folder.len());
    if told > 0 {
        return told;
    }
    match fs::read_dir(OPEN) {
        Ok(all) => all.count() as u64,
        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => limit,
        Err(_) => 0,
    }
}

/// Sockets of the whole process, whoever opened them.
fn sockets() -> io::Result<u64> {
    let is_one = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    Ok(fs::read_dir(OPEN)?.flatten().filter(is_one).count() as u64)
}

const OPEN: &str = "/proc/self/fd";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn used(machine: &Machine, resource: Resource) -> Option<u64> {
        machine
            .readings()
            .into_iter()
            .find(|reading| reading.resource == resource)
            .map(|reading| reading.used)
    }

    #[test]
    fn a_socket_is_a_connection_and_a_descriptor() {
        let machine = Machine::new(Some(100_000));
        let before = [Resource::Connections, Resource::Descriptors].map(|what| used(&machine, what));
        let sockets: Vec<TcpListener> =
            (0..200).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let after = [Resource::Connections, Resource::Descriptors].map(|what| used(&machine, what));
        // Other tests open and close some meanwhile.
        for (before, after) in before.into_iter().zip(after).filter_map(|(one, other)| one.zip(other)) {
            assert!(after >= before + 100, "{before} {after}");
        }
        assert!(after[0].is_some());
        drop(sockets);
    }

    #[test]
    fn connections_are_limited_only_where_that_is_said() {
        assert_eq!(used(&Machine::new(None), Resource::Connections), None);
        assert_eq!(Machine::new(None).left().connections, None);
        assert_eq!(Machine::new(Some(0)).left().connections, Some(0));
    }
}
