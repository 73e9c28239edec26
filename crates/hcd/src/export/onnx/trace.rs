//! What a network computes, as a list of operations in which every axis is a number or follows the batch.
//!
//! A forward pass on Burn's capture device records operations with the sizes that it met. Recorded with two
//! batch sizes, an axis whose length is the same twice is a number; one with lengths k·B₁ and k·B₂ is k times
//! the batch. What differs in any other way cannot be written for every batch and is refused.

use super::Refusal;
use super::simplify::simplify;
use crate::models::{NamedTensor, Parameters};
use burn::backend::capture::{CaptureBackend, CapturedGraph, TensorId};
use burn::backend::ir::{BaseOperationIr, IrVisitorMut, OperationIr, TensorIr, TensorStatus};
use burn::backend::{Shape, Slice};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// The two batch sizes: neither 1, which broadcasts, nor one a multiple of the other.
const BATCHES: [usize; 2] = [2, 3];

/// Length of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Always the same.
    Fixed(usize),
    /// So many times the batch.
    Batch(usize),
}

impl Extent {
    fn of(first: usize, second: usize) -> Option<Self> {
        let factor = first / BATCHES[0];
        match first == second {
            true => Some(Extent::Fixed(first)),
            false if [factor * BATCHES[0], factor * BATCHES[1]] == [first, second] => {
                Some(Extent::Batch(factor))
            }
            false => None,
        }
    }
}

/// A computation from images to logits.
#[derive(Debug)]
pub struct Trace {
    /// What contributes to the logits, in order.
    pub operations: Vec<OperationIr>,
    /// Tensors that are there from the start: parameters and tables.
    pub constants: BTreeMap<TensorId, TensorData>,
    /// The parameters among them, by their path in the module tree.
    pub parameters: BTreeMap<TensorId, String>,
    /// (B, C, H, W)
    pub images: TensorId,
    /// (B, K)
    pub logits: TensorId,
    extents: BTreeMap<TensorId, Vec<Extent>>,
}

impl Trace {
    /// Records `forward` for images of `image` = (C, H, W) and any number of them.
    ///
    /// # Errors
    /// Where it computes otherwise for one batch size than for another.
    pub fn record<M: Module>(
        module: &M,
        image: [usize; 3],
        forward: impl Fn(&M, Tensor<4>) -> Tensor<2>,
    ) -> Result<Self, Refusal> {
        let [small, large] = BATCHES.map(|batch| capture(module, batch, image, &forward));
        let (small, large) = (small?, large?);
        let (images, mut logits) = (small.graph.inputs[0], small.graph.outputs[0]);
        let pairs: Vec<_> = computations(&small.graph).zip(computations(&large.graph)).collect();
        let same_length = computations(&small.graph).count() == computations(&large.graph).count();
        if !same_length {
            return Err(Refusal::batch("the number of operations"));
        }
        let mut extents = BTreeMap::new();
        let mut twins = BTreeMap::from([(images, large.graph.inputs[0])]);
        for (one, other) in &pairs {
            check_alike(one, other)?;
            for (a, b) in one.nodes().into_iter().zip(other.nodes()) {
                extents.insert(a.id, extents_of(a, b).ok_or_else(|| Refusal::batch(&kind(one)))?);
                // Operands must be the same tensors twice, and constants of the same value.
                let known = *twins.entry(a.id).or_insert(b.id) == b.id;
                let equal = a.id == images || small.values.get(&a.id) == large.values.get(&b.id);
                if !known || !equal {
                    return Err(Refusal::batch(&kind(one)));
                }
            }
        }
        let mut operations: Vec<_> = pairs.into_iter().map(|(one, _)| one.clone()).collect();
        simplify(&mut operations, &extents, &small.values, &mut logits);
        Ok(Self { operations, constants: small.values, parameters: small.names, images, logits, extents })
    }

    /// The axes of a tensor that an operation reads or gives.
    pub fn extents(&self, tensor: &TensorIr) -> Vec<Extent> {
        let fixed = || tensor.shape.iter().map(|&length| Extent::Fixed(length)).collect();
        self.extents.get(&tensor.id).cloned().unwrap_or_else(fixed)
    }
}

/// The name of an operation, as Burn calls it.
pub fn kind(operation: &OperationIr) -> String {
    // The text begins `NumericFloat(F32, Clamp(ClampOpIr { …`.
    let text = format!("{operation:?}");
    let head = text.split('{').next().unwrap_or_default();
    let words: Vec<_> = head.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words[words.len().saturating_sub(2)..].first().copied().unwrap_or("unknown").to_owned()
}

struct Captured {
    graph: burn::backend::ir::GraphIr,
    values: BTreeMap<TensorId, TensorData>,
    names: BTreeMap<TensorId, String>,
}

fn capture<M: Module>(
    module: &M,
    batch: usize,
    [channels, height, width]: [usize; 3],
    forward: &impl Fn(&M, Tensor<4>) -> Tensor<2>,
) -> Result<Captured, Refusal> {
    let device = Device::capture();
    let mut named = BTreeMap::new();
    let captured = device.capture_scope(|scope| {
        // `valid` copies the running statistics, which a mere clone would share with the original.
        let module = module.valid().to_device(&device);
        let images = Tensor::<4>::from_data(
            TensorData::new(vec![0f32; batch * channels * height * width], [batch, channels, height, width]),
            &device,
        );
        for NamedTensor { name, value, .. } in module.named() {
            named.extend(id(&value).map(|id| (id, name)));
        }
        let logits = forward(&module, images.clone());
        scope.complete(id(&images), id(&logits))
    });
    let CapturedGraph { graph, values } = captured.map_err(|error| Refusal::other(error.to_string()))?;
    if graph.inputs.len() != 1 || graph.outputs.len() != 1 {
        return Err(Refusal::other("images and logits were not recorded".to_owned()));
    }
    // `named` gives views of the parameters as vectors: back to what they are views of.
    let mut names = BTreeMap::new();
    for operation in &graph.operations {
        if let OperationIr::BaseFloat(BaseOperationIr::Reshape(view)) = operation
            && let Some(name) = named.remove(&view.out.id)
        {
            names.insert(view.input.id, name);
        }
    }
    names.extend(named.into_iter().filter(|(id, _)| values.contains_key(id)));
    Ok(Captured { graph, values, names })
}

fn id<const D: usize>(tensor: &Tensor<D>) -> Option<TensorId> {
    tensor.clone().try_into_primitive::<CaptureBackend>().ok().map(|tensor| tensor.id())
}

/// What computes, without the notes on where tensors come from and end.
fn computations(graph: &burn::backend::ir::GraphIr) -> impl Iterator<Item = &OperationIr> {
    graph
        .operations
        .iter()
        .filter(|operation| !matches!(operation, OperationIr::Init(_) | OperationIr::Drop(_)))
}

/// Refuses operations that differ in more than the tensors' names and lengths.
fn check_alike(one: &OperationIr, other: &OperationIr) -> Result<(), Refusal> {
    if let (Some((a, a_ranges)), Some((b, b_ranges))) = (sliced(one), sliced(other)) {
        let alike = |axis: usize| {
            let whole = is_whole(&a_ranges[axis], a.shape[axis]) && is_whole(&b_ranges[axis], b.shape[axis]);
            whole || a_ranges[axis] == b_ranges[axis]
        };
        if a_ranges.len() != b_ranges.len() || !(0..a_ranges.len()).all(alike) {
            return Err(Refusal::batch(&kind(one)));
        }
    }
    let bare = |operation: &OperationIr| {
        let mut operation = operation.clone();
        // How often is told by the lengths.
        if let OperationIr::BaseFloat(BaseOperationIr::RepeatDim(repeat)) = &mut operation {
            repeat.times = 0;
        }
        operation.visit_mut(&mut Blank);
        operation
    };
    if bare(one) != bare(other) { Err(Refusal::batch(&kind(one))) } else { Ok(()) }
}

struct Blank;

impl IrVisitorMut for Blank {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = TensorId::new(0);
        tensor.status = TensorStatus::ReadOnly;
        tensor.shape = Shape::new([tensor.shape.num_dims()]);
    }

    fn visit_range_mut(&mut self, range: &mut Slice) {
        *range = Slice::new(0, None, 1);
    }
}

fn sliced(operation: &OperationIr) -> Option<(&TensorIr, &[Slice])> {
    match operation {
        OperationIr::BaseFloat(BaseOperationIr::Slice(slice))
        | OperationIr::BaseInt(BaseOperationIr::Slice(slice)) => Some((&slice.tensor, &slice.ranges)),
        _ => None,
    }
}

/// Whether a range takes in the whole of an axis, as it is.
pub fn is_whole(range: &Slice, length: usize) -> bool {
    range.start == 0 && range.step == 1 && range.end.is_none_or(|end| end == length as isize)
}

fn extents_of(one: &TensorIr, other: &TensorIr) -> Option<Vec<Extent>> {
    one.shape.iter().zip(other.shape.iter()).map(|(&a, &b)| Extent::of(a, b)).collect()
}
