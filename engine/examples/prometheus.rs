//! Serves what a consumer counts as Prometheus text on /metrics.
//!
//! ```text
//! cargo run --release -p fairpoll --example prometheus -- localhost:9092 my-group 127.0.0.1:9464 orders sensor-1
//! curl http://127.0.0.1:9464/metrics
//! ```
#![expect(clippy::print_stdout, reason = "it says where it serves")]

use std::error::Error;
use std::time::Duration;

use fairpoll::{Config, Consumer, ModeRequest};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: prometheus HOST:PORT GROUP LISTEN-HOST:PORT TOPIC...";
    let mut next = || arguments.next().ok_or(usage);
    let (servers, group, listen) = (next()?, next()?, next()?);

    // Before the consumer: it looks its counters up when it starts.
    let exporter = PrometheusBuilder::new().install_recorder()?;
    let listener = TcpListener::bind(&listen).await?;
    println!("serving http://{}/metrics", listener.local_addr()?);
    tokio::spawn(serve(listener, exporter));

    let config = Config::new(servers, group, arguments)
        .mode(ModeRequest::Fair)
        .property("auto.offset.reset", "earliest");
    let mut consumer = Consumer::start(config)?;
    loop {
        let batch = tokio::select! {
            batch = consumer.get_many(Duration::from_secs(1), None) => batch?,
            _ = tokio::signal::ctrl_c() => break,
        };
        consumer.commit(&batch);
    }
    consumer.stop(Duration::from_secs(5)).await;
    Ok(())
}

async fn serve(listener: TcpListener, exporter: PrometheusHandle) {
    while let Ok((stream, _)) = listener.accept().await {
        // A scraper that goes away in the middle is no reason to stop.
        let _ = answer(stream, &exporter).await;
    }
}

/// A service would use its web framework; a scrape needs no more than this.
async fn answer(mut stream: TcpStream, exporter: &PrometheusHandle) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await?;
    let body = exporter.render();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await
}
