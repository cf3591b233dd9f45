//! The triplets of one problem.
//!
//! Called by `triplets` for every group, on all cores. Comparisons are made between completions,
//! that is between what a model will read.

use std::collections::{BTreeMap, BTreeSet};

use engine::rng;
use rayon::prelude::*;

use super::What;
use super::plan::Group;
use crate::language::Language;
use crate::levenshtein::{Symbols, distance_within, nearest};
use crate::prompt;
use crate::schema::{Solution, Triplet};
use crate::solution::id_number;
use crate::statements::Statements;

/// Values of the column `kind`.
pub(super) const NEAREST: &str = "nearest";
pub(super) const RANDOM: &str = "random";

/// The wrong solutions of one language.
#[derive(Default)]
struct Wrong<'a> {
    rows: Vec<&'a Solution>,
    texts: Vec<String>,
    symbols: Vec<Symbols>,
}

/// Triplets in the order of the queries, nearest before random.
pub(super) fn triplets(
    group: &Group,
    rows: &[Solution],
    what: &What,
    seed: u64,
    statements: &Statements,
) -> Vec<Triplet> {
    let correct: BTreeSet<(&str, String)> = rows
        .iter()
        .filter(|row| row.correct)
        .map(|row| (row.language.as_str(), prompt::normalised(&row.source)))
        .collect();
    let mut by_language: BTreeMap<&str, Wrong> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.correct) {
        let language = row.language.as_str();
        if correct.contains(&(language, prompt::normalised(&row.source))) {
            continue;
        }
        let text = prompt::completion(&row.source);
        let wrong = by_language.entry(language).or_default();
        wrong.symbols.push(Symbols::new(&text, what.unit));
        wrong.texts.push(text);
        wrong.rows.push(row);
    }
    let statement = statements
        .get(&rows[0].problem_id)
        .expect("planned from these problems");
    let pairs: Vec<Vec<Triplet>> = group
        .queries
        .par_iter()
        .map(|&query| {
            let chosen = &rows[query as usize];
            let language = Language::from_name(&chosen.language).expect("planned by language");
            let Some(wrong) = by_language.get(chosen.language.as_str()) else {
                return Vec::new();
            };
            let text = prompt::completion(&chosen.source);
            let symbols = Symbols::new(&text, what.unit);
            draw(chosen, &symbols, wrong, what, seed)
                .into_iter()
                .map(|(kind, index, distance)| Triplet {
                    problem_id: chosen.problem_id.clone(),
                    language: chosen.language.clone(),
                    prompt: statement.prompt(language),
                    chosen: text.clone(),
                    rejected: wrong.texts[index].clone(),
                    kind: kind.to_owned(),
                    distance: distance as u32,
                    normalised_distance: distance as f64
                        / symbols.len().max(wrong.symbols[index].len()).max(1) as f64,
                    chosen_id: chosen.solution_id.clone(),
                    rejected_id: wrong.rows[index].solution_id.clone(),
                })
                .collect()
        })
        .collect();
    pairs.into_iter().flatten().collect()
}

/// Kind, index and distance of the wrong solutions for one correct one.
fn draw(
    chosen: &Solution,
    symbols: &Symbols,
    wrong: &Wrong,
    what: &What,
    seed: u64,
) -> Vec<(&'static str, usize, usize)> {
    let (nearest_chance, random_chance) = what.chances();
    let mut rng = rng::rng(seed, "triplets.pair", id_number(&chosen.solution_id));
    // All draws in a fixed order, used or not.
    let mut happens =
        |chance: f64| (rng::below(&mut rng, 1 << 53) as f64) < chance * 2_f64.powi(53);
    let (wants_nearest, wants_random) = (happens(nearest_chance), happens(random_chance));
    let count = wrong.rows.len() as u64;
    let mut drawn = Vec::new();
    if wants_nearest && let Some((index, distance)) = nearest(symbols, &wrong.symbols) {
        drawn.push((NEAREST, index, distance));
    }
    // Not the nearest one again: that would be the same triplet twice.
    let taken = drawn.first().map(|&(_, index, _)| index as u64);
    let left = count - u64::from(taken.is_some());
    if wants_random && left > 0 {
        let mut index = rng::below(&mut rng, left);
        if taken.is_some_and(|taken| index >= taken) {
            index += 1;
        }
        let index = index as usize;
        let distance = distance_within(symbols, &wrong.symbols[index], usize::MAX);
        drawn.push((RANDOM, index, distance.expect("no bound")));
    }
    drawn
}
