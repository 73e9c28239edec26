//! Burn's operations in ONNX's: one or a few nodes each.
//!
//! The operators are those of the specification, version [`super::proto::OPSET`],
//! <https://github.com/onnx/onnx/blob/main/docs/Operators.md>. A Burn operation that is not here is refused by
//! name.

mod shapes;

use super::Refusal;
use super::nodes::{Nodes, Value};
use super::trace::{self, Trace};
use crate::models::weights::Precision;
use burn::backend::capture::TensorId;
use burn::backend::ir::{
    ActivationOperationIr as Activation, BaseOperationIr as Base, FloatOperationIr as Float, LinearOpIr,
    ModuleOperationIr as Layer, NumericOperationIr as Numeric, OperationIr, ReduceDimOpIr, ScalarIr,
    ScalarOpIr, TensorIr,
};
use std::collections::BTreeMap;

/// The graph of what `trace` computes.
///
/// # Errors
/// Where an operation has no counterpart.
pub fn lower(trace: &Trace, precision: Precision) -> Result<super::proto::Graph, Refusal> {
    let mut lowering = Lowering { nodes: Nodes::new(trace, precision), transposed: BTreeMap::new() };
    // Transposes that only Gemm reads are its attribute, not a node.
    let elsewhere = |id: TensorId| {
        let mut readers = trace.operations.iter().filter(|operation| operation.inputs().any(|t| t.id == id));
        readers.any(|reader| !matches!(gemm(reader), Some(linear) if linear.weight.id == id))
    };
    for operation in &trace.operations {
        if let OperationIr::BaseFloat(Base::SwapDims(swap)) = operation
            && swap.out.shape.num_dims() == 2
            && lowering.nodes.is_constant(swap.input.id)
            && !elsewhere(swap.out.id)
        {
            lowering.transposed.insert(swap.out.id, swap.input.id);
            continue;
        }
        let understood = lowering.operation(operation)?;
        if !understood {
            return Err(Refusal::operation(&trace::kind(operation)));
        }
    }
    lowering.nodes.finish()
}

/// A linear layer on a matrix: x Wᵀ + b.
fn gemm(operation: &OperationIr) -> Option<&LinearOpIr> {
    match operation {
        OperationIr::Module(Layer::Linear(linear)) if linear.x.shape.num_dims() == 2 => Some(linear),
        _ => None,
    }
}

struct Lowering<'a> {
    nodes: Nodes<'a>,
    /// Transposed constants, and what they are transposed of.
    transposed: BTreeMap<TensorId, TensorId>,
}

/// Whether the operation is known.
type Understood = Result<bool, Refusal>;

impl Lowering<'_> {
    fn operation(&mut self, operation: &OperationIr) -> Understood {
        if let Some((operator, inputs, output)) = plain(operation) {
            return self.simple(operator, &inputs, output, &[]);
        }
        match operation {
            OperationIr::BaseFloat(base) | OperationIr::BaseInt(base) => self.base(base),
            OperationIr::NumericFloat(_, numeric) => self.numeric(numeric),
            OperationIr::Float(_, Float::PowfScalar(power)) => self.with_scalar("Pow", power),
            OperationIr::Activation(activation) => self.activation(activation),
            OperationIr::Module(layer) => self.layer(layer),
            _ => Ok(false),
        }
    }

    fn simple(
        &mut self,
        operator: &str,
        inputs: &[&TensorIr],
        output: &TensorIr,
        attributes: &[(&str, Value)],
    ) -> Understood {
        let inputs = inputs.iter().map(|tensor| self.nodes.operand(tensor.id)).collect::<Result<_, _>>()?;
        self.nodes.node(operator, inputs, output.id, attributes);
        Ok(true)
    }

    fn base(&mut self, base: &Base) -> Understood {
        match base {
            Base::Reshape(reshape) => self.reshape(reshape),
            Base::Expand(expand) => self.expand(expand),
            Base::RepeatDim(repeat) => self.repeat(repeat),
            Base::SwapDims(swap) => {
                let mut order: Vec<usize> = (0..swap.input.shape.num_dims()).collect();
                order.swap(swap.dim1, swap.dim2);
                self.simple("Transpose", &[&swap.input], &swap.out, &[("perm", ints(order))])
            }
            Base::Permute(permute) => {
                let order = ints(permute.axes.iter().copied());
                self.simple("Transpose", &[&permute.input], &permute.out, &[("perm", order)])
            }
            Base::Slice(slice) => self.slice(slice),
            Base::Select(select) => {
                let axis = [("axis", int(select.dim))];
                self.simple("Gather", &[&select.tensor, &select.indices], &select.out, &axis)
            }
            Base::Cat(cat) => {
                let parts: Vec<_> = cat.tensors.iter().collect();
                self.simple("Concat", &parts, &cat.out, &[("axis", int(cat.dim))])
            }
            Base::Zeros(creation) => self.filled(&creation.out, 0.0),
            Base::Ones(creation) => self.filled(&creation.out, 1.0),
            _ => Ok(false),
        }
    }

    fn numeric(&mut self, numeric: &Numeric) -> Understood {
        match numeric {
            Numeric::AddScalar(op) => self.with_scalar("Add", op),
            Numeric::SubScalar(op) => self.with_scalar("Sub", op),
            Numeric::MulScalar(op) => self.with_scalar("Mul", op),
            Numeric::DivScalar(op) => self.with_scalar("Div", op),
            Numeric::PowiScalar(op) => self.with_scalar("Pow", op),
            Numeric::ClampMin(op) => self.with_scalar("Max", op),
            Numeric::ClampMax(op) => self.with_scalar("Min", op),
            Numeric::Clamp(clamp) => {
                let bounds = [self.number(clamp.min), self.number(clamp.max)];
                let [low, high] = bounds;
                let inputs = vec![self.nodes.operand(clamp.tensor.id)?, low, high];
                self.nodes.node("Clip", inputs, clamp.out.id, &[]);
                Ok(true)
            }
            Numeric::MeanDim(reduce) => self.reduce("ReduceMean", reduce),
            Numeric::MaxDim(reduce) => self.reduce("ReduceMax", reduce),
            Numeric::MinDim(reduce) => self.reduce("ReduceMin", reduce),
            Numeric::SumDim(reduce) => {
                let axes = self.nodes.integers(&[reduce.axis as i64]);
                let inputs = vec![self.nodes.operand(reduce.input.id)?, axes];
                self.nodes.node("ReduceSum", inputs, reduce.out.id, &[("keepdims", int(1))]);
                Ok(true)
            }
            Numeric::Pad(pad) => self.pad(pad),
            Numeric::Full(full) => self.filled(&full.out, full.value.elem()),
            _ => Ok(false),
        }
    }

    fn activation(&mut self, activation: &Activation) -> Understood {
        match activation {
            Activation::Softmax(op) => {
                self.simple("Softmax", &[&op.input], &op.out, &[("axis", int(op.axis))])
            }
            Activation::LogSoftmax(op) => {
                self.simple("LogSoftmax", &[&op.input], &op.out, &[("axis", int(op.axis))])
            }
            Activation::LeakyRelu(op) => {
                let slope = [("alpha", Value::Float(op.rhs.elem()))];
                self.simple("LeakyRelu", &[&op.lhs], &op.out, &slope)
            }
            // x/2 · (1 + erf(x/√2)): the operator Gelu came later than our version.
            Activation::Gelu(op) => {
                let x = self.nodes.operand(op.input.id)?;
                let root = self.nodes.scalar(std::f32::consts::SQRT_2);
                let [one, half] = [1.0, 0.5].map(|value| self.nodes.scalar(value));
                let scaled = self.nodes.step("Div", vec![x.clone(), root], &[]);
                let erf = self.nodes.step("Erf", vec![scaled], &[]);
                let twice = self.nodes.step("Add", vec![erf, one], &[]);
                let product = self.nodes.step("Mul", vec![x, twice], &[]);
                self.nodes.node("Mul", vec![product, half], op.out.id, &[]);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn layer(&mut self, layer: &Layer) -> Understood {
        match layer {
            Layer::Linear(linear) => self.linear(linear),
            Layer::Conv2d(conv) => {
                let options = &conv.options;
                let [(top, bottom), (left, right)] = options.padding;
                let attributes = [
                    ("kernel_shape", ints(conv.weight.shape.iter().copied().skip(2))),
                    ("strides", ints(options.stride)),
                    ("pads", ints([top, left, bottom, right])),
                    ("dilations", ints(options.dilation)),
                    ("group", int(options.groups)),
                ];
                let inputs: Vec<_> = [&conv.x, &conv.weight].into_iter().chain(&conv.bias).collect();
                self.simple("Conv", &inputs, &conv.out, &attributes)
            }
            Layer::BatchNorm(norm) => {
                let epsilon = [("epsilon", Value::Float(norm.epsilon.elem()))];
                let inputs = [&norm.x, &norm.gamma, &norm.beta, &norm.mean, &norm.variance];
                self.simple("BatchNormalization", &inputs, &norm.out, &epsilon)
            }
            Layer::LayerNorm(norm) => {
                let attributes = [("axis", Value::Int(-1)), ("epsilon", Value::Float(norm.epsilon.elem()))];
                let inputs: Vec<_> = [&norm.input, &norm.gamma].into_iter().chain(&norm.beta).collect();
                self.simple("LayerNormalization", &inputs, &norm.out, &attributes)
            }
            Layer::MaxPool2d(pool) => {
                let attributes = [
                    ("kernel_shape", ints(pool.kernel_size)),
                    ("strides", ints(pool.stride)),
                    ("pads", both_ends(pool.padding)),
                    ("dilations", ints(pool.dilation)),
                    ("ceil_mode", int(usize::from(pool.ceil_mode))),
                ];
                self.simple("MaxPool", &[&pool.x], &pool.out, &attributes)
            }
            Layer::AvgPool2d(pool) => {
                let attributes = [
                    ("kernel_shape", ints(pool.kernel_size)),
                    ("strides", ints(pool.stride)),
                    ("pads", both_ends(pool.padding)),
                    ("ceil_mode", int(usize::from(pool.ceil_mode))),
                    ("count_include_pad", int(usize::from(pool.count_include_pad))),
                ];
                self.simple("AveragePool", &[&pool.x], &pool.out, &attributes)
            }
            Layer::AdaptiveAvgPool2d(pool) if pool.output_size == [1, 1] => {
                self.simple("GlobalAveragePool", &[&pool.x], &pool.out, &[])
            }
            _ => Ok(false),
        }
    }

    fn linear(&mut self, linear: &LinearOpIr) -> Understood {
        let bias = linear.bias.as_ref().map(|bias| self.nodes.operand(bias.id)).transpose()?;
        let x = self.nodes.operand(linear.x.id)?;
        if let Some(&weight) = self.transposed.get(&linear.weight.id) {
            let weight = self.nodes.operand(weight)?;
            let inputs = [x, weight].into_iter().chain(bias).collect();
            self.nodes.node("Gemm", inputs, linear.out.id, &[("transB", int(1))]);
            return Ok(true);
        }
        let inputs = vec![x, self.nodes.operand(linear.weight.id)?];
        match bias {
            Some(bias) => {
                let product = self.nodes.step("MatMul", inputs, &[]);
                self.nodes.node("Add", vec![product, bias], linear.out.id, &[]);
            }
            None => self.nodes.node("MatMul", inputs, linear.out.id, &[]),
        }
        Ok(true)
    }

    fn with_scalar(&mut self, operator: &str, op: &ScalarOpIr) -> Understood {
        let inputs = vec![self.nodes.operand(op.lhs.id)?, self.number(op.rhs)];
        self.nodes.node(operator, inputs, op.out.id, &[]);
        Ok(true)
    }

    fn number(&mut self, scalar: ScalarIr) -> String {
        self.nodes.scalar(scalar.elem())
    }

    fn reduce(&mut self, operator: &str, reduce: &ReduceDimOpIr) -> Understood {
        let attributes = [("axes", ints([reduce.axis])), ("keepdims", int(1))];
        self.simple(operator, &[&reduce.input], &reduce.out, &attributes)
    }
}

/// An operation that is one operator without attributes.
fn plain(operation: &OperationIr) -> Option<(&'static str, Vec<&TensorIr>, &TensorIr)> {
    let operator = match operation {
        OperationIr::NumericFloat(_, numeric) => match numeric {
            Numeric::Add(_) => "Add",
            Numeric::Sub(_) => "Sub",
            Numeric::Mul(_) => "Mul",
            Numeric::Div(_) => "Div",
            Numeric::Abs(_) => "Abs",
            Numeric::Neg(_) => "Neg",
            _ => return None,
        },
        OperationIr::Float(_, float) => match float {
            Float::Matmul(_) => "MatMul",
            Float::Exp(_) => "Exp",
            Float::Log(_) => "Log",
            Float::Sqrt(_) => "Sqrt",
            Float::Recip(_) => "Reciprocal",
            Float::Erf(_) => "Erf",
            Float::Tanh(_) => "Tanh",
            Float::Powf(_) => "Pow",
            _ => return None,
        },
        OperationIr::Activation(Activation::Relu(_)) => "Relu",
        OperationIr::Activation(Activation::Sigmoid(_)) => "Sigmoid",
        _ => return None,
    };
    Some((operator, operation.inputs().collect(), operation.outputs().next()?))
}

fn int(value: usize) -> Value<'static> {
    Value::Int(value as i64)
}

fn ints(values: impl IntoIterator<Item = usize>) -> Value<'static> {
    Value::Ints(values.into_iter().map(|value| value as i64).collect())
}

/// The same padding before and after, as ONNX lists it: all starts, then all ends.
fn both_ends([rows, columns]: [usize; 2]) -> Value<'static> {
    ints([rows, columns, rows, columns])
}
