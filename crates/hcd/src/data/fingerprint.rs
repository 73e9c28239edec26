//! A data set's fingerprint: by it a resumed run and a teacher's cache recognise their data.

use super::{Dataset, batch};
use crate::error::Result;
use std::sync::OnceLock;

/// BLAKE3, in hexadecimal, over the number of samples, their shape, and each sample's id, label and
/// pixels, in order.
///
/// Where the set is kept, how it is compressed and what its classes are called do not enter.
///
/// # Errors
/// Where an image cannot be read or has another shape than its set.
pub fn fingerprint(dataset: &dyn Dataset) -> Result<String> {
    let shape = dataset.image_shape();
    let mut hasher = blake3::Hasher::new();
    for size in [dataset.len(), shape.channels, shape.height, shape.width] {
        hasher.update(&(size as u64).to_le_bytes());
    }
    let indices: Vec<usize> = (0..dataset.len()).collect();
    for group in indices.chunks(batch::TOGETHER) {
        for (&index, image) in group.iter().zip(batch::images(dataset, group, shape)) {
            hasher.update(&dataset.id(index).to_le_bytes());
            hasher.update(&(dataset.label(index) as u64).to_le_bytes());
            hasher.update(&image?.pixels);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The fingerprint of `dataset`, which is kept in `place`.
pub(crate) fn known<'a>(place: &'a OnceLock<String>, dataset: &dyn Dataset) -> Result<&'a str> {
    if let Some(known) = place.get() {
        return Ok(known);
    }
    let found = fingerprint(dataset)?;
    Ok(place.get_or_init(|| found))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::{ImageShape, Memory, Subset};
    use std::sync::Arc;

    fn set(name: &str, width: usize, pixels: &[u8], labels: &[usize]) -> Memory {
        let shape = ImageShape { channels: 1, height: 2 / width, width };
        let classes = vec![format!("{name} 0"), format!("{name} 1")];
        Memory::new(name.to_owned(), classes, shape, pixels.to_vec(), labels.to_vec()).unwrap()
    }

    #[test]
    fn tells_data_apart_but_not_names() {
        let of = |set: &dyn Dataset| fingerprint(set).unwrap();
        let first = of(&set("a", 2, &[1, 2, 3, 4], &[0, 1]));
        assert_eq!(first.len(), 64);
        assert_eq!(first, of(&set("b", 2, &[1, 2, 3, 4], &[0, 1])));
        for other in [
            set("a", 2, &[1, 2, 3, 5], &[0, 1]),
            set("a", 2, &[1, 2, 3, 4], &[1, 1]),
            set("a", 1, &[1, 2, 3, 4], &[0, 1]),
            set("a", 2, &[1, 2], &[0]),
        ] {
            assert_ne!(first, of(&other), "{other:?}");
        }
        let parent = Arc::new(set("a", 2, &[1, 2, 3, 4], &[0, 1]));
        assert_eq!(first, of(&Subset::new(parent.clone(), vec![0, 1]).unwrap()));
        assert_ne!(first, of(&Subset::new(parent, vec![1, 0]).unwrap()));
    }
}
