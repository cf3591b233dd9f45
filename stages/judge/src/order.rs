//! In which order the tests of a problem are run: as in the table, or those first that most
//! programs failed.
//!
//! Used by `session.rs`. What was learnt counts from the next batch of programs on and never
//! within one, so that it does not depend on which thread was first.

use crate::{rules::TestOrder, suite::Suite, trial::Trial};

/// In which order the tests of a problem are run.
pub(crate) struct Order {
    public: usize,
    failures: Vec<u32>,
    numbers: Option<Vec<usize>>,
}

impl Order {
    pub(crate) fn new(suite: &Suite, order: TestOrder) -> Self {
        let count = suite.tests.len();
        Self {
            public: suite.public,
            failures: vec![0; count],
            numbers: (order == TestOrder::FailingFirst).then(|| (0..count).collect()),
        }
    }

    /// Programs to judge before something is learnt: all, if nothing is to be.
    pub(crate) fn batches<'a, T>(&self, all: &'a [T]) -> std::slice::Chunks<'a, T> {
        const BATCH: usize = 32;
        let is_learning = self.numbers.is_some();
        all.chunks(if is_learning { BATCH } else { all.len().max(1) })
    }

    pub(crate) fn numbers(&self) -> Option<&[usize]> {
        self.numbers.as_deref()
    }

    pub(crate) fn learn<'a>(&mut self, trials: impl Iterator<Item = &'a Trial>) {
        let Some(numbers) = &mut self.numbers else {
            return;
        };
        for trial in trials {
            let failed = trial
                .failed_test
                .and_then(|test| usize::try_from(test).ok());
            if let Some(count) = failed.and_then(|test| self.failures.get_mut(test)) {
                *count += 1;
            }
        }
        let failures = &self.failures;
        let hidden = numbers.get_mut(self.public..).unwrap_or_default();
        hidden.sort_by_key(|&test| (std::cmp::Reverse(failures[test]), test));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_fail_often_come_first_after_the_public_ones() {
        let test = || corpus::schema::TestCase {
            input: String::new(),
            output: String::new(),
        };
        let suite = Suite {
            tests: (0..5).map(|_| test()).collect(),
            public: 1,
            time_limit_s: None,
            memory_limit_bytes: None,
            checker: None,
        };
        let failed = |test| Trial {
            failed_test: test,
            ..Trial::failed(sandbox::Verdict::WrongAnswer, None)
        };
        let trials = [Some(3), Some(0), Some(3), Some(4), Some(0), None].map(failed);
        let mut order = Order::new(&suite, TestOrder::FailingFirst);
        order.learn(trials.iter());
        assert_eq!(order.numbers(), Some(&[0, 3, 4, 1, 2][..]));
        assert_eq!(order.batches(&[(); 70]).count(), 3);
        let mut table = Order::new(&suite, TestOrder::Table);
        table.learn(trials.iter());
        assert_eq!(table.numbers(), None);
        assert_eq!(table.batches(&[(); 70]).count(), 1);
    }
}
