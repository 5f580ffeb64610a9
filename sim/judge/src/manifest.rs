//! On what, with what and when a run was made: `manifest.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a result depends on besides the code under test. Comparisons look at it first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub schema_version: u32,
    /// When the run began, RFC 3339, UTC.
    pub started_at: String,
    /// The command line, secrets masked.
    pub command: Vec<String>,
    /// The scenario's name.
    pub scenario: String,
    /// SHA-256 of the scenario file.
    pub scenario_sha256: String,
    /// The seed in force.
    pub seed: u64,
    /// Git revision of the tool, with `-dirty`; absent outside a checkout.
    pub git_revision: Option<String>,
    /// Version of Fairpoll.
    pub fairpoll_version: String,
    /// Version of librdkafka.
    pub librdkafka_version: String,
    /// The broker.
    pub broker: BrokerFacts,
    /// The machine.
    pub machine: MachineFacts,
}

/// The broker of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerFacts {
    /// `embedded`, `external`, …
    pub kind: String,
    /// What it says of itself, where it can be asked.
    pub version: Option<String>,
    /// The image that its containers run, where it runs in containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ImageFacts")]
    pub image: Option<ImageFacts>,
    /// How many brokers.
    pub nodes: u32,
    /// Properties that the harness set for every mode alike because of this broker kind.
    pub imposed_properties: BTreeMap<String, String>,
    /// Properties given on the command line, secrets masked.
    pub properties: BTreeMap<String, String>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFacts {
    /// As it was asked for: `apache/kafka:4.1.0`.
    pub name: String,
    /// Its content: `sha256:…`.
    pub id: String,
}

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineFacts {
    /// CPU model, as the kernel names it.
    pub cpu_model: Option<String>,
    /// Logical processors usable by this process.
    pub cores: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Memory limit of the control group, MiB, where one is set.
    pub cgroup_memory_mib: Option<u64>,
    /// CPU limit of the control group, in cores, where one is set.
    pub cgroup_cpus: Option<f64>,
    /// Load average of the last minute when the run began.
    pub load_1m: Option<f64>,
    /// Kernel release.
    pub kernel: Option<String>,
}
