//! Decoding on a device: rows of any sequences pass through together, as in `decoder`.
//!
//! Called by `decoder` and `page` when weights lie on a device; one worker drives it. Keys and
//! values lie there, in pages whose numbers the host's tables hold. Products are of [`TILE`] rows
//! always, filled up if need be, so that the library's choice of a kernel cannot depend on the rows
//! beside one; with attention of a row over its own keys, a row's numbers do not depend on the
//! batch. Tokens are drawn there too, by the rules and from the streams of the CPU; only the first
//! after a prompt, whose logits all its samples share, is drawn on the host.

use anyhow::{Context as _, Result};
use gpu::ops::matmul::Output;
use gpu::ops::sampling::{self, State};
use gpu::ops::{embedding, head, linear, paged, rmsnorm, rope, swiglu};
use gpu::{Buffer, Device, Float, Slice};
use half::bf16;
use std::sync::{Arc, Mutex};

use super::cache::Cache;
use super::decoder::Row;
use super::page::PAGE;
use super::settings::Limits;
use super::slot::Slot;
use super::worker::Drawn;
use crate::config::Config;
use crate::device::demand;
use crate::lora::Adapter;
use crate::network::{Layers, Network, head_of, shape};
use crate::parameters::{Number, Parameters, Placed};
use crate::precision::Precision;
use crate::weights::Weights;

/// Rows of a product.
const TILE: usize = 128;

/// A network laid out for decoding on a device: its weights as they lie there.
pub(super) struct DeviceDecoder {
    network: Network,
    parameters: Parameters,
    adapter: Option<Adapter>,
    precision: Precision,
}

/// Keys and values: a pool for each layer, and a page has the same number in all.
pub(super) struct Pages {
    numbers: Mutex<Numbers>,
    /// Of one page in one pool.
    page_numbers: usize,
    capacity: usize,
}

/// In the numbers that products multiply.
enum Numbers {
    F32(Vec<Buffer<f32>>),
    Bf16(Vec<Buffer<bf16>>),
}

/// Reused buffers of a worker.
#[derive(Default)]
pub(super) struct Scratch {
    f32: Option<Space<f32>>,
    bf16: Option<Space<bf16>>,
    /// How the sequences in their seats are sampled.
    sampling: Option<State>,
    free: Arc<Mutex<Vec<u32>>>,
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

/// Buffers of a step, `capacity` rows each.
struct Space<T: Float> {
    capacity: usize,
    rotary: rope::Table,
    x: Buffer<f32>,
    middle: Buffer<f32>,
    root: Buffer<f32>,
    normed: Buffer<T>,
    qkv: Buffer<T>,
    attended: Buffer<T>,
    branch: Buffer<T>,
    gate_up: Buffer<T>,
    product: Buffer<T>,
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

    fn device(&self) -> &Device {
        self.parameters.device().expect("weights lie on a device")
    }

    /// Room for keys and values: what the limits say, or half of what is free if that is more, and
    /// two whole sequences beyond. Also says how many pages the limit is.
    pub(super) fn pages(&self, limits: Limits) -> Result<(Pages, usize)> {
        let config = self.network.config();
        let page_numbers = 2 * config.kv_width() * PAGE;
        let bytes = page_numbers
            * config.layers
            * match self.precision {
                Precision::F32 => 4,
                Precision::Bf16 => 2,
            };
        let beyond = 2 * (config.max_positions.div_ceil(PAGE) + 1);
        let free = self.device().memory()?.free / 2;
        // No more than all slots can fill.
        let most = limits.slots_per_thread * rayon::current_num_threads() * beyond;
        let limit = (limits.cache_bytes.max(free.saturating_sub(beyond * bytes)) / bytes)
            .clamp(1, most.max(1));
        let (device, capacity) = (self.device(), limit + beyond);
        let length = capacity * page_numbers;
        let pools = 0..config.layers;
        let numbers = match self.precision {
            Precision::F32 => pools
                .map(|_| device.zeros(length))
                .collect::<gpu::Result<_>>()
                .map(Numbers::F32),
            Precision::Bf16 => pools
                .map(|_| device.zeros(length))
                .collect::<gpu::Result<_>>()
                .map(Numbers::Bf16),
        };
        let numbers = numbers.with_context(|| {
            format!("{capacity} pages of keys and values: lower cache_mb or the number of slots")
        })?;
        let pages = Pages {
            numbers: Mutex::new(numbers),
            page_numbers,
            capacity,
        };
        Ok((pages, limit))
    }

    /// The seat of a sequence, of `seats`.
    pub(super) fn seat<T>(
        &self,
        slot: &mut Slot<T>,
        seats: usize,
        scratch: &mut Scratch,
    ) -> Result<u32> {
        if let Some(seat) = &slot.seat {
            return Ok(seat.number);
        }
        let vocab = self.network.config().vocab_size;
        let state = match &mut scratch.sampling {
            Some(state) => state,
            none => {
                let mut free = scratch.free.lock().expect("no thread panics with seats");
                *free = (0..seats as u32).rev().collect();
                none.insert(State::new(self.device(), seats, vocab)?)
            }
        };
        let taken = scratch
            .free
            .lock()
            .expect("no thread panics with seats")
            .pop();
        let number = taken.expect("as many seats as sequences");
        let (settings, occurred) = slot.to_be_drawn();
        state.start(number as usize, &settings, &occurred)?;
        slot.seat = Some(Seat {
            number,
            free: Arc::clone(&scratch.free),
        });
        Ok(number)
    }

    /// Passes rows through all blocks and draws a token for each of `seats`, which the first of the
    /// chosen rows belong to; the logits of the others come back.
    pub(super) fn step(
        &self,
        (rows, chosen, caches): (&[Row], &[usize], &[Cache]),
        seats: &[u32],
        pages: &Pages,
        scratch: &mut Scratch,
    ) -> (Vec<Drawn>, Vec<f32>) {
        let mut step = || -> Result<(Vec<Drawn>, Vec<f32>)> {
            let logits = self.logits(rows, chosen, caches, pages, scratch)?;
            let (count, vocab) = (seats.len(), self.network.config().vocab_size);
            let drawn = match &mut scratch.sampling {
                Some(state) if count > 0 => {
                    draw(logits.slice(..count * vocab), self.device(), seats, state)?
                }
                _ => Vec::new(),
            };
            let rest = logits
                .slice(count * vocab..chosen.len() * vocab)
                .download()?;
            Ok((drawn, rest))
        };
        demand(step())
    }

    /// Passes rows through all blocks; leaves the logits `[chosen, vocab]` on the device.
    fn logits(
        &self,
        rows: &[Row],
        chosen: &[usize],
        caches: &[Cache],
        pages: &Pages,
        scratch: &mut Scratch,
    ) -> Result<Buffer<f32>> {
        let mut numbers = pages.numbers.lock().expect("no thread panics with pages");
        match &mut *numbers {
            Numbers::F32(pools) => self.pass(rows, chosen, caches, pools, &mut scratch.f32),
            Numbers::Bf16(pools) => self.pass(rows, chosen, caches, pools, &mut scratch.bf16),
        }
    }

    fn pass<T>(
        &self,
        rows: &[Row],
        chosen: &[usize],
        caches: &[Cache],
        pools: &mut [Buffer<T>],
        space: &mut Option<Space<T>>,
    ) -> Result<Buffer<f32>>
    where
        T: Number + Output<T>,
        f32: Output<T>,
    {
        let device = self.device();
        let config = self.network.config();
        let padded = rows.len().next_multiple_of(TILE);
        if space.as_ref().is_none_or(|space| space.capacity < padded) {
            *space = None;
            *space = Some(Space::new(device, &self.network, padded)?);
        }
        let space = space.as_mut().expect("made above");
        let input = Input::new(device, rows, padded, caches)?;
        self.blocks(&input, pools, space)?;
        let (width, vocab) = (config.hidden_size, config.vocab_size);
        let count = chosen.len().next_multiple_of(TILE);
        let mut wanted: Vec<u32> = chosen.iter().map(|row| *row as u32).collect();
        wanted.resize(count, 0);
        let wanted = device.upload(&wanted)?;
        let mut states = device.empty::<T>(count * width)?;
        let hidden = space.normed.slice(..padded * width);
        head::gather_rows(states.view_mut(), hidden, wanted.view(), width)?;
        let mut logits = device.empty::<f32>(count * vocab)?;
        let head = head_of::<T>(&self.network, self.weights(), 1.0);
        for start in (0..count).step_by(TILE) {
            let end = start + TILE;
            head.logits(
                logits.slice_mut(start * vocab..end * vocab),
                states.slice(start * width..end * width),
                0,
            )?;
        }
        Ok(logits)
    }

    /// Leaves the normed residual stream in `space.normed`.
    fn blocks<T>(&self, input: &Input, pools: &mut [Buffer<T>], space: &mut Space<T>) -> Result<()>
    where
        T: Number + Output<T>,
        f32: Output<T>,
    {
        let (config, names) = (self.network.config(), self.network.names());
        let layers = Layers::new(self.weights());
        let (width, inner, eps) = (
            config.hidden_size,
            config.intermediate_size,
            config.rms_norm_eps as f32,
        );
        let query = config.query_width();
        let fused = query + 2 * config.kv_width();
        let shape = shape(&self.network);
        let (rows, real) = (input.padded, input.slots.len());
        let places = paged::Rows {
            slots: input.slots.view(),
            positions: input.positions.slice(..real),
            tables: input.tables.view(),
            table_pages: input.table_pages,
        };
        let longest = input.table_pages * PAGE;
        let mut scratch = self
            .device()
            .empty(paged::scratch_values(real, shape, longest))?;
        let Space {
            rotary,
            x,
            middle,
            root,
            normed,
            qkv,
            attended,
            branch,
            gate_up,
            product,
            ..
        } = space;
        let (mut x, mut middle) = (
            x.slice_mut(..rows * width),
            middle.slice_mut(..rows * width),
        );
        let mut root = root.slice_mut(..rows);
        let mut normed = normed.slice_mut(..rows * width);
        let mut qkv = qkv.slice_mut(..rows * fused);
        let mut attended = attended.slice_mut(..rows * query);
        let mut branch = branch.slice_mut(..rows * width);
        let mut gate_up = gate_up.slice_mut(..rows * 2 * inner);
        let mut product = product.slice_mut(..rows * inner);

        let table = layers.master(&names.embedding);
        embedding::forward(x.reborrow(), input.ids.view(), table, width)?;
        let first = names
            .layers
            .first()
            .map_or(&names.norm, |first| &first.attention_norm);
        let norm = layers.master(first);
        rmsnorm::forward(normed.reborrow(), root.reborrow(), x.as_slice(), norm, eps)?;
        for (index, layer) in names.layers.iter().enumerate() {
            let all: &[&str] = &[&layer.q, &layer.k, &layer.v];
            tiled(&layers, &mut qkv, &normed, all, width)?;
            if let Some([q, k, v]) = &layer.biases {
                linear::add_bias(qkv.reborrow(), layers.masters(&[q, k, v]))?;
            }
            rope::turn(
                qkv.reborrow(),
                fused,
                config.heads + config.kv_heads,
                rotary,
                input.positions.view(),
                rope::Direction::Forward,
            )?;
            let pool = &mut pools[index];
            let projected = qkv.as_slice().slice(..real * fused);
            paged::append(pool.view_mut(), projected, places, shape)?;
            let out = attended.reborrow().slice(..real * query);
            let parts = scratch.view_mut();
            paged::attend(out, parts, projected, pool.view(), places, longest, shape)?;
            tiled(&layers, &mut branch, &attended, &[&layer.o], query)?;
            let norm = layers.master(&layer.mlp_norm);
            rmsnorm::add_forward(
                normed.reborrow(),
                root.reborrow(),
                middle.reborrow(),
                x.as_slice(),
                branch.as_slice(),
                norm,
                eps,
            )?;
            let both: &[&str] = &[&layer.gate, &layer.up];
            tiled(&layers, &mut gate_up, &normed, both, width)?;
            swiglu::forward(product.reborrow(), gate_up.as_slice(), inner)?;
            tiled(&layers, &mut branch, &product, &[&layer.down], inner)?;
            let next = names.layers.get(index + 1);
            let norm = layers.master(next.map_or(&names.norm, |next| &next.attention_norm));
            rmsnorm::add_forward(
                normed.reborrow(),
                root.reborrow(),
                x.reborrow(),
                middle.as_slice(),
                branch.as_slice(),
                norm,
                eps,
            )?;
        }
        Ok(())
    }
}

/// A token for each row of logits.
fn draw(
    logits: Slice<f32>,
    device: &Device,
    seats: &[u32],
    state: &mut State,
) -> Result<Vec<Drawn>> {
    let count = seats.len();
    let seats = device.upload(seats)?;
    let mut tokens = device.empty::<u32>(count)?;
    let (mut log_probs, mut processed) = (device.empty(count)?, device.empty(count)?);
    let drawn = sampling::Drawn {
        tokens: tokens.view_mut(),
        log_probs: log_probs.view_mut(),
        processed_log_probs: processed.view_mut(),
    };
    sampling::sample(drawn, logits, seats.view(), state)?;
    let tokens = tokens.download()?.into_iter();
    let both = log_probs.download()?.into_iter().zip(processed.download()?);
    Ok(tokens
        .zip(both)
        .map(|(token, (log_prob, processed))| (token, log_prob, processed))
        .collect())
}

/// `y = x Wᵀ`, [`TILE`] rows at a time.
fn tiled<T>(
    layers: &Layers,
    y: &mut gpu::SliceMut<T>,
    x: &gpu::SliceMut<T>,
    names: &[&str],
    inputs: usize,
) -> Result<()>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let rows = x.len() / inputs;
    let outputs = y.len() / rows;
    for start in (0..rows).step_by(TILE) {
        let end = start + TILE;
        let x = x.as_slice().slice(start * inputs..end * inputs);
        let y = y.reborrow().slice(start * outputs..end * outputs);
        layers.forward(y, x, names, inputs)?;
    }
    Ok(())
}

/// Rows of a step as kernels read them.
struct Input {
    /// Filled up with rows of nothing.
    padded: usize,
    ids: Buffer<u32>,
    positions: Buffer<u32>,
    /// Of the real rows: which line of `tables` is theirs.
    slots: Buffer<u32>,
    /// Pages of every sequence, `table_pages` a line.
    tables: Buffer<u32>,
    table_pages: usize,
}

impl Input {
    fn new(device: &Device, rows: &[Row], padded: usize, caches: &[Cache]) -> Result<Self> {
        let stride = caches
            .iter()
            .map(|cache| cache.numbers().count())
            .max()
            .unwrap_or(0)
            .max(1);
        let mut tables = vec![0; caches.len().max(1) * stride];
        for (line, cache) in tables.chunks_exact_mut(stride).zip(caches) {
            line.iter_mut()
                .zip(cache.numbers())
                .for_each(|(to, page)| *to = page);
        }
        let column = |length: usize, value: &dyn Fn(&Row) -> u32| -> Result<Buffer<u32>> {
            let mut values: Vec<u32> = rows.iter().map(value).collect();
            values.resize(length, 0);
            Ok(device.upload(&values)?)
        };
        Ok(Self {
            padded,
            ids: column(padded, &|row| row.id)?,
            positions: column(padded, &|row| row.position as u32)?,
            slots: column(rows.len(), &|row| row.cache as u32)?,
            tables: device.upload(&tables)?,
            table_pages: stride,
        })
    }
}

impl<T: Float> Space<T> {
    fn new(device: &Device, network: &Network, capacity: usize) -> Result<Self> {
        let config: &Config = network.config();
        let (width, inner, query) = (
            config.hidden_size,
            config.intermediate_size,
            config.query_width(),
        );
        let (half, cosines, sines) = network.rotary().parts();
        Ok(Self {
            capacity,
            rotary: rope::Table::new(device, half, cosines, sines)?,
            x: device.empty(capacity * width)?,
            middle: device.empty(capacity * width)?,
            root: device.empty(capacity)?,
            normed: device.empty(capacity * width)?,
            qkv: device.empty(capacity * (query + 2 * config.kv_width()))?,
            attended: device.empty(capacity * query)?,
            branch: device.empty(capacity * width)?,
            gate_up: device.empty(capacity * 2 * inner)?,
            product: device.empty(capacity * inner)?,
        })
    }
}

impl Pages {
    /// Whether numbers are bfloat16.
    pub(super) fn is_bf16(&self) -> bool {
        let numbers = self.numbers.lock().expect("no thread panics with pages");
        matches!(*numbers, Numbers::Bf16(_))
    }

    /// Whether there is a page of this number.
    pub(super) fn has(&self, page: usize) -> bool {
        page < self.capacity
    }

    /// Copies one page to another.
    pub(super) fn copy(&self, to: u32, from: u32) -> Result<()> {
        let mut numbers = self.numbers.lock().expect("no thread panics with pages");
        match &mut *numbers {
            Numbers::F32(pools) => {
                let mut pools = pools.iter_mut();
                pools.try_for_each(|pool| copy(pool, self.page_numbers, to, from))
            }
            Numbers::Bf16(pools) => {
                let mut pools = pools.iter_mut();
                pools.try_for_each(|pool| copy(pool, self.page_numbers, to, from))
            }
        }
    }
}

fn copy<T: Float>(all: &mut Buffer<T>, size: usize, to: u32, from: u32) -> Result<()> {
    let (to, from) = (to as usize * size, from as usize * size);
    let (low, high) = (to.min(from), to.max(from));
    let (before, behind) = all.view_mut().split_at(high);
    let (mut below, mut above) = (before.slice(low..low + size), behind.slice(..size));
    if to < from {
        below.copy_from(above.as_slice())?;
    } else {
        above.copy_from(below.as_slice())?;
    }
    Ok(())
}
