//! The nearest candidates so far.
//!
//! Kept by `search.rs` during one query.
//!
//! Promises: of equally near candidates the one of lowest index comes first, whatever the order in
//! which they were found.

/// A candidate and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// The Levenshtein distance.
    pub distance: u32,
    /// Where it stands among the candidates.
    pub index: u32,
}

/// The nearest so far.
#[derive(Default)]
pub(crate) struct Best {
    /// Ascending, at most `count`.
    pub(crate) matches: Vec<Match>,
    pub(crate) count: usize,
    /// No larger distance is wanted, or possible for the answer.
    pub(crate) most: u32,
}

impl Best {
    pub(crate) fn reset(&mut self, count: usize, most: u32) {
        self.matches.clear();
        (self.count, self.most) = (count, most);
    }

    /// The largest distance with which a text of this index would be in the answer.
    pub(crate) fn most_for(&self, index: u32) -> Option<u32> {
        match self.matches.last() {
            Some(last) if self.matches.len() == self.count => {
                // A later one must be nearer, an earlier one may be as near.
                let most = last.distance.checked_sub(u32::from(index > last.index))?;
                Some(most.min(self.most))
            }
            _ => Some(self.most),
        }
    }

    pub(crate) fn add(&mut self, found: Match) {
        if self
            .most_for(found.index)
            .is_none_or(|most| found.distance > most)
        {
            return;
        }
        let place = self.matches.partition_point(|other| *other < found);
        self.matches.insert(place, found);
        self.matches.truncate(self.count);
    }
}
