//! Who is who among processes that train together, as whatever started them says.
//!
//! `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`, as torchrun and most launchers set them;
//! under Slurm's `srun` the first two are `SLURM_PROCID` and `SLURM_NTASKS`. Read by `join` and by
//! the binary, which lets all but rank 0 follow.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The way out of a variable that is missing.
const HELP: &str = "start every process with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set \
                    (torchrun sets them), or with srun and MASTER_ADDR";

/// How gradients are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// NCCL, between GPUs.
    Nccl,
    /// Connections between hosts; what lies on a GPU is copied back for it.
    Tcp,
}

impl fmt::Display for Means {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Nccl => "NCCL",
            Self::Tcp => "TCP",
        })
    }
}

/// The place of this process among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// Its number on this host: which GPU it takes.
    pub local: usize,
    /// Host name or address of rank 0.
    pub address: String,
    /// Where rank 0 listens.
    pub port: u16,
}

impl Ranks {
    /// As the environment says.
    ///
    /// # Errors
    /// A variable is missing or makes no sense.
    pub fn from_environment() -> Result<Self> {
        Self::read(&|name| std::env::var(name).ok())
    }

    fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |names: [&str; 2]| -> Result<Option<usize>> {
            for name in names {
                if let Some(text) = variable(name) {
                    let number = text
                        .parse()
                        .with_context(|| format!("{name} is `{text}`, which is no number"))?;
                    return Ok(Some(number));
                }
            }
            Ok(None)
        };
        let rank = number(["RANK", "SLURM_PROCID"])?;
        let rank = rank.with_context(|| format!("--data-parallel: RANK is not set; {HELP}"))?;
        let size = number(["WORLD_SIZE", "SLURM_NTASKS"])?;
        let size =
            size.with_context(|| format!("--data-parallel: WORLD_SIZE is not set; {HELP}"))?;
        ensure!(
            rank < size,
            "RANK is {rank} and WORLD_SIZE {size}: ranks are numbered from 0"
        );
        let address = match variable("MASTER_ADDR") {
            Some(address) => address,
            None if size == 1 => "127.0.0.1".to_owned(),
            None => anyhow::bail!("--data-parallel: MASTER_ADDR is not set; {HELP}"),
        };
        let port = number(["MASTER_PORT", "MASTER_PORT"])?.unwrap_or(29_500);
        Ok(Self {
            rank,
            size,
            local: number(["LOCAL_RANK", "SLURM_LOCALID"])?.unwrap_or(rank),
            address,
            port: u16::try_from(port)
                .with_context(|| format!("MASTER_PORT is {port}, which is no port"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Ranks;

    fn read(variables: &[(&str, &str)]) -> Result<Ranks, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Ranks::read(&variable).map_err(|error| error.to_string())
    }

    #[test]
    fn launchers_say_who_is_who() {
        let torchrun = [
            ("RANK", "3"),
            ("WORLD_SIZE", "4"),
            ("LOCAL_RANK", "1"),
            ("MASTER_ADDR", "node0"),
            ("MASTER_PORT", "1234"),
            ("SLURM_PROCID", "9"),
        ];
        let found = read(&torchrun).expect("all is said");
        assert_eq!((found.rank, found.size, found.local), (3, 4, 1));
        assert_eq!((found.address.as_str(), found.port), ("node0", 1234));
        let srun = [
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", "2"),
            ("MASTER_ADDR", "a"),
        ];
        let found = read(&srun).expect("all is said");
        assert_eq!(
            (found.rank, found.size, found.local, found.port),
            (1, 2, 1, 29_500)
        );
        let alone = read(&[("RANK", "0"), ("WORLD_SIZE", "1")]).expect("all is said");
        assert_eq!(alone.address, "127.0.0.1");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (variables, part) in [
            (&[][..], "RANK is not set"),
            (&[("RANK", "x"), ("WORLD_SIZE", "2")], "RANK is `x`"),
            (&[("RANK", "0")], "WORLD_SIZE is not set"),
            (&[("RANK", "2"), ("WORLD_SIZE", "2")], "numbered from 0"),
            (&[("RANK", "1"), ("WORLD_SIZE", "2")], "MASTER_ADDR"),
        ] {
            let error = read(variables).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
