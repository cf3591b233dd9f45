//! What a program does on inputs that nobody knows the answer to: programs that print the same on
//! all of them are one cluster.
//!
//! Used by `session.rs` for programs that pass the public tests, if `Rules::cluster_inputs` asks
//! for it; scored by `clusters.rs`. AlphaCode (section 4.4) had a model write the inputs; here they
//! are public inputs with small changes, as its data set's generated tests were made (section
//! 3.2.1), so that nothing hidden takes part in choosing submissions. They need not be valid:
//! programs are told apart, not judged. Inputs depend on the problem alone.

use crate::trial::{Cost, Trials};
use corpus::schema::TestCase;
use engine::rng::{ChaCha12Rng, below, rng};
use sandbox::{Compiled, Error, Limits, Verdict};
use std::collections::BTreeSet;

/// Changes to one input, at most.
const MOST_CHANGES: u64 = 3;
/// Inputs on which a program may use up its time before the rest is left out.
const PATIENCE: u32 = 3;

/// At most `count` different inputs, none of them public.
pub(crate) fn inputs(problem_id: &str, public: &[TestCase], count: u32) -> Vec<String> {
    let mut seen: BTreeSet<String> = public.iter().map(|test| test.input.clone()).collect();
    let mut made = Vec::new();
    let stream = format!("judge.behaviour.{problem_id}");
    // Some inputs have few neighbours: not endlessly.
    for index in 0..8 * u64::from(count) {
        if made.len() == count as usize || public.is_empty() {
            break;
        }
        let mut random = rng(0, &stream, index);
        let input = &public[below(&mut random, public.len() as u64) as usize].input;
        let changed = mutated(input, &mut random);
        if seen.insert(changed.clone()) {
            made.push(changed);
        }
    }
    made
}

/// An input with one to three words changed; blanks stay as they are.
fn mutated(input: &str, random: &mut ChaCha12Rng) -> String {
    let mut parts: Vec<String> = Vec::new();
    for char in input.chars() {
        match parts.last_mut() {
            Some(part) if part.ends_with(char::is_whitespace) == char.is_whitespace() => {
                part.push(char);
            }
            _ => parts.push(char.into()),
        }
    }
    let words: Vec<usize> = (0..parts.len())
        .filter(|&place| !parts[place].starts_with(char::is_whitespace))
        .collect();
    if words.is_empty() {
        return input.to_owned();
    }
    let any = |random: &mut ChaCha12Rng| words[below(random, words.len() as u64) as usize];
    for _ in 0..=below(random, MOST_CHANGES) {
        let place = any(random);
        if below(random, 4) == 0 {
            let other = any(random);
            parts.swap(place, other);
        } else if let Ok(number) = parts[place].parse::<i64>() {
            parts[place] = changed_number(number, random).to_string();
        } else {
            parts[place] = changed_word(&parts[place], random);
        }
    }
    parts.concat()
}

/// A number close to another one, or of its size; seldom negative if that was not.
fn changed_number(number: i64, random: &mut ChaCha12Rng) -> i64 {
    let size = number.unsigned_abs().clamp(9, 1 << 60);
    let step = below(random, 3) as i64 + 1;
    match below(random, 4) {
        0 => number.saturating_add(step),
        1 if number >= 0 => number.saturating_sub(step).max(0),
        1 => number.saturating_sub(step),
        _ => {
            let found = below(random, size + 1) as i64;
            let is_negative = number < 0 || below(random, 16) == 0;
            if is_negative { -found } else { found }
        }
    }
}

/// A word with one letter changed to another of its letters, or two swapped.
fn changed_word(word: &str, random: &mut ChaCha12Rng) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let count = letters.len() as u64;
    let (one, other) = (below(random, count) as usize, below(random, count) as usize);
    if below(random, 2) == 0 {
        letters.swap(one, other);
    } else {
        letters[one] = letters[other];
    }
    letters.into_iter().collect()
}

/// The name of what a program does on these inputs: equal for programs that print the same, blanks
/// aside, or fail in the same way, on each of them.
///
/// # Errors
/// If the sandbox failed.
pub(crate) fn behaviour(
    trials: &Trials<'_>,
    program: &Compiled,
    limits: &Limits,
    inputs: &[String],
    cost: &mut Cost,
) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    let mut patience = PATIENCE;
    for input in inputs {
        let outcome = trials.measure(program, input.as_bytes(), limits, cost)?;
        let failure = outcome.failure();
        hasher.update(failure.map_or("", Verdict::code).as_bytes());
        if failure.is_none() {
            for word in outcome.stdout.split(u8::is_ascii_whitespace) {
                if !word.is_empty() {
                    hasher.update(word).update(b" ");
                }
            }
        }
        hasher.update(b"\n");
        patience -= u32::from(failure == Some(Verdict::TimeLimit));
        if patience == 0 {
            break;
        }
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(inputs: &[&str]) -> Vec<TestCase> {
        let test = |input: &&str| TestCase {
            input: (*input).to_owned(),
            output: String::new(),
        };
        inputs.iter().map(test).collect()
    }

    #[test]
    fn inputs_are_new_different_and_the_same_every_time() {
        let tests = public(&["3\n1 20 300\nabc\n", "1\n5\nzz\n"]);
        let made = inputs("p", &tests, 50);
        assert_eq!(made.len(), 50);
        assert_eq!(made, inputs("p", &tests, 50));
        assert_ne!(made, inputs("q", &tests, 50));
        assert_eq!(
            made[..20],
            inputs("p", &tests, 20),
            "more inputs, same first ones"
        );
        let different: BTreeSet<&String> = made.iter().collect();
        assert_eq!(different.len(), 50);
        for input in &made {
            assert!(tests.iter().all(|test| test.input != *input));
            assert_eq!(input.lines().count(), 3, "lines stay: {input:?}");
        }
    }

    #[test]
    fn where_there_is_nothing_to_change_there_are_no_inputs() {
        assert_eq!(inputs("p", &[], 10).len(), 0);
        assert_eq!(inputs("p", &public(&["", " \n"]), 10).len(), 0);
        // One letter has no neighbours.
        assert_eq!(inputs("p", &public(&["a"]), 10).len(), 0);
    }

    #[test]
    fn numbers_stay_in_range_and_of_their_size() {
        let mut random = rng(1, "test", 0);
        for number in [0, 7, -3, 1_000_000, i64::MAX, i64::MIN] {
            for _ in 0..200 {
                let changed = changed_number(number, &mut random);
                let most = i128::from(number).abs().max(9) + 3;
                assert!(i128::from(changed).abs() <= most, "{number} -> {changed}");
            }
        }
    }
}
