//! How many requests a server gets at a time: more while it answers, half when it refuses.
//!
//! Used by `server`, one for each. A server that fails many times in a row is given up; one that
//! is only busy is asked for longer.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Requests at a time to begin with.
const START: f64 = 4.0;
/// Failures in a row until a server is given up: about half a minute.
const FAILURES: u32 = 8;
/// Refusals in a row until a busy server is given up: some ten minutes.
const REFUSALS: u32 = 100;
/// Longest wait after a failure.
const LONGEST: Duration = Duration::from_secs(8);
/// How often a waiting connection looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What came of a request.
pub(super) enum Outcome {
    Answered,
    Busy(String),
    Broken(String),
    /// There was nothing to ask.
    Unused,
}

/// The pace of one server.
pub(super) struct Pace {
    most: f64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    limit: f64,
    running: usize,
    failures: u32,
    refusals: u32,
    last: String,
}

impl Pace {
    /// At most so many requests at a time.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most as f64,
            state: Mutex::new(State {
                limit: START.min(most as f64),
                running: 0,
                failures: 0,
                refusals: 0,
                last: "it was not asked".to_owned(),
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the pace")
    }

    /// Waits until a request may be made; false if the server is given up or work stops.
    pub(super) fn enter(&self, stopped: &dyn Fn() -> bool) -> bool {
        let mut state = self.state();
        loop {
            if stopped() || state.gone() {
                return false;
            }
            if (state.running as f64) < state.limit.floor() {
                state.running += 1;
                return true;
            }
            let waited = self.changed.wait_timeout(state, LOOK_EVERY);
            state = waited.expect("no thread panics with the pace").0;
        }
    }

    /// Says what came of a request; returns how long to wait before the next.
    pub(super) fn leave(&self, outcome: Outcome) -> Duration {
        let mut state = self.state();
        state.running -= 1;
        let failed = match outcome {
            Outcome::Unused => 0,
            Outcome::Answered => {
                (state.failures, state.refusals) = (0, 0);
                // One more for every round of answers.
                state.limit = (state.limit + 1.0 / state.limit).min(self.most);
                0
            }
            Outcome::Busy(why) => {
                state.refusals += 1;
                state.last = why;
                state.refusals
            }
            Outcome::Broken(why) => {
                state.failures += 1;
                state.last = why;
                state.failures
            }
        };
        if failed > 0 {
            state.limit = (state.limit / 2.0).max(1.0);
        }
        drop(state);
        self.changed.notify_all();
        match failed {
            0 => Duration::ZERO,
            many => LONGEST.min(Duration::from_millis(125 << many.min(10))),
        }
    }

    /// What a server that is given up said last, to the first who asks.
    pub(super) fn given_up(&self) -> Option<String> {
        let mut state = self.state();
        let first = state.gone() && state.failures < u32::MAX;
        if first {
            state.failures = u32::MAX;
        }
        first.then(|| state.last.clone())
    }

    pub(super) fn last_words(&self) -> String {
        self.state().last.clone()
    }
}

impl State {
    fn gone(&self) -> bool {
        self.failures >= FAILURES || self.refusals >= REFUSALS
    }
}

/// Waits, a little longer or shorter by the connection's number so that not all come at once.
pub(super) fn sleep(wait: Duration, number: usize, stopped: &dyn Fn() -> bool) {
    let spread = 0.75 + 0.5 * ((number * 7) % 16) as f64 / 16.0;
    let mut left = wait.mul_f64(spread);
    while !left.is_zero() && !stopped() {
        let step = left.min(LOOK_EVERY);
        std::thread::sleep(step);
        left -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::{FAILURES, Outcome, Pace};

    /// How many requests may be made at a time.
    fn fits(pace: &Pace) -> f64 {
        pace.state().limit.floor()
    }

    #[test]
    fn the_pace_rises_slowly_falls_by_half_and_ends() {
        let pace = Pace::new(6);
        assert!((fits(&pace) - 4.0).abs() < 0.1);
        for _ in 0..40 {
            assert!(pace.enter(&|| false));
            assert!(pace.leave(Outcome::Answered).is_zero());
        }
        assert!((fits(&pace) - 6.0).abs() < 0.1);
        assert!(pace.enter(&|| false));
        assert!(!pace.leave(Outcome::Busy("full".into())).is_zero());
        assert!((fits(&pace) - 3.0).abs() < 0.1);
        for _ in 0..FAILURES {
            assert!(pace.enter(&|| false));
            pace.leave(Outcome::Broken("dead".into()));
        }
        assert!(!pace.enter(&|| false));
        assert_eq!(pace.given_up().as_deref(), Some("dead"));
        assert_eq!(pace.given_up(), None);
        assert_eq!(pace.last_words(), "dead");
    }
}
