//! Parts of a data set: chosen indices, a seeded validation part of each class, and so many of each class.

use super::{Dataset, Image, ImageShape, LeftOut};
use crate::error::{Error, Result};
use crate::rng;
use rand::seq::SliceRandom;
use std::sync::Arc;

/// Some samples of another set, under the ids that they have there.
#[derive(Debug, Clone)]
pub struct Subset {
    parent: Arc<dyn Dataset>,
    indices: Vec<usize>,
    left_out: Vec<LeftOut>,
}

impl Subset {
    /// The samples of `parent` at `indices`, in that order.
    ///
    /// # Errors
    /// Where an index is not below the parent's length or comes twice: views go by sample id, so
    /// a repeated sample would be seen twice alike.
    pub fn new(parent: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        let mut taken = vec![false; parent.len()];
        for &index in &indices {
            match taken.get_mut(index) {
                Some(taken) if !*taken => *taken = true,
                Some(_) => {
                    return Err(Error::Data(format!("{}: sample {index} chosen twice", parent.name())));
                }
                None => {
                    let (name, count) = (parent.name(), parent.len());
                    return Err(Error::Data(format!(
                        "{name}: sample {index} chosen, expected below {count}"
                    )));
                }
            }
        }
        Ok(Self { parent, indices, left_out: Vec::new() })
    }

    /// The same, and what is not in it because it cannot be read.
    pub(super) fn leaving_out(self, left_out: Vec<LeftOut>) -> Self {
        Self { left_out, ..self }
    }

    /// Its samples' indices in the set that it is a part of.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn classes(&self) -> &[String] {
        self.parent.classes()
    }

    fn label(&self, index: usize) -> usize {
        self.parent.label(self.indices[index])
    }

    fn image(&self, index: usize) -> Result<Image> {
        self.parent.image(self.indices[index])
    }

    fn original(&self, index: usize) -> Result<Image> {
        self.parent.original(self.indices[index])
    }

    fn image_shape(&self) -> ImageShape {
        self.parent.image_shape()
    }

    fn id(&self, index: usize) -> u64 {
        self.parent.id(self.indices[index])
    }

    fn name(&self) -> String {
        format!("part of {}", self.parent.name())
    }

    fn shown(&self, index: usize) -> String {
        self.parent.shown(self.indices[index])
    }

    fn decodes(&self) -> bool {
        self.parent.decodes()
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

/// Splits a set into a part to train on and a part held out to validate on.
///
/// Of each class c with n_c samples, round(fraction · n_c) are held out, drawn by a shuffle from the stream
/// (seed, "split", c); where `fraction` > 0, each class of two samples or more has at least one in
/// either part. Both parts keep the set's order.
///
/// # Errors
/// Where `fraction` is not in [0, 1).
pub fn stratified_split(dataset: &Arc<dyn Dataset>, fraction: f64, seed: u64) -> Result<(Subset, Subset)> {
    if !(0.0..1.0).contains(&fraction) {
        let name = dataset.name();
        return Err(Error::Data(format!("{name}: fraction to hold out is {fraction}, expected in [0, 1)")));
    }
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (class, mut members) in by_class(dataset.as_ref()).into_iter().enumerate() {
        members.shuffle(&mut rng::stream(seed, "split", &[class as u64]));
        let (out, kept) = members.split_at(held_out_of(members.len(), fraction));
        held_out.extend_from_slice(out);
        train.extend_from_slice(kept);
    }
    train.sort_unstable();
    held_out.sort_unstable();
    Ok((Subset::new(Arc::clone(dataset), train)?, Subset::new(Arc::clone(dataset), held_out)?))
}

/// `most` samples of each class, drawn by a shuffle from the stream (seed, "few", class), or all where there are no more; in
/// the set's order.
///
/// # Errors
/// Where `most` is 0.
pub fn at_most_per_class(dataset: &Arc<dyn Dataset>, most: usize, seed: u64) -> Result<Subset> {
    if most == 0 {
        return Err(Error::Data(format!("{}: 0 samples of each class, expected 1 or more", dataset.name())));
    }
    let mut kept = Vec::new();
    for (class, mut members) in by_class(dataset.as_ref()).into_iter().enumerate() {
        members.shuffle(&mut rng::stream(seed, "few", &[class as u64]));
        members.truncate(most);
        kept.extend(members);
    }
    kept.sort_unstable();
    Subset::new(Arc::clone(dataset), kept)
}

/// The indices of each class, in the set's order.
fn by_class(dataset: &dyn Dataset) -> Vec<Vec<usize>> {
    let mut by_class = vec![Vec::new(); dataset.classes().len()];
    for index in 0..dataset.len() {
        by_class[dataset.label(index)].push(index);
    }
    by_class
}

/// How many of a class's samples are held out.
fn held_out_of(samples: usize, fraction: f64) -> usize {
    if fraction == 0.0 || samples < 2 {
        return 0;
    }
    ((fraction * samples as f64).round() as usize).clamp(1, samples - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::Memory;
    use proptest::prelude::*;

    fn set(labels: Vec<usize>) -> Arc<dyn Dataset> {
        let classes = (0..5).map(|class: usize| class.to_string()).collect();
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let pixels = (0..labels.len()).map(|index| index as u8).collect();
        Arc::new(Memory::new("set".to_owned(), classes, shape, pixels, labels).unwrap())
    }

    fn of_class(subset: &Subset, class: usize) -> usize {
        (0..subset.len()).filter(|&index| subset.label(index) == class).count()
    }

    #[test]
    fn holds_out_the_rounded_share_of_each_class() {
        let check = |samples, fraction, expected| {
            let (train, held_out) = stratified_split(&set(vec![0; samples]), fraction, 1).unwrap();
            assert_eq!((train.len(), held_out.len()), (samples - expected, expected), "{samples} {fraction}");
        };
        check(10, 0.0, 0);
        check(10, 0.1, 1);
        check(10, 0.25, 3);
        check(10, 0.24, 2);
        check(10, 0.01, 1); // never none
        check(10, 0.99, 9); // never all
        check(2, 0.9, 1);
        check(1, 0.9, 0); // a single one is trained on
    }

    #[test]
    fn an_impossible_fraction_is_refused() {
        for fraction in [-0.1, 1.0, 2.0, f64::NAN] {
            let error = stratified_split(&set(vec![0, 1]), fraction, 1).unwrap_err().to_string();
            assert_eq!(error, format!("set: fraction to hold out is {fraction}, expected in [0, 1)"));
        }
    }

    #[test]
    fn the_seed_chooses_and_nothing_else() {
        let all = set((0..100).map(|index| index % 5).collect());
        let held_out = |seed| stratified_split(&all, 0.2, seed).unwrap().1.indices().to_vec();
        assert_eq!(held_out(1), held_out(1));
        assert_ne!(held_out(1), held_out(2));
    }

    #[test]
    fn so_many_of_each_class_are_drawn_by_the_seed_and_grow_by_addition() {
        let all = set((0..60).map(|index| if index < 3 { 4 } else { index % 4 }).collect());
        let drawn = |most, seed| at_most_per_class(&all, most, seed).unwrap();
        let (few, more) = (drawn(5, 1), drawn(9, 1));
        let counts = |part: &Subset| (0..5).map(|class| of_class(part, class)).collect::<Vec<_>>();
        assert_eq!((counts(&few), counts(&more)), (vec![5, 5, 5, 5, 3], vec![9, 9, 9, 9, 3]));
        assert!(
            few.indices().is_sorted() && few.indices().iter().all(|index| more.indices().contains(index))
        );
        assert_ne!(drawn(5, 2).indices(), few.indices());
        assert_eq!(drawn(60, 1).len(), 60);
        let error = at_most_per_class(&all, 0, 1).unwrap_err().to_string();
        assert_eq!(error, "set: 0 samples of each class, expected 1 or more");
    }

    #[test]
    fn a_subset_of_a_subset_keeps_ids_and_refuses_bad_indices() {
        let half = Arc::new(Subset::new(set(vec![0; 8]), vec![6, 4, 2]).unwrap());
        let last = Subset::new(Arc::clone(&half) as Arc<dyn Dataset>, vec![2, 0]).unwrap();
        assert_eq!((last.id(0), last.id(1)), (2, 6));
        assert_eq!(last.image(1).unwrap().pixels, [6]);
        let error = |indices| Subset::new(half.clone(), indices).unwrap_err().to_string();
        assert_eq!(error(vec![3]), "part of set: sample 3 chosen, expected below 3");
        assert_eq!(error(vec![1, 0, 1]), "part of set: sample 1 chosen twice");
    }

    proptest! {
        #[test]
        fn every_sample_is_in_one_part_and_classes_keep_their_share(
            labels in proptest::collection::vec(0..5usize, 1..200), fraction in 0.0..0.999f64, seed: u64,
        ) {
            let all = set(labels.clone());
            let (train, held_out) = stratified_split(&all, fraction, seed).unwrap();
            let mut both = [train.indices(), held_out.indices()].concat();
            both.sort_unstable();
            prop_assert_eq!(both, (0..labels.len()).collect::<Vec<_>>());
            prop_assert!(train.indices().is_sorted() && held_out.indices().is_sorted());
            for class in 0..5 {
                let (kept, out) = (of_class(&train, class), of_class(&held_out, class));
                prop_assert!((out as f64 - fraction * (kept + out) as f64).abs() <= 1.0);
            }
        }
    }
}
