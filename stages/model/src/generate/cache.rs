//! The keys and values of one sequence: a table of pages.
//!
//! Used by `decoder` and `worker`. A sequence that goes on from a prompt shares its pages, and
//! copies the last one when it first writes into it. Where a position lies depends on the
//! position alone, so a sequence that is computed again meets the same sums.

use std::sync::Arc;

use super::numbers::{Brief, Kept, Numbers};
use super::page::{PAGE, Page, Pool};
use crate::config::Config;

/// Pages of one sequence, position 0 first.
#[derive(Clone, Default)]
pub(super) struct Cache {
    pages: Vec<Arc<Page>>,
}

/// Where a head's keys and values lie in a page.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Index of the first key; values follow the keys.
    start: usize,
    head_dim: usize,
}

impl Place {
    pub(super) fn new(config: &Config, layer: usize, kv_head: usize) -> Self {
        let size = 2 * config.head_dim * PAGE;
        Self {
            start: (layer * config.kv_heads + kv_head) * size,
            head_dim: config.head_dim,
        }
    }

    /// Keys `[D][PAGE]` and values `[PAGE][D]`.
    pub(super) fn of<K: Kept>(self, page: &Page) -> (&[K], &[K]) {
        K::of(&page.data)[self.start..][..2 * self.head_dim * PAGE].split_at(self.head_dim * PAGE)
    }
}

impl Cache {
    /// Makes room to write positions `from..to`; says whether the pool had the pages.
    pub(super) fn reserve(
        &mut self,
        pool: &Arc<Pool>,
        from: usize,
        to: usize,
        beyond: bool,
    ) -> bool {
        for index in from / PAGE..to.div_ceil(PAGE) {
            let present = self.pages.get_mut(index);
            if let Some(page) = present
                && Arc::get_mut(page).is_some()
            {
                continue;
            }
            let Some(mut own) = pool.take(beyond) else {
                return false;
            };
            if let Some(page) = self.pages.get_mut(index) {
                pool.copy(&mut own, page);
                *page = Arc::new(own);
            } else {
                self.pages.push(Arc::new(own));
            }
        }
        true
    }

    /// Stores a layer's keys and values of all heads, `[kv_heads D]` each; `reserve` comes first.
    pub(super) fn store(
        &mut self,
        config: &Config,
        layer: usize,
        position: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let page = Arc::get_mut(&mut self.pages[position / PAGE]).expect("the page was reserved");
        let at = (layer, position % PAGE);
        match page.data {
            Numbers::Full(_) => store::<f32>(page, config, at, key, value),
            Numbers::Brief(_) => store::<Brief>(page, config, at, key, value),
            #[cfg(feature = "device")]
            Numbers::Elsewhere(_) => unreachable!("a device stores them itself"),
        }
    }

    /// Whether numbers are kept in bfloat16.
    pub(super) fn is_brief(&self) -> bool {
        let first = self.pages.first();
        first.is_some_and(|page| matches!(page.data, Numbers::Brief(_)))
    }

    /// Numbers of its pages on a device, position 0 first.
    #[cfg(feature = "device")]
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.pages.iter().map(|page| match page.data {
            Numbers::Elsewhere(number) => number,
            _ => unreachable!("pages of a device"),
        })
    }

    /// The pages of positions `0..length`, each with how many of its positions are among them.
    pub(super) fn pages(&self, length: usize) -> impl Iterator<Item = (&Page, usize)> {
        let starts = (0..length).step_by(PAGE);
        starts
            .zip(&self.pages)
            .map(move |(start, page)| (&**page, PAGE.min(length - start)))
    }
}

fn store<K: Kept>(
    page: &mut Page,
    config: &Config,
    (layer, slot): (usize, usize),
    key: &[f32],
    value: &[f32],
) {
    let dim = config.head_dim;
    let data = K::of_mut(&mut page.data);
    let heads = key.chunks_exact(dim).zip(value.chunks_exact(dim));
    for (head, (key, value)) in heads.enumerate() {
        let start = Place::new(config, layer, head).start;
        let (keys, values) = data[start..][..2 * dim * PAGE].split_at_mut(dim * PAGE);
        for (keys, key) in keys.as_chunks_mut::<PAGE>().0.iter_mut().zip(key) {
            keys[slot] = K::new(*key);
        }
        for (kept, value) in values[slot * dim..][..dim].iter_mut().zip(value) {
            *kept = K::new(*value);
        }
    }
}

/// Pages that hold this many positions.
pub(super) fn pages_of(positions: usize) -> usize {
    positions.div_ceil(PAGE)
}
