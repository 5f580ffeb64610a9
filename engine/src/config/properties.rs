//! librdkafka's properties: which are the engine's to decide, which have no effect, and what a handle
//! is told in the end, each with where it came from.

use std::collections::BTreeMap;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
#[cfg(feature = "files")]
use rdkafka::types::RDKafkaConfRes;

use super::origin::Origin;
use crate::secrets::{MASK, is_secret};

/// A property that the engine's promises rest on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserved {
    pub(crate) name: &'static str,
    /// The value that it has anyway and that may therefore be written down.
    pub(crate) fixed: Option<&'static str>,
    /// Why, and what to do instead.
    pub(crate) why: &'static str,
}

const fn reserved(name: &'static str, why: &'static str) -> Reserved {
    Reserved { name, fixed: None, why }
}

const fn fixed(name: &'static str, value: &'static str, why: &'static str) -> Reserved {
    Reserved { name, fixed: Some(value), why }
}

const COMMITS: &str = "offsets are committed by commit() and stop(), after processing";
const TO_THE_GROUP: &str = "offsets are committed to the group";
const CALLBACKS: &str =
    "the engine has the handle's callbacks; what they tell is in batches, take_events(), metrics and the log";

/// Where a partition is read from of which the group has no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffsetReset {
    /// From the first record that is left.
    Earliest,
    /// From the next record that is written.
    Latest,
    /// From nowhere: it is an error.
    Error,
}

impl OffsetReset {
    /// By `auto.offset.reset` and its synonyms; librdkafka's default is the end.
    pub(crate) fn of(properties: &BTreeMap<String, String>) -> Self {
        match properties.get("auto.offset.reset").map(String::as_str) {
            None | Some("latest" | "largest" | "end") => Self::Latest,
            Some("earliest" | "smallest" | "beginning") => Self::Earliest,
            Some(_) => Self::Error,
        }
    }
}

/// Properties that are refused.
pub(crate) const RESERVED: &[Reserved] = &[
    reserved("group.id", "it is a setting of its own, group_id"),
    reserved("bootstrap.servers", "it is a setting of its own, bootstrap_servers"),
    reserved("metadata.broker.list", "it is an alias of bootstrap.servers; take bootstrap_servers"),
    fixed("enable.auto.commit", "false", COMMITS),
    fixed("auto.commit.enable", "false", COMMITS),
    fixed("enable.auto.offset.store", "false", COMMITS),
    fixed("enable.partition.eof", "false", "it moves positions in batch calls (librdkafka #4844)"),
    fixed("offset.store.method", "broker", TO_THE_GROUP),
    reserved("offset.store.path", TO_THE_GROUP),
    reserved("offset.store.sync.interval.ms", TO_THE_GROUP),
    reserved("group.protocol", "the group strategy decides it"),
    fixed("enabled_events", "0", "as events, rebalances would never be answered; see take_events()"),
    fixed("log.queue", "false", "nobody empties that queue; log lines go to `tracing`"),
    reserved("rebalance_cb", CALLBACKS),
    reserved("offset_commit_cb", CALLBACKS),
    reserved("consume_cb", CALLBACKS),
    reserved("background_event_cb", CALLBACKS),
    reserved("error_cb", CALLBACKS),
    reserved("throttle_cb", CALLBACKS),
    reserved("stats_cb", CALLBACKS),
    reserved("log_cb", CALLBACKS),
    reserved("opaque", CALLBACKS),
    reserved("max.poll.records", "it is no property of librdkafka; take the key max_poll_records"),
];

/// Properties that are accepted, have no effect, and are warned of.
pub(crate) const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("auto.commit.interval.ms", "nothing is committed by time: commit() and stop() do it, after processing"),
    ("consume.callback.max.messages", "max_poll_records bounds what a poll takes"),
];

/// Properties that librdkafka refuses under KIP-848, and who decides there.
pub(crate) const NOT_UNDER_KIP848: &[(&str, &str)] = &[
    ("session.timeout.ms", "the broker's group.consumer.session.timeout.ms"),
    ("heartbeat.interval.ms", "the broker's group.consumer.heartbeat.interval.ms"),
    ("partition.assignment.strategy", "the broker; group.remote.assignor asks for one of its assignors"),
    ("group.protocol.type", "the broker"),
];

/// Properties with two names; the first is librdkafka's own.
const ALIASES: &[(&str, &str)] = &[
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id"),
    ("sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret"),
];

/// What people set of a consumer: candidates when a name is misspelt.
#[cfg(feature = "files")]
pub(crate) const COMMON: &[&str] = &[
    "allow.auto.create.topics",
    "auto.offset.reset",
    "broker.address.family",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "enable.metrics.push",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.instance.id",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.max.bytes",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "statistics.interval.ms",
    "topic.metadata.refresh.interval.ms",
];

/// A property's one name, whichever it was written with.
pub(crate) fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(_, alias)| *alias == name).map_or(name, |(own, _)| own)
}

/// Why the engine refuses a property, if it does.
pub(crate) fn refusal(name: &str, value: &str) -> Option<String> {
    let reserved = RESERVED.iter().find(|reserved| reserved.name == name)?;
    (reserved.fixed != Some(value)).then(|| format!("the property {name} cannot be set: {}", reserved.why))
}

/// What librdkafka says of a property that it does not take.
#[cfg(feature = "files")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// There is no such property.
    Unknown,
    /// It exists; librdkafka's words.
    Invalid(String),
}

/// Whether librdkafka takes a property by itself.
#[cfg(feature = "files")]
pub(crate) fn rejection(name: &str, value: &str) -> Option<Rejection> {
    if name == "plugin.library.paths" {
        // Setting it loads the libraries.
        return None;
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Some(Rejection::Unknown),
        Err(error) => Some(Rejection::Invalid(told(&error))),
    }
}

/// What librdkafka says of a configuration, without the value of any secret, nor of a property that
/// does not exist: that may be a secret's misspelt name.
pub(crate) fn told(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, words, name, value) => {
            let words = words.trim_end_matches(|c: char| c.is_whitespace() || c == '.');
            let hidden = is_secret(name) && !value.is_empty();
            let words = if hidden { words.replace(value.as_str(), MASK) } else { words.to_owned() };
            let named = if words.contains(name.as_str()) { words } else { format!("{name}: {words}") };
            let absent = ["not supported in this build", "not available at build time"];
            let absent = absent.iter().any(|words| named.contains(words));
            if absent { format!("{named}; fairpoll's feature `tls` brings TLS and SASL") } else { named }
        }
        _ => error.to_string(),
    }
}

/// What one handle is told: properties by name, with where they came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties(BTreeMap<String, (String, Origin)>);

impl Properties {
    /// Sets a property, under whichever name it was set before.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>, origin: Origin) {
        self.0.retain(|known, _| canonical(known) != canonical(name));
        self.0.insert(name.to_owned(), (value.into(), origin));
    }

    /// Sets a property that has not been set under any name.
    pub(crate) fn set_absent(&mut self, name: &str, value: impl Into<String>, origin: Origin) {
        if !self.contains(name) {
            self.set(name, value, origin);
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.keys().any(|known| canonical(known) == canonical(name))
    }

    /// A property under whichever of its names.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut known = self.0.iter();
        known.find(|(known, _)| canonical(known) == canonical(name)).map(|(_, (value, _))| value.as_str())
    }

    /// A property as a number, if it is one.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Name, value, origin, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        self.0.iter().map(|(name, (value, origin))| (name.as_str(), value.as_str(), origin))
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        self.iter().map(|(name, value, _)| (name.to_owned(), value.to_owned())).collect()
    }
}
