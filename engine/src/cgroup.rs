//! How much memory this process may use: the limits of its cgroup and of those above it.

use std::fs;
use std::path::{Path, PathBuf};

/// A cgroup that accounts for memory, and those that contain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroup {
    files: Files,
    /// From its own to the hierarchy's root.
    levels: Vec<PathBuf>,
}

/// Memory in use and its limit, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

/// What a version calls its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// Lines of `memory.stat`: page cache, which the kernel takes back before it refuses memory. A file that
    /// is read again and again is as little of a shortage as one that is read once.
    reclaimable: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};
const V2: Files =
    Files { limit: "memory.max", used: "memory.current", reclaimable: ["inactive_file", "active_file"] };

/// Version 1 writes the largest multiple of a page where there is no limit.
const UNLIMITED: u64 = 1 << 60;

impl Cgroup {
    /// Of this process; `None`: no cgroup accounts for its memory, or that cannot be found out.
    pub(crate) fn of_this_process() -> Option<Self> {
        let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(&memberships, &mounts)
    }

    /// From the text of `/proc/self/cgroup` and of `/proc/self/mountinfo`. Version 1 has memory where a
    /// hierarchy of it is mounted with that controller.
    fn find(memberships: &str, mounts: &str) -> Option<Self> {
        let mounted = |kind: &str, option: Option<&str>| {
            mounts.lines().filter_map(Mount::parse).find(|mount| {
                mount.kind == kind
                    && option.is_none_or(|option| mount.options.split(',').any(|one| one == option))
            })
        };
        let member = |of: &dyn Fn(&str) -> bool| {
            memberships.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                of(controllers).then_some(path)
            })
        };
        let v1 = mounted("cgroup", Some("memory"));
        let of_memory = |controllers: &str| controllers.split(',').any(|one| one == "memory");
        let (files, mount, path) = match v1 {
            Some(mount) => (V1, mount, member(&of_memory)?),
            None => (V2, mounted("cgroup2", None)?, member(&str::is_empty)?),
        };
        let levels: Vec<PathBuf> = mount
            .place(path)
            .ancestors()
            .take_while(|level| level.starts_with(mount.point))
            .filter(|level| level.join(files.used).exists() || level.join(files.limit).exists())
            .map(Path::to_owned)
            .collect();
        (!levels.is_empty()).then_some(Self { files, levels })
    }

    /// What is in use where it is tightest: of all cgroups with a limit the one that is fullest. `None`: none
    /// has one. Page cache that the kernel would take back before it refuses memory does not count.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let known = self.levels.iter().filter_map(|level| self.memory_of(level));
        // Of fractions without dividing: a/b < c/d where a·d < c·b.
        known.max_by_key(|memory| (u128::from(memory.used) << 32) / u128::from(memory.limit.max(1)))
    }

    fn memory_of(&self, level: &Path) -> Option<Memory> {
        let read = |name: &str| fs::read_to_string(level.join(name)).ok();
        // `max` is no number.
        let limit: u64 = read(self.files.limit)?.trim().parse().ok()?;
        if limit >= UNLIMITED {
            return None;
        }
        let used: u64 = read(self.files.used)?.trim().parse().ok()?;
        let stat = read("memory.stat").unwrap_or_default();
        let reclaimable = stat.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            self.files.reclaimable.contains(&name).then(|| value.trim().parse::<u64>().ok())?
        });
        Some(Memory { used: used.saturating_sub(reclaimable.sum()), limit })
    }
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, Copy)]
struct Mount<'a> {
    /// What of the hierarchy is mounted.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        Some(Self { root, point, kind, options })
    }

    /// Where a cgroup's files are. One that is not below what is mounted here, as in a container that sees
    /// the host's names, is what is mounted.
    fn place(&self, cgroup: &str) -> PathBuf {
        let below = match self.root {
            "/" => Some(cgroup),
            root => cgroup.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        let point = Path::new(self.point);
        let place = below.map(|below| point.join(below.trim_start_matches('/')));
        place.filter(|place| place.is_dir()).unwrap_or_else(|| point.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hierarchy in a folder of its own, removed in the end.
    struct Hierarchy(PathBuf);

    impl Hierarchy {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("fairpoll-cgroup-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            Self(root)
        }

        /// As the kernel would say that it is mounted.
        fn mounted(&self, root: &str, system: &str) -> String {
            let point = self.0.display();
            format!("24 1 0:22 / /proc rw - proc proc rw\n30 24 0:28 {root} {point} rw,nosuid - {system}\n")
        }
    }

    impl Drop for Hierarchy {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const V2_SYSTEM: &str = "cgroup2 cgroup2 rw,nsdelegate";
    const V1_SYSTEM: &str = "cgroup cgroup rw,memory";

    fn memory(hierarchy: &Hierarchy, member: &str, root: &str, system: &str) -> Option<(u64, u64)> {
        let memory = Cgroup::find(member, &hierarchy.mounted(root, system))?.memory()?;
        Some((memory.used, memory.limit))
    }

    #[test]
    fn version_2_counts_what_the_kernel_cannot_take_back_against_the_tightest_limit() {
        let hierarchy = Hierarchy::new(
            "v2",
            &[
                ("memory.stat", "anon 1\n"),
                ("memory.current", "900\n"),
                ("memory.max", "max\n"),
                ("pod/memory.max", "1000\n"),
                ("pod/memory.current", "800\n"),
                ("pod/memory.stat", "anon 600\ninactive_file 70\nactive_file 30\n"),
                ("pod/own/memory.max", "max\n"),
                ("pod/own/memory.current", "500\n"),
            ],
        );
        assert_eq!(memory(&hierarchy, "0::/pod/own\n", "/", V2_SYSTEM), Some((700, 1000)));
        fs::write(hierarchy.0.join("pod/own/memory.max"), "510\n").expect("a file");
        assert_eq!(memory(&hierarchy, "0::/pod/own\n", "/", V2_SYSTEM), Some((500, 510)));
    }

    #[test]
    fn version_1_knows_no_max_but_a_very_large_number() {
        let hierarchy = Hierarchy::new(
            "v1",
            &[
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.usage_in_bytes", "5000\n"),
                ("job/memory.limit_in_bytes", "4000\n"),
                ("job/memory.usage_in_bytes", "3000\n"),
                ("job/memory.stat", "inactive_file 5\ntotal_inactive_file 400\ntotal_active_file 100\n"),
            ],
        );
        let member = "5:cpu:/other\n4:memory:/job\n0::/\n";
        assert_eq!(memory(&hierarchy, member, "/", V1_SYSTEM), Some((2500, 4000)));
        assert_eq!(memory(&hierarchy, "4:memory:/\n", "/", V1_SYSTEM), None, "no limit");
    }

    #[test]
    fn a_container_finds_its_cgroup_where_it_is_mounted() {
        let files = [("memory.max", "1000\n"), ("memory.current", "10\n"), ("in/memory.max", "700\n")];
        let hierarchy = Hierarchy::new("container", &files);
        fs::write(hierarchy.0.join("in/memory.current"), "20\n").expect("a file");
        // The host's names, of which a part is mounted; its own; and such as do not exist here.
        assert_eq!(memory(&hierarchy, "0::/docker/1/in\n", "/docker/1", V2_SYSTEM), Some((20, 700)));
        assert_eq!(memory(&hierarchy, "0::/docker/1\n", "/docker/1", V2_SYSTEM), Some((10, 1000)));
        assert_eq!(memory(&hierarchy, "0::/elsewhere\n", "/", V2_SYSTEM), Some((10, 1000)));
        assert_eq!(memory(&hierarchy, "0::/docker/12\n", "/docker/1", V2_SYSTEM), Some((10, 1000)));
    }

    #[test]
    fn what_is_not_there_is_not_limited() {
        let hierarchy = Hierarchy::new("none", &[("cgroup.procs", "1\n")]);
        assert_eq!(memory(&hierarchy, "0::/\n", "/", V2_SYSTEM), None);
        assert_eq!(Cgroup::find("", ""), None);
        assert_eq!(Cgroup::find("0::/\n", "nonsense\n - \n"), None);
    }
}
