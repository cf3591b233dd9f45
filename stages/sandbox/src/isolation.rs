//! The set of isolation layers that were proved to hold in a container.
//!
//! Made by `probe` at the start of each container, by trying what must fail; written
//! into every report, since results under different sets must not be compared.

use std::fmt;

use crate::{
    MemoryMeasure,
    message::{Decoder, Encoder},
};

/// Layers proved by a self-test; a layer that is on but failed its test is false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Runs in a user namespace that the sandbox made.
    pub user_namespace: bool,
    /// Cannot see or signal outside processes.
    pub pid_namespace: bool,
    /// Cannot reach outside sockets.
    pub network_namespace: bool,
    /// Cannot see outside files, nor write to those it sees.
    pub mount_namespace: bool,
    /// Cannot reach outside System V objects.
    pub ipc_namespace: bool,
    /// Cannot change the host's name.
    pub uts_namespace: bool,
    /// Has no capability and cannot become root.
    pub unprivileged: bool,
    /// Forbidden system calls fail.
    pub seccomp: bool,
    /// The Landlock version of the kernel, if it keeps the program off other files.
    pub landlock: Option<u32>,
    /// Resource limits bite.
    pub rlimits: bool,
    /// Has its own `/proc`, so that sleeping and starving can be told apart.
    pub proc: bool,
    /// Without namespaces of its own: all layers together keep it off outside files, processes
    /// and sockets.
    pub scoped: bool,
    /// The version of the control group that bounds memory, if there is one.
    pub cgroup: Option<u32>,
    /// Whether that group also tells the peak of each run.
    pub cgroup_peak: bool,
    /// Why there is no control group; empty if there is one. No part of the set's name.
    pub cgroup_reason: String,
}

impl Isolation {
    /// The names of the layers that the minimum asks for and that are absent.
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (self.pid_namespace || self.scoped, "pid"),
            (self.network_namespace || self.scoped, "net"),
            (self.mount_namespace || self.scoped, "mnt"),
            (self.unprivileged, "unprivileged"),
            (self.seccomp, "seccomp"),
            (self.rlimits, "rlimits"),
        ]
        .into_iter()
        .filter_map(|(is_there, name)| (!is_there).then_some(name))
        .collect()
    }

    /// How memory is measured under this set.
    pub fn memory_measure(&self) -> MemoryMeasure {
        match self.cgroup {
            Some(_) if self.cgroup_peak => MemoryMeasure::ControlGroup,
            Some(_) => MemoryMeasure::ControlGroupLimit,
            None => MemoryMeasure::Rlimit,
        }
    }

    /// Every layer with whether it holds and what that means, for people.
    pub fn layers(&self) -> Vec<(&'static str, bool, String)> {
        let namespace = |holds: bool, good: &str| {
            let missing = if self.scoped {
                "not made; Landlock and seccomp stand in for it"
            } else {
                "not made: neither root nor user namespaces (see user.max_user_namespaces, \
                 kernel.apparmor_restrict_unprivileged_userns)"
            };
            (holds, if holds { good } else { missing }.to_owned())
        };
        let plain =
            |holds: bool, good: &str, bad: &str| (holds, if holds { good } else { bad }.to_owned());
        let rows = [
            (
                "pid",
                namespace(self.pid_namespace, "other processes are invisible"),
            ),
            (
                "net",
                namespace(self.network_namespace, "no network at all"),
            ),
            (
                "mnt",
                namespace(
                    self.mount_namespace,
                    "only the toolchain's files, read-only",
                ),
            ),
            (
                "ipc",
                namespace(self.ipc_namespace, "no System V objects of others"),
            ),
            (
                "uts",
                namespace(self.uts_namespace, "a host name of its own"),
            ),
            (
                "uid",
                plain(
                    self.unprivileged,
                    if self.user_namespace {
                        "no capability, in a user namespace"
                    } else if self.scoped {
                        "no capability, and none to be had"
                    } else {
                        "a user that exists nowhere else, no capability"
                    },
                    "programs run with the judge's privileges",
                ),
            ),
            (
                "seccomp",
                plain(
                    self.seccomp,
                    "forbidden system calls fail",
                    "the kernel takes no filter (CONFIG_SECCOMP_FILTER)",
                ),
            ),
            (
                "rlimits",
                plain(
                    self.rlimits,
                    "memory and descriptors are bounded",
                    "limits do not bite",
                ),
            ),
            (
                "landlock",
                match self.landlock {
                    Some(version) => (true, format!("version {version}")),
                    None => (
                        false,
                        "the kernel has none, or it is off (lsm=landlock)".to_owned(),
                    ),
                },
            ),
            (
                "cgroup",
                match self.cgroup {
                    Some(version) if self.cgroup_peak => {
                        (true, format!("version {version}: memory by its peak"))
                    }
                    Some(version) => (
                        true,
                        format!(
                            "version {version}: memory is bounded for all processes together; no \
                             peak of a run before Linux 6.12, so residency instead"
                        ),
                    ),
                    None => (
                        false,
                        format!(
                            "{}; memory by address space and residency",
                            self.cgroup_reason
                        ),
                    ),
                },
            ),
            (
                "proc",
                plain(
                    self.proc,
                    "sleeping and starving are told apart",
                    "no /proc of its own: sleepers end by wall time only",
                ),
            ),
        ];
        rows.into_iter()
            .map(|(name, (holds, words))| (name, holds, words))
            .collect()
    }

    fn flags(&mut self) -> [&mut bool; 12] {
        [
            &mut self.user_namespace,
            &mut self.pid_namespace,
            &mut self.network_namespace,
            &mut self.mount_namespace,
            &mut self.ipc_namespace,
            &mut self.uts_namespace,
            &mut self.unprivileged,
            &mut self.seccomp,
            &mut self.rlimits,
            &mut self.proc,
            &mut self.scoped,
            &mut self.cgroup_peak,
        ]
    }

    pub(crate) fn encode(&self, to: &mut Encoder) {
        for flag in self.clone().flags() {
            to.flag(*flag);
        }
        to.number(u64::from(self.landlock.unwrap_or(0)));
        to.number(u64::from(self.cgroup.unwrap_or(0)));
        to.bytes(self.cgroup_reason.as_bytes());
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let mut isolation = Isolation::default();
        for flag in isolation.flags() {
            *flag = from.flag()?;
        }
        let mut version = || -> Option<Option<u32>> {
            let version = u32::try_from(from.number()?).ok();
            Some(version.filter(|&version| version > 0))
        };
        isolation.landlock = version()?;
        isolation.cgroup = version()?;
        isolation.cgroup_reason = String::from_utf8_lossy(&from.bytes()?).into_owned();
        Some(isolation)
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespaces: Vec<&str> = [
            (self.user_namespace, "userns"),
            (self.pid_namespace, "pid"),
            (self.network_namespace, "net"),
            (self.mount_namespace, "mnt"),
            (self.ipc_namespace, "ipc"),
            (self.uts_namespace, "uts"),
        ]
        .into_iter()
        .filter_map(|(is_there, name)| is_there.then_some(name))
        .collect();
        let mut layers = Vec::new();
        if !namespaces.is_empty() {
            layers.push(namespaces.join("+"));
        }
        for (is_there, name) in [
            (self.unprivileged, "uid"),
            (self.seccomp, "seccomp"),
            (self.rlimits, "rlimits"),
        ] {
            if is_there {
                layers.push(name.to_owned());
            }
        }
        layers.push(self.landlock.map_or("landlock=none".to_owned(), |version| {
            format!("landlock{version}")
        }));
        if self.scoped {
            layers.push("scoped".to_owned());
        }
        if !self.proc {
            layers.push("proc=none".to_owned());
        }
        let group = self
            .cgroup
            .map_or("none".to_owned(), |version| format!("v{version}:memory"));
        write!(
            out,
            "isolation={},cgroup={group},mem={}",
            layers.join(","),
            self.memory_measure().name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinary_user() -> Isolation {
        Isolation {
            user_namespace: true,
            pid_namespace: true,
            network_namespace: true,
            mount_namespace: true,
            ipc_namespace: true,
            uts_namespace: true,
            unprivileged: true,
            seccomp: true,
            landlock: Some(7),
            rlimits: true,
            proc: true,
            scoped: false,
            cgroup: None,
            cgroup_peak: false,
            cgroup_reason: "not delegated".to_owned(),
        }
    }

    #[test]
    fn the_set_is_rendered_in_a_fixed_order() {
        assert_eq!(
            ordinary_user().to_string(),
            "isolation=userns+pid+net+mnt+ipc+uts,uid,seccomp,rlimits,landlock7,cgroup=none,mem=rlimit"
        );
        let mut counted = Isolation {
            cgroup: Some(2),
            cgroup_peak: true,
            ..ordinary_user()
        };
        let ending = ",cgroup=v2:memory,mem=cgroup-peak";
        assert!(counted.to_string().ends_with(ending));
        counted.cgroup_peak = false;
        let ending = ",cgroup=v2:memory,mem=cgroup-limit";
        assert!(counted.to_string().ends_with(ending));
        assert_eq!(
            Isolation::default().to_string(),
            "isolation=landlock=none,proc=none,cgroup=none,mem=rlimit"
        );
    }

    #[test]
    fn the_set_survives_the_channel() {
        let mut encoder = Encoder::default();
        ordinary_user().encode(&mut encoder);
        let bytes = encoder.into_bytes();
        assert_eq!(
            Isolation::decode(&mut Decoder::new(&bytes)),
            Some(ordinary_user())
        );
        assert_eq!(Isolation::decode(&mut Decoder::new(&bytes[..4])), None);
    }

    #[test]
    fn landlock_and_the_lesser_namespaces_are_not_in_the_minimum() {
        let mut weaker = ordinary_user();
        weaker.landlock = None;
        weaker.ipc_namespace = false;
        assert!(weaker.missing().is_empty());
        weaker.seccomp = false;
        assert_eq!(weaker.missing(), ["seccomp"]);
        let without_namespaces = Isolation {
            scoped: true,
            landlock: Some(6),
            unprivileged: true,
            seccomp: true,
            rlimits: true,
            ..Isolation::default()
        };
        assert!(without_namespaces.missing().is_empty());
    }
}
