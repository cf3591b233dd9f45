//! What is asked: which samples of which problem in which language, cut into shards.
//!
//! Used by `sample`. The cuts are a function of the settings alone (never of threads or
//! memory), so that a run resumed on another machine finds its shards.

use super::hints::Hinter;
use corpus::language::Language;
use corpus::prompt::{Hints, prompt};
use corpus::schema::Generation;
use std::collections::BTreeMap;
use std::ops::Range;

/// Samples of one unit, at most: what a kill can cost is bounded.
const UNIT_SAMPLES: u64 = 128;
/// Samples of one shard, about: enough to keep all threads busy.
const SHARD_SAMPLES: u64 = 512;

corpus::table! {
    /// What sampling needs of `problems`.
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

/// Some samples of one problem in one language.
#[derive(Clone, Debug)]
pub(super) struct Unit<'a> {
    problem: &'a Asked,
    language: Language,
    hints: Hints,
    /// Place of the language in the list, and the list's length.
    turn: (u64, u64),
    /// Number of the first sample among those of its language.
    pub(super) first: u64,
    /// How many.
    pub(super) samples: u64,
}

impl Unit<'_> {
    /// The text before the answer.
    pub(super) fn prompt(&self) -> String {
        let Asked {
            name, description, ..
        } = self.problem;
        prompt(name, description, &self.hints, self.language)
    }

    /// What random numbers are keyed by.
    pub(super) fn key(&self) -> String {
        key(self.problem, self.language)
    }

    /// The problem.
    pub(super) fn problem_id(&self) -> &str {
        &self.problem.problem_id
    }

    /// The row of the unit's sample `index`, without an answer.
    pub(super) fn unanswered(&self, index: u64) -> Generation {
        let (turn, languages) = self.turn;
        Generation {
            problem_id: self.problem.problem_id.clone(),
            sample: ((self.first + index) * languages + turn) as u32,
            language: self.language.name().to_owned(),
            text: String::new(),
            token_ids: Vec::new(),
            log_prob: 0.0,
            finish: "length".to_owned(),
        }
    }
}

fn key(problem: &Asked, language: Language) -> String {
    format!("{}\n{}", problem.problem_id, language.name())
}

/// All units, problem by problem; sample `i` of a problem has language `i mod languages`, and the
/// first so many of a problem are `there` already.
pub(super) fn units<'a>(
    problems: &'a [Asked],
    samples: u64,
    languages: &[Language],
    there: &BTreeMap<String, u64>,
    hinter: &Hinter<'_>,
) -> Vec<Unit<'a>> {
    let mut units = Vec::new();
    let longest = if hinter.varies() { 1 } else { UNIT_SAMPLES };
    let many = languages.len() as u64;
    for problem in problems {
        for (turn, &language) in (0..).zip(languages) {
            let turns = |samples: u64| (samples + many - 1 - turn) / many;
            let mine = turns(samples);
            let had = turns(there.get(&problem.problem_id).copied().unwrap_or(0));
            let key = key(problem, language);
            for first in (had..mine).step_by(longest as usize) {
                let samples = longest.min(mine - first);
                units.push(Unit {
                    problem,
                    language,
                    hints: hinter.hints(&problem.problem_id, &key, first),
                    turn: (turn, many),
                    first,
                    samples,
                });
            }
        }
    }
    units
}

/// Cuts units into shards.
pub(super) fn shards(units: &[Unit<'_>]) -> Vec<Range<usize>> {
    let mut shards = Vec::new();
    let (mut start, mut samples) = (0, 0);
    for (index, unit) in units.iter().enumerate() {
        samples += unit.samples;
        if samples >= SHARD_SAMPLES || index + 1 == units.len() {
            shards.push(start..index + 1);
            (start, samples) = (index + 1, 0);
        }
    }
    shards
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::hints::{Hinting, Source};
    use super::*;

    fn numbers(samples: u64, had: u64, hinting: &Hinting) -> Vec<(u32, String, String)> {
        let problem = Asked {
            problem_id: "p".into(),
            name: "P".into(),
            split: "test".into(),
            description: "Do.".into(),
        };
        let problems = [problem];
        let languages = [Language::Python3, Language::Cpp];
        let there = BTreeMap::from([("p".to_owned(), had)]);
        let hinter = Hinter::new(hinting, &[], 9).unwrap();
        let units = units(&problems, samples, &languages, &there, &hinter);
        let rows = units.iter().flat_map(|unit| {
            (0..unit.samples).map(|index| (unit.unanswered(index), unit.prompt()))
        });
        let mut numbers: Vec<_> = rows
            .map(|(row, prompt)| (row.sample, row.language, prompt))
            .collect();
        numbers.sort();
        assert_eq!(shards(&units).into_iter().flatten().count(), units.len());
        numbers
    }

    #[test]
    fn languages_take_turns_and_more_samples_only_add() {
        let plain = Hinting::default();
        let random = Hinting {
            from: Source::Random,
            tags: ["dp", "math", "trees"].map(str::to_owned).to_vec(),
            ratings: vec![800, 900],
        };
        for (samples, hinting) in [1, 2, 7, 300, 1001]
            .into_iter()
            .flat_map(|samples| [(samples, &plain), (samples, &random)])
        {
            let found = numbers(samples, 0, hinting);
            assert_eq!(found.len() as u64, samples);
            for (index, (sample, language, prompt)) in found.iter().enumerate() {
                assert_eq!(*sample as usize, index);
                assert_eq!(language, if index % 2 == 0 { "python3" } else { "cpp" });
                assert_eq!(prompt.contains("### Rating "), !hinting.is_off());
            }
            for had in [1, 2, 7, 300].into_iter().filter(|had| *had <= samples) {
                assert_eq!(numbers(samples, had, hinting), found[had as usize..]);
            }
        }
    }
}
