//! What becomes of the arguments of aiokafka's `AIOKafkaConsumer`: the one table.
//!
//! As of aiokafka 0.14.0. The page `docs/configuration.md` shows this table.

/// An argument of aiokafka's consumer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument {
    pub(super) name: &'static str,
    /// aiokafka's default; it does not come along.
    pub(super) default: &'static str,
    pub(super) fate: Fate,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// Fairpoll has a key of this name.
    Key,
    /// A librdkafka property.
    Property { name: &'static str, conversion: Conversion },
    /// Accepted with this value, which Fairpoll has anyway; refused with any other.
    Only { value: bool, why: &'static str },
    /// Accepted without effect, and warned of.
    Ignored(&'static str),
    /// Refused: why, and what to do instead.
    Refused(&'static str),
}

/// From the argument's value to the property's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// Milliseconds are milliseconds.
    Milliseconds,
    /// Bytes are bytes.
    Bytes,
    /// True is true.
    Truth,
    /// The same word.
    Same,
    /// `none` is librdkafka's `error`.
    OffsetReset,
    /// Classes of assignors, by the last part of their names.
    Assignors,
}

impl Conversion {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms, as it is",
            Self::Bytes => "bytes, as it is",
            Self::Truth | Self::Same => "as it is",
            Self::OffsetReset => "`none` becomes `error`, others as they are",
            Self::Assignors => {
                "`RangePartitionAssignor` becomes `range`, `RoundRobinPartitionAssignor` `roundrobin`; \
                 librdkafka's own names as they are"
            }
        }
    }
}

/// librdkafka's name of an assignor, where it has it.
pub(super) fn assignor(class: &str) -> Option<&'static str> {
    match class.rsplit('.').next().unwrap_or_default() {
        "RangePartitionAssignor" | "range" => Some("range"),
        "RoundRobinPartitionAssignor" | "roundrobin" => Some("roundrobin"),
        "cooperative-sticky" => Some("cooperative-sticky"),
        _ => None,
    }
}

const fn key(name: &'static str, default: &'static str) -> Argument {
    Argument { name, default, fate: Fate::Key }
}

const fn property(
    argument: &'static str,
    default: &'static str,
    name: &'static str,
    conversion: Conversion,
) -> Argument {
    Argument { name: argument, default, fate: Fate::Property { name, conversion } }
}

const fn ignored(name: &'static str, default: &'static str, why: &'static str) -> Argument {
    Argument { name, default, fate: Fate::Ignored(why) }
}

const fn refused(name: &'static str, default: &'static str, why: &'static str) -> Argument {
    Argument { name, default, fate: Fate::Refused(why) }
}

use Conversion::{Assignors, Bytes, Milliseconds, OffsetReset, Same, Truth};

const DECODE: &str = "records are bytes, `key()` and `value()` lend them; decode them in the program";

/// Every argument, in the order of aiokafka's signature.
pub(super) const ARGUMENTS: &[Argument] = &[
    key("topics", "()"),
    ignored("loop", "None", "the runtime of the task that calls `get_many` drives everything"),
    key("bootstrap_servers", "localhost"),
    property("client_id", "aiokafka-VERSION", "client.id", Same),
    key("group_id", "None"),
    key("group_instance_id", "None"),
    refused("key_deserializer", "None", DECODE),
    refused("value_deserializer", "None", DECODE),
    property("fetch_max_wait_ms", "500", "fetch.wait.max.ms", Milliseconds),
    property("fetch_max_bytes", "52428800", "fetch.max.bytes", Bytes),
    property("fetch_min_bytes", "1", "fetch.min.bytes", Bytes),
    property("max_partition_fetch_bytes", "1048576", "max.partition.fetch.bytes", Bytes),
    property("request_timeout_ms", "40000", "socket.timeout.ms", Milliseconds),
    property("retry_backoff_ms", "100", "retry.backoff.ms", Milliseconds),
    property("auto_offset_reset", "latest", "auto.offset.reset", OffsetReset),
    Argument {
        name: "enable_auto_commit",
        default: "True",
        fate: Fate::Only {
            value: false,
            why: "offsets are committed after processing: call `commit(&batch)` where the batch's work is done",
        },
    },
    ignored(
        "auto_commit_interval_ms",
        "5000",
        "nothing is committed by time: `commit` and `stop` do it, after processing",
    ),
    property("check_crcs", "True", "check.crcs", Truth),
    property("metadata_max_age_ms", "300000", "topic.metadata.refresh.interval.ms", Milliseconds),
    property(
        "partition_assignment_strategy",
        "(RoundRobinPartitionAssignor,)",
        "partition.assignment.strategy",
        Assignors,
    ),
    key("max_poll_interval_ms", "300000"),
    ignored(
        "rebalance_timeout_ms",
        "None",
        "librdkafka gives a rebalance as long as `max_poll_interval_ms`; set that",
    ),
    key("session_timeout_ms", "10000"),
    property("heartbeat_interval_ms", "3000", "heartbeat.interval.ms", Milliseconds),
    refused(
        "consumer_timeout_ms",
        "200",
        "how long a poll waits is the first argument of `get_many`, which wakes at once when records come",
    ),
    key("max_poll_records", "None"),
    refused(
        "ssl_context",
        "None",
        "it is an object of Python; set `ssl.ca.location` and its like under `properties`",
    ),
    property("security_protocol", "PLAINTEXT", "security.protocol", Same),
    ignored("api_version", "None", "librdkafka asks each broker for its versions"),
    ignored("exclude_internal_topics", "True", "topics are named one by one, there are no patterns"),
    property("connections_max_idle_ms", "540000", "connections.max.idle.ms", Milliseconds),
    property("isolation_level", "read_uncommitted", "isolation.level", Same),
    property("sasl_mechanism", "PLAIN", "sasl.mechanism", Same),
    property("sasl_plain_password", "None", "sasl.password", Same),
    property("sasl_plain_username", "None", "sasl.username", Same),
    property("sasl_kerberos_service_name", "kafka", "sasl.kerberos.service.name", Same),
    ignored("sasl_kerberos_domain_name", "None", "librdkafka takes the broker's host name"),
    refused(
        "sasl_oauth_token_provider",
        "None",
        "it is an object of Python; set `sasl.oauthbearer.method: oidc` and its like under `properties`",
    ),
    property("client_rack", "None", "client.rack", Same),
];

/// The row of an argument.
pub(super) fn find(name: &str) -> Option<&'static Argument> {
    ARGUMENTS.iter().find(|argument| argument.name == name)
}
