//! Images of every kind against what PIL makes of them (`golden/decode/`).
#![allow(clippy::unwrap_used, missing_docs)]

use flate2::read::ZlibDecoder;
use hcd::data::{self, Image, ImageShape, Preprocess, Request, decode};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/decode")
}

/// Height, width, and rows of red, green and blue.
fn expected(name: &str) -> Image {
    let mut raw = Vec::new();
    let file = fs::File::open(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    ZlibDecoder::new(file).read_to_end(&mut raw).unwrap();
    let number = |at: usize| usize::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
    Image { height: number(0), width: number(2), channels: 3, pixels: raw[4..].to_vec() }
}

/// The largest difference of two samples.
fn furthest(name: &str, found: &Image, expected: &Image) -> u8 {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    found.pixels.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// How far off a sample may be.
fn tolerance(name: &str) -> u8 {
    match name {
        // Inverse transforms may round differently, by one level a component; chroma is upsampled differently on top.
        _ if name.ends_with(".jpg") => 3,
        // `image` rounds ink down, PIL to the nearest.
        "cmyk.tiff" => 1,
        _ => 0,
    }
}

fn images() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| decode::is_image_name(Path::new(name)));
    names.sort();
    assert_eq!(names.len(), 32, "{names:?}");
    names
}

#[test]
fn images_are_what_pil_makes_of_them() {
    for name in images() {
        let bytes = fs::read(folder().join(&name)).unwrap();
        let found = decode::decode_bytes(&name, &bytes, 3).unwrap();
        let off = furthest(&name, &found, &expected(&format!("{name}.rgb")));
        assert!(off <= tolerance(&name), "{name}: off by {off}");
        assert_eq!(decode::decode(&folder().join(&name), 3).unwrap(), found);
        let ImageShape { height, width, .. } = decode::probe_bytes(&name, &bytes, false).unwrap();
        assert_eq!((height, width), (found.height, found.width), "{name}");
    }
}

#[test]
fn grey_is_of_the_colours() {
    for name in images() {
        let bytes = fs::read(folder().join(&name)).unwrap();
        let (colours, grey) = (
            decode::decode_bytes(&name, &bytes, 3).unwrap(),
            decode::decode_bytes(&name, &bytes, 1).unwrap(),
        );
        for (pixel, level) in colours.pixels.as_chunks::<3>().0.iter().zip(&grey.pixels) {
            let [r, g, b] = pixel.map(u32::from);
            assert_eq!(u32::from(*level), (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16, "{name}");
        }
    }
}

#[test]
fn images_are_turned_upright_where_asked() {
    let turned: Vec<String> = images().into_iter().filter(|name| name.starts_with("turned")).collect();
    assert_eq!(turned.len(), 10);
    for name in turned {
        let bytes = fs::read(folder().join(&name)).unwrap();
        let found = decode::decode_oriented(&name, &bytes, 3, true).unwrap();
        let off = furthest(&name, &found, &expected(&format!("{name}.upright.rgb")));
        assert!(off <= tolerance(&name), "{name}: off by {off}");
        assert_eq!(decode::probe_bytes(&name, &bytes, true).unwrap(), found.shape(), "{name}");
    }
    let plain = fs::read(folder().join("colours.jpg")).unwrap();
    let upright = decode::decode_oriented("plain", &plain, 3, true).unwrap();
    assert_eq!(upright, decode::decode_bytes("plain", &plain, 3).unwrap());
}

#[test]
fn a_folder_shows_upright_what_it_is_asked_to() {
    let root = tempfile::tempdir().unwrap();
    let names: Vec<String> = (2..9).map(|tag| format!("turned_{tag}.jpg")).collect();
    for part in ["train", "test"] {
        fs::create_dir_all(root.path().join(part).join("all")).unwrap();
        for name in names.iter().map(String::as_str).chain(["colours.jpg"]) {
            fs::copy(folder().join(name), root.path().join(part).join("all").join(name)).unwrap();
        }
    }
    let preprocess = Preprocess::new(16);
    let open = |exif_orientation| {
        let request = Request { preprocess: Some(preprocess), exif_orientation, ..Request::default() };
        data::open_as(root.path(), &request).unwrap().train
    };
    let (stored, upright) = (open(false), open(true));
    // colours.jpg, whose orientation is the first of the eight, sorts first.
    assert_eq!(stored.original(0).unwrap(), upright.original(0).unwrap());
    for (index, name) in (1..).zip(&names) {
        let [plain, turned] = [&stored, &upright].map(|set| set.original(index).unwrap());
        let off = furthest(name, &turned, &expected(&format!("{name}.upright.rgb")));
        assert!(off <= tolerance(name), "{name}: off by {off}");
        assert_ne!(plain, turned, "{name}");
        let shown = preprocess.apply(turned).unwrap();
        assert_eq!(upright.image(index).unwrap(), shown, "{name}");
    }
}

/// Any byte of any of them may be wrong: an error of one line or an image, and no panic.
#[test]
fn damaged_images_never_panic() {
    for name in images() {
        let whole = fs::read(folder().join(&name)).unwrap();
        for at in (0..whole.len()).step_by(whole.len().div_ceil(200)) {
            for wrong in [0, 0xff, whole[at] ^ 0x40] {
                let mut bytes = whole.clone();
                bytes[at] = wrong;
                check(&name, &bytes);
            }
            check(&name, &whole[..at]);
        }
    }
}

fn check(name: &str, bytes: &[u8]) {
    for orient in [false, true] {
        if let Err(error) = decode::decode_oriented(name, bytes, 3, orient) {
            let error = error.to_string();
            assert!(error.starts_with(name) && !error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn a_tiff_image_cannot_claim_more_than_it_holds() {
    let mut bytes = fs::read(folder().join("colours.tiff")).unwrap();
    // The directory's place is in bytes 4 to 8; an entry is 12 bytes: tag, type, count, value. 256 and 257 are the sides.
    let place = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
    for entry in 0..usize::from(u16::from_le_bytes([bytes[place], bytes[place + 1]])) {
        let at = place + 2 + 12 * entry;
        if [256, 257].contains(&u16::from_le_bytes([bytes[at], bytes[at + 1]])) {
            bytes[at + 2..at + 12].copy_from_slice(&[4, 0, 1, 0, 0, 0, 0, 0x70, 0, 0]);
        }
    }
    // The strips that are there do not fit sides of 28672 pixels.
    let found = decode::decode_bytes("bomb.tiff", &bytes, 3).unwrap_err().to_string();
    assert!(found.starts_with("bomb.tiff: damaged image") && !found.contains('\n'), "{found}");
}
