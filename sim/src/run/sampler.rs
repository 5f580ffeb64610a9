//! Looks at a worker process from outside, on a thread of its own.

use std::collections::{BTreeSet, HashSet};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairpoll_judge::event::{Body, UNSAMPLED_NS};
use procfs::ProcResult;
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};

use crate::event_log::{EventSink, monotonic_ns};

// The shortest stretch of interest (a stall, a burst of prefetch) lasts some 100 ms.
const EVERY: Duration = Duration::from_millis(50);
// Listing sockets costs a walk over every descriptor and the kernel's table: every fifth look,
// but every look of the first second. A small backlog is drained within 250 ms, and a mode that
// was looked at once, before it had connected, would seem to need no connections at all.
const CONNECTIONS_EVERY: u64 = 5;
const CONNECTIONS_ALWAYS_BELOW: u64 = 20;
// Memory's peak and CPU time are kept by the kernel whatever we miss; a hole can hide only a
// short-lived thread or connection.
const HOLES_SHARE_MAX: f64 = 0.05;

/// Samples one process until it ends or [`Sampler::stop`] is called.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Coverage>,
}

impl Sampler {
    /// Starts to look at `pid`. Connections count if their remote port is one of `broker_ports`.
    pub(crate) fn start(pid: i32, life: u32, broker_ports: BTreeSet<u16>, sink: EventSink) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut coverage = Coverage::beginning(monotonic_ns());
            let mut due = Instant::now();
            for look in 0.. {
                let wants_connections = look < CONNECTIONS_ALWAYS_BELOW || look % CONNECTIONS_EVERY == 0;
                let ports = wants_connections.then_some(&broker_ports);
                let Ok(Some(sample)) = sample(pid, life, ports) else { break };
                coverage.taken(monotonic_ns());
                sink.emit(sample);
                // A late look does not make the next ones crowd together.
                due = (due + EVERY).max(Instant::now());
                let wait = due.saturating_duration_since(Instant::now());
                if !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                    coverage.taken(monotonic_ns());
                    break;
                }
            }
            coverage
        });
        Self { stop, thread }
    }

    /// Stops and tells how well the process was covered.
    pub(crate) fn stop(self) -> Coverage {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or(Coverage { begin_ns: 0, last_ns: 0, holes_ns: u64::MAX })
    }
}

/// How much of a process's life was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coverage {
    begin_ns: u64,
    last_ns: u64,
    holes_ns: u64,
}

impl Coverage {
    fn beginning(now_ns: u64) -> Self {
        Self { begin_ns: now_ns, last_ns: now_ns, holes_ns: 0 }
    }

    fn taken(&mut self, now_ns: u64) {
        let gap = now_ns.saturating_sub(self.last_ns);
        if gap > UNSAMPLED_NS {
            self.holes_ns += gap;
        }
        self.last_ns = now_ns;
    }

    /// What is wrong with it: holes over more than a twentieth of the life.
    pub(crate) fn flaw(self) -> Option<String> {
        if self.holes_ns == u64::MAX {
            return Some("the sampler failed: memory, threads and connections were not watched".to_owned());
        }
        let lived_ns = self.last_ns.saturating_sub(self.begin_ns).max(1);
        let share = self.holes_ns as f64 / lived_ns as f64;
        (share > HOLES_SHARE_MAX).then(|| {
            format!(
                "the worker went unwatched for {:.1} s of {:.1} s: the machine was too busy to sample it every {} ms",
                self.holes_ns as f64 / 1e9,
                lived_ns as f64 / 1e9,
                EVERY.as_millis()
            )
        })
    }
}

// `None` once the process is a zombie: it has no memory to look at.
fn sample(pid: i32, life: u32, ports: Option<&BTreeSet<u16>>) -> ProcResult<Option<Body>> {
    let process = Process::new(pid)?;
    let status = process.status()?;
    let (Some(rss_kib), Some(rss_peak_kib)) = (status.vmrss, status.vmhwm) else { return Ok(None) };
    let stat = process.stat()?;
    let cpu_ms = (stat.utime + stat.stime) * 1000 / procfs::ticks_per_second();
    let threads = u32::try_from(status.threads).unwrap_or(u32::MAX);
    // A worker that drops its privileges hides its descriptors: absent, not zero.
    let connections = ports.and_then(|ports| connections(&process, ports).ok());
    Ok(Some(Body::Sample { life, rss_kib, rss_peak_kib, threads, connections, cpu_ms }))
}

fn connections(process: &Process, ports: &BTreeSet<u16>) -> ProcResult<u32> {
    let sockets: HashSet<u64> = process
        .fd()?
        .filter_map(|descriptor| match descriptor.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    // IPv6 may be off; then its table does not exist.
    let table = process.tcp()?.into_iter().chain(process.tcp6().unwrap_or_default());
    let established = table.filter(|entry| {
        entry.state == TcpState::Established
            && ports.contains(&entry.remote_address.port())
            && sockets.contains(&entry.inode)
    });
    // By socket: the kernel's table is read in pages, and may name an entry on two of them.
    let distinct: HashSet<u64> = established.map(|entry| entry.inode).collect();
    Ok(u32::try_from(distinct.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    use crate::event_log::{Clock, EventLog};

    fn own_sample(ports: &[u16]) -> (u64, u64, u32, Option<u32>) {
        let ports = ports.iter().copied().collect();
        let pid = std::process::id().cast_signed();
        match sample(pid, 1, Some(&ports)) {
            Ok(Some(Body::Sample { rss_kib, rss_peak_kib, threads, connections, .. })) => {
                (rss_kib, rss_peak_kib, threads, connections)
            }
            other => panic!("no sample of ourselves: {other:?}"),
        }
    }

    #[test]
    fn only_established_connections_to_the_brokers_ports_count() {
        let broker = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let _first = TcpStream::connect(("127.0.0.1", port(&broker))).expect("it listens");
        let _second = TcpStream::connect(("127.0.0.1", port(&broker))).expect("it listens");
        let _elsewhere = TcpStream::connect(("127.0.0.1", port(&other))).expect("it listens");
        assert_eq!(own_sample(&[port(&broker)]).3, Some(2));
        assert_eq!(own_sample(&[]).3, Some(0));
    }

    #[test]
    fn connections_of_a_short_life_are_seen() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = EventLog::create(&dir.path().join("log"), Clock::Monotonic).expect("writable");
        let broker = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = broker.local_addr().expect("bound");
        let pid = std::process::id().cast_signed();
        let sampler = Sampler::start(pid, 1, BTreeSet::from([address.port()]), log.sink("m", 1));
        std::thread::sleep(Duration::from_millis(20));
        let _connection = TcpStream::connect(address).expect("it listens");
        std::thread::sleep(Duration::from_millis(180));
        assert_eq!(sampler.stop().flaw(), None);
        let seen = log
            .finish()
            .expect("written")
            .iter()
            .any(|event| matches!(event.body, Body::Sample { connections: Some(1), .. }));
        assert!(seen, "a life of 200 ms has more than one look at its sockets");
    }

    #[test]
    fn memory_and_threads_are_seen() {
        let (rss, peak, threads, _) = own_sample(&[]);
        assert!(rss > 0 && peak >= rss && threads >= 1);
    }

    #[test]
    fn a_process_that_is_gone_gives_no_sample() {
        assert!(!matches!(sample(i32::MAX, 1, None), Ok(Some(_))));
    }

    #[test]
    fn short_delays_are_no_flaw_and_long_holes_are() {
        let mut coverage = Coverage::beginning(0);
        (1..=100).for_each(|look| coverage.taken(look * 400_000_000));
        assert_eq!(coverage.flaw(), None);
        coverage.taken(40_000_000_000 + 1_000_000_000);
        assert_eq!(coverage.flaw(), None, "one second of 41 is under a twentieth");
        coverage.taken(41_000_000_000 + 5_000_000_000);
        assert!(coverage.flaw().is_some_and(|flaw| flaw.contains("6.0 s of 46.0 s")));
    }
}
