//! Stage `tokenizer`: trains a byte-level BPE tokenizer on the training texts.
//!
//! Reads problems and solutions; writes a folder with `tokenizer.json` and
//! `tokenizer_config.json` in Hugging Face's form, for models that are trained from scratch. Called
//! before `mix`. The texts are those that `mix` makes: prompts and completions of correct
//! solutions of training problems.
//!
//! Promises: the same bytes in every run (the trainer breaks ties by token ids, the vocabulary is
//! written in their order); every byte has a token, so that any text can be encoded and decoded
//! back exactly; the special tokens have ids 0, 1, 2 and are three different ones: a padding that
//! equals the end would mask the end out of the loss.
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `problems` (many) | `schema::Problem` | `tokenizer` | folder |
//! | `solutions` (many) | `schema::Solution` | | |

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, ensure};
use engine::{BoundInput, Ctx, Input, Invalid, NoHow, Output, Stage};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, TokenizerBuilder, TokenizerImpl};

use crate::drops::write_json;
use crate::language::Language;
use crate::prompt;
use crate::schema::Solution;
use crate::statements::Statements;
use crate::table::Table;

/// Fills batches up to one length.
pub const PAD: &str = "<|pad|>";
/// Begins every prompt.
pub const BOS: &str = "<|bos|>";
/// Ends every completion.
pub const EOS: &str = "<|eos|>";

/// Special tokens and the 256 bytes.
const LEAST_VOCABULARY: u64 = 3 + 256;

/// The stage.
pub struct Tokenizer;

/// Settings of `tokenizer`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Number of tokens, special ones included.
    pub vocabulary: u64,
    /// Pairs rarer than this are not merged.
    pub min_frequency: u64,
    /// Most correct solutions read of one problem, 0 = all.
    pub solutions_per_problem: u64,
    /// Languages to use.
    pub languages: Vec<Language>,
}

impl Default for What {
    fn default() -> Self {
        Self {
            vocabulary: 2048,
            min_frequency: 2,
            solutions_per_problem: 0,
            languages: Language::CODE_CONTESTS.to_vec(),
        }
    }
}

impl Stage for Tokenizer {
    const NAME: &'static str = "tokenizer";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Trains a byte-level BPE tokenizer on the training texts.";
    const INPUTS: &'static [Input] = &[
        Input::table("problems").many(),
        Input::table("solutions").many(),
    ];
    const OUTPUTS: &'static [Output] = &[Output::tree("tokenizer")];
    const SOURCES: &'static [&'static str] = &[
        "corpus/src/tokenizer.rs",
        "corpus/src/statements.rs",
        "corpus/src/prompt.rs",
        "corpus/src/language.rs",
        "corpus/src/schema.rs",
        "corpus/src/column.rs",
        "corpus/src/table.rs",
    ];
    const SEEDED: bool = false;
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        Invalid::unless(
            what.vocabulary >= LEAST_VOCABULARY,
            "vocabulary",
            format!("must be at least {LEAST_VOCABULARY}: 3 special tokens and one for each byte"),
        )?;
        Invalid::unless(
            !what.languages.is_empty(),
            "languages",
            "must name at least one",
        )
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let statements = Statements::read(&ctx.inputs("problems"))?;
        let mut tables = Vec::new();
        for BoundInput { path, label } in ctx.inputs("solutions") {
            tables.push(Table::<Solution>::open(&path, &label)?);
        }
        let total = tables.iter().map(Table::len).sum();
        let progress = ctx.progress("tokenizer", "solutions", Some(total));
        // The trainer takes texts, not results: the first error waits here until it is done.
        let mut failed = None;
        let mut rows = tables.iter().flat_map(|table| match table.rows() {
            Ok(rows) => Box::new(rows) as Box<dyn Iterator<Item = Result<Solution>> + Send>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        let mut asked: BTreeMap<String, u64> = BTreeMap::new();
        let mut texts_read = 0_u64;
        let texts = std::iter::from_fn(|| {
            loop {
                let solution = match rows.next()? {
                    Ok(solution) => solution,
                    Err(error) => {
                        failed = Some(error);
                        return None;
                    }
                };
                if let Err(interrupted) = ctx.check_cancelled() {
                    failed = Some(interrupted);
                    return None;
                }
                progress.inc(1);
                if let Some(text) = text(&solution, what, &statements, &mut asked) {
                    texts_read += 1;
                    return Some(text);
                }
            }
        });
        let tokenizer = train(texts, what)?;
        if let Some(error) = failed {
            return Err(error);
        }
        ensure!(
            texts_read > 0,
            "{} holds no correct solution of a training problem in the languages asked for, so \
             there is nothing to train a tokenizer on",
            ctx.label("solutions")
        );
        let folder = ctx.output("tokenizer");
        let text = tokenizer
            .to_string(true)
            .map_err(|error| anyhow!("cannot write the tokenizer: {error}"))?;
        fs_err::write(folder.join("tokenizer.json"), text + "\n")?;
        write_json(
            &folder.join("tokenizer_config.json"),
            &json!({
                "add_bos_token": true,
                "add_eos_token": false,
                "bos_token": BOS,
                "clean_up_tokenization_spaces": false,
                "eos_token": EOS,
                "pad_token": PAD,
                "tokenizer_class": "PreTrainedTokenizerFast",
            }),
        )?;
        ctx.metric("vocabulary", tokenizer.get_vocab_size(true) as f64);
        ctx.metric("texts", texts_read as f64);
        Ok(())
    }
}

/// The text of a solution, with its prompt when the problem comes for the first time.
fn text(
    solution: &Solution,
    what: &What,
    statements: &Statements,
    asked: &mut BTreeMap<String, u64>,
) -> Option<String> {
    let language = Language::from_name(&solution.language)?;
    let statement = statements.trainable(&solution.problem_id).ok()?;
    if !solution.correct || !what.languages.contains(&language) {
        return None;
    }
    let count = asked.entry(solution.problem_id.clone()).or_default();
    *count += 1;
    if what.solutions_per_problem > 0 && *count > what.solutions_per_problem {
        return None;
    }
    let answer = prompt::completion(&solution.source);
    // A statement counts once, however many solutions it has: else the words of a few popular
    // stories would fill the vocabulary.
    Some(if *count == 1 {
        statement.prompt(&prompt::Hints::NONE, language) + &answer
    } else {
        answer
    })
}

type BytePair =
    TokenizerImpl<BPE, tokenizers::NormalizerWrapper, ByteLevel, TemplateProcessing, ByteLevel>;

fn train(texts: impl Iterator<Item = String> + Send, what: &What) -> Result<BytePair> {
    let failed = |error: tokenizers::Error| anyhow!("cannot train the tokenizer: {error}");
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(what.vocabulary as usize)
        .min_frequency(what.min_frequency)
        .special_tokens(
            [PAD, BOS, EOS]
                .map(|token| AddedToken::from(token, true))
                .to_vec(),
        )
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let begin = TemplateProcessing::builder()
        .try_single(format!("{BOS} $A"))
        .map_err(|error| anyhow!("{error}"))?
        .special_tokens(vec![(BOS, 1)])
        .build()?;
    // No prefix space: a program's first blank is indentation.
    let bytes = ByteLevel::new(false, true, true);
    let mut tokenizer: BytePair = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(bytes))
        .with_post_processor(Some(begin))
        .with_decoder(Some(bytes))
        .build()
        .map_err(failed)?;
    tokenizer.train(&mut trainer, texts).map_err(failed)?;
    Ok(tokenizer)
}
