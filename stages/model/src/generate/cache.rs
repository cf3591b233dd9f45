//! Keys and values of decoded positions.
//!
//! Used by `decoder`. A cache belongs to one sequence and may continue a [`Prefix`] that many
//! sequences share. Per layer and head, keys are stored `[D][capacity]`, so that one query
//! meets many keys in one vector instruction, and values `[capacity][D]`.

use std::sync::Arc;

use crate::config::Config;
use crate::generate::attend::BLOCK;

/// Keys and values of one sequence from position `start()` on.
pub(super) struct Cache {
    prefix: Option<Arc<Prefix>>,
    stored: Stored,
}

/// A finished prompt.
pub(super) struct Prefix {
    stored: Stored,
    tokens: usize,
    /// Logits of the token after the prompt.
    pub(super) logits: Vec<f32>,
}

struct Stored {
    kv_heads: usize,
    head_dim: usize,
    capacity: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// A run of keys and values of one head.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// `[D][capacity]`.
    pub(super) keys: &'a [f32],
    /// `[capacity][D]`.
    pub(super) values: &'a [f32],
    pub(super) capacity: usize,
    /// Positions in use.
    pub(super) length: usize,
}

impl Stored {
    fn new(config: &Config, tokens: usize) -> Self {
        let capacity = tokens.next_multiple_of(BLOCK);
        let length = config.layers * config.kv_width() * capacity;
        Self {
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            capacity,
            keys: vec![0.0; length],
            values: vec![0.0; length],
        }
    }

    fn run(&self, layer: usize, head: usize, length: usize) -> Run<'_> {
        let size = self.head_dim * self.capacity;
        let at = (layer * self.kv_heads + head) * size;
        Run {
            keys: &self.keys[at..at + size],
            values: &self.values[at..at + size],
            capacity: self.capacity,
            length,
        }
    }
}

impl Cache {
    /// Room for `tokens` positions.
    pub(super) fn new(config: &Config, tokens: usize) -> Self {
        Self {
            prefix: None,
            stored: Stored::new(config, tokens),
        }
    }

    /// Forgets its sequence and continues `prefix`.
    pub(super) fn restart(&mut self, prefix: Arc<Prefix>) {
        self.prefix = Some(prefix);
    }

    fn start(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.tokens)
    }

    /// Stores the key and value of all heads, `[kv_heads D]` each.
    pub(super) fn store(&mut self, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let slot = position - self.start();
        let Stored {
            kv_heads,
            head_dim,
            capacity,
            keys,
            values,
        } = &mut self.stored;
        for head in 0..*kv_heads {
            let at = (layer * *kv_heads + head) * *head_dim * *capacity;
            let part = head * *head_dim..(head + 1) * *head_dim;
            for (index, value) in key[part.clone()].iter().enumerate() {
                keys[at + index * *capacity + slot] = *value;
            }
            values[at + slot * *head_dim..][..*head_dim].copy_from_slice(&value[part]);
        }
    }

    /// What a query at `position` sees: the prefix, then the own positions up to it.
    pub(super) fn runs(&self, layer: usize, head: usize, position: usize) -> [Run<'_>; 2] {
        let own = self.stored.run(layer, head, position + 1 - self.start());
        let before = match &self.prefix {
            Some(prefix) => prefix.stored.run(layer, head, prefix.tokens),
            None => self.stored.run(layer, head, 0),
        };
        [before, own]
    }

    /// Turns the cache of a whole prompt into a shareable prefix.
    pub(super) fn into_prefix(self, tokens: usize, logits: Vec<f32>) -> Prefix {
        Prefix {
            stored: self.stored,
            tokens,
            logits,
        }
    }
}

impl Prefix {
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }
}
