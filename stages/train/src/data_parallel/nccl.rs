//! Processes with a GPU each: NCCL carries gradients, [`Tcp`] everything else.
//!
//! Rank 0 makes NCCL's id and sends it to all. Gradients are added on the GPUs in the tree of
//! halves (`gpu::nccl` says how and what it costs), so that a run on one GPU and one on several
//! end with the same bytes, if the GPUs are of one kind. While a sum is waited for, the others'
//! connections are looked at: NCCL alone would wait for ever for a process that has gone.

use super::Collective;
use super::tcp::Tcp;
use crate::training_loop::Sums;
use anyhow::{Context as _, Result, anyhow};
use model::device::Device;
use model::device::nccl::{Communicator, UniqueId, unique_id};
use model::parameters::Parameters;

/// A group of GPUs.
pub struct Nccl {
    group: Tcp,
    communicator: Communicator,
}

impl Nccl {
    /// Makes a group of NCCL of processes that have met.
    ///
    /// # Errors
    /// NCCL is missing or refuses, here or elsewhere.
    pub fn join(group: Tcp, device: &Device) -> Result<Self> {
        let own = match group.rank() {
            0 => unique_id().map(|id| id.to_vec()),
            // So that all know before they wait for one another.
            _ => model::device::nccl::library().map(|_| Vec::new()),
        };
        // A process without NCCL tells the others so before it ends.
        let message = own.as_ref().map_or_else(|_| b"no".to_vec(), Clone::clone);
        let messages = group.exchange(message);
        own.context("NCCL")?;
        let messages = messages?;
        if let Some(rank) = messages.iter().position(|message| message == b"no") {
            return Err(anyhow!("rank {rank} has no NCCL; its own output says why"));
        }
        let id = UniqueId::try_from(messages[0].as_slice()).context("the id of NCCL's group")?;
        let communicator = Communicator::new(device, &id, group.rank(), group.size())
            .context("NCCL's group cannot be made (one GPU for each process?)")?;
        Ok(Self {
            group,
            communicator,
        })
    }
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.group.rank()
    }

    fn size(&self) -> usize {
        self.group.size()
    }

    fn sum(&self, gradients: &mut Parameters) -> Result<()> {
        gradients.sum(&self.communicator, &|| self.group.alive())
    }

    fn gather(&self, sums: Option<Sums>) -> Result<Option<Vec<Sums>>> {
        self.group.gather(sums)
    }
}
