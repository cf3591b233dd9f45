//! From the table `triplets` to token ids: a prompt with a right and a wrong answer.
//!
//! Used by `reward`, `dpo` and `orpo` (paper, section 2). Tokenised as in `examples`: prompt and
//! answer apart, the end of the sequence belongs to the answer. Problems are held out whole.
//! Pairs that teach nothing are dropped and counted: answers that are equal, an answer without
//! a token, a sequence that is too long (cutting one would cut its end). All ids are held in
//! memory.

use crate::examples::{Encoder, is_held_out};
use anyhow::{Result, ensure};
use corpus::table::Table;
use engine::{Ctx, Invalid};
use model::batch::{Batch, IGNORE};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

corpus::table! {
    /// What training needs of `triplets`.
    pub struct Text in "triplets" {
        /// Problem of the pair.
        pub problem_id: String,
        /// Text before the answer.
        pub prompt: String,
        /// The right program.
        pub chosen: String,
        /// The wrong program.
        pub rejected: String,
        /// Edit distance over the longer program's length.
        pub normalised_distance: f64,
        /// Solution id of the right program.
        pub chosen_id: String,
        /// Solution id of the wrong program.
        pub rejected_id: String,
    }
}

/// Rows tokenised at once: bounds memory, changes nothing.
const ROWS_AT_ONCE: usize = 4096;

/// A prompt and two answers, as token ids; answers have their end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The right answer.
    pub chosen: Vec<u32>,
    /// The wrong answer.
    pub rejected: Vec<u32>,
    /// The prompt before the wrong answer, if its ids are others: where prompt and answer are
    /// tokenised as one text, the border can move. Never so in our tables.
    pub rejected_prompt: Option<Vec<u32>>,
    /// Edit distance of the programs over the longer one's length.
    pub normalised_distance: f64,
    /// Solution ids of both programs.
    pub ids: [String; 2],
}

impl Pair {
    /// Why the pair teaches nothing, if so.
    fn fault(&self, max_tokens: usize) -> Option<&'static str> {
        let longest = self.chosen.len().max(self.rejected.len());
        if self.chosen.len() < 2 || self.rejected.len() < 2 {
            Some("empty")
        } else if self.chosen == self.rejected {
            Some("equal")
        } else if self.prompt.len() + longest > max_tokens {
            Some("too_long")
        } else {
            None
        }
    }

    /// Tokens of both sequences.
    pub fn tokens(&self) -> usize {
        let prompts = self.prompt.len() + self.rejected_prompt().len();
        prompts + self.chosen.len() + self.rejected.len()
    }

    /// The prompt before the wrong answer.
    pub fn rejected_prompt(&self) -> &[u32] {
        self.rejected_prompt.as_ref().unwrap_or(&self.prompt)
    }
}

/// Tokens of some pairs.
pub fn tokens(pairs: &[Pair], items: &[u32]) -> u64 {
    let of = |&item: &u32| pairs[item as usize].tokens() as u64;
    items.iter().map(of).sum()
}

/// Checks the settings about texts that all stages on pairs share.
///
/// # Errors
/// Names the first that is out of range.
pub fn check_texts(max_tokens: u64, validation_share: f64) -> Result<(), Invalid> {
    Invalid::unless(
        max_tokens >= 3,
        "max_tokens",
        "must be at least 3: a token to go by, one of the answer, and its end",
    )?;
    Invalid::unless(
        (0.0..1.0).contains(&validation_share),
        "validation_share",
        "must be at least 0 and below 1, because something must be left to train on",
    )
}

/// Which tokens' log-probabilities are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Those of the answers.
    Answers,
    /// Those of the answers and of the prompt before the chosen one.
    ChosenPrompt,
}

/// Where the sequences of a pair lie in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Tokens of the chosen sequence, prompt and answer.
    pub chosen_sequence: Range<usize>,
    /// Tokens of the chosen answer that are predicted.
    pub chosen: Range<usize>,
    /// Tokens of the rejected answer that are predicted.
    pub rejected: Range<usize>,
}

/// Lays pairs end to end: chosen, rejected, chosen, …
///
/// # Errors
/// A sequence is empty.
pub fn batch<'a>(
    pairs: impl IntoIterator<Item = &'a Pair>,
    labels: Labels,
) -> Result<(Batch, Vec<Place>)> {
    let mut batch = Batch::new();
    let mut places = Vec::new();
    for pair in pairs {
        let mut push = |prompt: &[u32], answer: &[u32], with_prompt| -> Result<_> {
            let start = batch.len();
            let ids = [prompt, answer].concat();
            let given = if with_prompt { 0 } else { prompt.len() };
            let labels: Vec<i32> = (0..ids.len())
                .map(|i| if i < given { IGNORE } else { ids[i] as i32 })
                .collect();
            batch.push(&ids, &labels)?;
            // The first token of a sequence is never predicted.
            Ok((start, start + prompt.len().max(1)..start + ids.len()))
        };
        let (start, chosen) = push(&pair.prompt, &pair.chosen, labels == Labels::ChosenPrompt)?;
        let (_, rejected) = push(pair.rejected_prompt(), &pair.rejected, false)?;
        places.push(Place {
            chosen_sequence: start..chosen.end,
            chosen,
            rejected,
        });
    }
    Ok((batch, places))
}

/// The sum of some tokens' log-probabilities.
pub fn sum(log_probs: &[f32], tokens: &Range<usize>) -> f64 {
    log_probs[tokens.clone()]
        .iter()
        .map(|&value| f64::from(value))
        .sum()
}

/// Pairs of a table, in its order.
#[derive(Debug, Default)]
pub struct Loaded {
    /// To train on.
    pub train: Vec<Pair>,
    /// Kept out: all pairs of some problems.
    pub validation: Vec<Pair>,
}

/// Reads and tokenises input `triplets`.
///
/// # Errors
/// The table or a text cannot be read, or every pair was dropped.
pub fn load(
    ctx: &Ctx,
    encoder: &Encoder,
    max_tokens: usize,
    validation_share: f64,
) -> Result<Loaded> {
    let label = ctx.label("triplets");
    let table = Table::<Text>::open(ctx.input("triplets")?, &label)?;
    let progress = ctx.progress("tokenise", "pairs", Some(table.len()));
    let mut loaded = Loaded::default();
    let mut dropped = BTreeMap::from([("empty", 0_u64), ("equal", 0), ("too_long", 0)]);
    let mut rows = table.rows()?;
    loop {
        ctx.check_cancelled()?;
        let texts = rows
            .by_ref()
            .take(ROWS_AT_ONCE)
            .collect::<Result<Vec<Text>>>()?;
        if texts.is_empty() {
            break;
        }
        let pairs = texts
            .par_iter()
            .map(|text| {
                Ok(Pair {
                    prompt: encoder.prompt(&text.prompt)?,
                    chosen: encoder.completion(&text.chosen)?,
                    rejected: encoder.completion(&text.rejected)?,
                    rejected_prompt: None,
                    normalised_distance: text.normalised_distance,
                    ids: [text.chosen_id.clone(), text.rejected_id.clone()],
                })
            })
            .collect::<Result<Vec<Pair>>>()?;
        for (text, pair) in texts.iter().zip(pairs) {
            if let Some(reason) = pair.fault(max_tokens) {
                *dropped.entry(reason).or_default() += 1;
            } else if is_held_out(ctx.seed(), &text.problem_id, validation_share) {
                loaded.validation.push(pair);
            } else {
                loaded.train.push(pair);
            }
        }
        progress.inc(texts.len() as u64);
    }
    let counts: Vec<String> = dropped
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    if !counts.is_empty() {
        ctx.info(format!(
            "of {} pairs are dropped: {}",
            table.len(),
            counts.join(", ")
        ));
    }
    ensure!(
        !loaded.train.is_empty(),
        "no pair of {label} is left to train on (dropped: {}; held out: {}): raise max_tokens above \
         {max_tokens} if they are too long, lower validation_share, or make more triplets",
        if counts.is_empty() {
            "none".to_owned()
        } else {
            counts.join(", ")
        },
        loaded.validation.len()
    );
    for (reason, count) in dropped {
        ctx.metric(&format!("dropped.{reason}"), count as f64);
    }
    ctx.metric("pairs", loaded.train.len() as f64);
    ctx.metric("validation_pairs", loaded.validation.len() as f64);
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(prompt: &[u32], chosen: &[u32], rejected: &[u32]) -> Pair {
        Pair {
            prompt: prompt.to_vec(),
            chosen: chosen.to_vec(),
            rejected: rejected.to_vec(),
            ..Pair::default()
        }
    }

    #[test]
    fn answers_lie_where_the_places_say() {
        let pairs = [
            pair(&[1, 2, 3], &[7, 0], &[8, 9, 0]),
            pair(&[], &[4, 0], &[5, 0]),
        ];
        let (batch, places) = batch(&pairs, Labels::Answers).expect("no sequence is empty");
        assert_eq!(batch.bounds, [0, 5, 11, 13, 15]);
        assert_eq!(places[0].chosen_sequence, 0..5);
        assert_eq!(
            (&places[0].chosen, &places[0].rejected),
            (&(3..5), &(8..11))
        );
        assert_eq!(
            (&places[1].chosen, &places[1].rejected),
            (&(12..13), &(14..15))
        );
        assert_eq!(batch.labels[..6], [IGNORE, IGNORE, IGNORE, 7, 0, IGNORE]);
        let (batch, _) = super::batch(&pairs[..1], Labels::ChosenPrompt).expect("as above");
        assert_eq!(batch.labels[..6], [1, 2, 3, 7, 0, IGNORE]);
    }

    #[test]
    fn pairs_that_teach_nothing_have_a_reason() {
        for (chosen, rejected, fault) in [
            (vec![7, 0], vec![8, 0], None),
            (vec![7, 0], vec![7, 0], Some("equal")),
            (vec![0], vec![7, 0], Some("empty")),
            (vec![7, 0], vec![7, 8, 9, 0], Some("too_long")),
        ] {
            assert_eq!(pair(&[1, 2], &chosen, &rejected).fault(5), fault);
        }
    }
}
