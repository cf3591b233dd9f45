//! Steps of decoding as launches, recorded once for each size.
//!
//! Driven by `Session`. The rows of a step are rounded up to one of [`BUCKETS`], and the longest
//! sequence to a power of two; what is launched depends on these two alone, and on a third bucket
//! for the rows that get logits, so that the second step of a size is recorded as a graph and those
//! after it are one call. Rows that fill up a bucket write to a page of nobody. Products are
//! `gpu::ops::row_product`, not cuBLAS: whatever the bucket, a row's bits are the same.

use anyhow::{Context as _, Result};
use gpu::ops::matmul::Output;
use gpu::ops::row_product::row_product;
use gpu::ops::sampling::{self, NOBODY, Settings, State};
use gpu::ops::{embedding, head, linear, paged, rmsnorm, rope, swiglu};
use gpu::{Buffer, Device, Float, Graphs, Slice, SliceMut};

use super::{Cache, DeviceDecoder, Drawn, PAGE, Row};
use crate::network::{Layers, head_of, shape};
use crate::parameters::Number;

/// Numbers of rows that launches are made for; more are passed in several goes.
const BUCKETS: [usize; 15] = [
    1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, MOST_ROWS,
];
const MOST_ROWS: usize = 512;

/// Shorter sequences are attended to as if they were so long.
const LEAST_POSITIONS: usize = 256;

/// Buffers, keys and values, and the launches recorded on them.
pub(super) struct Steps<T: Float> {
    /// By rows and positions. Graphs come first: they go before what they use.
    block_graphs: Graphs<(usize, usize)>,
    /// By rows.
    head_graphs: Graphs<usize>,
    tables: Tables,
    /// Keys and values: one pool for each layer, and a page has the same number in all.
    pools: Vec<Buffer<T>>,
    /// Of one page in one pool.
    page_values: usize,
    space: Space<T>,
    state: State,
}

/// The pages of the sequences of a step, a line each; a last line for the rows of nobody.
struct Tables {
    there: Buffer<u32>,
    /// What is there.
    here: Vec<u32>,
    /// Pages of a line.
    stride: usize,
}

/// What the launches of a step read and write.
struct Space<T: Float> {
    rotary: rope::Table,
    /// Ids, positions and lines of the rows, one after another for the bucket.
    rows: Buffer<u32>,
    /// Rows that get logits, and their seats, as above.
    chosen: Buffer<u32>,
    /// Two residual streams: a block's halves read one and write the other.
    streams: [Buffer<f32>; 2],
    root: Buffer<f32>,
    normed: Buffer<T>,
    qkv: Buffer<T>,
    attended: Buffer<T>,
    branch: Buffer<T>,
    gate_up: Buffer<T>,
    product: Buffer<T>,
    /// What an adapter has between its factors.
    narrow: Buffer<T>,
    /// Of attention; grows with the longest sequence.
    parts: Buffer<f32>,
    states: Buffer<T>,
    logits: Buffer<f32>,
    tokens: Buffer<u32>,
    log_probs: Buffer<f32>,
    processed: Buffer<f32>,
}

/// The bucket that so many rows fall into.
fn bucket(rows: usize) -> usize {
    let fits = BUCKETS.into_iter().find(|bucket| *bucket >= rows);
    fits.expect("the caller cuts rows")
}

impl Tables {
    fn new(device: &Device, lines: usize, stride: usize, page_of_nobody: u32) -> gpu::Result<Self> {
        let mut here = vec![0; (lines + 1) * stride];
        here[lines * stride] = page_of_nobody;
        Ok(Self {
            there: device.upload(&here)?,
            here,
            stride,
        })
    }

    fn line_of_nobody(&self) -> u32 {
        (self.here.len() / self.stride - 1) as u32
    }

    /// Uploads what has changed.
    fn update(&mut self, caches: &[Cache]) -> gpu::Result<()> {
        assert!(caches.len() <= self.line_of_nobody() as usize, "lines");
        let (mut from, mut to) = (usize::MAX, 0);
        for (line, cache) in caches.iter().enumerate() {
            let own = &mut self.here[line * self.stride..][..self.stride];
            for (place, page) in cache.numbers().enumerate() {
                if own[place] != page {
                    own[place] = page;
                    let at = line * self.stride + place;
                    (from, to) = (from.min(at), to.max(at + 1));
                }
            }
        }
        if from < to {
            let changed = &self.here[from..to];
            self.there.slice_mut(from..to).upload(changed)?;
        }
        Ok(())
    }
}

impl<T: Float> Space<T> {
    fn new(decoder: &DeviceDecoder, rows: usize, chosen: usize) -> gpu::Result<Self> {
        let (device, config) = (decoder.device(), decoder.config());
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let query = config.query_width();
        let (half, cosines, sines) = decoder.network.rotary().parts();
        let rank = decoder.adapter.as_ref().map_or(0, |on| on.config().rank);
        Ok(Self {
            rotary: rope::Table::new(device, half, cosines, sines)?,
            rows: device.empty(3 * rows)?,
            chosen: device.empty(2 * chosen)?,
            streams: [device.empty(rows * width)?, device.empty(rows * width)?],
            root: device.empty(rows)?,
            normed: device.empty(rows * width)?,
            qkv: device.empty(rows * (query + 2 * config.kv_width()))?,
            attended: device.empty(rows * query)?,
            branch: device.empty(rows * width)?,
            gate_up: device.empty(rows * 2 * inner)?,
            product: device.empty(rows * inner)?,
            narrow: device.empty(rows * rank)?,
            parts: device.empty(0)?,
            states: device.empty(chosen * width)?,
            logits: device.empty(chosen * config.vocab_size)?,
            tokens: device.empty(chosen)?,
            log_probs: device.empty(chosen)?,
            processed: device.empty(chosen)?,
        })
    }
}

impl<T> Steps<T>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    /// Takes all memory but that of attention.
    pub(super) fn new(decoder: &DeviceDecoder, seats: usize, pages: usize) -> gpu::Result<Self> {
        let (device, config) = (decoder.device(), decoder.config());
        // A row for each sequence and the last of a prompt.
        let chosen = bucket((seats + 1).min(MOST_ROWS));
        let page_values = paged::page_values(shape(&decoder.network));
        let line = config.max_positions.div_ceil(PAGE);
        Ok(Self {
            block_graphs: Graphs::default(),
            head_graphs: Graphs::default(),
            tables: Tables::new(device, seats + 1, line, pages as u32)?,
            pools: (0..config.layers)
                .map(|_| device.zeros((pages + 1) * page_values))
                .collect::<gpu::Result<_>>()?,
            page_values,
            space: Space::new(decoder, MOST_ROWS, chosen)?,
            state: State::new(device, seats, config.vocab_size)?,
        })
    }

    pub(super) fn start(
        &mut self,
        seat: usize,
        settings: &Settings,
        occurred: &[u32],
    ) -> gpu::Result<()> {
        self.state.start(seat, settings, occurred)
    }

    pub(super) fn copy_page(&mut self, to: usize, from: usize) -> gpu::Result<()> {
        assert_ne!(to, from, "a page copied to itself");
        let size = self.page_values;
        let (low, high) = (to.min(from) * size, to.max(from) * size);
        for pool in &mut self.pools {
            let (before, behind) = pool.view_mut().split_at(high);
            let (mut below, mut above) = (before.slice(low..low + size), behind.slice(..size));
            if to < from {
                below.copy_from(above.as_slice())?;
            } else {
                above.copy_from(below.as_slice())?;
            }
        }
        Ok(())
    }

    /// As [`Session::step`](super::Session::step).
    pub(super) fn step(
        &mut self,
        decoder: &DeviceDecoder,
        rows: &[Row],
        chosen: &[usize],
        caches: &[Cache],
        seats: &[u32],
    ) -> Result<(Vec<Drawn>, Vec<f32>)> {
        self.tables.update(caches)?;
        let seats = seats.iter().copied().chain(std::iter::repeat(NOBODY));
        let mut wanted = chosen.iter().copied().zip(seats).peekable();
        let (mut drawn, mut rest) = (Vec::new(), Vec::new());
        let most = self.space.tokens.len();
        for (index, part) in rows.chunks(MOST_ROWS).enumerate() {
            let (start, end) = (index * MOST_ROWS, index * MOST_ROWS + part.len());
            self.pass(decoder, part)
                .with_context(|| format!("a step of {} rows", part.len()))?;
            let mut here: Vec<(u32, u32)> = Vec::new();
            while let Some((row, seat)) = wanted.next_if(|(row, _)| *row < end) {
                here.push(((row - start) as u32, seat));
            }
            for some in here.chunks(most) {
                self.draw(decoder, some, &mut drawn, &mut rest)
                    .with_context(|| format!("drawing {} tokens", some.len()))?;
            }
        }
        Ok((drawn, rest))
    }

    /// Passes rows through all blocks; leaves the normed residual stream in `normed`.
    fn pass(&mut self, decoder: &DeviceDecoder, rows: &[Row]) -> gpu::Result<()> {
        let device = decoder.device();
        let size = bucket(rows.len());
        let nobody = self.tables.line_of_nobody();
        let mut columns = vec![0; 3 * size];
        columns[2 * size..].fill(nobody);
        for (at, row) in rows.iter().enumerate() {
            columns[at] = row.id;
            columns[size + at] = row.position as u32;
            columns[2 * size + at] = row.cache as u32;
        }
        self.space.rows.slice_mut(..3 * size).upload(&columns)?;
        let longest = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
        let longest = longest.next_power_of_two().max(LEAST_POSITIONS);
        let parts = paged::scratch_values(MOST_ROWS, shape(&decoder.network), longest);
        if self.space.parts.len() < parts {
            self.block_graphs.clear();
            self.space.parts = device.empty(0)?;
            self.space.parts = device.empty(parts)?;
        }
        let Self {
            block_graphs,
            tables,
            pools,
            space,
            ..
        } = self;
        block_graphs.run((size, longest), device, || {
            blocks(decoder, tables, pools, space, size, longest)
        })
    }

    /// Draws for the rows of the last pass that have a seat, and fetches the logits of those behind
    /// them, which have none.
    fn draw(
        &mut self,
        decoder: &DeviceDecoder,
        wanted: &[(u32, u32)],
        drawn: &mut Vec<Drawn>,
        rest: &mut Vec<f32>,
    ) -> gpu::Result<()> {
        let size = bucket(wanted.len());
        let mut columns = vec![0; 2 * size];
        columns[size..].fill(NOBODY);
        for (at, (row, seat)) in wanted.iter().enumerate() {
            columns[at] = *row;
            columns[size + at] = *seat;
        }
        let Self {
            head_graphs,
            space,
            state,
            ..
        } = self;
        space.chosen.slice_mut(..2 * size).upload(&columns)?;
        head_graphs.run(size, decoder.device(), || {
            head_and_draw(decoder, space, state, size)
        })?;
        let seated = wanted.iter().filter(|(_, seat)| *seat != NOBODY).count();
        let tokens = space.tokens.slice(..seated).download()?.into_iter();
        let log_probs = space.log_probs.slice(..seated).download()?;
        let processed = space.processed.slice(..seated).download()?;
        let both = log_probs.into_iter().zip(processed);
        drawn.extend(
            tokens
                .zip(both)
                .map(|(token, (own, from))| (token, own, from)),
        );
        let vocab = decoder.config().vocab_size;
        let others = seated * vocab..wanted.len() * vocab;
        rest.extend(space.logits.slice(others).download()?);
        Ok(())
    }
}

/// The first `rows` rows through all blocks, none of whose positions is beyond `longest`.
fn blocks<T>(
    decoder: &DeviceDecoder,
    tables: &Tables,
    pools: &mut [Buffer<T>],
    space: &mut Space<T>,
    rows: usize,
    longest: usize,
) -> gpu::Result<()>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let (config, names) = (decoder.config(), decoder.network.names());
    let layers = Layers::new(decoder.weights());
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let eps = config.rms_norm_eps as f32;
    let query = config.query_width();
    let shape = shape(&decoder.network);
    let ids = space.rows.slice(..rows);
    let places = paged::Rows {
        positions: space.rows.slice(rows..2 * rows),
        slots: space.rows.slice(2 * rows..3 * rows),
        tables: tables.there.view(),
        table_pages: tables.stride,
    };
    let [x, middle] = &mut space.streams;
    let mut x = x.slice_mut(..rows * width);
    let mut middle = middle.slice_mut(..rows * width);
    let mut root = space.root.slice_mut(..rows);
    let mut normed = space.normed.slice_mut(..rows * width);
    let mut qkv = space.qkv.slice_mut(..rows * shape.row());
    let mut attended = space.attended.slice_mut(..rows * query);
    let mut branch = space.branch.slice_mut(..rows * width);
    let mut gate_up = space.gate_up.slice_mut(..rows * 2 * inner);
    let mut product = space.product.slice_mut(..rows * inner);
    let mut narrow = space.narrow.view_mut();

    let table = layers.master(&names.embedding);
    embedding::forward(x.reborrow(), ids, table, width)?;
    let first = names.layers.first();
    let norm = layers.master(first.map_or(&names.norm, |first| &first.attention_norm));
    rmsnorm::forward(normed.reborrow(), root.reborrow(), x.as_slice(), norm, eps)?;
    for (index, layer) in names.layers.iter().enumerate() {
        let mut forward = |y: SliceMut<T>, x: Slice<T>, names: &[&str], inputs: usize| {
            layers.forward_by_row(y, x, names, inputs, narrow.reborrow())
        };
        let three: &[&str] = &[&layer.q, &layer.k, &layer.v];
        forward(qkv.reborrow(), normed.as_slice(), three, width)?;
        if let Some([q, k, v]) = &layer.biases {
            linear::add_bias(qkv.reborrow(), layers.masters(&[q, k, v]))?;
        }
        rope::turn(
            qkv.reborrow(),
            shape.row(),
            config.heads + config.kv_heads,
            &space.rotary,
            places.positions,
            rope::Direction::Forward,
        )?;
        let pool = &mut pools[index];
        paged::append(pool.view_mut(), qkv.as_slice(), places, shape)?;
        paged::attend(
            attended.reborrow(),
            space.parts.view_mut(),
            qkv.as_slice(),
            pool.view(),
            places,
            longest,
            shape,
        )?;
        forward(branch.reborrow(), attended.as_slice(), &[&layer.o], query)?;
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
        forward(gate_up.reborrow(), normed.as_slice(), both, width)?;
        swiglu::forward(product.reborrow(), gate_up.as_slice(), inner)?;
        forward(branch.reborrow(), product.as_slice(), &[&layer.down], inner)?;
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

/// Logits of the first `rows` chosen rows, and a token for each of them that has a seat.
fn head_and_draw<T>(
    decoder: &DeviceDecoder,
    space: &mut Space<T>,
    state: &mut State,
    rows: usize,
) -> gpu::Result<()>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let config = decoder.config();
    let (width, vocab) = (config.hidden_size, config.vocab_size);
    let chosen = space.chosen.slice(..rows);
    let seats = space.chosen.slice(rows..2 * rows);
    let states = space.states.slice_mut(..rows * width);
    head::gather_rows(states, space.normed.view(), chosen, width)?;
    let states = space.states.slice(..rows * width);
    let mut logits = space.logits.slice_mut(..rows * vocab);
    let head = head_of::<T>(&decoder.network, decoder.weights(), 1.0);
    let to = logits.reborrow();
    row_product(to, vocab, false, 1.0, states, head.weight, width)?;
    if let Some(low_rank) = head.low_rank {
        let (to, narrow) = (logits.reborrow(), space.narrow.view_mut());
        low_rank.forward_by_row(to, vocab, states, narrow)?;
    }
    let drawn = sampling::Drawn {
        tokens: space.tokens.slice_mut(..rows),
        log_probs: space.log_probs.slice_mut(..rows),
        processed_log_probs: space.processed.slice_mut(..rows),
    };
    sampling::sample(drawn, logits.as_slice(), seats, state)
}
