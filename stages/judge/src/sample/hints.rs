//! What prompts tell beside the statement: nothing, what is known, or something at random.
//!
//! Used by `run` and `requests`. AlphaCode asks each sample with a rating and a tag drawn at
//! random: the problems of a contest have none yet, and programs differ more. A draw is a function
//! of seed, problem, language and the sample's number, so that more samples only add. Samples that
//! are told different things share no prompt: random hints cost a prompt a sample.

use anyhow::Result;
use corpus::hints::Known;
use corpus::prompt::Hints;
use engine::rng::{below, rng};
use engine::{BoundInput, Invalid};
use serde::{Deserialize, Serialize};

/// Where hints come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nothing is told.
    #[default]
    Nowhere,
    /// Rating and tags of the problem, where known.
    Given,
    /// One of the `ratings` and one of the `tags`, for each sample.
    Random,
}

/// The setting `hints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hinting {
    /// `nowhere`, `given` or `random`.
    pub from: Source,
    /// What random tags are drawn from, such as the training data's most frequent.
    pub tags: Vec<String>,
    /// What random ratings are drawn from, such as 800, 900, ... 3500.
    pub ratings: Vec<i32>,
}

impl Hinting {
    /// Whether nothing is told.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that there is something to draw from, and only then.
    ///
    /// # Errors
    /// `random` without tags and ratings, or these without `random`.
    pub fn check(&self) -> Result<(), Invalid> {
        let lists = !self.tags.is_empty() || !self.ratings.is_empty();
        Invalid::unless(
            lists == (self.from == Source::Random),
            "hints",
            "must have `tags` or `ratings` to draw from with from = \"random\", and only then",
        )
    }
}

/// Says what each prompt tells.
pub(super) struct Hinter<'a> {
    hinting: &'a Hinting,
    known: Known,
    seed: u64,
}

impl<'a> Hinter<'a> {
    /// Reads what is known of the problems, if that is told.
    pub(super) fn new(hinting: &'a Hinting, problems: &[BoundInput], seed: u64) -> Result<Self> {
        Ok(Self {
            hinting,
            known: match hinting.from {
                Source::Given => Known::read(problems)?,
                Source::Nowhere | Source::Random => Known::default(),
            },
            seed,
        })
    }

    /// Whether each sample of a problem is told something else.
    pub(super) fn varies(&self) -> bool {
        self.hinting.from == Source::Random
    }

    /// The hints of sample `number` of a problem in a language, by whose `key` chance goes.
    pub(super) fn hints(&self, problem_id: &str, key: &str, number: u64) -> Hints {
        if !self.varies() {
            return self.known.of(problem_id).clone();
        }
        let mut random = rng(self.seed, &format!("sample.hints\n{key}"), number);
        let mut place = |many: usize| (many > 0).then(|| below(&mut random, many as u64) as usize);
        let Hinting { tags, ratings, .. } = self.hinting;
        Hints {
            rating: place(ratings.len()).map(|place| ratings[place]),
            tags: place(tags.len())
                .map(|place| tags[place].clone())
                .into_iter()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hinter, Hinting, Source};
    use corpus::hints::Topic;
    use corpus::prompt::Hints;
    use engine::BoundInput;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_given_is_what_is_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("problems.parquet");
        let topic = Topic {
            problem_id: "p".into(),
            rating: Some(1700),
            tags: vec!["dp".into(), "math".into()],
        };
        corpus::table::write(&path, [topic]).expect("a table");
        let label = "problems".to_owned();
        let hinting = Hinting {
            from: Source::Given,
            ..Hinting::default()
        };
        let hinter = Hinter::new(&hinting, &[BoundInput { path, label }], 3).expect("a table");
        assert!(!hinter.varies());
        let hints = hinter.hints("p", "p\ncpp", 5);
        assert_eq!((hints.rating, hints.tags.len()), (Some(1700), 2));
        assert_eq!(hinter.hints("q", "q\ncpp", 5), Hints::NONE);
    }

    #[test]
    fn random_hints_are_even_and_a_function_of_the_sample() {
        let hinting = Hinting {
            from: Source::Random,
            tags: ["dp", "math", "trees", "games"].map(str::to_owned).to_vec(),
            ratings: vec![800, 900, 1000],
        };
        let hinter = Hinter::new(&hinting, &[], 3).expect("nothing is read");
        let mut counts = BTreeMap::new();
        for number in 0..6000 {
            let hints = hinter.hints("p", "p\ncpp", number);
            assert_eq!(hints, hinter.hints("p", "p\ncpp", number));
            assert_eq!(hints.tags.len(), 1);
            *counts.entry(hints).or_insert(0_u32) += 1;
        }
        // 12 pairs, 500 each, with a deviation of 21.
        assert_eq!(counts.len(), 12);
        assert!(counts.values().all(|count| count.abs_diff(500) < 100));
        let other = |key: &str| {
            (0..50)
                .map(|n| hinter.hints("p", key, n))
                .collect::<Vec<_>>()
        };
        assert_ne!(other("p\ncpp"), other("p\npython3"));
    }

    #[test]
    fn there_has_to_be_something_to_draw_from() {
        let check = |text: &str| {
            let hinting: Hinting = serde_json::from_str(text).expect("a setting");
            hinting.check().is_ok()
        };
        assert!(check("{}") && check(r#"{"from": "given"}"#));
        assert!(check(r#"{"from": "random", "ratings": [800]}"#));
        assert!(!check(r#"{"from": "random"}"#) && !check(r#"{"tags": ["dp"]}"#));
    }
}
