//! A teacher that has spoken already: its answers, written by any framework, are read from a file.

use super::{Teacher, TeacherOutput, ViewKey};
use crate::data::{Dataset, HostBatch, TrainLoader, ViewStamp};
use crate::error::{Error, Result};
use crate::models::weights::Float;
use crate::ops::linear;
use crate::{eval, files};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Answers in a safetensors file:
///
/// | tensor | shape | type | what |
/// |---|---|---|---|
/// | `features` | (R, D_t) | F32, F16, BF16 | what the teacher's classifier reads |
/// | `ids` | (R) | I64, I32, U64, U32 | of which sample: its place in the published set |
/// | `views`, `seeds` | (R) | the same | of which view of it, under which seed; both missing, an answer holds for every view |
/// | `logits` | (R, K) | F32, F16, BF16 | or else |
/// | `classifier.weight`, `classifier.bias` | (K, D_t), (K) | the same | the last layer, from which logits follow |
#[derive(Debug)]
pub struct Given {
    path: PathBuf,
    /// BLAKE3 of the file.
    hash: String,
    features: Table,
    scores: Scores,
    /// The row of each view of each sample.
    rows: HashMap<(ViewKey, u64), usize>,
    has_views: bool,
    /// What the views are that it answers about, where the file says.
    stamp: Option<ViewStamp>,
    device: Device,
}

/// Stands for every view, where answers are about none in particular.
const EVERY: ViewKey = ViewKey { seed: 0, number: 0 };

/// Most samples that answers are judged by beforehand.
const MOST_JUDGED: usize = 2000;

/// Where logits come from.
#[derive(Debug)]
enum Scores {
    Logits(Table),
    /// (K, D_t) and (K)
    Classifier(Box<(Tensor<2>, Tensor<1>)>),
}

/// Rows of numbers as they are stored.
#[derive(Debug)]
struct Table {
    bytes: Vec<u8>,
    float: Float,
    width: usize,
}

impl Table {
    /// A row.
    fn read(&self, row: usize) -> Vec<f32> {
        let length = self.width * self.float.size();
        self.float.decode(&self.bytes[row * length..(row + 1) * length])
    }
}

impl Given {
    /// The answers in a file, for samples of `classes` classes.
    ///
    /// # Errors
    /// Where the file cannot be read, or does not hold what the type says.
    pub fn open(path: &Path, classes: usize, device: &Device) -> Result<Self> {
        let bytes = files::read(path)?;
        let reader = Reader { path, file: SafeTensors::deserialize(&bytes).map_err(|e| bad(path, &e))? };
        let ids = reader.integers("ids")?;
        let features = reader.table("features", ids.len())?;
        let views = reader.views(ids.len())?;
        let scores = reader.scores(ids.len(), features.width, classes, device)?;
        let mut rows = HashMap::with_capacity(ids.len());
        for (row, &id) in ids.iter().enumerate() {
            let views = views.as_ref().map_or(EVERY, |views| views[row]);
            if rows.insert((views, id), row).is_some() {
                return Err(bad(path, &format_args!("answers twice about sample {id}, {}", told(views))));
            }
        }
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(path, &e))?;
        let stamp = metadata.metadata().as_ref().and_then(ViewStamp::read);
        let (path, has_views, hash) = (path.to_owned(), views.is_some(), files::hash(&bytes));
        Ok(Self { path, hash, features, scores, rows, has_views, stamp, device: device.clone() })
    }

    /// Sees whether there is an answer about each of `views` of every sample of the loader. Gives what should be known of them.
    ///
    /// # Errors
    /// Where answers are missing, or cannot be about such views.
    pub fn inspect(&self, loader: &TrainLoader, views: &[ViewKey]) -> Result<Vec<String>> {
        let (shown, samples, policy) = (self.path.display(), loader.dataset().as_ref(), loader.policy());
        if let Some(stamp) = &self.stamp
            && let Some(what) = stamp.difference(&ViewStamp::of(loader)?)
        {
            return Err(Error::Recipe(format!(
                "{shown}: its answers are about other {what} than this recipe's; write views with it by `hcd views`, and answers \
                 about those"
            )));
        }
        if !self.has_views && (policy.mixup > 0.0 || policy.cutmix > 0.0) {
            return Err(Error::Recipe(format!(
                "{shown}: its answers are about whole images, and data.views mixes them; write answers with `views`, or set \
                 data.views.mixup and cutmix to 0"
            )));
        }
        let (mut missing, mut first) = (0, None);
        for &views in if self.has_views { views } else { &[EVERY] } {
            for id in (0..samples.len()).map(|index| samples.id(index)) {
                if !self.rows.contains_key(&(views, id)) {
                    missing += 1;
                    first.get_or_insert((id, views));
                }
            }
        }
        match first {
            Some((id, views)) => Err(Error::Data(format!(
                "{shown}: {missing} answers are missing, the first about sample {id}, {}; `hcd views` writes what there is to be \
                 looked at",
                told(views)
            ))),
            None => {
                let mut notes = Vec::new();
                if !self.has_views {
                    notes.push(format!("note: {shown}: each answer stands for every view of its sample"));
                } else if self.stamp.is_none() {
                    notes.push(format!(
                        "note: {shown}: does not say of which data and views (`data` and `policy` of the metadata that `hcd views` \
                         writes), so that it is taken at its word"
                    ));
                }
                notes.extend(self.doubt(samples, views.first().copied().unwrap_or(EVERY))?);
                Ok(notes)
            }
        }
    }

    /// A warning where the answers about some training images are hardly better than chance.
    fn doubt(&self, samples: &dyn Dataset, views: ViewKey) -> Result<Option<String>> {
        let count = samples.len().min(MOST_JUDGED);
        let ids: Vec<u64> = (0..count).map(|index| samples.id(index)).collect();
        let labels: Vec<usize> = (0..count).map(|index| samples.label(index)).collect();
        let right = eval::count_correct(self.about(&ids, views)?.logits, &labels);
        let top1 = 100.0 * right as f64 / count.max(1) as f64;
        Ok(eval::near_chance(top1, samples.classes().len()).map(|chance| {
            format!(
                "warning: {}: its answers are right about {top1:.1} % of {count} training images, near chance \
                 ({chance:.1} %): check the order of its classes, and its ids",
                self.path.display()
            )
        }))
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows about samples.
    fn find(&self, ids: &[u64], views: ViewKey) -> Result<Vec<usize>> {
        let views = if self.has_views { views } else { EVERY };
        let row = |&id: &u64| {
            self.rows.get(&(views, id)).copied().ok_or_else(|| {
                bad(&self.path, &format_args!("has no answer about sample {id}, {}", told(views)))
            })
        };
        ids.iter().map(row).collect()
    }

    /// What is said about a view of samples.
    fn about(&self, ids: &[u64], views: ViewKey) -> Result<TeacherOutput> {
        let rows = self.find(ids, views)?;
        let penultimate = self.tensor(&self.features, &rows, ids)?; // (B, D_t)
        let logits = match &self.scores {
            Scores::Logits(table) => self.tensor(table, &rows, ids)?, // (B, K)
            Scores::Classifier(layer) => {
                let (weight, bias) = layer.as_ref().clone();
                linear(penultimate.clone(), weight, Some(bias)) // (B, K)
            }
        };
        Ok(TeacherOutput { penultimate, logits, stages: Vec::new() })
    }

    /// Chosen rows of a table, every number of them finite.
    fn tensor(&self, table: &Table, rows: &[usize], ids: &[u64]) -> Result<Tensor<2>> {
        let mut values = Vec::with_capacity(rows.len() * table.width);
        rows.iter().for_each(|&row| values.extend(table.read(row)));
        if let Some(odd) = values.iter().position(|value| !value.is_finite()) {
            let (shown, id) = (self.path.display(), ids[odd / table.width]);
            return Err(Error::Data(format!("{shown}: the answer about sample {id} holds {}", values[odd])));
        }
        Ok(Tensor::from_data(TensorData::new(values, [rows.len(), table.width]), &self.device))
    }
}

impl Teacher for Given {
    fn answer(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput> {
        self.about(&batch.ids, views)
    }

    fn width(&self) -> usize {
        self.features.width
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.hash.clone())
    }
}

/// Views as people name them.
fn told(views: ViewKey) -> String {
    format!("view {} of seed {}", views.number, views.seed)
}

fn bad(path: &Path, what: &dyn std::fmt::Display) -> Error {
    Error::Data(format!("{}: {what}", path.display()))
}

/// Tensors of a file, with what must hold of them.
struct Reader<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
}

impl Reader<'_> {
    fn has(&self, name: &str) -> bool {
        self.file.names().contains(&name)
    }

    /// Which views the rows are about, where the file says.
    fn views(&self, rows: usize) -> Result<Option<Vec<ViewKey>>> {
        if !self.has("views") && !self.has("seeds") {
            return Ok(None);
        }
        let (numbers, seeds) = (self.integers("views")?, self.integers("seeds")?);
        if numbers.len() != rows || seeds.len() != rows {
            return Err(bad(self.path, &format_args!("`ids`, `views` and `seeds` differ in length")));
        }
        let views = numbers.into_iter().zip(seeds).map(|(number, seed)| ViewKey { seed, number });
        Ok(Some(views.collect()))
    }

    fn tensor(&self, name: &str) -> Result<safetensors::tensor::TensorView<'_>> {
        self.file.tensor(name).map_err(|_| {
            let mut names = self.file.names();
            names.sort_unstable();
            names.truncate(8);
            bad(self.path, &format_args!("has no tensor `{name}`, but {}", names.join(", ")))
        })
    }

    fn integers(&self, name: &str) -> Result<Vec<u64>> {
        let tensor = self.tensor(name)?;
        let (bytes, shape) = (tensor.data(), tensor.shape());
        if shape.len() != 1 {
            return Err(bad(self.path, &format_args!("`{name}` has shape {shape:?}, expected (rows)")));
        }
        let long = |read: fn([u8; 8]) -> i128| bytes.as_chunks::<8>().0.iter().map(|b| read(*b)).collect();
        let short = |read: fn([u8; 4]) -> i128| bytes.as_chunks::<4>().0.iter().map(|b| read(*b)).collect();
        let values: Vec<i128> = match tensor.dtype() {
            Dtype::I64 => long(|b| i64::from_le_bytes(b).into()),
            Dtype::U64 => long(|b| u64::from_le_bytes(b).into()),
            Dtype::I32 => short(|b| i32::from_le_bytes(b).into()),
            Dtype::U32 => short(|b| u32::from_le_bytes(b).into()),
            other => {
                return Err(bad(self.path, &format_args!("`{name}` has type {other:?}, expected integers")));
            }
        };
        let number = |value: i128| {
            u64::try_from(value).map_err(|_| bad(self.path, &format_args!("`{name}` holds {value}, below 0")))
        };
        values.into_iter().map(number).collect()
    }

    fn table(&self, name: &str, rows: usize) -> Result<Table> {
        let tensor = self.tensor(name)?;
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        let &[found, width] = shape else {
            return Err(bad(
                self.path,
                &format_args!("`{name}` has shape {shape:?}, expected (rows, numbers)"),
            ));
        };
        if found != rows || width == 0 {
            return Err(bad(self.path, &format_args!("`{name}` has shape {shape:?}, expected {rows} rows")));
        }
        let Some(float) = Float::of(dtype).filter(|float| float.size() <= 4) else {
            let what = format_args!("`{name}` has type {dtype:?}, expected F32, F16 or BF16");
            return Err(bad(self.path, &what));
        };
        Ok(Table { bytes: tensor.data().to_vec(), float, width })
    }

    fn scores(&self, rows: usize, width: usize, classes: usize, device: &Device) -> Result<Scores> {
        if self.has("logits") {
            let logits = self.table("logits", rows)?;
            return match logits.width == classes {
                true => Ok(Scores::Logits(logits)),
                false => Err(self.unlike(logits.width, classes)),
            };
        }
        if !self.has("classifier.weight") {
            let what = format_args!("has neither `logits` nor `classifier.weight` and `classifier.bias`");
            return Err(bad(self.path, &what));
        }
        let bias = self.tensor("classifier.bias")?;
        let known = bias.shape().first().copied().unwrap_or(0);
        if known != classes {
            return Err(self.unlike(known, classes));
        }
        let weight = self.table("classifier.weight", classes)?;
        if weight.width != width || bias.shape() != [classes] || Float::of(bias.dtype()) != Some(weight.float)
        {
            let what = format_args!(
                "`classifier.weight` and `classifier.bias` are no layer from {width} to {classes} numbers of one type"
            );
            return Err(bad(self.path, &what));
        }
        let bias = weight.float.decode(bias.data());
        let weight = TensorData::new(weight.float.decode(&weight.bytes), [classes, width]);
        let bias = TensorData::new(bias, [classes]);
        let layer = (Tensor::from_data(weight, device), Tensor::from_data(bias, device));
        Ok(Scores::Classifier(Box::new(layer)))
    }

    fn unlike(&self, found: usize, classes: usize) -> Error {
        bad(self.path, &format_args!("tells {found} classes apart, the data have {classes}"))
    }
}
