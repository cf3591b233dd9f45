//! A packed batch: several token sequences laid end to end, without padding.
//!
//! Built by the training stages, read by `network`. Attention is block-diagonal over the
//! sequences and positions restart in each, so packing changes no number (paper §3 trains
//! on packed programs). Labels follow Hugging Face: aligned with the ids, [`IGNORE`] where a
//! token is not in the loss; the shift happens here, and the first token of a sequence is
//! never a target.

use anyhow::{Result, ensure};

/// The label of a token that is not in the loss.
pub const IGNORE: i32 = -100;

/// Token sequences laid end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all sequences.
    pub ids: Vec<u32>,
    /// The id itself where the token is in the loss, [`IGNORE`] elsewhere; as long as `ids`.
    pub labels: Vec<i32>,
    /// Position of each token within its sequence, from 0.
    pub positions: Vec<u32>,
    /// Sequence `s` occupies `bounds[s]..bounds[s + 1]`; starts with 0, ends with the length.
    pub bounds: Vec<usize>,
}

impl Default for Batch {
    /// An empty batch.
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch to push sequences to.
    pub fn new() -> Self {
        Self {
            ids: Vec::new(),
            labels: Vec::new(),
            positions: Vec::new(),
            bounds: vec![0],
        }
    }

    /// Appends a sequence with its labels.
    ///
    /// # Errors
    /// The sequence is empty or the labels have another length.
    pub fn push(&mut self, ids: &[u32], labels: &[i32]) -> Result<()> {
        ensure!(!ids.is_empty(), "a sequence of a batch is empty");
        ensure!(
            ids.len() == labels.len(),
            "{} token ids but {} labels",
            ids.len(),
            labels.len()
        );
        self.ids.extend_from_slice(ids);
        self.labels.extend_from_slice(labels);
        self.positions.extend(0..ids.len() as u32);
        self.bounds.push(self.ids.len());
        Ok(())
    }

    /// Appends prompt and completion as one sequence whose completion is in the loss.
    ///
    /// # Errors
    /// Both are empty.
    pub fn push_completion(&mut self, prompt: &[u32], completion: &[u32]) -> Result<()> {
        let mut ids = prompt.to_vec();
        ids.extend_from_slice(completion);
        let mut labels = vec![IGNORE; prompt.len()];
        labels.extend(completion.iter().map(|&id| id as i32));
        self.push(&ids, &labels)
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The loss positions in order: `(row, target)`, where the hidden state of token `row`
    /// predicts `target`, the token `row + 1`.
    pub fn targets(&self) -> Vec<(usize, u32)> {
        let mut targets = Vec::new();
        for bound in self.bounds.windows(2) {
            for row in bound[0]..bound[1] - 1 {
                if let Ok(target) = u32::try_from(self.labels[row + 1]) {
                    targets.push((row, target));
                }
            }
        }
        targets
    }

    /// Number of tokens in the loss.
    pub fn target_count(&self) -> usize {
        self.bounds
            .windows(2)
            .map(|b| {
                self.labels[b[0] + 1..b[1]]
                    .iter()
                    .filter(|&&l| l >= 0)
                    .count()
            })
            .sum()
    }
}
