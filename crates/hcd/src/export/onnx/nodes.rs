//! The ONNX graph while it is built: nodes, initializers, and the names of values.
//!
//! A parameter keeps its path in the module tree, which is timm's name; a value is called after the operator
//! that gives it, with a number.

use super::Refusal;
use super::proto::{self, attribute_type, data_type};
use super::trace::{Extent, Trace};
use crate::models::weights::Precision;
use burn::backend::capture::TensorId;
use burn::backend::ir::TensorIr;
use burn::tensor::{DType, TensorData};
use half::f16;
use std::collections::BTreeMap;

/// Name of the graph's input, and of its output.
pub const IMAGES: &str = "images";
/// See [`IMAGES`].
pub const LOGITS: &str = "logits";

/// A node's attribute.
pub enum Value<'a> {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'a str),
}

/// The graph so far.
pub struct Nodes<'a> {
    trace: &'a Trace,
    precision: Precision,
    graph: proto::Graph,
    names: BTreeMap<TensorId, String>,
    batch: Option<String>,
}

impl<'a> Nodes<'a> {
    /// No node yet.
    pub fn new(trace: &'a Trace, precision: Precision) -> Self {
        let names = BTreeMap::from([(trace.images, IMAGES.to_owned())]);
        Self { trace, precision, graph: proto::Graph::default(), names, batch: None }
    }

    /// The graph, once everything is in it.
    ///
    /// # Errors
    /// Where nothing gave the logits.
    pub fn finish(mut self) -> Result<proto::Graph, Refusal> {
        // Logits that are an operand as it came: images, or a constant.
        let logits = self.operand(self.trace.logits)?;
        if logits != LOGITS {
            self.push("Identity", vec![logits], LOGITS.to_owned(), &[]);
        }
        Ok(self.graph)
    }

    /// The axes of a tensor.
    pub fn extents(&self, tensor: &TensorIr) -> Vec<Extent> {
        self.trace.extents(tensor)
    }

    /// The parameter, or other constant, behind an operand.
    pub fn is_constant(&self, id: TensorId) -> bool {
        self.trace.constants.contains_key(&id) && id != self.trace.images
    }

    /// The name of a tensor that is read; a constant becomes an initializer.
    pub fn operand(&mut self, id: TensorId) -> Result<String, Refusal> {
        if let Some(name) = self.names.get(&id) {
            return Ok(name.clone());
        }
        let data = self.trace.constants.get(&id).filter(|_| id != self.trace.images);
        let data = data.ok_or_else(|| Refusal::other("a value is read that nothing gives".to_owned()))?;
        let parameter = self.trace.parameters.get(&id);
        let name = parameter.cloned().unwrap_or_else(|| self.fresh("Constant"));
        let name = match (parameter, self.precision) {
            (Some(_), Precision::F16) => self.half(name, data)?,
            _ => {
                self.graph.initializer.push(tensor(name.clone(), data)?);
                name
            }
        };
        self.names.insert(id, name.clone());
        Ok(name)
    }

    /// A node that gives `output` from `inputs`.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: Vec<String>,
        output: TensorId,
        attributes: &[(&str, Value)],
    ) {
        let name = if output == self.trace.logits { LOGITS.to_owned() } else { self.fresh(operator) };
        self.names.insert(output, name.clone());
        self.push(operator, inputs, name, attributes);
    }

    /// A node whose output only other nodes of the same operation read: gives its name.
    pub fn step(&mut self, operator: &str, inputs: Vec<String>, attributes: &[(&str, Value)]) -> String {
        let name = self.fresh(operator);
        self.push(operator, inputs, name.clone(), attributes);
        name
    }

    /// A number.
    pub fn scalar(&mut self, value: f32) -> String {
        self.initializer(vec![], data_type::FLOAT, value.to_le_bytes().to_vec())
    }

    /// A list of whole numbers.
    pub fn integers(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(vec![values.len() as i64], data_type::INT64, bytes)
    }

    /// Lengths as a list of whole numbers, the batch taken from the images that come.
    pub fn lengths(&mut self, extents: &[Extent]) -> String {
        if let Some(fixed) = fixed(extents) {
            return self.integers(&fixed);
        }
        let parts = extents.iter().map(|extent| match extent {
            Extent::Fixed(length) => self.integers(&[*length as i64]),
            Extent::Batch(factor) => {
                let batch = self.batch();
                let factor = self.integers(&[*factor as i64]);
                self.step("Mul", vec![batch, factor], &[])
            }
        });
        let parts = parts.collect();
        self.step("Concat", parts, &[("axis", Value::Int(0))])
    }

    /// The number of images, a list of one.
    fn batch(&mut self) -> String {
        if let Some(name) = &self.batch {
            return name.clone();
        }
        let attributes = [("start", Value::Int(0)), ("end", Value::Int(1))];
        let name = self.step("Shape", vec![IMAGES.to_owned()], &attributes);
        self.batch.insert(name).clone()
    }

    /// A parameter stored as f16 and read as f32.
    fn half(&mut self, name: String, data: &TensorData) -> Result<String, Refusal> {
        let mut stored = tensor(name.clone(), data)?;
        stored.data_type = data_type::FLOAT16;
        let values = stored.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        stored.raw_data = values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
        self.graph.initializer.push(stored);
        Ok(self.step("Cast", vec![name], &[("to", Value::Int(data_type::FLOAT.into()))]))
    }

    fn initializer(&mut self, dims: Vec<i64>, data_type: i32, raw_data: Vec<u8>) -> String {
        let same = |known: &&proto::Tensor| {
            known.data_type == data_type && known.dims == dims && known.raw_data == raw_data
        };
        // Small ones only: parameters are not compared.
        if let Some(known) = self.graph.initializer.iter().filter(|t| t.raw_data.len() < 64).find(same) {
            return known.name.clone();
        }
        let name = self.fresh("Constant");
        self.graph.initializer.push(proto::Tensor { dims, data_type, name: name.clone(), raw_data });
        name
    }

    fn push(&mut self, operator: &str, input: Vec<String>, output: String, attributes: &[(&str, Value)]) {
        let attribute = attributes.iter().map(|(name, value)| attribute(name, value)).collect();
        let name = format!("node_{}", self.graph.node.len());
        let op_type = operator.to_owned();
        self.graph.node.push(proto::Node { input, output: vec![output], name, op_type, attribute });
    }

    /// No parameter is called so: theirs begin with a small letter.
    fn fresh(&self, operator: &str) -> String {
        format!("{operator}_{}", self.graph.node.len() + self.graph.initializer.len())
    }
}

/// Lengths that do not depend on the batch.
fn fixed(extents: &[Extent]) -> Option<Vec<i64>> {
    let fixed = |extent: &Extent| match extent {
        Extent::Fixed(length) => Some(*length as i64),
        Extent::Batch(_) => None,
    };
    extents.iter().map(fixed).collect()
}

fn attribute(name: &str, value: &Value) -> proto::Attribute {
    let mut attribute = proto::Attribute { name: name.to_owned(), ..Default::default() };
    attribute.r#type = match value {
        Value::Int(value) => {
            attribute.i = *value;
            attribute_type::INT
        }
        Value::Ints(values) => {
            attribute.ints.clone_from(values);
            attribute_type::INTS
        }
        Value::Float(value) => {
            attribute.f = *value;
            attribute_type::FLOAT
        }
        Value::Text(text) => {
            attribute.s = text.as_bytes().to_vec();
            attribute_type::STRING
        }
    };
    attribute
}

fn tensor(name: String, data: &TensorData) -> Result<proto::Tensor, Refusal> {
    let dims = data.shape().iter().map(|&length| length as i64).collect();
    let (data_type, raw_data) = match data.dtype() {
        DType::F32 => (data_type::FLOAT, data.iter::<f32>().flat_map(f32::to_le_bytes).collect()),
        DType::I64 | DType::I32 => {
            (data_type::INT64, data.iter::<i64>().flat_map(i64::to_le_bytes).collect())
        }
        other => return Err(Refusal::other(format!("{name} has type {other:?}"))),
    };
    Ok(proto::Tensor { dims, data_type, name, raw_data })
}
