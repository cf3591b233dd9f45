//! The gradient of one update, summed so that it is the same bytes on any number of processes.
//!
//! Called by `training_loop` for every window. The contract: a window is cut into micro-batches
//! and these into `ranks` shares, by the settings alone. A share is accumulated from zero in
//! order; shares are added in a tree of halves: `sum(a..b) = sum(a..m) + sum(m..b)`, `m` in the
//! middle. One process walks the whole tree; of two, each walks one half, and [`Collective::sum`]
//! is the node above them. A share costs a process no memory of its own, a level of the tree one
//! set of gradients. Here is the collective of one process; those of several are [`tcp`], over
//! the host, and `nccl`, between GPUs. [`join`] makes the one that a run asks for.

#[cfg(feature = "nccl")]
pub mod nccl;
pub mod ranks;
pub mod tcp;

use crate::settings::{How, Optimisation};
use crate::trainer::Trainer;
use crate::training_loop::{Objective, Sums};
use anyhow::{Result, ensure};
use engine::Ctx;
use model::device::Device;
use model::parameters::Parameters;
use ranks::{Means, Ranks};
use std::ops::Range;
use tcp::Tcp;

/// What processes that train together do with one another.
pub trait Collective {
    /// Number of this process, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// Replaces the gradients by their sum over all processes, added in the tree of halves.
    ///
    /// # Errors
    /// A process has gone, or a device failed.
    fn sum(&self, gradients: &mut Parameters) -> Result<()>;

    /// The values of every process, by rank; `None` if one of them has none.
    ///
    /// # Errors
    /// A process has gone.
    fn gather(&self, sums: Option<Sums>) -> Result<Option<Vec<Sums>>>;

    /// Whether one of the processes is to stop: then all are.
    ///
    /// # Errors
    /// A process has gone.
    fn any(&self, stop: bool) -> Result<bool> {
        let sums = (!stop).then(Sums::new);
        Ok(self.gather(sums)?.is_none())
    }
}

/// The only process.
pub struct OneProcess;

impl Collective for OneProcess {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&self, _gradients: &mut Parameters) -> Result<()> {
        Ok(())
    }

    fn gather(&self, sums: Option<Sums>) -> Result<Option<Vec<Sums>>> {
        Ok(sums.map(|sums| vec![sums]))
    }
}

/// Meets the other processes of a run, if `how` says that there are any; `about` says what is
/// trained, and must be the same text in all.
///
/// # Errors
/// One does not come or trains something else, the environment does not say who is who, or there
/// is no NCCL.
pub fn join(
    how: &How,
    about: &str,
    ctx: &Ctx,
    device: Option<&Device>,
) -> Result<Box<dyn Collective>> {
    let Some(means) = how.data_parallel else {
        return Ok(Box::new(OneProcess));
    };
    let ranks = Ranks::from_environment()?;
    if means == Means::Nccl {
        ensure!(
            device.is_some(),
            "--data-parallel nccl needs a GPU for every process, and this one computes on the CPU: \
             --data-parallel tcp adds on the CPU"
        );
    }
    if ranks.size == 1 && means == Means::Tcp {
        return Ok(Box::new(OneProcess));
    }
    let group = Tcp::meet(&ranks, about, &|| ctx.cancelled())?;
    ctx.info(format!(
        "rank {} of {}, over {means}",
        ranks.rank, ranks.size
    ));
    match means {
        Means::Tcp => Ok(Box::new(group)),
        #[cfg(feature = "nccl")]
        Means::Nccl => {
            let device = device.expect("it was looked for");
            Ok(Box::new(nccl::Nccl::join(group, device)?))
        }
        #[cfg(not(feature = "nccl"))]
        Means::Nccl => anyhow::bail!(
            "--data-parallel nccl: this program was built without NCCL; build it with `make gpu` \
             (cargo build --release --features nccl)"
        ),
    }
}

/// Adds `parts`, at least one, in the tree of halves.
pub fn tree_sum<T>(mut parts: Vec<T>, add: &impl Fn(&mut T, T)) -> T {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let upper = parts.split_off(parts.len() / 2);
    let mut sum = tree_sum(parts, add);
    add(&mut sum, tree_sum(upper, add));
    sum
}

fn add_sums(sums: &mut Sums, others: Sums) {
    for (name, value) in others {
        *sums.entry(name).or_default() += value;
    }
}

/// Cuts updates into shares and adds them.
pub struct Shares<'a> {
    collective: &'a dyn Collective,
    settings: &'a Optimisation,
    /// Gradients of the upper half, by level of the tree.
    spare: Vec<Parameters>,
}

impl<'a> Shares<'a> {
    /// For the shares of this process.
    ///
    /// # Errors
    /// The tree of `ranks` shares has no nodes for so many processes.
    pub fn new(settings: &'a Optimisation, collective: &'a dyn Collective) -> Result<Self> {
        let (ranks, size) = (settings.ranks as usize, collective.size());
        ensure!(
            size == ranks || (size.is_power_of_two() && ranks.is_multiple_of(size)),
            "ranks = {ranks} cannot be shared by {size} processes: start {ranks}, or a power of \
             two that divides it"
        );
        Ok(Self {
            collective,
            settings,
            spare: Vec::new(),
        })
    }

    /// Adds the gradient of `scale · Σ loss` over the window to the trainer's, which are zero,
    /// and returns the unscaled sums; `None` if `stop` said so, with gradients half done.
    ///
    /// # Errors
    /// Those of the objective.
    pub fn accumulate(
        &mut self,
        objective: &mut impl Objective,
        trainer: &mut Trainer,
        window: &[Vec<u32>],
        scale: f64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Sums>> {
        let (ranks, size) = (self.settings.ranks as usize, self.collective.size());
        let own =
            ranks / size * self.collective.rank()..ranks / size * (self.collective.rank() + 1);
        let batches: Vec<&[Vec<u32>]> = window.chunks(self.settings.batch_size as usize).collect();
        let at = |share: usize| share * batches.len() / ranks;
        objective.skip(at(own.start));
        let Trainer {
            parameters,
            gradients,
            ..
        } = trainer;
        let mut part = |share: usize, gradients: &mut Parameters| {
            let mut sums = Sums::new();
            for rows in &batches[at(share)..at(share + 1)] {
                if stop() {
                    return Ok(None);
                }
                add_sums(
                    &mut sums,
                    objective.accumulate(parameters, gradients, rows, scale)?,
                );
            }
            add_sums(&mut sums, objective.outstanding()?);
            Ok(Some(sums))
        };
        let sums = walk(own, gradients, &mut self.spare, 0, &mut part)?;
        // First the small numbers: who is to stop says so here, and whoever has gone is missed.
        let Some(sums) = self.collective.gather(sums)? else {
            return Ok(None);
        };
        self.collective.sum(gradients)?;
        Ok(Some(tree_sum(sums, &add_sums)))
    }
}

/// The sum of `shares` into `gradients`, which are zero.
fn walk(
    shares: Range<usize>,
    gradients: &mut Parameters,
    spare: &mut Vec<Parameters>,
    level: usize,
    part: &mut dyn FnMut(usize, &mut Parameters) -> Result<Option<Sums>>,
) -> Result<Option<Sums>> {
    if shares.len() == 1 {
        return part(shares.start, gradients);
    }
    let middle = shares.start + shares.len() / 2;
    let Some(mut sums) = walk(shares.start..middle, gradients, spare, level + 1, part)? else {
        return Ok(None);
    };
    if spare.len() <= level {
        spare.resize_with(level + 1, Parameters::default);
    }
    let mut upper = std::mem::take(&mut spare[level]);
    if upper.tensors.is_empty() {
        upper = gradients.zeros_like();
    } else {
        upper.zero();
    }
    let found = walk(middle..shares.end, &mut upper, spare, level + 1, part)?;
    gradients.add(&upper);
    spare[level] = upper;
    Ok(found.map(|upper| {
        add_sums(&mut sums, upper);
        sums
    }))
}
