//! The Python form: pickled dictionaries, as Python 2 wrote them or Python 3 has written them again.
//!
//! ```text
//! batches   {'data': array of bytes (N, 3072), 'labels': [N numbers]}
//!           {'data': …, 'coarse_labels': [N numbers], 'fine_labels': [N numbers]}
//! names     {'label_names': […]}   {'coarse_label_names': […], 'fine_label_names': […]}
//! ```
//! Keys and names are text or bytes. An array is a call of numpy's that nobody makes: `_reconstruct`, whose result's
//! state is (version, shape, dtype, whether columns lie together, bytes), or since protocol 5
//! `_frombuffer(bytes, dtype, shape, order)`.
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "Python / Matlab versions";
//! numpy/_core/src/multiarray/methods.c, `array_reduce` and `array_reduce_ex`.

use super::{Column, SAMPLES, Samples};
use crate::models::weights::pickle::{Id, Pickle, Value};
use std::borrow::Cow;

/// The longest name of a class, in bytes.
const LONGEST_NAME: usize = 256;

/// The images and labels of a batch.
///
/// # Errors
/// Where it is no such pickle, or its parts do not fit together.
pub(super) fn samples(bytes: &[u8], columns: &[Column]) -> Result<Samples, String> {
    let pickle = whole(bytes)?;
    let data = entry(&pickle, "data")?;
    let array = Array::of(&pickle, data).map_err(|what| format!("`data` {what}"))?;
    let mut samples = Samples::new(columns.len(), array.rows);
    for (column, key) in samples.labels.iter_mut().zip(columns.iter().map(|column| column.key)) {
        let labels = list(&pickle, key)?;
        if labels.len() != array.rows {
            return Err(format!(
                "`{key}` has {} entries, expected {}, one an image",
                labels.len(),
                array.rows
            ));
        }
        for (index, &id) in labels.iter().enumerate() {
            column.push(pickle.index(id).ok_or_else(|| {
                let came = pickle.describe(id);
                format!("`{key}` holds {came} at index {index}, expected a whole number from 0")
            })?);
        }
    }
    array.append_to(&mut samples);
    Ok(samples)
}

/// The names of the classes under a key.
///
/// # Errors
/// Where it is no such pickle.
pub(super) fn names(bytes: &[u8], key: &str) -> Result<Vec<String>, String> {
    let pickle = whole(bytes)?;
    let ids = list(&pickle, key)?;
    let name = |(index, &id): (usize, &Id)| match text(&pickle, id).filter(|name| name.len() <= LONGEST_NAME)
    {
        Some(name) => Ok(name.to_owned()),
        None => Err(format!("`{key}` holds {} at index {index}, expected a name", pickle.describe(id))),
    };
    ids.iter().enumerate().map(name).collect()
}

/// The pickle that a file consists of.
fn whole(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let read = Pickle::read(bytes);
    let pickle = read.map_err(|what| format!("is no whole pickle of Python's ({what}); fetch it again"))?;
    match bytes.len() - pickle.length {
        0 => Ok(pickle),
        more => Err(format!("{more} bytes trail after the pickle, expected none")),
    }
}

/// What the pickled dictionary has under a key.
fn entry(pickle: &Pickle, key: &str) -> Result<Id, String> {
    let Value::Dict(entries) = pickle.get(pickle.root) else {
        let came = pickle.describe(pickle.root);
        return Err(format!("holds {came}, expected a dictionary with `{key}`"));
    };
    let found = entries.iter().rev().find(|(name, _)| text(pickle, *name) == Some(key));
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("holds a dictionary without `{key}`, expected one with it"))
}

fn list<'p>(pickle: &'p Pickle, key: &str) -> Result<&'p [Id], String> {
    let id = entry(pickle, key)?;
    pickle.sequence(id).ok_or_else(|| format!("`{key}` is {}, expected a list", pickle.describe(id)))
}

/// Text, or bytes that stand for it: the same as long as it is ASCII.
fn text<'a>(pickle: &Pickle<'a>, id: Id) -> Option<&'a str> {
    pickle.text(id).or_else(|| pickle.encoded(id))
}

/// An array of bytes with a row an image.
struct Array<'a> {
    bytes: Cow<'a, [u8]>,
    rows: usize,
    /// Whether columns lie together, not rows.
    by_columns: bool,
}

impl<'a> Array<'a> {
    fn of(pickle: &Pickle<'a>, id: Id) -> Result<Self, String> {
        let unlike = || format!("is {}, expected an array of numpy's", pickle.describe(id));
        let Value::Call(function, arguments) = pickle.get(id) else { return Err(unlike()) };
        let Value::Global(module, name) = pickle.get(*function) else { return Err(unlike()) };
        let (bytes, dtype, shape, by_columns) = match (*module, *name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                let state = pickle.state(id).and_then(|state| pickle.sequence(state));
                let Some([_, shape, dtype, order, bytes]) = state else {
                    return Err(
                        "is an array without its state, expected shape, type, order and bytes".to_owned()
                    );
                };
                (*bytes, *dtype, *shape, matches!(pickle.get(*order), Value::Bool(true) | Value::Int(1)))
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => {
                let Some([bytes, dtype, shape, order, ..]) = pickle.sequence(*arguments) else {
                    return Err("is an array of nothing, expected bytes, type, shape and order".to_owned());
                };
                let order = text(pickle, *order).filter(|order| ["C", "F"].contains(order));
                (
                    *bytes,
                    *dtype,
                    *shape,
                    order.ok_or("lies in no order that is read, expected C or F")? == "F",
                )
            }
            _ => return Err(unlike()),
        };
        check_dtype(pickle, dtype)?;
        let rows = rows(pickle, shape)?;
        let came = pickle.bytes(bytes);
        let came = came.ok_or_else(|| format!("consists of {}, expected bytes", pickle.describe(bytes)))?;
        match rows.checked_mul(SAMPLES) == Some(came.len()) {
            true => Ok(Self { bytes: came, rows, by_columns }),
            false => Err(format!("consists of {} bytes, expected {rows}x{SAMPLES} as its shape", came.len())),
        }
    }

    fn append_to(&self, samples: &mut Samples) {
        let mut gathered = [0; SAMPLES];
        for (row, planes) in self.bytes.chunks_exact(SAMPLES).enumerate() {
            if !self.by_columns {
                samples.push(planes);
                continue;
            }
            for (column, sample) in gathered.iter_mut().enumerate() {
                *sample = self.bytes[column * self.rows + row];
            }
            samples.push(&gathered);
        }
    }
}

/// Makes sure that numbers are bytes: `numpy.dtype('u1', …)`.
fn check_dtype(pickle: &Pickle, dtype: Id) -> Result<(), String> {
    let name = match pickle.get(dtype) {
        Value::Call(function, arguments) if *pickle.get(*function) == Value::Global("numpy", "dtype") => {
            pickle.sequence(*arguments).and_then(|arguments| text(pickle, *arguments.first()?))
        }
        _ => None,
    };
    match name {
        Some("u1" | "|u1" | "uint8") => Ok(()),
        Some(name) => Err(format!("holds numbers of type `{name}`, expected `u1`")),
        None => Err(format!("has {} as its type, expected `u1` of numpy's", pickle.describe(dtype))),
    }
}

/// The first of a shape's two sizes, the other being that of an image.
fn rows(pickle: &Pickle, shape: Id) -> Result<usize, String> {
    let sizes: Option<Vec<usize>> =
        pickle.sequence(shape).and_then(|sizes| sizes.iter().map(|id| pickle.index(*id)).collect());
    match sizes.as_deref() {
        Some([0, _]) => Err("holds no images, expected at least one".to_owned()),
        Some([rows, SAMPLES]) => Ok(*rows),
        Some(sizes) => {
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            Err(format!("has shape {}, expected Nx{SAMPLES}", sizes.join("x")))
        }
        None => Err(format!("has {} as its shape, expected Nx{SAMPLES}", pickle.describe(shape))),
    }
}
