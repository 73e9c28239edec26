//! A trained network as an ONNX file, for the programs that run those.
//!
//! Nothing here knows a network: its forward pass is recorded (`trace.rs`), each operation of the record becomes
//! nodes (`lower/`), and the whole is written as ONNX's protocol buffers (`proto.rs`). Input `images`
//! (batch, C, H, W), normalised; output `logits` (batch, K); the batch is free. BatchNorm is that of evaluation.

mod lower;
mod nodes;
mod proto;
mod simplify;
mod trace;

use super::Card;
use crate::error::{Error, Result};
use crate::files;
use crate::models::weights::Precision;
use crate::models::{Backbone, Network, Pass};
use burn::module::Module;
use burn::tensor::Tensor;
use nodes::{IMAGES, LOGITS};
use prost::Message;
use proto::{Dimension, Length, data_type};
use std::path::Path;
use trace::Trace;

/// What a protocol buffer may hold.
const LARGEST: usize = i32::MAX as usize;

/// Why there is no ONNX file of a network.
#[derive(Debug, PartialEq)]
struct Refusal(String);

impl Refusal {
    fn operation(kind: &str) -> Self {
        Self(format!("operation {kind} has no ONNX counterpart in this program"))
    }

    fn batch(what: &str) -> Self {
        Self(format!("{what} depends on the batch size in a way that ONNX cannot be told"))
    }

    fn other(what: String) -> Self {
        Self(what)
    }
}

/// Writes the network as an ONNX file.
///
/// # Errors
/// As [`encode`], and where the file cannot be written.
pub fn save(path: &Path, network: &Network, precision: Precision, card: &Card) -> Result<()> {
    files::write(path, &encode(network, precision, card)?)
}

/// The network as the bytes of an ONNX file. With [`Precision::F16`] parameters are stored as f16; the file
/// turns them to f32, in which it computes.
///
/// # Errors
/// Where the network contains an operation that cannot be written, naming it; where the images of `card` do not
/// fit; where the file would exceed the format's limit of 2 GiB.
pub fn encode(network: &Network, precision: Precision, card: &Card) -> Result<Vec<u8>> {
    let image = [card.image.channels, card.image.height, card.image.width];
    let refuse = |what: &str| {
        let model = &card.model;
        Error::Recipe(format!("{model} cannot be exported as ONNX: {what}; use --format safetensors"))
    };
    card.config.check_images(card.image).map_err(|what| refuse(&format!("it {what}")))?;
    let forward = |network: &Network, images| network.forward(images, &mut Pass::Eval).logits;
    let mut graph = graph(network, image, precision, forward).map_err(|refusal| refuse(&refusal.0))?;
    graph.name.clone_from(&card.model);
    graph.input = vec![tensor_of(IMAGES, &image)];
    graph.output = vec![tensor_of(LOGITS, &[card.config.num_classes()])];
    let model = proto::Model {
        ir_version: proto::IR_VERSION,
        producer_name: "hcd".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: proto::OPSET }],
        metadata_props: metadata(card),
    };
    let length = model.encoded_len();
    if length > LARGEST {
        return Err(refuse(&format!("{length} bytes, where an ONNX file holds at most {LARGEST}")));
    }
    Ok(model.encode_to_vec())
}

fn graph<M: Module>(
    module: &M,
    image: [usize; 3],
    precision: Precision,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<2>,
) -> Result<proto::Graph, Refusal> {
    lower::lower(&Trace::record(module, image, forward)?, precision)
}

/// What the file says of itself, as in safetensors files.
fn metadata(card: &Card) -> Vec<proto::Entry> {
    let json = |value: serde_json::Value| value.to_string();
    let entries = [
        ("model", card.model.clone()),
        ("classes", json(serde_json::json!(card.classes))),
        ("mean", json(serde_json::json!(card.normalization.mean))),
        ("std", json(serde_json::json!(card.normalization.std))),
        ("run", card.run.clone()),
    ];
    entries.into_iter().map(|(key, value)| proto::Entry { key: key.to_owned(), value }).collect()
}

/// A float tensor with the batch before `lengths`.
fn tensor_of(name: &str, lengths: &[usize]) -> proto::ValueInfo {
    let axis = |value| Dimension { value: Some(value) };
    let batch = axis(Length::Param("batch".to_owned()));
    let rest = lengths.iter().map(|&length| axis(Length::Value(length as i64)));
    let shape = proto::Shape { dim: [batch].into_iter().chain(rest).collect() };
    let tensor_type = proto::TensorType { elem_type: data_type::FLOAT, shape: Some(shape) };
    proto::ValueInfo { name: name.to_owned(), r#type: Some(proto::Type { tensor_type: Some(tensor_type) }) }
}

#[cfg(test)]
mod tests;
