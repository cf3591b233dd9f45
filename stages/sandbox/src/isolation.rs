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
}

impl Isolation {
    /// The names of the layers that the minimum asks for and that are absent.
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (self.pid_namespace, "pid"),
            (self.network_namespace, "net"),
            (self.mount_namespace, "mnt"),
            (self.unprivileged, "unprivileged"),
            (self.seccomp, "seccomp"),
            (self.rlimits, "rlimits"),
        ]
        .into_iter()
        .filter_map(|(is_there, name)| (!is_there).then_some(name))
        .collect()
    }

    /// How memory is measured under this set.
    #[allow(
        clippy::unused_self,
        reason = "a property of the set, though all sets agree today"
    )]
    pub fn memory_measure(&self) -> MemoryMeasure {
        MemoryMeasure::Rlimit
    }

    fn flags(&mut self) -> [&mut bool; 10] {
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
        ]
    }

    pub(crate) fn encode(&self, to: &mut Encoder) {
        for flag in self.clone().flags() {
            to.flag(*flag);
        }
        to.number(u64::from(self.landlock.unwrap_or(0)));
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let mut isolation = Isolation::default();
        for flag in isolation.flags() {
            *flag = from.flag()?;
        }
        isolation.landlock = u32::try_from(from.number()?)
            .ok()
            .filter(|&version| version > 0);
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
        if !self.proc {
            layers.push("proc=none".to_owned());
        }
        // Control groups are not used: the words keep the place for a set that has them.
        write!(out, "isolation={},cgroup=none,mem=rlimit", layers.join(","))
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
        }
    }

    #[test]
    fn the_set_is_rendered_in_a_fixed_order() {
        assert_eq!(
            ordinary_user().to_string(),
            "isolation=userns+pid+net+mnt+ipc+uts,uid,seccomp,rlimits,landlock7,cgroup=none,mem=rlimit"
        );
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
    }
}
