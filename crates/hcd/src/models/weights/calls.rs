//! What a checkpoint may mention beside its tensors. Nothing is called in any case; but a file that wants
//! other than these called is no checkpoint, and who gets it should know.

use super::pickle::{Pickle, Value};

/// Modules whose classes checkpoints hold: options, counters, dates, numpy's scalars, optimisers.
const HARMLESS: &[&str] = &[
    "_codecs",
    "addict",
    "argparse",
    "collections",
    "copyreg",
    "copy_reg",
    "datetime",
    "decimal",
    "easydict",
    "enum",
    "fractions",
    "mmcv",
    "mmengine",
    "numpy",
    "omegaconf",
    "pathlib",
    "timm",
    "torch._tensor",
    "torch._utils",
    "torch.distributions",
    "torch.nn",
    "torch.optim",
    "torch.serialization",
    "torch.storage",
    "types",
    "uuid",
    "yacs",
];

/// Functions and classes of modules that hold others as well.
const HARMLESS_NAMES: &[(&str, &[&str])] = &[
    ("torch", &["Size", "device", "dtype", "Tensor", "Generator"]),
    (
        "builtins",
        &[
            "bytearray",
            "bytes",
            "complex",
            "dict",
            "float",
            "frozenset",
            "int",
            "list",
            "object",
            "set",
            "slice",
        ],
    ),
];

/// Names of harmless modules that do more than hold something.
const HARMFUL_NAMES: &[&str] = &["runpy", "load", "loads", "exec", "eval", "execfile", "open", "runstring"];

/// Refuses a pickle that asks for other calls than checkpoints need.
///
/// # Errors
/// With the first such call.
pub fn check(pickle: &Pickle) -> Result<(), String> {
    for value in pickle.values() {
        let Value::Call(function, _) = value else { continue };
        match pickle.get(*function) {
            Value::Global(module, name) if !is_harmless(module, name) => {
                return Err(format!(
                    "asks to call `{module}.{name}`, which no weights need; nothing was called, and the file is not \
                     to be trusted"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_harmless(module: &str, name: &str) -> bool {
    let module = if module == "__builtin__" { "builtins" } else { module };
    if name.split('.').any(|part| HARMFUL_NAMES.contains(&part)) {
        return false;
    }
    let within = |parent: &&str| {
        module.strip_prefix(*parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let named = HARMLESS_NAMES.iter().find(|(known, _)| *known == module);
    HARMLESS.iter().any(within) || named.is_some_and(|(_, names)| names.contains(&name))
}
