//! The buffers of passes on a device.
//!
//! One set per workspace, as large as the largest batch so far; a larger one makes them anew. What
//! is kept between the passes is what the CPU keeps, but for queries, keys and values, which stay
//! in fused rows, as do gate and up.

use anyhow::Result;
use gpu::ops::{attention, embedding, rope};
use gpu::{Buffer, Device, Float, Slice, SliceMut};
use half::bf16;

use crate::batch::Batch;
use crate::config::Config;
use crate::network::Network;
use crate::precision::Precision;

/// Rows of a batch, of which the first so many are in use.
pub(super) struct Rows<T: Float> {
    buffer: Buffer<T>,
    width: usize,
    used: usize,
}

impl<T: Float> Rows<T> {
    fn new(device: &Device, capacity: usize, width: usize) -> Result<Self> {
        Ok(Self {
            buffer: device.empty(capacity * width)?,
            width,
            used: 0,
        })
    }

    pub(super) fn view(&self) -> Slice<'_, T> {
        self.buffer.slice(..self.used * self.width)
    }

    pub(super) fn view_mut(&mut self) -> SliceMut<'_, T> {
        self.buffer.slice_mut(..self.used * self.width)
    }
}

/// What one block saves.
pub(super) struct Block<T: Float> {
    pub(super) input_root: Rows<f32>,
    /// Turned queries and keys, and values, side by side.
    pub(super) qkv: Rows<T>,
    pub(super) log_sums: Rows<f32>,
    pub(super) attention: Rows<T>,
    /// Residual stream between attention and MLP.
    pub(super) middle: Rows<f32>,
    pub(super) middle_root: Rows<f32>,
    /// Gate and up side by side; the backward pass puts their gradients there.
    pub(super) gate_up: Rows<T>,
}

/// The buffers of all passes.
pub(super) struct Space<T: Float> {
    capacity: usize,
    tokens: usize,
    pub(super) rotary: rope::Table,
    /// Residual stream at the entry of each block, and after the last.
    pub(super) stream: Vec<Rows<f32>>,
    /// One, used by all in turn, with recomputation.
    pub(super) blocks: Vec<Block<T>>,
    pub(super) last_root: Rows<f32>,
    pub(super) hidden: Rows<T>,
    pub(super) d_hidden: Rows<f32>,
    /// Gradient of the residual stream, and what products read of it.
    pub(super) dx: Rows<f32>,
    pub(super) dx_copy: Rows<T>,
    /// A norm's output, or its gradient.
    pub(super) normed: Rows<T>,
    pub(super) d_normed: Rows<T>,
    /// What a branch adds to the stream.
    pub(super) branch: Rows<T>,
    pub(super) product: Rows<T>,
    pub(super) d_attention: Rows<T>,
    pub(super) d_qkv: Rows<T>,
    pub(super) batch: Option<OnDevice>,
}

/// A batch as kernels read it.
pub(super) struct OnDevice {
    pub(super) ids: Buffer<u32>,
    pub(super) positions: Buffer<u32>,
    pub(super) sequences: attention::Sequences,
    /// Which tokens have which id; made by the first backward pass that asks.
    pub(super) index: Option<embedding::Index>,
}

/// Buffers by precision.
pub(super) enum Passes<F, B> {
    F32(F),
    Bf16(B),
}

/// All that passes of one workspace keep on a device.
#[derive(Default)]
pub(crate) struct Workspace {
    f32: Option<Space<f32>>,
    bf16: Option<Space<bf16>>,
    /// A forward pass ran and no backward pass has used up what it saved.
    fresh: bool,
    /// Log-probabilities of training batches that nobody has asked for.
    pub(super) seen: Vec<Buffer<f32>>,
}

impl Workspace {
    /// Makes buffers for a batch and copies it there.
    pub(super) fn fit(
        &mut self,
        device: &Device,
        network: &Network,
        batch: &Batch,
        precision: Precision,
        recomputes: bool,
    ) -> Result<()> {
        if super::is_bf16(precision) {
            fit(&mut self.bf16, device, network, batch, recomputes)?;
        } else {
            fit(&mut self.f32, device, network, batch, recomputes)?;
        }
        self.fresh = true;
        Ok(())
    }

    pub(super) fn start_backward(&mut self) {
        assert!(
            self.fresh,
            "a forward pass serves one backward pass: run it again"
        );
        self.fresh = false;
    }

    pub(super) fn passes(&mut self) -> Result<Passes<&mut Space<f32>, &mut Space<bf16>>> {
        let bf16 = self.bf16.as_mut().map(Passes::Bf16);
        let any = bf16.or(self.f32.as_mut().map(Passes::F32));
        any.ok_or_else(|| anyhow::anyhow!("no forward pass ran on this workspace"))
    }

    pub(super) fn passes_ref(&self) -> Result<Passes<&Space<f32>, &Space<bf16>>> {
        let bf16 = self.bf16.as_ref().map(Passes::Bf16);
        let any = bf16.or(self.f32.as_ref().map(Passes::F32));
        any.ok_or_else(|| anyhow::anyhow!("no forward pass ran on this workspace"))
    }
}

fn fit<T: Float>(
    space: &mut Option<Space<T>>,
    device: &Device,
    network: &Network,
    batch: &Batch,
    recomputes: bool,
) -> Result<()> {
    let tokens = batch.len();
    if space.as_ref().is_none_or(|space| space.capacity < tokens) {
        // Old buffers go first: there may be no room for both.
        *space = None;
        *space = Some(Space::new(device, network, tokens, recomputes)?);
    }
    let space = space.as_mut().expect("made above");
    space.set_tokens(tokens);
    space.batch = Some(OnDevice {
        ids: device.upload(&batch.ids)?,
        positions: device.upload(&batch.positions)?,
        sequences: attention::Sequences::new(device, &batch.bounds)?,
        index: None,
    });
    Ok(())
}

impl<T: Float> Block<T> {
    fn new(device: &Device, config: &Config, capacity: usize) -> Result<Self> {
        let (query, kv) = (config.query_width(), config.kv_width());
        Ok(Self {
            input_root: Rows::new(device, capacity, 1)?,
            qkv: Rows::new(device, capacity, query + 2 * kv)?,
            log_sums: Rows::new(device, capacity, config.heads)?,
            attention: Rows::new(device, capacity, query)?,
            middle: Rows::new(device, capacity, config.hidden_size)?,
            middle_root: Rows::new(device, capacity, 1)?,
            gate_up: Rows::new(device, capacity, 2 * config.intermediate_size)?,
        })
    }
}

impl<T: Float> Space<T> {
    fn new(device: &Device, network: &Network, capacity: usize, recomputes: bool) -> Result<Self> {
        let config = &network.config;
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let (query, kv) = (config.query_width(), config.kv_width());
        let kept = if recomputes { 1 } else { config.layers };
        let (half, cosines, sines) = network.rotary.parts();
        let floats = |width| Rows::<f32>::new(device, capacity, width);
        let numbers = |width| Rows::<T>::new(device, capacity, width);
        Ok(Self {
            capacity,
            tokens: 0,
            rotary: rope::Table::new(device, half, cosines, sines)?,
            stream: (0..=config.layers)
                .map(|_| floats(width))
                .collect::<Result<_>>()?,
            blocks: (0..kept)
                .map(|_| Block::new(device, config, capacity))
                .collect::<Result<_>>()?,
            last_root: floats(1)?,
            hidden: numbers(width)?,
            d_hidden: floats(width)?,
            dx: floats(width)?,
            dx_copy: numbers(width)?,
            normed: numbers(width)?,
            d_normed: numbers(width)?,
            branch: numbers(width)?,
            product: numbers(inner)?,
            d_attention: numbers(query)?,
            d_qkv: numbers(query + 2 * kv)?,
            batch: None,
        })
    }

    fn set_tokens(&mut self, tokens: usize) {
        self.tokens = tokens;
        let blocks = self.blocks.iter_mut().flat_map(|block| {
            [
                &mut block.input_root,
                &mut block.log_sums,
                &mut block.middle,
                &mut block.middle_root,
            ]
        });
        let own = [&mut self.last_root, &mut self.d_hidden, &mut self.dx];
        for rows in blocks.chain(own).chain(&mut self.stream) {
            rows.used = tokens;
        }
        let blocks = self
            .blocks
            .iter_mut()
            .flat_map(|block| [&mut block.qkv, &mut block.attention, &mut block.gate_up]);
        let own = [
            &mut self.hidden,
            &mut self.dx_copy,
            &mut self.normed,
            &mut self.d_normed,
            &mut self.branch,
            &mut self.product,
            &mut self.d_attention,
            &mut self.d_qkv,
        ];
        for rows in blocks.chain(own) {
            rows.used = tokens;
        }
    }

    /// Tokens of the batch.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Hidden states after the last norm.
    pub(super) fn hidden(&self) -> Slice<'_, T> {
        self.hidden.view()
    }
}
