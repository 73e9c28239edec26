//! Operations that change nothing, and those that nothing reads, taken out of a record; linear layers, which Burn
//! records as product and sum, put together.

use super::trace::Extent;
use burn::backend::capture::TensorId;
use burn::backend::ir::{
    BaseOperationIr as Base, FloatOperationIr as Float, IrVisitorMut, LinearOpIr, MatmulOpIr,
    ModuleOperationIr as Layer, NumericOperationIr as Numeric, OperationIr, TensorIr,
};
use burn::tensor::TensorData;
use std::collections::{BTreeMap, BTreeSet};

/// Keeps of `operations` what `logits` are made by. Readers of what is taken out read its operand.
pub fn simplify(
    operations: &mut Vec<OperationIr>,
    extents: &BTreeMap<TensorId, Vec<Extent>>,
    constants: &BTreeMap<TensorId, TensorData>,
    logits: &mut TensorId,
) {
    let mut pass = Simplification { extents, constants, zeros: BTreeSet::new(), renamed: BTreeMap::new() };
    operations.retain_mut(|operation| {
        operation.visit_mut(&mut pass);
        match pass.stands_for(operation) {
            Some((output, operand)) => {
                pass.renamed.insert(output, operand);
                false
            }
            None => true,
        }
    });
    *logits = pass.renamed.get(logits).copied().unwrap_or(*logits);
    join_linear_layers(operations, constants);
    keep_what_reaches(operations, *logits);
}

struct Simplification<'a> {
    extents: &'a BTreeMap<TensorId, Vec<Extent>>,
    constants: &'a BTreeMap<TensorId, TensorData>,
    /// Tensors of nothing but zeros.
    zeros: BTreeSet<TensorId>,
    renamed: BTreeMap<TensorId, TensorId>,
}

impl IrVisitorMut for Simplification<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = self.renamed.get(&tensor.id).copied().unwrap_or(tensor.id);
    }
}

impl Simplification<'_> {
    /// The output of an operation and the operand that equals it, where one does.
    fn stands_for(&mut self, operation: &OperationIr) -> Option<(TensorId, TensorId)> {
        let (output, operand) = match operation {
            OperationIr::BaseFloat(Base::Zeros(creation)) => {
                self.zeros.insert(creation.out.id);
                return None;
            }
            OperationIr::BaseFloat(Base::Reshape(shape) | Base::Expand(shape)) => {
                if self.zeros.contains(&shape.input.id) {
                    self.zeros.insert(shape.out.id);
                }
                (&shape.out, &shape.input)
            }
            OperationIr::BaseFloat(Base::Slice(slice))
                if slice.ranges.iter().all(|range| range.step == 1) =>
            {
                (&slice.out, &slice.tensor)
            }
            OperationIr::BaseFloat(Base::Select(select)) if self.counts_up(select.indices.id) => {
                (&select.out, &select.tensor)
            }
            OperationIr::NumericFloat(_, Numeric::Add(sum)) => {
                match [&sum.lhs, &sum.rhs].map(|term| self.zeros.contains(&term.id)) {
                    [false, true] => (&sum.out, &sum.lhs),
                    [true, false] => (&sum.out, &sum.rhs),
                    _ => return None,
                }
            }
            _ => return None,
        };
        let same = self.extents.get(&output.id) == self.extents.get(&operand.id);
        same.then_some((output.id, operand.id))
    }

    /// Whether a constant is 0, 1, 2, …
    fn counts_up(&self, id: TensorId) -> bool {
        let counts = |data: &TensorData| data.iter::<i64>().eq(0..data.num_elements() as i64);
        self.constants.get(&id).is_some_and(counts)
    }
}

/// x Wᵀ + b, with x a matrix, as the one operation that it is. What it was made of is no longer read.
fn join_linear_layers(operations: &mut [OperationIr], constants: &BTreeMap<TensorId, TensorData>) {
    let mut products: BTreeMap<TensorId, MatmulOpIr> = BTreeMap::new();
    let mut rows: BTreeMap<TensorId, TensorIr> = BTreeMap::new();
    let readers = |operations: &[OperationIr], id: TensorId| {
        operations.iter().flat_map(OperationIr::inputs).filter(|tensor| tensor.id == id).count()
    };
    for at in 0..operations.len() {
        let linear = match &operations[at] {
            OperationIr::Float(_, Float::Matmul(product)) if product.lhs.shape.num_dims() == 2 => {
                products.insert(product.out.id, product.clone());
                None
            }
            // A bias as a matrix of one row.
            OperationIr::BaseFloat(Base::Reshape(reshape))
                if constants.contains_key(&reshape.input.id)
                    && reshape.input.shape.num_dims() == 1
                    && reshape.out.shape.num_dims() == 2
                    && reshape.out.shape[0] == 1 =>
            {
                rows.insert(reshape.out.id, reshape.input.clone());
                None
            }
            OperationIr::NumericFloat(_, Numeric::Add(sum)) if readers(operations, sum.lhs.id) == 1 => {
                products.get(&sum.lhs.id).zip(rows.get(&sum.rhs.id)).map(|(product, bias)| LinearOpIr {
                    x: product.lhs.clone(),
                    weight: product.rhs.clone(),
                    bias: Some(bias.clone()),
                    out: sum.out.clone(),
                })
            }
            _ => None,
        };
        if let Some(linear) = linear {
            operations[at] = OperationIr::Module(Layer::Linear(linear));
        }
    }
}

/// Takes out what `goal` does not depend on.
fn keep_what_reaches(operations: &mut Vec<OperationIr>, goal: TensorId) {
    let mut needed = BTreeSet::from([goal]);
    let mut kept = vec![false; operations.len()];
    for (operation, kept) in operations.iter().zip(&mut kept).rev() {
        if operation.outputs().any(|output| needed.contains(&output.id)) {
            *kept = true;
            needed.extend(operation.inputs().map(|input| input.id));
        }
    }
    let mut kept = kept.into_iter();
    operations.retain(|_| kept.next().unwrap_or(false));
}
