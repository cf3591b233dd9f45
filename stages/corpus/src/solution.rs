//! Makes rows of `solutions`.
//!
//! Called by `ingest`, `dump` and whatever else brings programs. The id is a function of the
//! problem, the language and the exact text: the same program has the same id in every run, in
//! whatever order it was met, and random choices keyed by it are stable.

use crate::language::Language;
use crate::schema::Solution;

/// The first 16 hex digits of BLAKE3 over problem, language and source text.
pub fn solution_id(problem_id: &str, language: &str, source: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [problem_id, language, source] {
        // The length before each part: no two triples give the same bytes.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The id as a number, for `engine::rng`.
pub(crate) fn id_number(solution_id: &str) -> u64 {
    // Ids of foreign tables may have another form; then their text is hashed.
    u64::from_str_radix(solution_id, 16).unwrap_or_else(|_| text_number(solution_id))
}

/// The first 64 bits of BLAKE3 over a text.
pub(crate) fn text_number(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    u64::from_le_bytes(
        hash.as_bytes()[..8]
            .try_into()
            .expect("a hash has 32 bytes"),
    )
}

/// A submission without a claim.
pub fn new_solution(
    problem_id: &str,
    language: Language,
    source: String,
    correct: bool,
    origin: &str,
) -> Solution {
    Solution {
        solution_id: solution_id(problem_id, language.name(), &source),
        problem_id: problem_id.to_owned(),
        language: language.name().to_owned(),
        source,
        correct,
        origin: origin.to_owned(),
        claim: None,
    }
}
