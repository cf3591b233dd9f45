//! Tensors on a device: one stretch of memory for all of them.
//!
//! Made by [`Parameters::to_device`](super::Parameters::to_device); read by `network/device`,
//! written by `optimizer/device`. Queries, keys and values of a block lie one behind the other, and
//! so do gate and up: a product reads them as one matrix. Masters are f32; a bfloat16 working copy
//! of everything lies beside them, at the same places, if products want it. Norm, sum and zeroing
//! go over the whole stretch at once; what lies between tensors is 0 and stays so.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use gpu::ops::elementwise::{add_scaled, convert};
use gpu::ops::matmul::Output;
use gpu::{Buffer, Device, Float, Slice, SliceMut};
use half::bf16;

use super::{Parameters, Place, Tensor};
use crate::device::demand;
use crate::precision::Precision;

/// Values of 256 bytes: what device memory is read in.
const ALIGNMENT: usize = 64;

/// Where each tensor lies.
#[derive(Debug, Default, PartialEq, Eq)]
struct Layout {
    places: BTreeMap<String, Range<usize>>,
    length: usize,
}

/// Tensors on a device.
pub(crate) struct Placed {
    device: Device,
    layout: Arc<Layout>,
    masters: Arc<Buffer<f32>>,
    working: Option<Arc<Buffer<bf16>>>,
}

/// What products multiply: the kinds of numbers, and which copy of the weights is of it.
pub(crate) trait Number: Float + Output<Self> {
    /// All weights as such numbers.
    fn all(placed: &Placed) -> Slice<'_, Self>;
}

impl Number for f32 {
    fn all(placed: &Placed) -> Slice<'_, Self> {
        placed.masters.view()
    }
}

impl Number for bf16 {
    fn all(placed: &Placed) -> Slice<'_, Self> {
        let working = placed.working.as_ref();
        let working = working.expect("weights were placed for passes in bfloat16");
        working.view()
    }
}

/// The order in which tensors lie: by name, but layers that share a product together.
fn rank(name: &str) -> String {
    for (end, together) in [
        ("self_attn.q_proj.weight", "self_attn.qkv 0"),
        ("self_attn.k_proj.weight", "self_attn.qkv 1"),
        ("self_attn.v_proj.weight", "self_attn.qkv 2"),
        ("self_attn.q_proj.bias", "self_attn.qkv_bias 0"),
        ("self_attn.k_proj.bias", "self_attn.qkv_bias 1"),
        ("self_attn.v_proj.bias", "self_attn.qkv_bias 2"),
        ("mlp.gate_proj.weight", "mlp.gate_up 0"),
        ("mlp.up_proj.weight", "mlp.gate_up 1"),
    ] {
        if let Some(start) = name.strip_suffix(end) {
            return format!("{start}{together}");
        }
    }
    name.to_owned()
}

impl Layout {
    fn new<'a>(shapes: impl Iterator<Item = (&'a String, &'a [usize])>) -> Self {
        let mut ranked: Vec<(String, &String, usize)> = shapes
            .map(|(name, shape)| (rank(name), name, shape.iter().product()))
            .collect();
        ranked.sort();
        let mut layout = Self::default();
        let mut group = String::new();
        for (rank, name, count) in ranked {
            let own = rank.split(' ').next().unwrap_or_default().to_owned();
            // Only the first of a group is aligned: the others follow without a gap.
            if own != group || !rank.contains(' ') {
                layout.length = layout.length.next_multiple_of(ALIGNMENT);
                group = own;
            }
            let place = layout.length..layout.length + count;
            layout.length = place.end;
            layout.places.insert(name.clone(), place);
        }
        layout.length = layout.length.next_multiple_of(ALIGNMENT);
        layout
    }
}

impl Placed {
    /// Copies tensors to a device and takes their values from the host.
    pub(super) fn upload(
        device: &Device,
        precision: Precision,
        tensors: &mut BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let shapes = tensors.iter().map(|(name, t)| (name, t.shape.as_slice()));
        let layout = Arc::new(Layout::new(shapes));
        let mut masters = device.zeros(layout.length)?;
        // First all memory: what does not fit leaves the host's values where they are.
        let mut working = match precision {
            Precision::F32 => None,
            Precision::Bf16 => Some(device.empty(layout.length)?),
        };
        for (name, tensor) in tensors {
            let place = layout.places[name].clone();
            masters.slice_mut(place).upload(&tensor.data)?;
            tensor.data = Vec::new();
        }
        if let Some(working) = &mut working {
            convert(working.view_mut(), masters.view())?;
        }
        Ok(Self {
            device: device.clone(),
            layout,
            masters: Arc::new(masters),
            working: working.map(Arc::new),
        })
    }

    /// The same values, not a copy: they cannot be changed while both are there.
    pub(super) fn shared(&self) -> Self {
        Self {
            device: self.device.clone(),
            layout: Arc::clone(&self.layout),
            masters: Arc::clone(&self.masters),
            working: self.working.clone(),
        }
    }

    /// Whether there are working copies.
    pub(crate) fn has_working(&self) -> bool {
        self.working.is_some()
    }

    /// Copies all values back.
    pub(super) fn download(&self, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
        for (name, tensor) in tensors {
            tensor.data = self.values(name)?;
        }
        Ok(())
    }

    /// Zeros for some tensors, on the same device.
    pub(super) fn zeros<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a String, &'a Tensor)>,
    ) -> Parameters {
        let tensors: BTreeMap<String, Tensor> = wanted
            .map(|(name, tensor)| {
                let (shape, data) = (tensor.shape.clone(), Vec::new());
                (name.clone(), Tensor { shape, data })
            })
            .collect();
        let shapes = tensors.iter().map(|(name, t)| (name, t.shape.as_slice()));
        let layout = Arc::new(Layout::new(shapes));
        let placed = Self {
            device: self.device.clone(),
            masters: Arc::new(demand(self.device.zeros(layout.length).map_err(Into::into))),
            working: None,
            layout,
        };
        Parameters {
            tensors,
            place: Place::Device(placed),
        }
    }

    /// Where it is.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The values of a tensor, on the host.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.master(name).download()?)
    }

    pub(super) fn zero(&mut self) {
        demand(own(&mut self.masters).view_mut().zero().map_err(Into::into));
    }

    pub(super) fn add(&mut self, others: &Self) {
        assert_eq!(self.layout, others.layout, "tensors of the same names");
        let sum = add_scaled(
            own(&mut self.masters).view_mut(),
            1.0,
            others.masters.view(),
        );
        demand(sum.map_err(Into::into));
    }

    pub(super) fn sum(
        &mut self,
        group: &gpu::nccl::Communicator,
        alive: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        group.sum(own(&mut self.masters).view_mut(), alive)
    }

    pub(super) fn replace(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let place = self.place(name);
        own(&mut self.masters)
            .slice_mut(place.clone())
            .upload(values)?;
        if let Some(working) = &mut self.working {
            let working = own(working).slice_mut(place.clone());
            convert(working, self.masters.slice(place))?;
        }
        Ok(())
    }

    fn place(&self, name: &str) -> Range<usize> {
        let place = self.layout.places.get(name);
        place
            .unwrap_or_else(|| panic!("no parameter named {name}"))
            .clone()
    }

    /// Where tensors lie that follow one another; nothing if one is absent or they do not.
    fn stretch(&self, names: &[&str]) -> Option<Range<usize>> {
        let mut places = names.iter().map(|name| self.layout.places.get(*name));
        let mut all = places.next()??.clone();
        for place in places {
            let place = place?;
            if place.start != all.end {
                return None;
            }
            all.end = place.end;
        }
        Some(all)
    }

    /// A tensor in f32.
    pub(crate) fn master(&self, name: &str) -> Slice<'_, f32> {
        self.masters.slice(self.place(name))
    }

    /// Several that follow one another, in f32.
    pub(crate) fn masters(&self, names: &[&str]) -> Slice<'_, f32> {
        let all = self.stretch(names);
        self.masters
            .slice(all.expect("layers that share a product"))
    }

    /// A tensor as products read it.
    pub(crate) fn weight<T: Number>(&self, name: &str) -> Slice<'_, T> {
        T::all(self).slice(self.place(name))
    }

    /// Several that follow one another, as products read them.
    pub(crate) fn weights<T: Number>(&self, names: &[&str]) -> Slice<'_, T> {
        let all = self.stretch(names);
        T::all(self).slice(all.expect("layers that share a product"))
    }

    /// A tensor to accumulate into; nothing if it is frozen.
    pub(crate) fn gradient(&mut self, name: &str) -> Option<SliceMut<'_, f32>> {
        let place = self.layout.places.get(name)?.clone();
        Some(own(&mut self.masters).slice_mut(place))
    }

    /// Several that follow one another, to accumulate into; nothing if one is frozen.
    pub(crate) fn gradients(&mut self, names: &[&str]) -> Option<SliceMut<'_, f32>> {
        let all = self.stretch(names)?;
        Some(own(&mut self.masters).slice_mut(all))
    }

    /// Several tensors to accumulate into at once, each unless frozen.
    pub(crate) fn gradients_of<const N: usize>(
        &mut self,
        names: [Option<&str>; N],
    ) -> [Option<SliceMut<'_, f32>>; N] {
        let mut wanted: Vec<(Range<usize>, usize)> = names
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some((self.layout.places.get((*name)?)?.clone(), at)))
            .collect();
        wanted.sort_by_key(|(place, _)| place.start);
        let mut found = [const { None }; N];
        let (mut rest, mut start) = (own(&mut self.masters).view_mut(), 0);
        for (place, at) in wanted {
            let (_, from) = rest.split_at(place.start - start);
            let (own, behind) = from.split_at(place.len());
            found[at] = Some(own);
            (rest, start) = (behind, place.end);
        }
        found
    }

    /// Everything, in f32.
    pub(crate) fn all(&self) -> Slice<'_, f32> {
        self.masters.view()
    }

    /// Everything to write to: names with their places, masters, and working copies.
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        Parts {
            places: &self.layout.places,
            masters: own(&mut self.masters).view_mut(),
            working: self.working.as_mut().map(|working| own(working).view_mut()),
        }
    }
}

/// Memory that is written to, and that a sampler may have shared.
fn own<T: gpu::Element>(shared: &mut Arc<Buffer<T>>) -> &mut Buffer<T> {
    Arc::get_mut(shared).expect("nobody samples from weights while they change")
}

/// What [`Placed`] is made of.
pub(crate) struct Parts<'a> {
    pub(crate) places: &'a BTreeMap<String, Range<usize>>,
    pub(crate) masters: SliceMut<'a, f32>,
    pub(crate) working: Option<SliceMut<'a, bf16>>,
}

impl Clone for Placed {
    fn clone(&self) -> Self {
        let copy = || -> Result<Self> {
            let mut masters = self.device.empty(self.masters.len())?;
            masters.view_mut().copy_from(self.masters.view())?;
            let working = match &self.working {
                Some(from) => {
                    let mut working = self.device.empty(from.len())?;
                    working.view_mut().copy_from(from.view())?;
                    Some(Arc::new(working))
                }
                None => None,
            };
            Ok(Self {
                device: self.device.clone(),
                layout: Arc::clone(&self.layout),
                masters: Arc::new(masters),
                working,
            })
        };
        demand(copy())
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        let values = |placed: &Self| demand(placed.masters.download().map_err(Into::into));
        self.layout == other.layout && values(self) == values(other)
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{} values on {:?}", self.layout.length, self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_share_a_product_follow_one_another() {
        let names = [
            "model.layers.0.mlp.down_proj.weight",
            "model.layers.0.mlp.gate_proj.weight",
            "model.layers.0.mlp.up_proj.weight",
            "model.layers.0.self_attn.k_proj.weight",
            "model.layers.0.self_attn.o_proj.weight",
            "model.layers.0.self_attn.q_proj.lora_A.default.weight",
            "model.layers.0.self_attn.q_proj.weight",
            "model.layers.0.self_attn.v_proj.weight",
            "model.norm.weight",
        ]
        .map(str::to_owned);
        let shape = [3, 5];
        let layout = Layout::new(names.iter().map(|name| (name, shape.as_slice())));
        let place = |part: &str| {
            let name = names.iter().find(|name| name.ends_with(part));
            layout.places[name.expect(part)].clone()
        };
        let [q, k, v] = ["q_proj.weight", "k_proj.weight", "v_proj.weight"].map(place);
        assert_eq!((q.end, k.end), (k.start, v.start));
        assert_eq!(place("gate_proj.weight").end, place("up_proj.weight").start);
        let mut places: Vec<&Range<usize>> = layout.places.values().collect();
        places.sort_by_key(|place| place.start);
        assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start));
        for first in [
            "down_proj.weight",
            "lora_A.default.weight",
            "model.norm.weight",
        ] {
            assert_eq!(place(first).start % ALIGNMENT, 0, "{first}");
        }
        assert_eq!(q.start % ALIGNMENT, 0);
    }
}
