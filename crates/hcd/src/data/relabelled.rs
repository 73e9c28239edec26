//! A set under another network's class numbers, and sets one after the other.

use super::{Dataset, Image, ImageShape};
use crate::error::{Error, Result};
use std::sync::Arc;

/// The samples of a set, their classes counted as a network counts them.
#[derive(Debug, Clone)]
pub struct Relabelled {
    inner: Arc<dyn Dataset>,
    classes: Vec<String>,
    /// The new label for each of the set's own.
    map: Vec<usize>,
}

/// How a set's classes were found among a network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// Each by its name.
    ByName,
    /// By place, since the names differ.
    ByPlace,
}

impl Relabelled {
    /// `inner` with its classes found among `classes`: by name where each is there, else by place where there are
    /// as many.
    ///
    /// # Errors
    /// Where neither can be.
    pub fn new(inner: Arc<dyn Dataset>, classes: &[String]) -> Result<(Self, Matched)> {
        let own = inner.classes();
        let by_name: Option<Vec<usize>> = own.iter().map(|class| only(classes, class)).collect();
        let (map, matched) = match by_name {
            Some(map) => (map, Matched::ByName),
            None if own.len() == classes.len() => ((0..own.len()).collect(), Matched::ByPlace),
            None => {
                let stranger = own.iter().find(|class| !classes.contains(class)).map_or("", String::as_str);
                return Err(Error::Data(format!(
                    "{}: has {} classes, the network knows {}, and `{stranger}` is none of them",
                    inner.name(),
                    own.len(),
                    classes.len()
                )));
            }
        };
        Ok((Self { inner, classes: classes.to_vec(), map }, matched))
    }
}

/// The place of a name that comes once.
fn only(classes: &[String], class: &str) -> Option<usize> {
    let mut places = classes.iter().enumerate().filter(|(_, known)| *known == class);
    let (place, _) = places.next()?;
    places.next().is_none().then_some(place)
}

impl Dataset for Relabelled {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.map[self.inner.label(index)]
    }

    fn image(&self, index: usize) -> Result<Image> {
        self.inner.image(index)
    }

    fn original(&self, index: usize) -> Result<Image> {
        self.inner.original(index)
    }

    fn image_shape(&self) -> ImageShape {
        self.inner.image_shape()
    }

    fn id(&self, index: usize) -> u64 {
        self.inner.id(index)
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    fn decodes(&self) -> bool {
        self.inner.decodes()
    }
}

/// Two sets of the same classes and shape as one, the second's ids after the first's.
#[derive(Debug, Clone)]
pub struct Joined {
    first: Arc<dyn Dataset>,
    second: Arc<dyn Dataset>,
}

impl Joined {
    /// `first`, then `second`.
    ///
    /// # Errors
    /// Where shapes or classes differ.
    pub fn new(first: Arc<dyn Dataset>, second: Arc<dyn Dataset>) -> Result<Self> {
        match first.image_shape() == second.image_shape() && first.classes() == second.classes() {
            true => Ok(Self { first, second }),
            false => Err(Error::Data(format!(
                "{} and {}: other shapes or classes, cannot be taken as one",
                first.name(),
                second.name()
            ))),
        }
    }

    fn of(&self, index: usize) -> (&dyn Dataset, usize) {
        match index.checked_sub(self.first.len()) {
            None => (self.first.as_ref(), index),
            Some(index) => (self.second.as_ref(), index),
        }
    }
}

impl Dataset for Joined {
    fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn classes(&self) -> &[String] {
        self.first.classes()
    }

    fn label(&self, index: usize) -> usize {
        let (set, index) = self.of(index);
        set.label(index)
    }

    fn image(&self, index: usize) -> Result<Image> {
        let (set, index) = self.of(index);
        set.image(index)
    }

    fn original(&self, index: usize) -> Result<Image> {
        let (set, index) = self.of(index);
        set.original(index)
    }

    fn image_shape(&self) -> ImageShape {
        self.first.image_shape()
    }

    fn id(&self, index: usize) -> u64 {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        index as u64
    }

    fn name(&self) -> String {
        format!("{} and {}", self.first.name(), self.second.name())
    }

    fn decodes(&self) -> bool {
        self.first.decodes() || self.second.decodes()
    }
}
