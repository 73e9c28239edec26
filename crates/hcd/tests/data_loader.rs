//! Loaders: each sample once an epoch, the same batches whatever the thread or the point of resuming.
#![allow(clippy::unwrap_used)]

use hcd::Error;
use hcd::data::{
    Batches, Dataset, EvalLoader, HostBatch, Image, ImageShape, Memory, Normalization, Subset, TrainLoader,
    ViewPolicy, Views, augment,
};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn policy() -> ViewPolicy {
    ViewPolicy { crop_padding: 1, horizontal_flip: 0.5, ..ViewPolicy::default() }
}

fn normalization() -> Normalization {
    Normalization { mean: vec![0.25], std: vec![0.5] }
}

/// Images of 3 by 3, each of pixels of its own; sample i is of class i mod 3.
fn set(samples: usize) -> Arc<dyn Dataset> {
    let shape = ImageShape { channels: 1, height: 3, width: 3 };
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    let pixels = (0..samples * 9).map(|place| (place * 31 % 251) as u8).collect();
    let labels = (0..samples).map(|index| index % 3).collect();
    Arc::new(Memory::new("set".to_owned(), classes, shape, pixels, labels).unwrap())
}

fn loader(samples: usize, batch_size: usize, seed: u64) -> TrainLoader {
    TrainLoader::new(set(samples), &policy(), &normalization(), batch_size, seed).unwrap()
}

fn all(batches: Batches) -> Vec<HostBatch> {
    batches.map(Result::unwrap).collect()
}

fn ids(batches: &[HostBatch]) -> Vec<u64> {
    batches.iter().flat_map(|batch| batch.ids.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_epoch_taken_up_later_is_the_rest_of_it(
        samples in 1..40usize, batch_size in 1..8usize, seed: u64, epoch in 0..5u64, resume in 0..12usize,
    ) {
        prop_assume!(samples >= batch_size);
        let loader = loader(samples, batch_size, seed);
        let whole = all(loader.epoch(epoch, 0));
        prop_assert_eq!(whole.len(), loader.batches_per_epoch());
        let resume = resume.min(whole.len() + 1);
        let rest = all(loader.epoch(epoch, resume));
        prop_assert_eq!(&rest[..], &whole[resume.min(whole.len())..]);
    }

    #[test]
    fn no_sample_comes_twice_and_less_than_a_batch_is_left_out(
        samples in 1..40usize, batch_size in 1..8usize, seed: u64, epoch in 0..5u64,
    ) {
        prop_assume!(samples >= batch_size);
        let mut seen = ids(&all(loader(samples, batch_size, seed).epoch(epoch, 0)));
        prop_assert_eq!(seen.len(), samples / batch_size * batch_size);
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), samples / batch_size * batch_size);
    }

    #[test]
    fn each_row_is_the_view_of_its_sample(seed: u64, epoch in 0..5u64) {
        let data = set(10);
        let levels = augment::Levels::new(&normalization());
        let views = Views::new(&policy(), &normalization().mean, seed).unwrap();
        for batch in all(loader(10, 5, seed).epoch(epoch, 0)) {
            prop_assert_eq!(batch.shape, [5, 1, 3, 3]);
            let mut expected = vec![0.0; batch.pixels.len()];
            for (&id, place) in batch.ids.iter().zip(expected.chunks_exact_mut(9)) {
                let view = views.draw(epoch, id, (3, 3), (3, 3));
                let image = data.image(id as usize).unwrap();
                augment::apply(&view, &image, image.shape(), &levels, place).unwrap();
            }
            prop_assert_eq!(batch.pixels, expected);
            let labels: Vec<usize> = batch.ids.iter().map(|&id| id as usize % 3).collect();
            prop_assert_eq!(batch.labels, labels);
        }
    }
}

#[test]
fn a_repeated_sample_is_shown_in_as_many_views() {
    let policy = ViewPolicy { repeats: 3, ..policy() };
    let loader = TrainLoader::new(set(20), &policy, &normalization(), 4, 7).unwrap();
    let views = Views::new(&policy, &normalization().mean, 7).unwrap();
    let levels = augment::Levels::new(&normalization());
    let batches = all(loader.epoch(1, 0));
    assert_eq!(batches.len(), 5);
    assert_eq!(all(loader.epoch(1, 2)), batches[2..]);
    let mut counts = [0; 20];
    for (index, batch) in batches.iter().enumerate() {
        let rows = policy.rows_of(index, 4);
        assert_eq!(rows.iter().map(|(_, rows)| rows.len()).sum::<usize>(), 4);
        for (repeat, rows) in rows {
            for row in rows {
                let id = batch.ids[row];
                counts[id as usize] += 1;
                // Epoch 1 shows views 3, 4 and 5 of a sample: no other epoch does.
                let view = views.draw(3 + repeat, id, (3, 3), (3, 3));
                let image = set(20).image(id as usize).unwrap();
                let mut expected = [0.0; 9];
                augment::apply(&view, &image, image.shape(), &levels, &mut expected).unwrap();
                assert_eq!(batch.pixels[9 * row..][..9], expected, "{index} {row}");
            }
        }
    }
    counts.sort_unstable();
    // The 20 places of the epoch are six samples three times, and one twice.
    assert_eq!(counts[12..], [0, 2, 3, 3, 3, 3, 3, 3]);
}

#[test]
fn order_differs_between_epochs_and_seeds() {
    let order = |seed, epoch| ids(&all(loader(64, 8, seed).epoch(epoch, 0)));
    assert_eq!(order(1, 0), order(1, 0));
    assert_ne!(order(1, 0), order(1, 1));
    assert_ne!(order(1, 0), order(2, 0));
    assert_ne!(order(1, 0), (0..64).collect::<Vec<_>>());
}

#[test]
fn epochs_read_side_by_side_do_not_disturb_each_other() {
    let loader = loader(64, 4, 9);
    let alone: Vec<Vec<HostBatch>> = (0..4).map(|epoch| all(loader.epoch(epoch, 0))).collect();
    let together: Vec<Vec<HostBatch>> = std::thread::scope(|scope| {
        let read = |epoch| {
            scope.spawn({
                let loader = &loader;
                move || all(loader.epoch(epoch, 0))
            })
        };
        let readers = [0, 1, 2, 3].map(read);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

#[test]
fn a_view_goes_by_the_sample_and_not_by_its_place_in_a_subset() {
    let subset: Arc<dyn Dataset> = Arc::new(Subset::new(set(20), vec![17, 3, 8]).unwrap());
    let find = |loader: &TrainLoader| {
        let batches = all(loader.epoch(2, 0));
        batches.into_iter().find(|batch| batch.ids == [8]).unwrap()
    };
    let part = TrainLoader::new(subset, &policy(), &normalization(), 1, 5).unwrap();
    assert_eq!(find(&part), find(&loader(20, 1, 5)));
}

#[test]
fn evaluation_shows_each_sample_once_in_order_unvaried() {
    let loader = EvalLoader::new(set(10), &normalization(), 4).unwrap();
    let batches = all(loader.batches());
    assert_eq!(batches.iter().map(|batch| batch.shape[0]).collect::<Vec<_>>(), [4, 4, 2]);
    assert_eq!(loader.batch_count(), 3);
    assert_eq!(ids(&batches), (0..10).collect::<Vec<_>>());
    // Sample 0 starts with levels 0 and 31.
    assert_eq!(batches[0].pixels[..2], [(0.0 - 0.25) / 0.5, (31.0 / 255.0 - 0.25) / 0.5]);
    let nothing: Arc<dyn Dataset> = Arc::new(Subset::new(set(3), vec![]).unwrap());
    assert_eq!(EvalLoader::new(nothing, &normalization(), 4).unwrap().batches().count(), 0);
}

#[test]
fn what_cannot_be_meant_is_refused_all_of_it_at_once() {
    let error = |policy, normalization: &Normalization, batch_size| {
        TrainLoader::new(set(10), &policy, normalization, batch_size, 0).unwrap_err()
    };
    let few = error(policy(), &normalization(), 11);
    assert!(matches!(few, Error::Data(_)));
    assert_eq!(few.to_string(), "set: 10 samples, expected at least one batch of 11; lower batch_size");
    let policy = ViewPolicy { crop_padding: 3, horizontal_flip: 2.0, ..ViewPolicy::default() };
    let many = error(policy, &Normalization { mean: vec![], std: vec![0.5] }, 0);
    assert!(matches!(many, Error::Recipe(_)));
    assert_eq!(
        many.to_string(),
        "set: horizontal_flip = 2, must be a probability from 0 to 1; \
         crop_padding = 3, must be below 3: a crop might show none of the image; \
         mean = [], must have 1 values, one a channel; batch_size = 0, must be at least 1"
    );
}

/// A set with a fault at one sample; counts how many images were asked for.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Dataset>,
    fault: Fault,
    asked: Arc<AtomicUsize>,
}

#[derive(Debug, PartialEq)]
enum Fault {
    None,
    WrongShape,
    MissingPixels,
    Panic,
}

impl Dataset for Faulty {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn classes(&self) -> &[String] {
        self.inner.classes()
    }
    fn label(&self, index: usize) -> usize {
        self.inner.label(index)
    }
    fn image(&self, index: usize) -> hcd::Result<Image> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut image = self.inner.image(index)?;
        match self.fault {
            Fault::WrongShape if index == 5 => (image.height, image.pixels) = (2, vec![0; 6]),
            Fault::MissingPixels if index == 5 => image.pixels.truncate(8),
            Fault::Panic if index == 5 => panic!("a fault in the program"),
            _ => {}
        }
        Ok(image)
    }
    fn image_shape(&self) -> ImageShape {
        self.inner.image_shape()
    }
    fn id(&self, index: usize) -> u64 {
        self.inner.id(index) + 100
    }
    fn name(&self) -> String {
        "faulty".to_owned()
    }
}

fn faulty(samples: usize, fault: Fault) -> (EvalLoader, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let set = Faulty { inner: set(samples), fault, asked: Arc::clone(&asked) };
    (EvalLoader::new(Arc::new(set), &normalization(), 2).unwrap(), asked)
}

#[test]
fn an_image_unlike_the_others_is_named_and_ends_the_batches() {
    for (fault, expected) in [
        (
            Fault::WrongShape,
            "faulty: sample 105 is 1x2x3, expected 1x3x3 as the others (channels x height x width)",
        ),
        (Fault::MissingPixels, "faulty: sample 105 has 8 bytes of pixels, expected 9 (1x3x3)"),
    ] {
        let mut batches = faulty(10, fault).0.batches();
        assert!(batches.next().unwrap().is_ok());
        assert!(batches.next().unwrap().is_ok());
        assert_eq!(batches.next().unwrap().unwrap_err().to_string(), expected);
        assert!(batches.next().is_none());
        assert!(batches.next().is_none());
    }
}

#[test]
fn batches_are_prepared_ahead_but_not_far_and_dropping_them_ends_the_thread() {
    let (loader, asked) = faulty(1000, Fault::None);
    let mut batches = loader.batches();
    batches.next().unwrap().unwrap();
    // One taken, two waiting, one in the thread's hands: four batches of two images.
    let deadline = Instant::now() + Duration::from_secs(20);
    while asked.load(Ordering::SeqCst) < 8 {
        assert!(Instant::now() < deadline, "nothing is prepared ahead");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(asked.load(Ordering::SeqCst), 8);
    drop(batches); // joins the thread: hangs here if that does not end
    assert_eq!(asked.load(Ordering::SeqCst), 8);
    // The thread owned a copy of the loader; the set is now the loader's alone.
    drop(loader);
    assert_eq!(Arc::strong_count(&asked), 1);
}

#[test]
#[should_panic(expected = "a fault in the program")]
fn a_panic_in_the_thread_does_not_pass_for_the_end_of_the_epoch() {
    faulty(10, Fault::Panic).0.batches().for_each(drop);
}
