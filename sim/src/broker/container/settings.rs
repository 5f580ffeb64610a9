//! What a node's container is told: `KAFKA_*` variables, and the command that ends and revives
//! the broker inside.

use testcontainers::bollard::models::HostConfig;

/// The port that the host's clients reach, inside the container.
pub(super) const CLIENT_PORT: u16 = 9094;
/// Where the log lies, in memory: a slow disk holds up appends by tens of milliseconds each, and a
/// measurement of a consumer would show the disk. No folder that an image may have: mounted over
/// one, memory takes its permissions and not its owner, and the broker's user cannot write.
pub(super) const DATA: &str = "/fairpoll-data";
/// The supervisor says that it starts a broker.
pub(super) const STARTING: &str = "fairpoll: starting the broker";
/// Says that a broker is up.
pub(super) const STARTED: &str = "Kafka Server started";

/// One node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodePlan {
    /// 1, 2, …
    pub(super) id: u32,
    /// Its name for the other nodes, and its container's name.
    pub(super) host: String,
    /// Where the host's clients reach it, on 127.0.0.1.
    pub(super) port: u16,
    /// Where Docker publishes it: the same, unless a relay stands between.
    pub(super) published: u16,
}

/// Runs the image's own command, and runs it again while a file says that the node is down. A
/// container that is stopped loses what it keeps in memory and would come back empty, which no
/// crashed broker does; so a node goes down by the death of its process. For `bash`, which the
/// image's own command needs as well: smaller shells disagree on how a group is killed.
pub(super) const SUPERVISOR: &str = r#"
state=/tmp/fairpoll; mkdir -p "$state"
trap 'kill -9 -- "-$pid"; exit 143' TERM INT
while :; do
  while [ -e "$state/down" ]; do : >"$state/idle"; sleep 0.05; done
  echo "fairpoll: starting the broker"
  setsid /etc/kafka/docker/run &
  pid=$!
  echo "$pid" >"$state/pid"
  wait "$pid"
  code=$?
  [ -e "$state/down" ] || exit "$code"
done
"#;

/// Kills the broker of a container and keeps it down; says `down` when the supervisor has seen it:
/// one that is told to come up before would take the death for an end.
pub(super) const GO_DOWN: &str = r#"
state=/tmp/fairpoll
rm -f "$state/idle"; : >"$state/down"
until [ -e "$state/idle" ]; do
  kill -9 -- "-$(cat "$state/pid")" 2>/dev/null
  sleep 0.02
done
echo down
"#;

/// Lets the broker of a container come back; says `up` at once.
pub(super) const COME_UP: &str = "rm -f /tmp/fairpoll/down; echo up";

/// A group of processes gets as much of a busy processor as a single process outside, whatever it
/// holds: a broker's dozens of threads together as much as one thread of a compiler next door. Its
/// answers then take 200 ms instead of 10, and the measurement shows the machine's other work.
const CPU_SHARES: i64 = 16 * 1024;

/// What testcontainers has no word for.
pub(super) fn adjust(host: &mut HostConfig) {
    host.cpu_shares = Some(CPU_SHARES);
    // From this machine only; the default publishes a port to the world.
    for bindings in host.port_bindings.iter_mut().flat_map(|ports| ports.values_mut()).flatten() {
        bindings.iter_mut().for_each(|port| port.host_ip = Some("127.0.0.1".to_owned()));
    }
}

/// How many replicas topics have on so many nodes.
pub(super) fn replication(nodes: usize) -> usize {
    nodes.min(3)
}

/// The variables of one node of a cluster.
pub(super) fn environment(node: &NodePlan, all: &[NodePlan]) -> Vec<(String, String)> {
    let replication = replication(all.len());
    let in_sync = replication.saturating_sub(1).max(1);
    let voters: Vec<String> = all.iter().map(|peer| format!("{}@{}:9093", peer.id, peer.host)).collect();
    // A virtual machine each: together they must leave room for what is measured.
    let heap = if all.len() == 1 { "-Xms512m -Xmx1g" } else { "-Xms256m -Xmx512m" };
    let settings = [
        ("CLUSTER_ID", "RmFpcnBvbGxDbHVzdGVyMQ".to_owned()),
        ("KAFKA_HEAP_OPTS", heap.to_owned()),
        // The optimising compiler of a young virtual machine takes a core for half a minute, and
        // answers take 40 ms instead of 5 meanwhile; the first modes would pay for that.
        ("KAFKA_OPTS", "-XX:TieredStopAtLevel=1".to_owned()),
        ("KAFKA_NODE_ID", node.id.to_string()),
        ("KAFKA_PROCESS_ROLES", "broker,controller".to_owned()),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", voters.join(",")),
        (
            "KAFKA_LISTENERS",
            format!("CLIENT://0.0.0.0:{CLIENT_PORT},INTERNAL://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093"),
        ),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            format!("CLIENT://127.0.0.1:{},INTERNAL://{}:9092", node.port, node.host),
        ),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
        ),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "INTERNAL".to_owned()),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER".to_owned()),
        ("KAFKA_LOG_DIRS", DATA.to_owned()),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false".to_owned()),
        ("KAFKA_DEFAULT_REPLICATION_FACTOR", replication.to_string()),
        ("KAFKA_MIN_INSYNC_REPLICAS", in_sync.to_string()),
        ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "8".to_owned()),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", replication.to_string()),
        ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "4".to_owned()),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", replication.to_string()),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", in_sync.to_string()),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", replication.to_string()),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", in_sync.to_string()),
        // The default waits 3 s for more members; every run's group would.
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0".to_owned()),
        // A member that was killed is given up within seconds, as clients of the classic protocol
        // ask for themselves in scenarios where members come and go.
        ("KAFKA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS", "6000".to_owned()),
        ("KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS", "6000".to_owned()),
        ("KAFKA_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS", "500".to_owned()),
        ("KAFKA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS", "500".to_owned()),
        // A node that died is given up within 6 s instead of 9.
        ("KAFKA_BROKER_SESSION_TIMEOUT_MS", "6000".to_owned()),
        ("KAFKA_BROKER_HEARTBEAT_INTERVAL_MS", "500".to_owned()),
        // Deleted topics lie in memory; by default for a minute.
        ("KAFKA_LOG_SEGMENT_DELETE_DELAY_MS", "1000".to_owned()),
        ("KAFKA_NUM_NETWORK_THREADS", "2".to_owned()),
        ("KAFKA_NUM_IO_THREADS", "4".to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What makes a cluster keep to ACLs, instead of or beside its other variables.
///
/// The nodes prove to each other who they are, by a password that protects nothing: on a port of this
/// machine every client is the same nobody, and nobody must not be allowed whatever nodes are.
pub(super) fn guards() -> Vec<(String, String)> {
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                 username=\"node\" password=\"node\" user_node=\"node\";";
    let settings = [
        ("KAFKA_AUTHORIZER_CLASS_NAME", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND", "true"),
        ("KAFKA_SUPER_USERS", "User:node"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CLIENT:PLAINTEXT,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        ),
        ("KAFKA_SASL_ENABLED_MECHANISMS", "PLAIN"),
        ("KAFKA_SASL_MECHANISM_INTER_BROKER_PROTOCOL", "PLAIN"),
        ("KAFKA_SASL_MECHANISM_CONTROLLER_PROTOCOL", "PLAIN"),
        ("KAFKA_LISTENER_NAME_INTERNAL_PLAIN_SASL_JAAS_CONFIG", login),
        ("KAFKA_LISTENER_NAME_CONTROLLER_PLAIN_SASL_JAAS_CONFIG", login),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(nodes: u32, name: &str) -> String {
        let all: Vec<NodePlan> = (1..=nodes)
            .map(|id| NodePlan { id, host: format!("k-{id}"), port: 1000 + id as u16, published: 2000 })
            .collect();
        let found = environment(&all[0], &all).into_iter().find(|(key, _)| key == name);
        found.expect("it is set").1
    }

    #[test]
    fn three_nodes_know_each_other_and_keep_three_replicas() {
        assert_eq!(value(3, "KAFKA_CONTROLLER_QUORUM_VOTERS"), "1@k-1:9093,2@k-2:9093,3@k-3:9093");
        assert_eq!(value(3, "KAFKA_DEFAULT_REPLICATION_FACTOR"), "3");
        assert_eq!(value(3, "KAFKA_MIN_INSYNC_REPLICAS"), "2");
    }

    #[test]
    fn one_node_keeps_one_replica_and_advertises_the_host_s_port() {
        assert_eq!(value(1, "KAFKA_MIN_INSYNC_REPLICAS"), "1");
        assert_eq!(value(1, "KAFKA_ADVERTISED_LISTENERS"), "CLIENT://127.0.0.1:1001,INTERNAL://k-1:9092");
    }
}
