//! A teacher that looks at each view once, whatever the epochs, students, methods and runs: its penultimate features
//! are kept in files, and z_t = W f_t + b follows from them.
//!
//! What is stored is rounded, and so is what is answered while it is stored: a run that fills a cache, one that was
//! killed meanwhile and goes on, and one that reads a full cache all see the same numbers.

mod file;
mod key;
mod layout;
mod rows;

pub use key::CacheKey;
pub use rows::Stored;

use super::{Live, Teacher, TeacherOutput, ViewKey};
use crate::data::{HostBatch, TrainLoader};
use crate::error::{Error, Result};
use crate::models::StageShape;
use crate::ops::{Precision, with_precision};
use crate::rng;
use burn::tensor::{Tensor, TensorData};
use file::ViewFile;
use layout::Layout;
use rand::seq::index;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A live teacher and the folder that its answers are kept in.
#[derive(Debug)]
pub struct Cached {
    live: Live,
    precision: Precision,
    folder: PathBuf,
    key: CacheKey,
    /// The samples, ascending, and where each is.
    ids: Vec<u64>,
    rows: BTreeMap<u64, usize>,
    open: Option<(ViewKey, ViewFile)>,
    asked: usize,
    read: usize,
}

/// How far a view is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Every answer is there.
    Whole,
    /// Another process fills it.
    Elsewhere,
}

impl Cached {
    /// Answers of `live`, multiplied at `precision`, about the views of the loader; kept in `folder`, where nothing is written
    /// before the first of them.
    ///
    /// # Errors
    /// Where an image cannot be read, for all of them are part of what answers depend on.
    /// Where the folder keeps something else, or answers that depend on something else, which is
    /// named.
    pub fn open(
        live: Live,
        loader: &TrainLoader,
        precision: Precision,
        stored: Stored,
        folder: &Path,
    ) -> Result<Self> {
        let dataset = loader.dataset();
        let key = CacheKey::new(&live, loader, stored, precision)?;
        key.check(folder)?;
        let mut ids: Vec<u64> = (0..dataset.len()).map(|index| dataset.id(index)).collect();
        ids.sort_unstable();
        let rows = ids.iter().enumerate().map(|(row, &id)| (id, row)).collect();
        Ok(Self { live, precision, folder: folder.to_owned(), key, ids, rows, open: None, asked: 0, read: 0 })
    }

    /// Whether a folder keeps a teacher's answers.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(key::FILE).is_file()
    }

    /// How many views the network itself has looked at, and how many were read.
    pub fn counts(&self) -> [usize; 2] {
        [self.asked, self.read]
    }

    /// Where they are kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the answers depend on.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Bytes of the answers to views `numbers` under `seed` that are not on the disk yet.
    pub fn missing_bytes(&self, seed: u64, numbers: &[u64]) -> u64 {
        let whole = self.key.view_bytes();
        let missing = |&number: &u64| whole - file::present(&self.path(ViewKey { seed, number }), whole);
        numbers.iter().map(missing).sum()
    }

    /// Has the teacher look at those of the loader's samples that have no answer for view `number` yet, unless another
    /// process does so; `watch` is told how many it has looked at, batch by batch.
    ///
    /// # Errors
    /// Where images or files cannot be read, or files not be written.
    pub fn fill(
        &mut self,
        loader: &TrainLoader,
        number: u64,
        watch: &mut dyn FnMut(usize),
    ) -> Result<Filled> {
        let views = ViewKey { seed: loader.seed(), number };
        // Another process may have gone on since it was opened.
        self.open = None;
        if self.file(views)?.is_theirs() {
            return Ok(Filled::Elsewhere);
        }
        let (dataset, mut row) = (loader.dataset(), Vec::new());
        let mut wanted = Vec::new();
        for index in 0..dataset.len() {
            let place = self.row(dataset.id(index))?;
            row.clear();
            if !self.file(views)?.get(place, &mut row)? {
                wanted.push(index);
            }
        }
        for batch in self.live.sight(loader).view_batches(number, wanted) {
            let batch = batch?;
            let computed = with_precision(self.precision, || self.live.look(&batch));
            self.store(&batch.ids, views, computed)?;
            watch(batch.ids.len());
        }
        Ok(Filled::Whole)
    }

    /// Asks the teacher again about `entries` stored answers, drawn by chance among those to views `numbers`, each once at most.
    ///
    /// # Errors
    /// Where images or files cannot be read.
    pub fn verify(&mut self, loader: &TrainLoader, numbers: &[u64], entries: usize) -> Result<Verified> {
        let (seed, samples) = (loader.seed(), loader.dataset().len());
        let mut verified = Verified::default();
        if numbers.is_empty() || samples == 0 {
            return Ok(verified);
        }
        let mut stream = rng::stream(seed, "verify", &[]);
        let mut chosen: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let all = numbers.len() * samples;
        for place in index::sample(&mut stream, all, entries.min(all)) {
            chosen.entry(numbers[place / samples]).or_default().push(place % samples);
        }
        for (number, indices) in chosen {
            self.ask_again(loader, ViewKey { seed, number }, indices, &mut verified)?;
        }
        verified.allowed = verified.largest * (self.key.stored.rounding() + Self::slack(self.precision));
        Ok(verified)
    }

    /// Compares the answers about some samples with what the teacher says now.
    fn ask_again(
        &self,
        loader: &TrainLoader,
        views: ViewKey,
        indices: Vec<usize>,
        verified: &mut Verified,
    ) -> Result<()> {
        let layout = Layout::new(&self.key, &self.ids, views)?;
        let Some(mut file) = ViewFile::find(&self.path(views), &layout, false)? else {
            verified.missing += indices.len();
            return Ok(());
        };
        for batch in self.live.sight(loader).view_batches(views.number, indices) {
            let batch = batch?;
            let output = with_precision(self.precision, || self.live.look(&batch));
            let computed: Vec<f32> = output.penultimate.into_data().iter::<f32>().collect();
            for (id, computed) in batch.ids.iter().zip(computed.chunks_exact(self.key.width)) {
                let mut found = Vec::new();
                match file.get(self.row(*id)?, &mut found)? {
                    true => verified.add(&found, computed),
                    false => verified.missing += 1,
                }
            }
        }
        Ok(())
    }

    /// What other processors make of a feature, as a share of its largest number: sums in another order, at f32 or of
    /// products of 16 bits.
    fn slack(precision: Precision) -> f32 {
        if precision == Precision::Bf16 { 3e-2 } else { 1e-3 }
    }

    /// Where the answers to some views are kept.
    fn path(&self, views: ViewKey) -> PathBuf {
        let name = format!("view-{:05}.safetensors", views.number);
        self.folder.join(format!("seed-{}", views.seed)).join(name)
    }

    /// The file of some views, opened where it is not.
    fn file(&mut self, views: ViewKey) -> Result<&mut ViewFile> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != views) {
            self.open = None;
            self.key.begin(&self.folder)?;
            let layout = Layout::new(&self.key, &self.ids, views)?;
            let file = ViewFile::open(&self.path(views), &layout)?;
            self.open = Some((views, file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(Error::Run(format!("{}: no open file", self.folder.display()))),
        }
    }

    /// Where a sample is.
    fn row(&self, id: u64) -> Result<usize> {
        self.rows.get(&id).copied().ok_or_else(|| {
            Error::Run(format!("{}: is not about sample {id} of this set", self.folder.display()))
        })
    }

    /// Keeps what the teacher said about samples; gives their features as they are stored. Those that were there stay as
    /// they are: who read them once reads them again.
    fn store(&mut self, ids: &[u64], views: ViewKey, output: TeacherOutput) -> Result<Vec<f32>> {
        let (width, stored) = (self.key.width, self.key.stored);
        let computed: Vec<f32> = output.penultimate.into_data().iter::<f32>().collect();
        self.asked += ids.len();
        let rows = ids.iter().map(|&id| self.row(id)).collect::<Result<Vec<usize>>>()?;
        let file = self.file(views)?;
        file.mend()?;
        let mut features = Vec::with_capacity(computed.len());
        for ((&row, id), feature) in rows.iter().zip(ids).zip(computed.chunks_exact(width)) {
            if file.get(row, &mut features)? {
                continue;
            }
            let (bytes, scale) = stored.encode(feature).ok_or_else(|| {
                Error::Run(format!(
                    "the teacher's feature of sample {id} cannot be stored as {stored}: a number is too large or none; \
                     set teacher.stored = \"f32\", and check the teacher's weights and normalisation"
                ))
            })?;
            stored.decode(&bytes, scale, &mut features);
            file.put(row, &bytes, scale)?;
        }
        if let Some((views, file)) = self.open.take() {
            self.open = Some((views, file.finished()?));
        }
        Ok(features)
    }

    /// The features of a batch, where all are there.
    fn known(&mut self, ids: &[u64], views: ViewKey) -> Result<Option<Vec<f32>>> {
        let rows = ids.iter().map(|&id| self.row(id)).collect::<Result<Vec<usize>>>()?;
        let mut features = Vec::with_capacity(rows.len() * self.key.width);
        if self.file(views)?.is_cut()? {
            self.open = None;
        }
        let file = self.file(views)?;
        for row in rows {
            if !file.get(row, &mut features)? {
                return Ok(None);
            }
        }
        self.read += ids.len();
        Ok(Some(features))
    }
}

/// What asking again came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Verified {
    /// Answers that were compared.
    pub entries: usize,
    /// Answers that were not there.
    pub missing: usize,
    /// The largest difference of any number.
    pub difference: f32,
    /// The largest number.
    pub largest: f32,
    /// The largest difference that rounding and another processor explain.
    pub allowed: f32,
}

impl Verified {
    fn add(&mut self, found: &[f32], computed: &[f32]) {
        self.entries += 1;
        for (found, computed) in found.iter().zip(computed) {
            let apart = (found - computed).abs();
            self.difference = if apart.is_nan() { f32::INFINITY } else { self.difference.max(apart) };
            self.largest = self.largest.max(computed.abs());
        }
    }
}

impl Teacher for Cached {
    fn answer(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput> {
        let features = match self.known(&batch.ids, views)? {
            Some(features) => features,
            None => {
                let output = with_precision(self.precision, || self.live.answer(batch, views))?;
                self.store(&batch.ids, views, output)?
            }
        };
        let data = TensorData::new(features, [batch.ids.len(), self.key.width]);
        let penultimate = Tensor::<2>::from_data(data, self.live.device()); // (B, D_t)
        let logits = self.live.classify(penultimate.clone()); // (B, K)
        Ok(TeacherOutput { penultimate, logits, stages: Vec::new() })
    }

    /// Stages are not kept: it looks again.
    fn answer_with_stages(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput> {
        with_precision(self.precision, || self.live.answer_with_stages(batch, views))
    }

    fn stages(&self) -> Option<Vec<StageShape>> {
        self.live.stages()
    }

    fn width(&self) -> usize {
        self.key.width
    }

    fn fingerprint(&self) -> Option<String> {
        self.live.fingerprint()
    }
}
