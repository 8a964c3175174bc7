//! The control group that the process runs in, as in a container or a unit of systemd.
//! Linux: Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Returns how many bytes of memory the kernel grants this process and those beside it in
/// its group; `None` without such a limit, or where it cannot be read.
pub fn memory_max() -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    lowest_limit(&groups, &read)
}

/// Returns the lowest limit of the process's groups and all groups around them.
fn lowest_limit(groups: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        // ID:CONTROLLERS:PATH; version 2 has one line, with the id 0 and no controllers.
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        let groups = Path::new(path).ancestors();
        let limits = groups.filter_map(|group| {
            let group = group.strip_prefix("/").ok()?;
            limit_of(&read(&Path::new(root).join(group).join(file))?)
        });
        limits.min()
    });
    limits.min()
}

/// Parses a limit. Version 2 says `max` for none; version 1 a number that is larger than
/// any memory.
fn limit_of(text: &str) -> Option<u64> {
    const NONE: u64 = 1 << 60;
    text.trim().parse().ok().filter(|&limit| limit < NONE)
}

fn read(path: &Path) -> Option<String> {
    const LEN_MAX: u64 = 64 << 10;
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(LEN_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        lowest_limit(groups, &|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_lowest_limit_of_all_groups_around_counts() {
        let unit = "0::/system.slice/mcsnap.service\n";
        for (files, expected) in [
            (vec![], None),
            (vec![("/sys/fs/cgroup/memory.max", "max\n")], None),
            (
                vec![
                    (
                        "/sys/fs/cgroup/system.slice/mcsnap.service/memory.max",
                        "max\n",
                    ),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ],
                Some(1 << 30),
            ),
            (
                vec![
                    (
                        "/sys/fs/cgroup/system.slice/mcsnap.service/memory.max",
                        "4096\n",
                    ),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ],
                Some(4096),
            ),
            (vec![("/sys/fs/cgroup/memory.max", "words\n")], None),
        ] {
            assert_eq!(limit(unit, &files), expected, "{files:?}");
        }
    }

    #[test]
    fn groups_of_the_first_version_are_read_as_well() {
        let groups = "12:cpu,cpuacct:/\n4:hugetlb,memory:/job\n0::/\n";
        let job = "/sys/fs/cgroup/memory/job/memory.limit_in_bytes";
        assert_eq!(limit(groups, &[(job, "65536\n")]), Some(65536));
        assert_eq!(limit(groups, &[(job, "9223372036854771712\n")]), None);
        assert_eq!(limit("no groups\n1:memory\n", &[(job, "65536\n")]), None);
    }

    #[test]
    fn our_own_group_is_readable_or_has_no_limit() {
        assert!(memory_max().is_none_or(|limit| limit > 0));
    }
}
