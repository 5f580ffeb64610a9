//! The Docker daemon: whether it answers, which image there is, what carries a label.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use testcontainers::bollard;
use testcontainers::bollard::errors::Error as DockerError;
use testcontainers::bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use tokio::runtime::Runtime;

use super::super::BrokerError;
use crate::run::interrupt;

/// A daemon on this machine answers within milliseconds; without one nobody shall wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A registry that can be reached begins within this time, or the name server has none to offer.
const REGISTRY_WITHIN: Duration = Duration::from_secs(4);
/// A layer that stands still for so long does not come any more.
const PULL_STALLS_AFTER: Duration = Duration::from_secs(30);
/// What an image may take that is pulled at all.
const PULL_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How soon Ctrl-C is seen.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Every container and network of ours carries this label; its value names the cluster.
pub(super) const CLUSTER_LABEL: &str = "org.fairpoll.cluster";

/// A daemon that has answered. Every method blocks; none may be called inside a runtime.
#[derive(Debug)]
pub(super) struct Docker {
    runtime: Runtime,
    client: bollard::Docker,
}

/// An image on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalImage {
    /// As it was asked for.
    pub(super) name: String,
    /// `sha256:…`
    pub(super) id: String,
}

impl Docker {
    /// The daemon of `DOCKER_HOST`, or of the socket where it usually is.
    pub(super) fn connect() -> Result<Self, BrokerError> {
        let none = |reason: String| BrokerError::NoDocker { reason };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| none(error.to_string()))?;
        let client = runtime.block_on(async {
            let answer = tokio::time::timeout(ANSWER_WITHIN, async {
                // The client that testcontainers uses as well: one set of rules for where it is.
                let client = testcontainers::core::client::docker_client_instance().await;
                let client = client.map_err(|error| error.to_string())?;
                client.ping().await.map_err(|error| words(&error))?;
                Ok(client)
            });
            answer.await.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())))
        });
        Ok(Self { client: client.map_err(none)?, runtime })
    }

    pub(super) fn client(&self) -> &bollard::Docker {
        &self.client
    }

    /// Drives one operation to its end.
    pub(super) fn block_on<F: Future>(&self, operation: F) -> F::Output {
        self.runtime.block_on(operation)
    }

    /// An image, if it is on this machine.
    pub(super) fn find_image(&self, name: &str) -> Result<Option<LocalImage>, BrokerError> {
        match self.block_on(self.client.inspect_image(name)) {
            Ok(image) => Ok(Some(LocalImage {
                name: name.to_owned(),
                id: image.id.unwrap_or_else(|| "unknown".to_owned()),
            })),
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(BrokerError::Image { image: name.to_owned(), reason: words(&error) }),
        }
    }

    /// Fetches an image from its registry. It takes as long as it takes while it moves, and
    /// seconds where there is no registry.
    pub(super) fn pull_image(&self, name: &str) -> Result<LocalImage, BrokerError> {
        let failed = |reason: String| BrokerError::Image { image: name.to_owned(), reason };
        self.block_on(self.pull(name)).map_err(|reason| failed(format!("it cannot be pulled: {reason}")))?;
        self.find_image(name)?.ok_or_else(|| failed("it was pulled, and is not there".to_owned()))
    }

    async fn pull(&self, name: &str) -> Result<(), String> {
        let options = CreateImageOptionsBuilder::new().from_image(name).build();
        let mut steps = self.client.create_image(Some(options), None, None);
        let began = Instant::now();
        let (mut moved, mut patience) = (began, REGISTRY_WITHIN);
        loop {
            match tokio::time::timeout(LOOK_EVERY, steps.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(words(&error)),
                Ok(Some(Ok(step))) => {
                    if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                        return Err(error);
                    }
                    (moved, patience) = (Instant::now(), PULL_STALLS_AFTER);
                }
                Err(_) if interrupt::requested() => return Err("interrupted".to_owned()),
                Err(_) if moved.elapsed() > patience || began.elapsed() > PULL_WITHIN => {
                    return Err(format!("the registry says nothing for {} s", moved.elapsed().as_secs()));
                }
                Err(_) => {}
            }
        }
    }

    /// The end of what a container wrote, both streams, at most so many lines.
    pub(super) fn last_lines(&self, container: &str, lines: usize) -> Vec<String> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
        self.block_on(async {
            let mut written = Vec::new();
            let mut frames = self.client.logs(container, Some(options));
            while let Ok(Some(Ok(frame))) = tokio::time::timeout(ANSWER_WITHIN, frames.next()).await {
                written.extend_from_slice(frame.as_ref());
            }
            String::from_utf8_lossy(&written).lines().map(str::to_owned).collect()
        })
    }

    /// Removes every container and network of a cluster; whether something was there.
    pub(super) fn remove(&self, cluster: &str) -> Result<bool, String> {
        self.block_on(async {
            let answer = tokio::time::timeout(Duration::from_secs(30), self.remove_labelled(cluster));
            answer.await.unwrap_or_else(|_| Err("the daemon takes longer than 30 s".to_owned()))
        })
    }

    async fn remove_labelled(&self, cluster: &str) -> Result<bool, String> {
        let filters = HashMap::from([("label", vec![format!("{CLUSTER_LABEL}={cluster}")])]);
        let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers =
            self.client.list_containers(Some(containers)).await.map_err(|error| words(&error))?;
        let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.client.list_networks(Some(networks)).await.map_err(|error| words(&error))?;
        let found = !containers.is_empty() || !networks.is_empty();
        let ids = containers.into_iter().filter_map(|container| container.id);
        let removals = ids.map(|id| async move {
            // With their volumes: the public image declares some.
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            self.client.remove_container(&id, Some(options)).await
        });
        for removal in futures_util::future::join_all(removals).await {
            gone(removal)?;
        }
        for id in networks.into_iter().filter_map(|network| network.id) {
            gone(self.client.remove_network(&id).await)?;
        }
        Ok(found)
    }
}

/// Somebody else may have been faster, or be at it.
fn gone(removal: Result<(), DockerError>) -> Result<(), String> {
    match removal {
        Ok(()) | Err(DockerError::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        Err(error) => Err(words(&error)),
    }
}

/// An error with its causes: the outermost often says only that a request failed.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}
