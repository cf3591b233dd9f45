//! From the table `samples` to token ids: what the model sees of each example.
//!
//! Used by `sft` and `adapt`. Prompt and completion are tokenised separately and their ids
//! concatenated, as in sampling; the beginning-of-sequence token comes first if the tokenizer
//! adds one, the end-of-sequence token ends the completion and is learnt. Masks follow from
//! lengths, never from token ids. An example that is too long is dropped and counted, not cut:
//! half a program teaches not to end. All ids are held in memory (4 bytes a token).

use anyhow::{Context as _, Result, ensure};
use corpus::table::Table;
use corpus::tokens::TokenCounter;
use engine::{Ctx, rng::Rng as _, rng::rng};
use model::batch::{Batch, IGNORE};
use model::checkpoint::load_tokenizer;
use model::config::Config;
use model::tokenizer::Tokenizer;
use rayon::prelude::*;
use std::path::Path;

corpus::table! {
    /// What training needs of `samples`.
    pub struct Text in "samples" {
        /// Problem of the example.
        pub problem_id: String,
        /// Text before the answer.
        pub prompt: String,
        /// The answer.
        pub completion: String,
        /// Tokens of the prompt, as `mix` counted them.
        pub prompt_tokens: u32,
        /// Tokens of the completion, as `mix` counted them.
        pub completion_tokens: u32,
    }
}

/// Rows tokenised at once: bounds memory, changes nothing.
const ROWS_AT_ONCE: usize = 4096;

/// Which tokens of a sample are seen and which are in the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prompt and completion, of which the completion is in the loss (paper, Eq. 7).
    Answer,
    /// Prompt and completion, all in the loss.
    Both,
    /// The completion alone, all in the loss.
    Completion,
}

/// Token ids of many examples, end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    ids: Vec<u32>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: usize,
    length: u32,
    /// Tokens at the beginning that are not in the loss.
    given: u32,
}

impl Examples {
    /// Appends an example whose first `given` tokens are not in the loss.
    pub fn push(&mut self, ids: &[u32], given: usize) {
        let (start, length) = (self.ids.len(), ids.len() as u32);
        self.entries.push(Entry {
            start,
            length,
            given: given as u32,
        });
        self.ids.extend_from_slice(ids);
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tokens of an example.
    pub fn tokens(&self, item: u32) -> usize {
        self.entries[item as usize].length as usize
    }

    /// Tokens of an example that are predicted: the first token of a sequence never is.
    pub fn targets(&self, item: u32) -> usize {
        let entry = self.entries[item as usize];
        (entry.length - entry.given.max(1)) as usize
    }

    /// Lays examples end to end.
    ///
    /// # Errors
    /// An example is empty.
    pub fn batch<'a>(&self, items: impl IntoIterator<Item = &'a u32>) -> Result<Batch> {
        let mut batch = Batch::new();
        for &item in items {
            let entry = self.entries[item as usize];
            let ids = &self.ids[entry.start..entry.start + entry.length as usize];
            let given = entry.given as usize;
            let labels: Vec<i32> = (0..ids.len())
                .map(|index| {
                    if index < given {
                        IGNORE
                    } else {
                        ids[index] as i32
                    }
                })
                .collect();
            batch.push(ids, &labels)?;
        }
        Ok(batch)
    }
}

/// Turns texts into ids the way a model folder wants them.
pub struct Encoder {
    tokenizer: Tokenizer,
    beginning: Option<u32>,
    end: u32,
}

impl Encoder {
    /// Reads the tokenizer of a model folder.
    ///
    /// # Errors
    /// It is missing, is not the model's, or the model has no end-of-sequence token.
    pub fn load(folder: &Path, config: &Config) -> Result<Self> {
        let tokenizer = load_tokenizer(folder, config)?;
        // `mix` counts with the same rule, so the two cannot drift apart.
        let adds_beginning = TokenCounter::load(folder, "the model's tokenizer")?.prompt("")? > 0;
        let named = |key: &str| format!("{}: config.json has no {key}", folder.display());
        let beginning = adds_beginning
            .then(|| {
                config
                    .bos_token
                    .with_context(|| named("bos_token_id, but the tokenizer adds one"))
            })
            .transpose()?;
        let end = config.eos_tokens.first().copied();
        let end =
            end.with_context(|| named("eos_token_id: the model could never learn to stop"))?;
        Ok(Self {
            tokenizer,
            beginning,
            end,
        })
    }

    /// The ids of a prompt.
    ///
    /// # Errors
    /// The tokenizer cannot express the text.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids: Vec<u32> = self.beginning.into_iter().collect();
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }

    /// The ids of a completion, with the end.
    ///
    /// # Errors
    /// The tokenizer cannot express the text.
    pub fn completion(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode(text)?;
        ids.push(self.end);
        Ok(ids)
    }

    /// The ids of an example and how many of them are given.
    fn example(&self, text: &Text, form: Form) -> Result<Encoded> {
        let prompt = self.prompt(if form == Form::Completion {
            ""
        } else {
            &text.prompt
        })?;
        let completion = self.completion(&text.completion)?;
        let fits_counts = (form == Form::Completion || prompt.len() == text.prompt_tokens as usize)
            && completion.len() == text.completion_tokens as usize;
        let given = if form == Form::Answer {
            prompt.len()
        } else {
            0
        };
        Ok(Encoded {
            ids: [prompt, completion].concat(),
            given,
            fits_counts,
        })
    }
}

struct Encoded {
    ids: Vec<u32>,
    given: usize,
    fits_counts: bool,
}

/// The examples of a table, in its order.
#[derive(Default)]
pub struct Loaded {
    /// To train on.
    pub train: Examples,
    /// Kept out: all examples of some problems.
    pub validation: Examples,
    /// Examples that were dropped.
    pub too_long: u64,
}

/// Reads and tokenises input `samples`; examples of more than `max_tokens` are dropped.
///
/// # Errors
/// The table or a text cannot be read, or every example was dropped.
pub fn load(
    ctx: &Ctx,
    encoder: &Encoder,
    form: Form,
    max_tokens: usize,
    validation_share: f64,
) -> Result<Loaded> {
    let label = ctx.label("samples");
    let table = Table::<Text>::open(ctx.input("samples")?, &label)?;
    let progress = ctx.progress("tokenise", "examples", Some(table.len()));
    let mut loaded = Loaded::default();
    let mut miscounted = 0_u64;
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
        let encoded = texts
            .par_iter()
            .map(|text| encoder.example(text, form))
            .collect::<Result<Vec<Encoded>>>()?;
        for (text, encoded) in texts.iter().zip(encoded) {
            miscounted += u64::from(!encoded.fits_counts);
            if encoded.ids.len() > max_tokens {
                loaded.too_long += 1;
            } else if is_held_out(ctx.seed(), &text.problem_id, validation_share) {
                loaded.validation.push(&encoded.ids, encoded.given);
            } else {
                loaded.train.push(&encoded.ids, encoded.given);
            }
        }
        progress.inc(texts.len() as u64);
    }
    if miscounted > 0 {
        ctx.warn(format!(
            "{miscounted} examples of {label} have other token counts than the model's tokenizer \
             gives: they were made with another tokenizer, whose length limit was another one"
        ));
    }
    let kept = loaded.train.len() + loaded.validation.len();
    ensure!(
        kept > 0 || loaded.too_long == 0,
        "all {} examples of {label} are longer than {max_tokens} tokens: raise max_tokens, or use a \
         model with more positions",
        loaded.too_long
    );
    if loaded.too_long > 0 {
        ctx.info(format!(
            "{} of {} examples are longer than {max_tokens} tokens and dropped",
            loaded.too_long,
            loaded.too_long + kept as u64
        ));
    }
    ctx.metric("examples", loaded.train.len() as f64);
    ctx.metric("validation_examples", loaded.validation.len() as f64);
    ctx.metric("dropped.too_long", loaded.too_long as f64);
    Ok(loaded)
}

/// Whether a problem is kept out: by its own random number, whatever other problems there are.
pub(crate) fn is_held_out(seed: u64, problem_id: &str, share: f64) -> bool {
    let word = rng(seed, &format!("train.validation.{problem_id}"), 0).next_u64();
    ((word >> 11) as f64) < share * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_completion_and_its_end_are_in_the_loss() {
        let mut examples = Examples::default();
        examples.push(&[5, 6, 7, 2], 2);
        examples.push(&[8, 9, 2], 0);
        let batch = examples.batch(&[0, 1]).expect("no example is empty");
        assert_eq!(batch.labels, [IGNORE, IGNORE, 7, 2, 8, 9, 2]);
        assert_eq!(batch.bounds, [0, 4, 7]);
        assert_eq!([examples.targets(0), examples.targets(1)], [2, 2]);
        assert_eq!(batch.target_count(), 4);
    }

    #[test]
    fn about_the_share_is_held_out() {
        let count = (0..2000)
            .filter(|i| is_held_out(3, &format!("p/{i}"), 0.1))
            .count();
        assert!((150..250).contains(&count), "{count}");
        assert!(!is_held_out(3, "p", 0.0));
        assert!(is_held_out(3, "p", 1.0));
    }
}
