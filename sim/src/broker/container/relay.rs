//! What clients reach of a node whose answers shall take longer.
//!
//! The kernel could hold up a container's packets, for those who have its module, the privilege and the tool,
//! which Kafka's image has not. So the node says that it is reached at a port of this process, which passes on what
//! comes: requests at once, answers in their order after a delay. It works with any image and any daemon
//! that publishes ports on this machine.

use std::io;
use std::net::{Ipv4Addr, TcpListener as Port};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// An answer is read in pieces of at most so many bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// So many pieces are under way to a client: 16 MiB, more than a fetch brings.
const PIECES: usize = 256;
/// A system that has no descriptor left has one later.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// One relay for each node of a cluster, on a thread of its own. Dropped, they close all their connections.
#[derive(Debug)]
pub(super) struct Relays {
    /// By node, ms.
    delays: Vec<Arc<AtomicU32>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relays {
    /// Passes on what comes at each port to another of this machine, by node.
    pub(super) fn start(routes: Vec<(Port, u16)>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let delays: Vec<Arc<AtomicU32>> = routes.iter().map(|_| Arc::default()).collect();
        let mut relays = Vec::new();
        for ((port, node), delay) in routes.into_iter().zip(&delays) {
            port.set_nonblocking(true)?;
            let _inside = runtime.enter();
            relays.push(serve(TcpListener::from_std(port)?, node, Arc::clone(delay)));
        }
        let (end, ended) = oneshot::channel();
        let serve_all = move || {
            relays.into_iter().for_each(|relay| drop(runtime.spawn(relay)));
            // Ends with its sender at the latest. The runtime takes all connections with it.
            let _ = runtime.block_on(ended);
        };
        let thread = thread::Builder::new().name("fairpoll-relay".to_owned()).spawn(serve_all)?;
        Ok(Self { delays, end: Some(end), thread: Some(thread) })
    }

    /// From now on a node's answers (all nodes', counted from 1) take so much longer.
    pub(super) fn delay(&self, node: Option<u32>, latency_ms: u32) {
        for (number, delay) in (1..).zip(&self.delays) {
            if node.is_none_or(|node| node == number) {
                delay.store(latency_ms, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say; a panic of it was printed.
            let _ = thread.join();
        }
    }
}

async fn serve(port: TcpListener, node: u16, delay: Arc<AtomicU32>) {
    loop {
        let Ok((client, _)) = port.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let delay = Arc::clone(&delay);
        // A connection that breaks on one side is closed on the other.
        tokio::spawn(async move { pass_on(client, node, &delay).await.unwrap_or_default() });
    }
}

async fn pass_on(client: TcpStream, node: u16, delay: &AtomicU32) -> io::Result<()> {
    let node = TcpStream::connect((Ipv4Addr::LOCALHOST, node)).await?;
    client.set_nodelay(true)?;
    node.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let (send, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async move {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let length = from_node.read(&mut piece).await?;
            piece.truncate(length);
            let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed).into());
            if length == 0 || send.send((due, piece)).await.is_err() {
                return Ok::<(), io::Error>(());
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = under_way.recv().await {
            tokio::time::sleep_until(due).await;
            to_client.write_all(&piece).await?;
        }
        Ok::<(), io::Error>(())
    };
    tokio::select! {
        requests = tokio::io::copy(&mut from_client, &mut to_node) => requests.map(drop),
        answers = async { tokio::try_join!(read, write) } => answers.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;

    use super::*;

    const LATENCY: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(20);

    /// A node that says everything back; its port.
    fn echo() -> u16 {
        let port = Port::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let number = port.local_addr().expect("bound").port();
        thread::spawn(move || {
            for client in port.incoming() {
                let mut client = client.expect("a client");
                let mut back = client.try_clone().expect("a clone");
                thread::spawn(move || io::copy(&mut client, &mut back));
            }
        });
        number
    }

    /// How long an answer takes that must be what was asked.
    fn ask(client: &mut Client, question: &[u8]) -> Duration {
        let asked = std::time::Instant::now();
        let mut asking = client.try_clone().expect("a clone");
        let mut answer = vec![0; question.len()];
        thread::scope(|scope| {
            scope.spawn(|| asking.write_all(question).expect("asked"));
            client.read_exact(&mut answer).expect("answered");
        });
        assert!(answer == question, "in order and whole");
        asked.elapsed()
    }

    #[test]
    fn the_answers_of_a_node_come_later_and_those_of_its_neighbour_do_not() {
        let ports: Vec<Port> =
            (0..2).map(|_| Port::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
        let at: Vec<_> = ports.iter().map(|port| port.local_addr().expect("bound")).collect();
        let relays = Relays::start(ports.into_iter().map(|port| (port, echo())).collect()).expect("relays");
        let mut clients: Vec<Client> = at.iter().map(|at| Client::connect(at).expect("connected")).collect();
        for client in &clients {
            client.set_read_timeout(Some(LONG)).expect("set");
        }
        // Several pieces, more than are under way at a time.
        let long: Vec<u8> = (0..(PIECES + 40) * PIECE_BYTES).map(|at| at as u8).collect();
        assert!(ask(&mut clients[0], b"one") < LATENCY);
        relays.delay(Some(1), u32::try_from(LATENCY.as_millis()).expect("short"));
        assert!(ask(&mut clients[0], b"two") >= LATENCY);
        assert!(ask(&mut clients[0], &long) >= LATENCY);
        assert!(ask(&mut clients[1], b"two") < LATENCY);
        relays.delay(None, 0);
        assert!(ask(&mut clients[0], b"three") < LATENCY);
        // The end of the relay is the end of its connections, and of its port.
        drop(relays);
        assert_eq!(clients[0].read(&mut [0]).unwrap_or(0), 0);
        assert!(Client::connect(at[0]).is_err());
    }

    #[test]
    fn where_no_node_listens_a_client_hears_that() {
        let nobody =
            Port::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("bound").port();
        let port = Port::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = port.local_addr().expect("bound");
        let _relays = Relays::start(vec![(port, nobody)]).expect("relays");
        let mut client = Client::connect(at).expect("connected");
        client.set_read_timeout(Some(LONG)).expect("set");
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }
}
