//! Which hints the prompts of training have: rating and tags of the problem, some left out.
//!
//! Used by `mix` and by `ppo`, which make training prompts; `sample` reads what is known here and
//! decides itself what to tell. AlphaCode conditions on rating and tags because, asked with random
//! ones, a model writes more kinds of programs; the template is in `prompt.rs`.
//!
//! Promises: hints are a function of seed, stream and number, whatever is asked beside them. With
//! hints off nothing is read, and prompts are those of a recipe that never heard of hints.

use std::collections::BTreeMap;

use anyhow::Result;
use engine::rng::{Rng as _, rng};
use engine::{BoundInput, Invalid};
use serde::{Deserialize, Serialize};

use crate::prompt::Hints;
use crate::table::Table;

/// The setting `hints` of a stage that trains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hinting {
    /// Tell the rating where it is known.
    pub rating: bool,
    /// Tell the tags there are.
    pub tags: bool,
    /// Chance of the rating, and of each tag, to be left out: no problem to be solved comes with
    /// all that is known of those to learn from.
    pub dropped: f64,
}

impl Default for Hinting {
    fn default() -> Self {
        Self {
            rating: false,
            tags: false,
            dropped: 0.5,
        }
    }
}

impl Hinting {
    /// Whether nothing is told.
    #[must_use]
    pub fn is_off(&self) -> bool {
        !self.rating && !self.tags
    }

    /// Checks the range.
    ///
    /// # Errors
    /// `dropped` is no probability.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless(
            (0.0..=1.0).contains(&self.dropped),
            "hints",
            "must have a `dropped` between 0 and 1: it is a probability",
        )
    }
}

crate::table! {
    /// What there is to tell of a problem.
    pub struct Topic in "problems" {
        /// Problem.
        pub problem_id: String,
        /// Codeforces rating, where known.
        pub rating: Option<i32>,
        /// Topic tags.
        pub tags: Vec<String>,
    }
}

/// What is known of problems, by id.
#[derive(Default)]
pub struct Known(BTreeMap<String, Hints>);

impl Known {
    /// Reads tables of problems; the first row of an id counts.
    ///
    /// # Errors
    /// A table cannot be read, or lacks one of the columns.
    pub fn read(inputs: &[BoundInput]) -> Result<Self> {
        let mut known = BTreeMap::new();
        for BoundInput { path, label } in inputs {
            for row in Table::<Topic>::open(path, label)?.rows()? {
                let Topic {
                    problem_id,
                    rating,
                    tags,
                } = row?;
                known.entry(problem_id).or_insert(Hints { rating, tags });
            }
        }
        Ok(Self(known))
    }

    /// All that is known of a problem.
    #[must_use]
    pub fn of(&self, problem_id: &str) -> &Hints {
        static NOTHING: Hints = Hints::NONE;
        self.0.get(problem_id).unwrap_or(&NOTHING)
    }
}

/// Draws the hints of training prompts.
pub struct Hinter {
    hinting: Hinting,
    known: Known,
    seed: u64,
    stream: &'static str,
}

impl Hinter {
    /// For the problems of these tables, with random numbers of this stream.
    ///
    /// # Errors
    /// As [`Known::read`].
    pub fn new(
        hinting: Hinting,
        problems: &[BoundInput],
        seed: u64,
        stream: &'static str,
    ) -> Result<Self> {
        let known = if hinting.is_off() {
            Known::default()
        } else {
            Known::read(problems)?
        };
        Ok(Self {
            hinting,
            known,
            seed,
            stream,
        })
    }

    /// The hints of the prompt that has this number.
    #[must_use]
    pub fn hints(&self, problem_id: &str, number: u64) -> Hints {
        let Hinting {
            rating,
            tags,
            dropped,
        } = self.hinting;
        let mut random = rng(self.seed, self.stream, number);
        // Drawn for whatever is known, so that one switch does not move the other's numbers.
        let mut kept = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 >= dropped;
        let known = self.known.of(problem_id);
        Hints {
            rating: known.rating.filter(|_| kept() && rating),
            tags: known
                .tags
                .iter()
                .filter(|_| kept() && tags)
                .cloned()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hinter(hinting: Hinting) -> Hinter {
        let hints = Hints {
            rating: Some(1500),
            tags: vec!["dp".into(), "math".into(), "trees".into()],
        };
        Hinter {
            hinting,
            known: Known(BTreeMap::from([("p".to_owned(), hints)])),
            seed: 7,
            stream: "test",
        }
    }

    #[test]
    fn each_hint_is_dropped_as_often_as_was_said_and_alone() {
        let hinter = hinter(Hinting {
            rating: true,
            tags: true,
            dropped: 0.25,
        });
        let drawn: Vec<Hints> = (0..4000).map(|number| hinter.hints("p", number)).collect();
        let count = |has: &dyn Fn(&Hints) -> bool| drawn.iter().filter(|hints| has(hints)).count();
        // 3,000 of 4,000 are expected, with a deviation of 27.
        let near = |found: usize, expected: usize| found.abs_diff(expected) < 110;
        assert!(near(count(&|hints| hints.rating.is_some()), 3000));
        for tag in ["dp", "math", "trees"] {
            assert!(near(
                count(&|hints| hints.tags.iter().any(|t| t == tag)),
                3000
            ));
        }
        // Independent: all four together are kept 0.75^4 of the time.
        let all = count(&|hints| hints.rating.is_some() && hints.tags.len() == 3);
        assert!(near(all, 1266), "{all}");
        assert_eq!(drawn[17], hinter.hints("p", 17));
        assert_eq!(hinter.hints("unknown", 1), Hints::NONE);
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let told = |rating, tags| {
            let hinter = hinter(Hinting {
                rating,
                tags,
                dropped: 0.0,
            });
            let hints = hinter.hints("p", 3);
            (hints.rating.is_some(), hints.tags.len())
        };
        assert_eq!(told(false, false), (false, 0));
        assert_eq!(told(true, false), (true, 0));
        assert_eq!(told(false, true), (false, 3));
        let never = hinter(Hinting {
            rating: true,
            tags: true,
            dropped: 1.0,
        });
        assert!((0..100).all(|number| never.hints("p", number) == Hints::NONE));
    }
}
