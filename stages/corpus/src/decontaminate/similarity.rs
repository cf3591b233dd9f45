//! Which protected statement is most like a given one: exact Jaccard similarity of word shingles.
//!
//! Called by `decontaminate`. Where the protected statements are few (165 in CodeContests' test
//! split), an inverted index from shingle to statements gives the exact similarity to all of them in
//! one pass over a statement. Where they are many, MinHash sketches (Broder 1997) of a fixed size
//! estimate it: the share of hash functions whose smallest value is the same in both.
//!
//! Promises: `Index` is exact up to 64-bit hashes of shingles, `Sketches` is off by
//! sqrt(s (1 - s) / hashes) on the average; of equally similar statements the first counts.

use std::collections::BTreeMap;

use crate::solution::text_number;

/// Sorted distinct hashes of all runs of `words` words of a text; the whole text if it is shorter.
pub(super) fn shingles(text: &str, words: usize) -> Vec<u64> {
    let all = statement_words(text);
    let mut hashes: Vec<u64> = if all.len() <= words {
        vec![text_number(&all.join(" "))]
    } else {
        all.windows(words)
            .map(|run| text_number(&run.join(" ")))
            .collect()
    };
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The text by which statements are identical: its words, in lower case.
pub(super) fn normalised(text: &str) -> String {
    statement_words(text).join(" ")
}

/// Words before the examples.
///
/// Collections differ in whether examples, notes and pictures are part of the statement; story
/// and formats are in all of them. A text that begins with its examples is taken whole.
fn statement_words(text: &str) -> Vec<String> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let heading = line
            .trim()
            .trim_matches(|c: char| !c.is_alphanumeric())
            .to_lowercase();
        let examples = [
            "example",
            "examples",
            "sample",
            "samples",
            "sample input",
            "sample 1",
        ];
        if examples.contains(&heading.as_str()) && !text[..offset].trim().is_empty() {
            return words(&text[..offset]);
        }
        offset += line.len();
    }
    words(text)
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The protected statements.
pub(super) struct Index {
    words: usize,
    /// Statements that contain a shingle, ascending.
    postings: BTreeMap<u64, Vec<u32>>,
    /// Number of distinct shingles of each statement.
    sizes: Vec<usize>,
}

impl Index {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str>, words: usize) -> Self {
        let mut index = Self {
            words,
            postings: BTreeMap::new(),
            sizes: Vec::new(),
        };
        for (number, text) in texts.enumerate() {
            let shingles = shingles(text, words);
            index.sizes.push(shingles.len());
            for shingle in shingles {
                index
                    .postings
                    .entry(shingle)
                    .or_default()
                    .push(number as u32);
            }
        }
        index
    }

    /// The most similar statement and its similarity; `None` if no shingle is shared.
    pub(super) fn most_similar(&self, text: &str) -> Option<(usize, f64)> {
        let shingles = shingles(text, self.words);
        let mut shared: BTreeMap<u32, usize> = BTreeMap::new();
        for shingle in &shingles {
            for &statement in self.postings.get(shingle).map_or(&[][..], Vec::as_slice) {
                *shared.entry(statement).or_default() += 1;
            }
        }
        let mut best: Option<(usize, f64)> = None;
        for (statement, shared) in shared {
            let statement = statement as usize;
            let union = shingles.len() + self.sizes[statement] - shared;
            let similarity = shared as f64 / union as f64;
            if best.is_none_or(|(_, most)| similarity > most) {
                best = Some((statement, similarity));
            }
        }
        best
    }
}

/// The protected statements, each as the smallest value of several hash functions.
pub(super) struct Sketches {
    words: usize,
    hashes: usize,
    by_statement: Vec<Vec<u64>>,
}

impl Sketches {
    pub(super) fn new<'a>(
        texts: impl Iterator<Item = &'a str>,
        words: usize,
        hashes: usize,
    ) -> Self {
        let by_statement = texts.map(|text| sketch(text, words, hashes)).collect();
        Self {
            words,
            hashes,
            by_statement,
        }
    }

    /// The most similar statement and the estimate of its similarity; `None` if that is 0 for all.
    pub(super) fn most_similar(&self, text: &str) -> Option<(usize, f64)> {
        let sketch = sketch(text, self.words, self.hashes);
        let same = |other: &Vec<u64>| sketch.iter().zip(other).filter(|(a, b)| a == b).count();
        let all = self.by_statement.iter().map(same).enumerate();
        // The first of the largest.
        let (statement, same) = all.rev().max_by_key(|&(_, same)| same)?;
        (same > 0).then(|| (statement, same as f64 / self.hashes as f64))
    }
}

fn sketch(text: &str, words: usize, hashes: usize) -> Vec<u64> {
    let shingles = shingles(text, words);
    (0..hashes as u64)
        .map(|function| {
            // Shingles are hashes already: another mixture of their bits for every function
            // (the finaliser of SplitMix64).
            let offset = (function + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = shingles.iter().map(|shingle| {
                let mut x = shingle.wrapping_add(offset);
                x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                x ^ (x >> 31)
            });
            mixed.min().unwrap_or(u64::MAX)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_is_jaccard() {
        let protected = ["a b c d e f", "x y z"];
        let index = Index::new(protected.into_iter(), 2);
        // {ab bc cd} against {ab bc cd de ef}: 3 shared of 5.
        assert_eq!(index.most_similar("A, b: c D!"), Some((0, 0.6)));
        assert_eq!(index.most_similar("x y z\nExample\n1 2 3"), Some((1, 1.0)));
        assert_eq!(index.most_similar("nothing alike here"), None);
        assert_eq!(
            Index::new(["one"].into_iter(), 5).most_similar("One."),
            Some((0, 1.0))
        );
    }

    #[test]
    fn examples_are_cut_off() {
        assert_eq!(normalised("Add two.\n\nExamples\n\nInput\n1"), "add two");
        assert_eq!(normalised("Example\n1 2"), "example 1 2");
        assert_eq!(normalised("For example\nadd."), "for example add");
    }

    #[test]
    fn sketches_estimate_what_the_index_knows() {
        let word = |n: usize| format!("w{}", n * 7919 % 1000);
        let text = |from: usize, to: usize| (from..to).map(word).collect::<Vec<_>>().join(" ");
        let protected = [text(500, 900), text(0, 300)];
        let index = Index::new(protected.iter().map(String::as_str), 3);
        let sketches = Sketches::new(protected.iter().map(String::as_str), 3, 512);
        for shift in [0, 30, 100, 200] {
            let text = text(shift, 300 + shift);
            let (wanted, exact) = index.most_similar(&text).expect("they share words");
            let (found, estimate) = sketches.most_similar(&text).expect("they share words");
            assert_eq!((wanted, found), (1, 1));
            // Four standard deviations.
            let error = 4.0 * (exact * (1.0 - exact) / 512.0).sqrt();
            assert!((estimate - exact).abs() <= error, "{estimate} for {exact}");
        }
        assert_eq!(sketches.most_similar("nothing like them at all"), None);
    }
}
