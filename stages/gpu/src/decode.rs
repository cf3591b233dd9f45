//! One step of decoding: rows of any sequences through the network, over pages of keys and values.
//!
//! The device side of `model::generate`: which sequence has which slot and pages, and when a
//! sequence ends, is the caller's. A row is one token of one sequence at one position: a prompt is
//! as many rows of one sequence in order, a decoding step one row of each. The number of rows is
//! rounded up to a bucket, whose launches are recorded once into a graph; rows that fill it up
//! write into a page of nobody. A row's bits depend neither on bucket nor on other rows. Weights
//! are lent: training's own working copies, or any others. Deliberately absent: adapters beside
//! the weights (merge them).

use std::collections::BTreeMap;

use crate::buffer::{Buffer, Slice};
use crate::device::{Device, Graph};
use crate::element::Float;
use crate::error::Result;
use crate::ops::attention::Shape;
use crate::ops::matmul::Output;
use crate::ops::paged::{self, PAGE, Rows};
use crate::ops::rope::{self, Direction, Table};
use crate::ops::row_product::row_product;
use crate::ops::sampling::{self, Drawn, Settings, State};
use crate::ops::{embedding, head, linear, rmsnorm, swiglu};

/// Numbers of rows that graphs are made for.
const BUCKETS: [usize; 15] = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

/// Weights of one block.
#[derive(Clone, Copy)]
pub struct Layer<'a, T: Float> {
    /// `[width]`.
    pub attention_norm: Slice<'a, f32>,
    /// Queries, keys and values, `[(heads + 2 kv_heads) D, width]`.
    pub qkv: Slice<'a, T>,
    /// Of queries, keys and values.
    pub qkv_bias: Option<Slice<'a, f32>>,
    /// `[width, heads D]`.
    pub o: Slice<'a, T>,
    /// `[width]`.
    pub mlp_norm: Slice<'a, f32>,
    /// Gate and up, `[2 inner, width]`.
    pub gate_up: Slice<'a, T>,
    /// `[width, inner]`.
    pub down: Slice<'a, T>,
}

/// Weights of a language model.
pub struct Weights<'a, T: Float> {
    /// `[vocab, width]`.
    pub embedding: Slice<'a, T>,
    /// The blocks.
    pub layers: Vec<Layer<'a, T>>,
    /// `[width]`.
    pub norm: Slice<'a, f32>,
    /// `[vocab, width]`; the embedding when tied.
    pub head: Slice<'a, T>,
    /// Angles of positions.
    pub rotary: &'a Table,
}

/// Sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Of a hidden state.
    pub width: usize,
    /// Of the MLP.
    pub inner: usize,
    /// Of the vocabulary.
    pub vocab: usize,
    /// Of attention.
    pub shape: Shape,
    /// Of norms.
    pub eps: f32,
}

/// How much there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sequences at a time.
    pub slots: usize,
    /// Rows of a step, 512 at most.
    pub rows: usize,
    /// Pages of keys and values.
    pub pages: usize,
    /// Positions of a sequence.
    pub positions: usize,
}

/// One token of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The token.
    pub id: u32,
    /// Its position, below the limit.
    pub position: u32,
    /// The sequence.
    pub slot: u32,
}

/// A token that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its log-probability under the model itself.
    pub log_prob: f32,
    /// Its log-probability under what it was drawn from.
    pub processed_log_prob: f32,
}

/// What the kernels of a step read and write; in one place for all steps, so that they can be
/// recorded.
struct Space<T: Float> {
    /// Ids, positions and slots of rows, `[3, rows]` for the most rows.
    inputs: [Buffer<u32>; 3],
    tables: Buffer<u32>,
    /// Two residual streams: a block's halves read one and write the other.
    streams: [Buffer<f32>; 2],
    roots: Buffer<f32>,
    normed: Buffer<T>,
    qkv: Buffer<T>,
    attended: Buffer<T>,
    branch: Buffer<T>,
    gate_up: Buffer<T>,
    product: Buffer<T>,
    scratch: Buffer<f32>,
    /// `[layers, pages + 1, …]`.
    pool: Buffer<T>,
}

/// A model laid out for decoding.
pub struct Decoder<'a, T: Float> {
    device: Device,
    weights: Weights<'a, T>,
    sizes: Sizes,
    limits: Limits,
    space: Space<T>,
    graphs: BTreeMap<usize, Graph>,
    /// Buckets whose kernels ran once outside a graph.
    warm: Vec<usize>,
    state: State,
    chosen: Buffer<u32>,
    chosen_slots: Buffer<u32>,
    states: Buffer<T>,
    logits: Buffer<f32>,
    drawn: (Buffer<u32>, Buffer<f32>, Buffer<f32>),
}

impl<'a, T: Float + Output<T>> Decoder<'a, T>
where
    f32: Output<T>,
{
    /// Takes the memory for the limits.
    ///
    /// # Errors
    /// There is not so much.
    pub fn new(
        device: &Device,
        weights: Weights<'a, T>,
        sizes: Sizes,
        limits: Limits,
    ) -> Result<Self> {
        let most = BUCKETS[BUCKETS.len() - 1];
        assert!(limits.rows > 0 && limits.rows <= most, "rows of a step");
        assert!(
            limits.positions <= weights.rotary.positions(),
            "the rotary table has fewer positions"
        );
        let rows = bucket(limits.rows);
        let (shape, width) = (sizes.shape, sizes.width);
        let attended = shape.heads * shape.head_dim;
        let page = paged::page_values(shape);
        let scratch = paged::scratch_values(rows, shape, limits.positions);
        let tables = (limits.slots + 1) * limits.positions.div_ceil(PAGE);
        let mut space = Space {
            inputs: [
                device.zeros(rows)?,
                device.zeros(rows)?,
                device.zeros(rows)?,
            ],
            tables: device.zeros(tables)?,
            streams: [device.zeros(rows * width)?, device.zeros(rows * width)?],
            roots: device.zeros(rows)?,
            normed: device.zeros(rows * width)?,
            qkv: device.zeros(rows * shape.row())?,
            attended: device.zeros(rows * attended)?,
            branch: device.zeros(rows * width)?,
            gate_up: device.zeros(rows * 2 * sizes.inner)?,
            product: device.zeros(rows * sizes.inner)?,
            scratch: device.zeros(scratch)?,
            pool: device.zeros(weights.layers.len() * (limits.pages + 1) * page)?,
        };
        // The sequence of rows that are nobody's.
        let pages = limits.positions.div_ceil(PAGE);
        space
            .tables
            .slice_mut(limits.slots * pages..)
            .upload(&vec![limits.pages as u32; pages])?;
        Ok(Self {
            device: device.clone(),
            space,
            graphs: BTreeMap::new(),
            warm: Vec::new(),
            state: State::new(device, limits.slots, sizes.vocab)?,
            chosen: device.zeros(rows)?,
            chosen_slots: device.zeros(rows)?,
            states: device.zeros(rows * width)?,
            logits: device.zeros(rows * sizes.vocab)?,
            drawn: (
                device.zeros(rows)?,
                device.zeros(rows)?,
                device.zeros(rows)?,
            ),
            weights,
            sizes,
            limits,
        })
    }

    /// Says which pages a sequence has, position 0 first.
    ///
    /// # Errors
    /// The upload fails.
    pub fn set_pages(&mut self, slot: usize, pages: &[u32]) -> Result<()> {
        let most = self.limits.positions.div_ceil(PAGE);
        assert!(slot < self.limits.slots && pages.len() <= most, "a slot");
        let inside = pages
            .iter()
            .all(|page| (*page as usize) < self.limits.pages);
        assert!(inside, "a page beyond the limit");
        let at = slot * most;
        let table = &mut self.space.tables;
        table.slice_mut(at..at + pages.len()).upload(pages)
    }

    /// Copies a page's keys and values of all layers into another: a shared page before it is
    /// written to.
    ///
    /// # Errors
    /// A copy fails.
    pub fn copy_page(&mut self, from: usize, to: usize) -> Result<()> {
        let page = paged::page_values(self.sizes.shape);
        let layer = (self.limits.pages + 1) * page;
        assert!(from.max(to) < self.limits.pages && from != to, "pages");
        for number in 0..self.weights.layers.len() {
            let (low, high) = (from.min(to), from.max(to));
            let pages = self
                .space
                .pool
                .slice_mut(number * layer..(number + 1) * layer);
            let (before, after) = pages.split_at(high * page);
            let (low, high) = (
                before.slice(low * page..(low + 1) * page),
                after.slice(..page),
            );
            let (source, mut target) = if from < to { (low, high) } else { (high, low) };
            target.copy_from(source.as_slice())?;
        }
        Ok(())
    }

    /// Starts sampling a sequence; `occurred` are the tokens that are there.
    ///
    /// # Errors
    /// The upload fails.
    pub fn start(&mut self, slot: usize, settings: &Settings, occurred: &[u32]) -> Result<()> {
        self.state.start(slot, settings, occurred)
    }

    /// Passes rows through all blocks, and computes the logits of those in `chosen`. Rows of one
    /// sequence must be in order of position; their pages must be there.
    ///
    /// # Errors
    /// A launch fails.
    pub fn step(&mut self, rows: &[Row], chosen: &[u32]) -> Result<()> {
        assert!(rows.len() <= self.limits.rows, "rows of a step");
        let bucket = bucket(rows.len());
        let nobody = Row {
            id: 0,
            position: 0,
            slot: self.limits.slots as u32,
        };
        let padded: Vec<Row> = rows
            .iter()
            .copied()
            .chain(std::iter::repeat(nobody))
            .take(bucket)
            .collect();
        let parts: [fn(&Row) -> u32; 3] = [|row| row.id, |row| row.position, |row| row.slot];
        for (input, part) in self.space.inputs.iter_mut().zip(parts) {
            let values: Vec<u32> = padded.iter().map(part).collect();
            input.slice_mut(..bucket).upload(&values)?;
        }
        if let Some(graph) = self.graphs.get(&bucket) {
            graph.launch()?;
        } else if self.warm.contains(&bucket) {
            let (weights, sizes, space) = (&self.weights, self.sizes, &mut self.space);
            let limits = self.limits;
            let graph = self
                .device
                .record(|| blocks(weights, sizes, limits, space, bucket))?;
            graph.launch()?;
            self.graphs.insert(bucket, graph);
        } else {
            // Kernels are loaded when they first run, which must not be inside a recording.
            blocks(
                &self.weights,
                self.sizes,
                self.limits,
                &mut self.space,
                bucket,
            )?;
            self.warm.push(bucket);
        }
        let (count, width) = (chosen.len(), self.sizes.width);
        assert!(
            chosen.iter().all(|row| (*row as usize) < rows.len()),
            "rows"
        );
        if count == 0 {
            return Ok(());
        }
        self.chosen.slice_mut(..count).upload(chosen)?;
        let slots: Vec<u32> = chosen.iter().map(|row| rows[*row as usize].slot).collect();
        self.chosen_slots.slice_mut(..count).upload(&slots)?;
        let states = self.states.slice_mut(..count * width);
        let normed = self.space.normed.slice(..bucket * width);
        head::gather_rows(states, normed, self.chosen.slice(..count), width)?;
        let logits = self.logits.slice_mut(..count * self.sizes.vocab);
        let states = self.states.slice(..count * width);
        row_product(logits, states, self.weights.head, width, 1.0)
    }

    /// Logits `[count, vocab]` of the rows that the last step chose.
    pub fn logits(&self, count: usize) -> Slice<'_, f32> {
        self.logits.slice(..count * self.sizes.vocab)
    }

    /// Draws a token for each of the `count` rows that the last step chose, and waits for them.
    ///
    /// # Errors
    /// A call so far failed.
    pub fn draw(&mut self, count: usize) -> Result<Vec<Token>> {
        let (tokens, log_probs, processed) = &mut self.drawn;
        let drawn = Drawn {
            tokens: tokens.slice_mut(..count),
            log_probs: log_probs.slice_mut(..count),
            processed_log_probs: processed.slice_mut(..count),
        };
        let logits = self.logits.slice(..count * self.sizes.vocab);
        let slots = self.chosen_slots.slice(..count);
        sampling::sample(drawn, logits, slots, &mut self.state)?;
        let tokens = tokens.slice(..count).download()?;
        let log_probs = log_probs.slice(..count).download()?;
        let processed = processed.slice(..count).download()?;
        let all = tokens.into_iter().zip(log_probs).zip(processed);
        Ok(all
            .map(|((id, log_prob), processed_log_prob)| Token {
                id,
                log_prob,
                processed_log_prob,
            })
            .collect())
    }
}

/// The number of rows whose graph serves so many.
fn bucket(rows: usize) -> usize {
    let fits = BUCKETS.into_iter().find(|bucket| *bucket >= rows);
    fits.expect("512 rows at most")
}

/// All blocks and the last norm over the first `rows` rows; allocates nothing.
fn blocks<T: Float + Output<T>>(
    weights: &Weights<T>,
    sizes: Sizes,
    limits: Limits,
    space: &mut Space<T>,
    rows: usize,
) -> Result<()> {
    let Sizes {
        width,
        inner,
        shape,
        eps,
        ..
    } = sizes;
    let (attended, row) = (shape.heads * shape.head_dim, shape.row());
    let layer_values = (limits.pages + 1) * paged::page_values(shape);
    let [ids, positions, slots] = &space.inputs;
    let at = Rows {
        slots: slots.slice(..rows),
        positions: positions.slice(..rows),
        tables: space.tables.view(),
        table_pages: limits.positions.div_ceil(PAGE),
    };
    let [first, second] = &mut space.streams;
    let stream = first.slice_mut(..rows * width);
    embedding::forward(stream, ids.slice(..rows), weights.embedding, width)?;
    let mut branch_is_there = false;
    for (number, layer) in weights.layers.iter().enumerate() {
        let (normed, roots) = (&mut space.normed, space.roots.slice_mut(..rows));
        let branch = &mut space.branch;
        if branch_is_there {
            // The MLP's branch of the block before; the stream moves back to `first`.
            rmsnorm::add_forward(
                normed.slice_mut(..rows * width),
                roots,
                first.slice_mut(..rows * width),
                second.slice(..rows * width),
                branch.slice(..rows * width),
                layer.attention_norm,
                eps,
            )?;
        } else {
            let (out, x) = (
                normed.slice_mut(..rows * width),
                first.slice(..rows * width),
            );
            rmsnorm::forward(out, roots, x, layer.attention_norm, eps)?;
        }
        let qkv = &mut space.qkv;
        let x = normed.slice(..rows * width);
        row_product(qkv.slice_mut(..rows * row), x, layer.qkv, width, 1.0)?;
        if let Some(bias) = layer.qkv_bias {
            linear::add_bias(qkv.slice_mut(..rows * row), bias)?;
        }
        rope::turn(
            qkv.slice_mut(..rows * row),
            row,
            shape.heads + shape.kv_heads,
            weights.rotary,
            at.positions,
            Direction::Forward,
        )?;
        let qkv = qkv.slice(..rows * row);
        let pages = number * layer_values..(number + 1) * layer_values;
        paged::append(space.pool.slice_mut(pages.clone()), qkv, at, shape)?;
        paged::attend(
            space.attended.slice_mut(..rows * attended),
            space.scratch.view_mut(),
            qkv,
            space.pool.slice(pages),
            at,
            limits.positions,
            shape,
        )?;
        let x = space.attended.slice(..rows * attended);
        let out = branch.slice_mut(..rows * width);
        row_product(out, x, layer.o, attended, 1.0)?;
        rmsnorm::add_forward(
            normed.slice_mut(..rows * width),
            space.roots.slice_mut(..rows),
            second.slice_mut(..rows * width),
            first.slice(..rows * width),
            branch.slice(..rows * width),
            layer.mlp_norm,
            eps,
        )?;
        let gate_up = &mut space.gate_up;
        let out = gate_up.slice_mut(..rows * 2 * inner);
        row_product(out, normed.slice(..rows * width), layer.gate_up, width, 1.0)?;
        let product = space.product.slice_mut(..rows * inner);
        swiglu::forward(product, gate_up.slice(..rows * 2 * inner), inner)?;
        let x = space.product.slice(..rows * inner);
        row_product(branch.slice_mut(..rows * width), x, layer.down, inner, 1.0)?;
        branch_is_there = true;
    }
    rmsnorm::add_forward(
        space.normed.slice_mut(..rows * width),
        space.roots.slice_mut(..rows),
        first.slice_mut(..rows * width),
        second.slice(..rows * width),
        space.branch.slice(..rows * width),
        weights.norm,
        eps,
    )
}
