//! Decoding on a device: rows of any sequences pass through together, as in `decoder`.
//!
//! [`DeviceDecoder`] has the weights; a [`Session`] what one worker needs beside them: keys and
//! values in pages whose numbers the host's tables hold, buffers, recorded launches (`steps`), and
//! the seats in which the device keeps how sequences are sampled. Tokens are drawn there too, by
//! the rules and from the streams of the CPU; only the first after a prompt, whose logits all its
//! samples share, is drawn on the host. Deliberately absent: several adapters at a time.

mod steps;

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result, ensure};
use gpu::Device;
use half::bf16;

use super::cache::Cache;
use super::decoder::Row;
use super::page::PAGE;
use super::settings::Limits;
use super::slot::Slot;
use super::worker::Drawn;
use crate::config::Config;
use crate::device::demand;
use crate::lora::Adapter;
use crate::network::Network;
use crate::parameters::{Parameters, Placed};
use crate::precision::Precision;
use crate::weights::Weights;
use steps::Steps;

/// A network laid out for decoding on a device: its weights as they lie there.
pub(super) struct DeviceDecoder {
    network: Network,
    parameters: Parameters,
    adapter: Option<Adapter>,
    precision: Precision,
}

/// What one worker decodes with.
pub(super) struct Session {
    steps: Mutex<AnySteps>,
    /// Pages that there are; nobody's is one more.
    pages: usize,
    free_seats: Arc<Mutex<Vec<u32>>>,
    decoder: Arc<DeviceDecoder>,
}

/// In the numbers that products multiply.
enum AnySteps {
    F32(Box<Steps<f32>>),
    Bf16(Box<Steps<bf16>>),
}

/// Runs `$work` with `$steps` being those of either precision.
macro_rules! in_precision {
    ($session:expr, $steps:ident => $work:expr) => {
        match &mut *lock(&$session.steps) {
            AnySteps::F32($steps) => $work,
            AnySteps::Bf16($steps) => $work,
        }
    };
}

/// A sequence's place in the device's settings; free again when dropped.
pub(super) struct Seat {
    number: u32,
    free: Arc<Mutex<Vec<u32>>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Ok(mut free) = self.free.lock() {
            free.push(self.number);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("no thread panics with a session")
}

impl DeviceDecoder {
    /// Takes weights that lie on a device; they are shared, not copied.
    pub(super) fn new(network: &Network, weights: Weights) -> Self {
        let parameters = weights.parameters.shared();
        let precision = if parameters.placed().is_some_and(Placed::has_working) {
            Precision::Bf16
        } else {
            Precision::F32
        };
        Self {
            network: Network::new(network.config().clone()),
            parameters,
            adapter: weights.adapter.cloned(),
            precision,
        }
    }

    fn weights(&self) -> Weights<'_> {
        Weights {
            adapter: self.adapter.as_ref(),
            ..(&self.parameters).into()
        }
    }

    fn config(&self) -> &Config {
        self.network.config()
    }

    fn device(&self) -> &Device {
        self.parameters.device().expect("weights lie on a device")
    }

    /// A session with room for keys and values: what the limits say, or half of what is free if
    /// that is more, and two whole sequences beyond. Also says how many pages the limit is.
    pub(super) fn session(
        self: &Arc<Self>,
        seats: usize,
        limits: Limits,
    ) -> Result<(Session, usize)> {
        let config = self.config();
        ensure!(
            config.head_dim.is_multiple_of(8) && config.head_dim <= 256,
            "sampling on a GPU wants heads of a multiple of 8 values, 256 at most, and this model's have \
             {}: say --device cpu",
            config.head_dim
        );
        let numbers = 2 * config.kv_width() * PAGE * config.layers;
        let bytes = match self.precision {
            Precision::F32 => 4 * numbers,
            Precision::Bf16 => 2 * numbers,
        };
        let beyond = 2 * (config.max_positions.div_ceil(PAGE) + 1);
        let free = self.device().memory()?.free / 2;
        // No more than all seats can fill.
        let most = seats * beyond;
        let limit = (limits.cache_bytes.max(free.saturating_sub(beyond * bytes)) / bytes)
            .clamp(1, most.max(1));
        let pages = limit + beyond;
        let steps = match self.precision {
            Precision::F32 => {
                Steps::new(self, seats, pages).map(|steps| AnySteps::F32(Box::new(steps)))
            }
            Precision::Bf16 => {
                Steps::new(self, seats, pages).map(|steps| AnySteps::Bf16(Box::new(steps)))
            }
        };
        let steps = steps.with_context(|| {
            format!("{pages} pages of keys and values: lower cache_mb or the number of slots")
        })?;
        let session = Session {
            steps: Mutex::new(steps),
            pages,
            free_seats: Arc::new(Mutex::new((0..seats as u32).rev().collect())),
            decoder: Arc::clone(self),
        };
        Ok((session, limit))
    }
}

impl Session {
    /// Whether numbers are bfloat16.
    pub(super) fn is_bf16(&self) -> bool {
        self.decoder.precision == Precision::Bf16
    }

    /// Whether there is a page of this number.
    pub(super) fn has_page(&self, page: usize) -> bool {
        page < self.pages
    }

    /// Copies one page to another.
    pub(super) fn copy_page(&self, to: u32, from: u32) {
        let copied = in_precision!(self, steps => steps.copy_page(to as usize, from as usize));
        demand(copied.map_err(Into::into));
    }

    /// The seat of a sequence; the device learns how to go on with it if it has none.
    pub(super) fn seat<T>(&self, slot: &mut Slot<T>) -> u32 {
        if let Some(seat) = &slot.seat {
            return seat.number;
        }
        let taken = lock(&self.free_seats).pop();
        let number = taken.expect("as many seats as sequences");
        slot.seat = Some(Seat {
            number,
            free: Arc::clone(&self.free_seats),
        });
        let (settings, occurred) = slot.to_be_drawn();
        let started =
            in_precision!(self, steps => steps.start(number as usize, &settings, &occurred));
        demand(started.map_err(Into::into));
        number
    }

    /// Passes rows through all blocks and draws a token for each of `seats`, which the first of the
    /// chosen rows, in order, belong to; the logits of the others come back.
    pub(super) fn step(
        &self,
        rows: &[Row],
        chosen: &[usize],
        caches: &[Cache],
        seats: &[u32],
    ) -> (Vec<Drawn>, Vec<f32>) {
        let decoder = &*self.decoder;
        demand(in_precision!(self, steps => steps.step(decoder, rows, chosen, caches, seats)))
    }
}
