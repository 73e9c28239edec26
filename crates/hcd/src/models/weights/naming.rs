//! Other names of the same networks, translated to timm's: those of the files that papers' authors and older
//! versions of timm gave out. One scheme is one entry of [`SCHEMES`].

use super::tensor::{HostTensor, TensorMap, carries_nothing};
use std::collections::BTreeSet;

/// A way to name a network's tensors.
struct Scheme {
    /// Whose names these are.
    about: &'static str,
    /// A name in the file and one of the network that together show it.
    shown_by: (&'static str, &'static str),
    /// The network's name for a name in the file.
    rename: fn(&str, &Layout) -> String,
}

/// What a rule may know of the network.
struct Layout {
    /// Stage and block, in order, of every `blocks.S.B`.
    blocks: Vec<(usize, usize)>,
}

/// Every scheme, tried in order.
const SCHEMES: &[Scheme] = &[
    Scheme {
        about: "efficientnet_pytorch",
        shown_by: ("_conv_stem.weight", "conv_stem.weight"),
        rename: efficientnet,
    },
    Scheme {
        about: "pytorch_resnet_cifar10 and pytorch-cifar",
        shown_by: ("linear.weight", "fc.weight"),
        rename: |name, _| replaced(name, &[("linear.", "fc.")]).replace(".shortcut.", ".downsample."),
    },
    Scheme {
        about: "the original Swin",
        shown_by: ("layers.0.downsample.reduction.weight", "layers.1.downsample.reduction.weight"),
        rename: swin,
    },
    Scheme {
        about: "the original ConvNeXt",
        shown_by: ("downsample_layers.0.0.weight", "stem.0.weight"),
        rename: convnext,
    },
    Scheme {
        about: "the original ResMLP",
        shown_by: ("patch_embed.proj.weight", "stem.proj.weight"),
        rename: |name, _| {
            name.replace("patch_embed.", "stem.")
                .replace("attn.", "linear_tokens.")
                .replace("mlp.", "mlp_channels.")
                .replace("gamma_", "ls")
        },
    },
    Scheme {
        about: "timm before 0.9",
        shown_by: ("head.weight", "head.fc.weight"),
        rename: |name, _| replaced(name, &[("head.", "head.fc.")]),
    },
];

/// The tensors under the network's names, and what was done for that.
///
/// # Errors
/// Where the file is of a relative of the network that it cannot hold.
pub fn translate(tensors: TensorMap, wanted: &[&str]) -> Result<(TensorMap, Vec<String>), String> {
    let known: BTreeSet<&str> = wanted.iter().copied().collect();
    for name in ["dist_token", "head_dist.weight"] {
        if tensors.contains_key(name) && !known.contains(name) {
            return Err(format!(
                "has `{name}`: a distilled DeiT with two classifiers, where the network has one; use the plain DeiT"
            ));
        }
    }
    let scheme = SCHEMES.iter().find(|scheme| {
        let (theirs, ours) = scheme.shown_by;
        tensors.contains_key(theirs) && !known.contains(theirs) && known.contains(ours)
    });
    let layout = Layout { blocks: blocks(wanted) };
    let (mut renamed, mut count) = (TensorMap::new(), 0);
    for (name, tensor) in tensors {
        if !known.contains(name.as_str()) && (carries_nothing(&name) || name.starts_with("pre_logits.")) {
            continue;
        }
        let new = scheme.map_or_else(|| name.clone(), |scheme| (scheme.rename)(&name, &layout));
        count += usize::from(new != name);
        if renamed.insert(new.clone(), affine(&new, tensor)).is_some() {
            return Err(format!("has two tensors for `{new}`"));
        }
    }
    let note = |scheme: &Scheme| format!("{count} names of {} translated to timm's", scheme.about);
    Ok((renamed, scheme.map(note).into_iter().collect()))
}

/// ResMLP's original scales and shifts (D) are timm's (1, 1, D).
fn affine(name: &str, mut tensor: HostTensor) -> HostTensor {
    if (name.ends_with(".alpha") || name.ends_with(".beta")) && tensor.shape.len() == 1 {
        tensor.shape = vec![1, 1, tensor.values.len()];
    }
    tensor
}

/// Replaces the first beginning that fits, unless the name begins as wanted already.
fn replaced(name: &str, beginnings: &[(&str, &str)]) -> String {
    let fits = beginnings.iter().find(|(old, new)| name.starts_with(old) && !name.starts_with(new));
    match fits {
        Some((old, new)) => format!("{new}{}", &name[old.len()..]),
        None => name.to_owned(),
    }
}

/// Blocks are counted through all stages, and a block's normalisations from 0 where it expands, else from 1.
fn efficientnet(name: &str, layout: &Layout) -> String {
    let top = [
        ("_conv_stem.", "conv_stem."),
        ("_bn0.", "bn1."),
        ("_conv_head.", "conv_head."),
        ("_bn1.", "bn2."),
        ("_fc.", "classifier."),
    ];
    let translated = || {
        let (number, rest) = name.strip_prefix("_blocks.")?.split_once('.')?;
        let (stage, block) = layout.blocks.get(number.parse::<usize>().ok()?)?;
        let (layer, rest) = rest.split_once('.')?;
        // The first stage's blocks do not expand.
        let layer = match (layer, *stage) {
            ("_expand_conv", _) => "conv_pw",
            ("_bn0", _) => "bn1",
            ("_depthwise_conv", _) => "conv_dw",
            ("_bn1", 0) => "bn1",
            ("_bn1", _) => "bn2",
            ("_project_conv", 0) => "conv_pw",
            ("_project_conv", _) => "conv_pwl",
            ("_bn2", 0) => "bn2",
            ("_bn2", _) => "bn3",
            ("_se_reduce", _) => "se.conv_reduce",
            ("_se_expand", _) => "se.conv_expand",
            _ => return None,
        };
        Some(format!("blocks.{stage}.{block}.{layer}.{rest}"))
    };
    translated().unwrap_or_else(|| replaced(name, &top))
}

/// A stage's merging of patches stood at its end, and stands at the beginning of the next.
fn swin(name: &str, _: &Layout) -> String {
    let moved = || {
        let (stage, rest) = name.strip_prefix("layers.")?.split_once('.')?;
        let next = stage.parse::<usize>().ok()?.checked_add(1)?;
        rest.starts_with("downsample.").then(|| format!("layers.{next}.{rest}"))
    };
    moved().unwrap_or_else(|| replaced(name, &[("head.", "head.fc.")]))
}

fn convnext(name: &str, _: &Layout) -> String {
    let moved = || {
        if let Some(rest) = name.strip_prefix("stages.") {
            let (stage, rest) = rest.split_once('.')?;
            return rest
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| format!("stages.{stage}.blocks.{rest}"));
        }
        let (stage, rest) = name.strip_prefix("downsample_layers.")?.split_once('.')?;
        Some(match stage {
            "0" => format!("stem.{rest}"),
            _ => format!("stages.{stage}.downsample.{rest}"),
        })
    };
    moved()
        .unwrap_or_else(|| replaced(name, &[("head.", "head.fc."), ("norm.", "head.norm.")]))
        .replace(".dwconv.", ".conv_dw.")
        .replace(".pwconv", ".mlp.fc")
}

/// Stage and block of every name `blocks.S.B.…`, each once, in order.
fn blocks(wanted: &[&str]) -> Vec<(usize, usize)> {
    let place = |name: &&str| {
        let mut parts = name.strip_prefix("blocks.")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    wanted.iter().filter_map(place).collect::<BTreeSet<_>>().into_iter().collect()
}
