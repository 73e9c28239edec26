//! A look at every image of a set before it is used: those that cannot be read are named, or left out.
//!
//! What is left out moves no other sample's id, so views and a teacher's cache stay as they are.

use super::batch::{TOGETHER, image_of_shape};
use super::normalize::Moments;
use super::{Dataset, Normalization, Subset};
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An image that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What errors call its set.
    pub set: String,
    /// Its id there.
    pub id: u64,
    /// What is wrong with it, its file named.
    pub error: String,
}

/// A set of whose images each can be read.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The set, without what cannot be read.
    pub dataset: Arc<dyn Dataset>,
    /// Sums over its pixels.
    moments: Moments,
}

impl Checked {
    /// Looks at every image of `dataset`. Those that cannot be read are refused, or left out where `skip_bad` is set;
    /// `watch` is told of images looked at.
    ///
    /// # Errors
    /// Where an image cannot be read and is not to be left out, none can be, or one has another shape than its set.
    pub fn new(dataset: Arc<dyn Dataset>, skip_bad: bool, watch: &mut dyn FnMut(usize)) -> Result<Self> {
        let (set, shape) = (dataset.name(), dataset.image_shape());
        let (mut good, mut left_out, mut moments) = (Vec::new(), Vec::new(), Moments::default());
        let indices: Vec<usize> = (0..dataset.len()).collect();
        for group in indices.chunks(TOGETHER) {
            let look = |&index: &usize| Ok(Moments::of(&image_of_shape(dataset.as_ref(), index, shape)?));
            let looks: Vec<Result<Moments>> = group.par_iter().map(look).collect();
            for (&index, look) in group.iter().zip(looks) {
                match look {
                    Ok(own) => {
                        good.push(index);
                        moments = moments.join(own);
                    }
                    Err(error) if error.is_of_image() => {
                        let (id, error) = (dataset.id(index), error.to_string());
                        left_out.push(LeftOut { set: set.clone(), id, error });
                    }
                    Err(error) => return Err(error),
                }
            }
            watch(group.len());
        }
        let Some(first) = left_out.first() else { return Ok(Self { dataset, moments }) };
        if good.is_empty() {
            return Err(Error::Data(format!("{set}: no image can be read, the first: {}", first.error)));
        }
        if !skip_bad {
            return Err(refused(&left_out));
        }
        let subset = Subset::new(dataset, good)?.leaving_out(left_out);
        Ok(Self { dataset: Arc::new(subset), moments })
    }

    /// What the set is normalised by.
    ///
    /// # Errors
    /// Where it is empty, or a channel has one value throughout.
    pub fn normalization(&self) -> Result<Normalization> {
        self.moments.normalization(&self.dataset.name())
    }
}

fn refused(bad: &[LeftOut]) -> Error {
    const REMEDY: &str = "or leave it out with --skip-bad (data.skip_bad = true)";
    let first = &bad[0];
    Error::Data(match bad.len() {
        1 => format!("{}; mend the image, {REMEDY}", first.error),
        count => format!(
            "{count} images of {} cannot be read (hcd data PATH --check lists them), the first: {}; mend them, {}",
            first.set,
            first.error,
            REMEDY.replacen("it", "them", 1)
        ),
    })
}
