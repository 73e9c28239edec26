//! What a network costs: parameters and multiply-adds, layer by layer.
//!
//! Multiply-adds are those of one image: a convolution's c_out·H·W·k²·c_in/groups, a linear map's rows·in·out,
//! attention's two products 2·L·area·D, and one for each number that a normalisation scales and shifts.

use super::{Backbone, Network, Parameters, Pass, Role, names_by_id};
use crate::data::ImageShape;
use crate::ops::tally;
use burn::tensor::{Device, Tensor};
use serde::Serialize;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// Path in the network, timm's name.
    pub name: String,
    /// What it is, as PyTorch calls it; `Parameter` for one that stands alone.
    pub kind: &'static str,
    /// The shape of its result for one image; a parameter's own shape.
    pub output: Vec<usize>,
    /// Learned numbers.
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
}

/// A network's layers, in the order in which an image passes them, and their sums.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Learned numbers.
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// The layers.
    pub layers: Vec<Layer>,
}

impl Cost {
    /// Of `network`, for images of a shape, without computing anything.
    pub fn of(network: &Network, image: ImageShape, device: &Device) -> Self {
        let images = Tensor::zeros([1, image.channels, image.height, image.width], device);
        let operations = tally::record(|| drop(network.forward(images, &mut Pass::Eval)));
        let ids = names_by_id(network);
        let mut learned: Vec<_> =
            network.named().into_iter().filter(|tensor| tensor.role == Role::Learned).collect();
        let mut layers: Vec<Layer> = Vec::new();
        for operation in operations {
            let name = match operation.weight.and_then(|id| ids.get(&id)) {
                Some(weight) => parent(weight).to_owned(),
                // What has no weight belongs to the module of what came before it.
                None => layers.last().map_or("", |layer| parent(&layer.name)).to_owned(),
            };
            let mut parameters = 0;
            if operation.weight.is_some() {
                learned.retain(|tensor| {
                    let own = parent(&tensor.name) == name;
                    parameters += if own { tensor.shape.iter().product() } else { 0 };
                    !own
                });
            }
            let (kind, output, multiply_adds) = (operation.kind, operation.output, operation.multiply_adds);
            layers.push(Layer { name, kind, output, parameters, multiply_adds });
        }
        for tensor in learned {
            let parameters = tensor.shape.iter().product();
            let place = place_of(&tensor.name, &layers);
            let layer = Layer {
                name: tensor.name,
                kind: "Parameter",
                output: tensor.shape,
                parameters,
                multiply_adds: 0,
            };
            layers.insert(place, layer);
        }
        Self {
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
            layers,
        }
    }
}

/// Before the first layer of the module that a parameter is in; after its kin that are there already.
fn place_of(name: &str, layers: &[Layer]) -> usize {
    let within = |layer: &Layer| match parent(name) {
        "" => layer.kind != "Parameter" || layer.name.contains('.'),
        module => layer.name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.')),
    };
    let same = |layer: &Layer| layer.kind == "Parameter" && parent(&layer.name) == parent(name);
    layers
        .iter()
        .rposition(same)
        .map(|last| last + 1)
        .or_else(|| layers.iter().position(within))
        .unwrap_or(layers.len())
}

/// `layer1.0.conv1` of `layer1.0.conv1.weight`.
fn parent(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(parent, _)| parent)
}
