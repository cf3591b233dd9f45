//! Sampling token sequences from a network: prompts prefilled once, many samples each.
//!
//! Called by the judge's sampling, by PPO rollouts and by `iota serve`. Every thread runs its own
//! batch of sequences over a shared queue and takes the next as soon as one ends (`worker`); keys
//! and values lie in pages of a bounded pool, and samples share those of their prompt (`cache`).
//! A sample is a function of weights, prompt, settings, `seed`, request key and sample index
//! alone: random draws come from a stream keyed by these (`slot`), and the arithmetic of a row
//! does not depend on the rows beside it (`packed`, `quantized`, `device`), so batch size, thread
//! count, memory and order change nothing.

mod attend;
mod cache;
mod decoder;
#[cfg(feature = "device")]
mod device;
mod linear;
mod nibbles;
mod numbers;
mod packed;
mod page;
mod quantized;
mod queue;
mod sampling;
mod settings;
mod slot;
mod worker;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use rayon::prelude::*;

pub use decoder::Decoder;
pub use linear::Form;
pub use queue::{Queue, Task};
pub use sampling::Sampling;
pub use settings::{Limits, Settings};

use page::Pool;
use worker::{State, Worker};

/// A prompt and how many samples are wanted of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What the random stream is keyed by, such as the problem's identifier.
    pub key: String,
    /// The prompt; not empty.
    pub prompt: Vec<u32>,
    /// Number of samples.
    pub samples: usize,
    /// Index of the first sample: 10 with `samples` 5 draws samples 10 to 14, so that a long
    /// job can be cut anywhere.
    pub first_sample: usize,
    /// The adapter that acts, by [`Decoder::adapt`].
    pub adapter: Option<usize>,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop token was drawn; it is the last token.
    Stop,
    /// A stop string came up; the text ends before it, the tokens do not.
    StopString,
    /// `max_tokens` or the model's positions were reached.
    Length,
}

/// One completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Index of the request.
    pub request: usize,
    /// Index of the sample; `first_sample` is the lowest.
    pub sample: usize,
    /// The completion's tokens, with the stop token if one was drawn.
    pub tokens: Vec<u32>,
    /// Log-probability of each token under the model itself: temperature 1, nothing cut.
    pub log_probs: Vec<f32>,
    /// Log-probability of each token under the distribution that it was drawn from.
    pub processed_log_probs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
    /// Bytes of the text before the stop string, if one ended it.
    pub text_end: Option<usize>,
}

/// Sees a sample after each of its tokens, and whether that was the last; breaks to cancel the task.
pub type Observer<'a, T> = dyn Fn(&T, &Sample, bool) -> ControlFlow<()> + Sync + 'a;

impl Decoder {
    /// Draws every sample of every request, in order of (request, sample). `observe` sees each
    /// as it finishes, in no fixed order and from several threads; when it breaks, the others are
    /// given up and the samples finished so far are returned.
    ///
    /// # Errors
    /// As [`Decoder::check`]; the model's probabilities are not numbers.
    pub fn generate(
        &self,
        requests: &[Request],
        settings: &Settings,
        limits: Limits,
        observe: &(dyn Fn(&Sample) -> ControlFlow<()> + Sync),
    ) -> Result<Vec<Sample>> {
        let queue = Queue::default();
        let settings = Arc::new(settings.clone());
        for request in requests {
            self.check(request, &settings)?;
            queue.push(Task {
                request: request.clone(),
                settings: Arc::clone(&settings),
                tag: (),
            });
        }
        queue.close();
        let finished = Mutex::new(Vec::new());
        self.serve(&queue, limits, &|(), sample, last| {
            if last {
                if observe(sample).is_break() {
                    queue.abandon();
                }
                let mut finished = finished.lock().expect("no thread panics while pushing");
                finished.push(sample.clone());
            }
            ControlFlow::Continue(())
        })?;
        let mut samples = finished
            .into_inner()
            .expect("no thread panicked while pushing");
        samples.sort_by_key(|sample| (sample.request, sample.sample));
        for sample in &samples {
            ensure!(
                sample.log_probs.iter().all(|log_prob| log_prob.is_finite()),
                "sampling {}: the model's probabilities are not numbers; its training diverged",
                requests[sample.request].key
            );
        }
        Ok(samples)
    }

    /// Draws samples as tasks come, on all threads of the current pool, until the queue is closed
    /// and empty or abandoned; returns the most bytes that keys and values took. On a device one
    /// worker has the sequences of all threads.
    ///
    /// # Errors
    /// The limits leave no room, or a device failed.
    pub fn serve<T: Send + Sync>(
        &self,
        queue: &Queue<T>,
        limits: Limits,
        observer: &Observer<'_, T>,
    ) -> Result<usize> {
        ensure!(limits.slots_per_thread > 0, "slots_per_thread is 0");
        #[cfg(feature = "device")]
        if let Some(decoder) = self.on_device() {
            let slots = limits.slots_per_thread * rayon::current_num_threads();
            let (session, limit) = decoder.session(slots, limits)?;
            let pool = Pool::on_device(self.config(), session, limit);
            let worker = Worker {
                decoder: self,
                queue,
                pool: &pool,
                slots,
                observer,
                state: State::default(),
            };
            crate::device::catching(|| {
                worker.run();
                Ok(())
            })?;
            return Ok(pool.peak_bytes());
        }
        let pool = Pool::new(self.config(), self.form(), limits.cache_bytes);
        (0..rayon::current_num_threads())
            .into_par_iter()
            .with_max_len(1)
            .for_each(|_| {
                let worker = Worker {
                    decoder: self,
                    queue,
                    pool: &pool,
                    slots: limits.slots_per_thread,
                    observer,
                    state: State::default(),
                };
                worker.run();
            });
        Ok(pool.peak_bytes())
    }
}
