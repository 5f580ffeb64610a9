//! A cluster of the user's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fairpoll_judge::manifest::BrokerFacts;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::{BrokerError, Endpoint, TopicSpec};

/// A reachable cluster answers metadata in milliseconds; TLS, DNS and a far away one in seconds.
const REACH_WITHIN: Duration = Duration::from_secs(10);
const ADMIN_WITHIN: Duration = Duration::from_secs(30);

/// A cluster that somebody else runs. Dropped, it removes the topics that were created through it.
#[derive(Debug)]
pub struct External {
    endpoint: Endpoint,
    nodes: u32,
    created: BTreeSet<String>,
}

impl External {
    pub(super) fn connect(servers: &str, properties: &BTreeMap<String, String>) -> Result<Self, BrokerError> {
        let endpoint = Endpoint {
            bootstrap_servers: servers.to_owned(),
            properties: properties.clone(),
            imposed: BTreeMap::new(),
        };
        let client: BaseConsumer =
            endpoint.client().create().map_err(|error| BrokerError::Property(error.to_string()))?;
        let metadata =
            client.fetch_metadata(None, REACH_WITHIN).map_err(|error| BrokerError::Unreachable {
                servers: servers.to_owned(),
                within_s: REACH_WITHIN.as_secs(),
                reason: error.to_string(),
            })?;
        let nodes = u32::try_from(metadata.brokers().len()).unwrap_or(u32::MAX);
        Ok(Self { endpoint, nodes, created: BTreeSet::new() })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn facts(&self) -> BrokerFacts {
        BrokerFacts {
            kind: "external".to_owned(),
            version: None,
            nodes: self.nodes,
            imposed_properties: BTreeMap::new(),
            properties: self.endpoint.properties.clone(),
        }
    }

    pub(super) fn create_topics(&mut self, topics: &[TopicSpec]) -> Result<(), BrokerError> {
        let admin = self.admin()?;
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
                NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(1))
            })
            .collect();
        let results =
            block_on(admin.create_topics(&new, &AdminOptions::new().request_timeout(Some(ADMIN_WITHIN))));
        let failed = |topic: &str, reason: String| BrokerError::Topic { topic: topic.to_owned(), reason };
        let results = results.map_err(|error| failed("(all)", error.to_string()))?;
        let mut first_failure = None;
        for result in results {
            match result {
                Ok(topic) => {
                    self.created.insert(topic);
                }
                Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => {
                    let reason = "it exists, and nothing is written to topics that this run did not create";
                    first_failure.get_or_insert(failed(&topic, reason.to_owned()));
                }
                Err((topic, code)) => {
                    first_failure.get_or_insert(failed(&topic, code.to_string()));
                }
            }
        }
        match first_failure {
            Some(failure) => Err(failure),
            None => self.wait_until_led(topics),
        }
    }

    /// Creation is acknowledged before every partition has a leader.
    fn wait_until_led(&self, topics: &[TopicSpec]) -> Result<(), BrokerError> {
        let client: BaseConsumer =
            self.endpoint.client().create().map_err(|error| BrokerError::Property(error.to_string()))?;
        let until = Instant::now() + ADMIN_WITHIN;
        for topic in topics {
            loop {
                let led = client.fetch_metadata(Some(&topic.name), REACH_WITHIN).is_ok_and(|metadata| {
                    metadata.topics().iter().any(|known| {
                        known.error().is_none()
                            && known.partitions().len() == topic.partitions as usize
                            && known.partitions().iter().all(|partition| partition.leader() >= 0)
                    })
                });
                if led {
                    break;
                }
                if Instant::now() >= until {
                    let reason = format!("its partitions have no leader after {} s", ADMIN_WITHIN.as_secs());
                    return Err(BrokerError::Topic { topic: topic.name.clone(), reason });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, BrokerError> {
        self.endpoint.client().create().map_err(|error: KafkaError| BrokerError::Property(error.to_string()))
    }

    fn delete_topics(&mut self) {
        if self.created.is_empty() {
            return;
        }
        let names: Vec<&str> = self.created.iter().map(String::as_str).collect();
        let options = AdminOptions::new().request_timeout(Some(ADMIN_WITHIN));
        let result = self.admin().map_err(|error| error.to_string()).and_then(|admin| {
            block_on(admin.delete_topics(&names, &options)).map_err(|error| error.to_string())
        });
        let failures: Vec<String> = match result {
            Ok(results) => results
                .into_iter()
                .filter_map(|result| result.err().map(|(topic, code)| format!("{topic}: {code}")))
                .collect(),
            Err(error) => vec![error],
        };
        if !failures.is_empty() {
            tracing::warn!("topics of this run are left on the broker: {}", failures.join("; "));
        }
        self.created.clear();
    }
}

impl Drop for External {
    fn drop(&mut self) {
        self.delete_topics();
    }
}

impl Endpoint {
    /// What every client of the harness starts from.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("log_level", "2");
        config.extend(self.properties.clone());
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

/// The admin client is asynchronous and the harness is not; nothing else runs meanwhile.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime of one thread needs two descriptors").block_on(future)
}
