//! On what, with what and when: gathers `manifest.json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fairpoll_judge::manifest::{BrokerFacts, MachineFacts, Manifest};

use super::secrets;
use super::utc::Utc;
use crate::scenario::Loaded;

/// Fills the manifest of one scenario. Nothing that looks like a secret gets in.
pub(crate) fn gather(scenario: &Loaded, seed: u64, command: &[String], broker: BrokerFacts) -> Manifest {
    Manifest {
        schema_version: 1,
        started_at: Utc::now().rfc3339(),
        command: secrets::mask_command(command),
        scenario: scenario.scenario.name.clone(),
        scenario_sha256: scenario.sha256.clone(),
        seed,
        git_revision: git_revision(Path::new(env!("CARGO_MANIFEST_DIR"))),
        fairpoll_version: env!("CARGO_PKG_VERSION").to_owned(),
        librdkafka_version: rdkafka::util::get_rdkafka_version().1,
        broker: masked(broker),
        machine: machine(),
    }
}

/// The facts with secrets masked; idempotent.
pub(crate) fn masked(mut facts: BrokerFacts) -> BrokerFacts {
    facts.imposed_properties = secrets::mask_properties(&facts.imposed_properties);
    facts.properties = secrets::mask_properties(&facts.properties);
    facts
}

/// Revision of the checkout the tool was built from, `-dirty` where it has changes; `None` where
/// there is no checkout or no git.
fn git_revision(source: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(source).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let revision = git(&["rev-parse", "--short=12", "HEAD"])?;
    // Results lie in ignored folders: they do not make a checkout dirty.
    let is_dirty =
        git(&["--no-optional-locks", "status", "--porcelain"]).is_none_or(|status| !status.is_empty());
    Some(if is_dirty { format!("{revision}-dirty") } else { revision })
}

fn machine() -> MachineFacts {
    let read = |path: &str| fs::read_to_string(path).ok();
    let cgroup = read("/proc/self/cgroup").map(|text| cgroup_folder(&text));
    MachineFacts {
        cpu_model: read("/proc/cpuinfo").and_then(|text| field(&text, "model name")),
        cores: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory_mib: read("/proc/meminfo")
            .and_then(|text| field(&text, "MemTotal"))
            .and_then(|total| total.trim_end_matches(" kB").parse::<u64>().ok())
            .map_or(0, |kib| kib / 1024),
        cgroup_memory_mib: cgroup
            .as_deref()
            .and_then(|folder| tightest(folder, "memory.max", memory_limit_mib))
            .map(|mib| mib as u64),
        cgroup_cpus: cgroup.as_deref().and_then(|folder| tightest(folder, "cpu.max", cpu_limit)),
        load_1m: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

// cgroup v2: the line `0::/path`.
fn cgroup_folder(text: &str) -> PathBuf {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
    Path::new("/sys/fs/cgroup").join(path)
}

// A limit binds everything below it, so the smallest on the way up is the one in force.
fn tightest(folder: &Path, file: &str, limit: fn(&str) -> Option<f64>) -> Option<f64> {
    folder
        .ancestors()
        .take_while(|folder| folder.starts_with("/sys/fs/cgroup"))
        .filter_map(|folder| limit(fs::read_to_string(folder.join(file)).ok()?.trim()))
        .min_by(f64::total_cmp)
}

fn memory_limit_mib(text: &str) -> Option<f64> {
    text.parse::<u64>().ok().map(|bytes| (bytes >> 20) as f64)
}

// `QUOTA PERIOD` in µs, or `max PERIOD`.
fn cpu_limit(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_control_group_are_read() {
        assert_eq!(cpu_limit("150000 100000"), Some(1.5));
        assert_eq!(cpu_limit("max 100000"), None);
        assert_eq!(memory_limit_mib("1073741824"), Some(1024.0));
        assert_eq!(memory_limit_mib("max"), None);
        assert_eq!(cgroup_folder("1:cpu:/x\n0::/a/b\n"), Path::new("/sys/fs/cgroup/a/b"));
    }

    #[test]
    fn this_machine_has_memory_and_cores() {
        let machine = machine();
        assert!(machine.memory_mib > 0 && machine.cores > 0 && machine.kernel.is_some());
    }

    #[test]
    fn outside_a_checkout_there_is_no_revision() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(git_revision(dir.path()), None);
    }
}
