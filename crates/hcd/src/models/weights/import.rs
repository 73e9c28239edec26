//! Tensors of a file into a network: names translated, what depends on resolution or channels adapted, a
//! classifier for other classes replaced where that is asked for. All else must fit exactly.

use super::naming;
use super::resample::{input_channels, position_embedding, relative_positions, root};
use super::tensor::{HostTensor, TensorMap};
use super::{Contents, Parameters, assign};
use crate::error::{Error, Result};
use crate::models::NamedTensor;
use burn::module::Module;
use std::collections::BTreeSet;

/// The most problems that an error lists.
const MOST_PROBLEMS: usize = 20;

/// How the last layer may be called in a file.
const HEADS: &[&str] = &["head.fc", "classifier", "fc", "head", "linear", "_fc"];

/// How the convolution that sees the image may be called in a file, timm's names first.
const FIRST_CONVOLUTIONS: &[&str] = &[
    "conv1.weight",
    "conv_stem.weight",
    "stem.0.weight",
    "stem.proj.weight",
    "patch_embed.proj.weight",
    "_conv_stem.weight",
    "downsample_layers.0.0.weight",
];

/// Token-mixing layers, which hold for one number of tokens.
const TOKEN_LAYERS: &[&str] = &[".mlp_tokens.", ".linear_tokens."];

/// What may differ between a file and the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// A classifier for another number of classes: the network's keeps its initial values.
    pub other_classes: bool,
    /// Tensors that are missing, unexpected or misshapen: what fits is taken.
    pub partial: bool,
}

/// A network with the weights of a file.
#[derive(Debug)]
pub struct Imported<M> {
    /// The network.
    pub network: M,
    /// What was translated, adapted, replaced or left out: one line each.
    pub notes: Vec<String>,
}

/// Gives `network`, whose last layer is called `head`, the weights of a file; `source` names it in errors.
///
/// # Errors
/// Where tensors are missing, unexpected or misshapen and that is not allowed; all are listed, up to twenty.
pub fn import<M: Module>(
    network: M,
    head: &str,
    contents: Contents,
    source: &str,
    allowed: Allowed,
) -> Result<Imported<M>> {
    let wanted = network.named();
    let names: Vec<&str> = wanted.iter().map(|tensor| tensor.name.as_str()).collect();
    let refuse = |what: String| Error::Weights(format!("{source}: {what}"));
    let (mut tensors, translated) = naming::translate(contents.tensors, &names).map_err(refuse)?;
    let mut notes = contents.notes;
    notes.extend(translated);
    let (mut problems, refused) = adapt_all(&wanted, &mut tensors, &mut notes);
    let kept = keep_head(&wanted, head, &mut tensors, allowed, &mut notes);
    let optional: BTreeSet<&str> = refused.iter().chain(&kept).map(String::as_str).collect();
    problems.extend(differences_but(&wanted, &tensors, &optional));
    if !problems.is_empty() && !allowed.partial {
        let hint = if problems.len() > names.len() / 2 { "; is it a file of this network?" } else { "" };
        return Err(refuse(format!(
            "weights do not fit the model: {}{hint} (--partial loads what fits)",
            listed(&problems, MOST_PROBLEMS)
        )));
    }
    for tensor in &wanted {
        if tensors.get(&tensor.name).is_some_and(|found| found.shape != tensor.shape) {
            tensors.remove(&tensor.name);
        }
    }
    let filled = names.iter().filter(|name| tensors.contains_key(**name)).count();
    if filled == 0 {
        return Err(refuse(format!("no tensor fits the model: {}", listed(&problems, MOST_PROBLEMS))));
    }
    if !problems.is_empty() {
        notes.push(format!("{filled} of {} tensors loaded", names.len()));
        notes.extend(problems);
    }
    Ok(Imported { network: assign(network, &tensors), notes })
}

/// How many classes the last layer in a file tells apart.
pub fn class_count(tensors: &TensorMap) -> Option<usize> {
    let weight = |head: &&str| tensors.get(&format!("{head}.weight")).filter(|tensor| is_full(tensor, 2));
    HEADS.iter().find_map(weight).map(|tensor| tensor.shape[0])
}

/// How many channels the images have that the first convolution in a file looks at.
pub fn channel_count(tensors: &TensorMap) -> Option<usize> {
    let weight = |name: &&str| tensors.get(*name).filter(|tensor| is_full(tensor, 4));
    FIRST_CONVOLUTIONS.iter().find_map(weight).map(|tensor| tensor.shape[1])
}

/// Whether a tensor has so many axes and any values: the sizes of an empty one say nothing.
fn is_full(tensor: &HostTensor, axes: usize) -> bool {
    tensor.shape.len() == axes && !tensor.values.is_empty()
}

/// What differs between the tensors that a network has and those of a file, one line each.
pub fn differences(wanted: &[NamedTensor], map: &TensorMap) -> Vec<String> {
    differences_but(wanted, map, &BTreeSet::new())
}

fn differences_but(wanted: &[NamedTensor], map: &TensorMap, optional: &BTreeSet<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    for NamedTensor { name, shape, .. } in wanted {
        match map.get(name) {
            None if optional.contains(name.as_str()) => {}
            None => problems.push(format!("{name} is missing")),
            Some(found) if found.shape != *shape => {
                problems.push(format!("{name} has shape {:?}, expected {shape:?}", found.shape));
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = wanted.iter().map(|tensor| tensor.name.as_str()).collect();
    let unexpected = map.keys().filter(|name| !known.contains(name.as_str()));
    problems.extend(unexpected.map(|name| format!("{name} is unexpected")));
    problems
}

/// The first of many problems, in one line.
pub fn listed(problems: &[String], most: usize) -> String {
    let shown = problems.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match problems.len().saturating_sub(most) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}

/// Adapts what can be, and says of each kind of tensor once from and to what. Gives why others cannot be, and
/// their names; those are taken out.
fn adapt_all(
    wanted: &[NamedTensor],
    tensors: &mut TensorMap,
    notes: &mut Vec<String>,
) -> (Vec<String>, Vec<String>) {
    let prefix = usize::from(wanted.iter().any(|tensor| tensor.name == "cls_token"));
    let (mut problems, mut refused) = (Vec::new(), Vec::new());
    for NamedTensor { name, shape, .. } in wanted {
        let Some(found) = tensors.get(name).filter(|found| found.shape != *shape) else { continue };
        match adapt(name, found, shape, prefix) {
            None => {}
            Some(Ok((adapted, note))) => {
                if !notes.contains(&note) {
                    notes.push(note);
                }
                tensors.insert(name.clone(), adapted);
            }
            Some(Err(what)) => {
                problems.push(format!("{name} {what}"));
                refused.push(name.clone());
            }
        }
    }
    for name in &refused {
        tensors.remove(name);
    }
    (problems, refused)
}

type Adapted = std::result::Result<(HostTensor, String), String>;

/// The tensor in the shape that is wanted, if tensors of its name can be adapted.
fn adapt(name: &str, found: &HostTensor, shape: &[usize], prefix: usize) -> Option<Adapted> {
    if TOKEN_LAYERS.iter().any(|layer| name.contains(layer)) {
        return Some(Err(format!(
            "has shape {:?}, expected {shape:?}: layers that mix tokens hold for one resolution and cannot be \
             resampled",
            found.shape
        )));
    }
    match (name.rsplit('.').next()?, &found.shape[..], shape) {
        ("pos_embed", [1, old, old_width], [1, new, width]) if old_width == width => {
            let side = new.checked_sub(prefix).and_then(root)?;
            let note = format!(
                "position embeddings resampled from {} to {} tokens",
                old - prefix.min(*old),
                side * side
            );
            Some(position_embedding(found, prefix, side).map(|tensor| (tensor, note)))
        }
        ("relative_position_bias_table", [old, old_heads], [new, heads]) if old_heads == heads => {
            let side = root(*new)?;
            let windows = [root(*old)?, side].map(|side| side.div_ceil(2));
            let note = format!(
                "relative position tables resampled from windows of {} to {}",
                windows[0], windows[1]
            );
            Some(relative_positions(found, side).map(|tensor| (tensor, note)))
        }
        (_, [o, inputs, h, w], [outputs, channels, height, width])
            if FIRST_CONVOLUTIONS.contains(&name) && (o, h, w) == (outputs, height, width) =>
        {
            let note = format!("{name} adapted from {inputs} channels to {channels}");
            Some(input_channels(found, *channels).map(|tensor| (tensor, note)))
        }
        _ => None,
    }
}

/// Takes a last layer for other classes out of the file's tensors, where that is allowed, and gives the names
/// that therefore keep their initial values.
fn keep_head(
    wanted: &[NamedTensor],
    head: &str,
    tensors: &mut TensorMap,
    allowed: Allowed,
    notes: &mut Vec<String>,
) -> Vec<String> {
    let names = [format!("{head}.weight"), format!("{head}.bias")];
    let ours = wanted.iter().find(|tensor| tensor.name == names[0]).map(|tensor| tensor.shape.as_slice());
    let theirs = tensors.get(&names[0]).map(|tensor| tensor.shape.as_slice());
    let (Some([classes, width]), Some([old, old_width])) = (ours, theirs) else { return Vec::new() };
    if !allowed.other_classes || classes == old || width != old_width {
        return Vec::new();
    }
    notes.push(format!("classifier `{head}` of {old} classes replaced by a new one of {classes}"));
    tensors.retain(|name, _| !names.contains(name));
    names.to_vec()
}
