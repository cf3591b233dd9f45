//! Which prompts each batch asks: a function of (seed, pass), so that resuming needs no state.
//!
//! Used by `ppo::run`. Problems of other splits than `train` are never asked: their tests decide
//! results, and a score learnt from them would be learnt by heart.

use super::What;
use crate::examples::Encoder;
use anyhow::{Result, ensure};
use corpus::hints::Hinter;
use corpus::language::Language;
use corpus::prompt::prompt;
use corpus::table::Table;
use engine::Ctx;
use engine::rng::{rng, shuffle};

corpus::table! {
    /// What asking needs of `problems`.
    pub struct Asked in "problems" {
        /// Identifier.
        pub problem_id: String,
        /// Title.
        pub name: String,
        /// Split.
        pub split: String,
        /// Statement.
        pub description: String,
    }
}

/// A problem asked in a language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) problem_id: String,
    pub(super) language: Language,
    pub(super) ids: Vec<u32>,
}

/// All prompts of input `problems`, in its order.
pub(super) fn load(
    ctx: &Ctx,
    encoder: &Encoder,
    what: &What,
    max_tokens: usize,
) -> Result<Vec<Prompt>> {
    let label = ctx.label("problems");
    let problems = ctx.inputs("problems");
    let hinter = Hinter::new(what.hints, &problems, ctx.seed(), "ppo.hints")?;
    let mut asked = 0;
    let (mut prompts, mut others, mut too_long) = (Vec::new(), 0_u64, 0_u64);
    for row in Table::<Asked>::open(ctx.input("problems")?, &label)?.rows()? {
        let row = row?;
        if row.split != "train" {
            others += 1;
            continue;
        }
        for &language in &what.languages {
            let hints = hinter.hints(&row.problem_id, asked);
            asked += 1;
            let ids = encoder.prompt(&prompt(&row.name, &row.description, &hints, language))?;
            if ids.len() > max_tokens {
                too_long += 1;
                continue;
            }
            prompts.push(Prompt {
                problem_id: row.problem_id.clone(),
                language,
                ids,
            });
        }
    }
    ensure!(
        !prompts.is_empty(),
        "{label} has no problem to learn from: {others} are of another split than `train`, {too_long} \
         prompts are longer than {max_tokens} tokens"
    );
    if others > 0 {
        ctx.info(format!(
            "{others} problems of {label} are not of split `train` and are not asked"
        ));
    }
    if too_long > 0 {
        ctx.info(format!(
            "{too_long} prompts are longer than {max_tokens} tokens and not asked"
        ));
    }
    ctx.metric("prompts", prompts.len() as f64);
    ctx.metric("dropped.too_long", too_long as f64);
    ctx.metric("dropped.other_split", others as f64);
    Ok(prompts)
}

/// The prompts of batch `batch` of `size`, out of `count`: every pass asks all of them once, in
/// an order of its own.
pub(super) fn of_batch(seed: u64, batch: u64, size: usize, count: usize) -> Vec<usize> {
    let first = batch * size as u64;
    let (mut pass, mut order) = (u64::MAX, Vec::new());
    (first..first + size as u64)
        .map(|position| {
            let wanted = position / count as u64;
            if wanted != pass {
                pass = wanted;
                order = (0..count).collect();
                shuffle(&mut rng(seed, "ppo.prompts", pass), &mut order);
            }
            order[(position % count as u64) as usize]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::of_batch;

    #[test]
    fn every_pass_asks_each_prompt_once() {
        let asked: Vec<usize> = (0..6).flat_map(|batch| of_batch(3, batch, 7, 21)).collect();
        let mut passes: Vec<Vec<usize>> = asked.chunks(21).map(<[usize]>::to_vec).collect();
        assert_ne!(passes[0], passes[1]);
        for pass in &mut passes {
            pass.sort_unstable();
            assert_eq!(*pass, (0..21).collect::<Vec<usize>>());
        }
        // A batch larger than all prompts goes round.
        assert_eq!(of_batch(3, 0, 50, 21)[..21], asked[..21]);
    }
}
