//! From an image file to 8-bit pixels, grey or red-green-blue, as a network wants them.
//!
//! PNG, JPEG, BMP, PNM, WebP and TIFF, told by their contents, as PIL's `convert` gives them: alpha is dropped, a
//! palette looked up; CMYK, inverted in JPEG as Adobe has it, becomes (255 − C)·(255 − K) / 255; of 16 bits the upper 8
//! are taken (of grey, too, where PIL clips whatever is above 255); grey of colours is
//! (19595·R + 38470·G + 7471·B + 2¹⁵) / 2¹⁶, the weights of ITU-R 601-2.
//!
//! A camera's orientation tag is applied where that is asked for, as by PIL's `exif_transpose`; torchvision's loaders
//! don't. That of a TIFF image says how its rows are stored, and is always applied, as PIL does. Files come from
//! strangers: what they ask for is limited.

use super::{Image, ImageShape};
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Names of image files end so, in either case.
pub const EXTENSIONS: [&str; 11] =
    ["png", "jpg", "jpeg", "bmp", "webp", "ppm", "pgm", "pbm", "pnm", "tif", "tiff"];

/// Most bytes of a file; no photo is near it.
const MOST_FILE: u64 = 1 << 28;
/// Most bytes that a decoder may take at once.
const MOST_MEMORY: u64 = 1 << 28;
/// Most pixels a side.
const MOST_SIDE: u32 = 1 << 15;

/// Whether a file's name is that of an image; files that begin with a dot are somebody's own.
pub fn is_image_name(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    !hidden && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Decodes a file to 1 channel (grey) or 3 (red, green, blue).
///
/// # Errors
/// Where it cannot be read, is no whole image, or is too large.
pub fn decode(path: &Path, channels: usize) -> Result<Image> {
    decode_upright(path, channels, false)
}

/// As [`decode`], turned upright as the camera says where `orient` is set.
///
/// # Errors
/// As [`decode`].
pub fn decode_upright(path: &Path, channels: usize, orient: bool) -> Result<Image> {
    decode_oriented(&path.display().to_string(), &read(path)?, channels, orient)
}

/// Decodes the bytes of a file, which errors call `shown`.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(shown: &str, bytes: &[u8], channels: usize) -> Result<Image> {
    decode_oriented(shown, bytes, channels, false)
}

/// As [`decode_bytes`], turned upright as the camera says where `orient` is set.
///
/// # Errors
/// As [`decode`].
pub fn decode_oriented(shown: &str, bytes: &[u8], channels: usize, orient: bool) -> Result<Image> {
    let fail = |error| damaged(shown, &error);
    let (format, mut decoder) = decoder(shown, bytes)?;
    if decoder.total_bytes() > MOST_MEMORY {
        return Err(Error::Image(format!(
            "{shown}: image is too large (over {MOST_MEMORY} bytes of pixels)"
        )));
    }
    let orientation = orientation(&mut decoder, format, orient);
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(fail)?;
    decoded.apply_orientation(orientation);
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let (samples, per_pixel) = samples_of(decoded);
    let pixels = match channels {
        1 => grey(samples, per_pixel),
        3 => colours(samples, per_pixel),
        other => {
            return Err(Error::Data(format!("{shown}: asked for in {other} channels, has 1 or 3")));
        }
    };
    Ok(Image { height, width, channels, pixels })
}

/// The shape of an image, from its header alone: 1 channel where it has no colour, else 3.
///
/// # Errors
/// As [`decode`].
pub fn probe(path: &Path) -> Result<ImageShape> {
    probe_upright(path, false)
}

/// The shape of an image as [`decode_upright`] gives it.
///
/// # Errors
/// As [`decode`].
pub fn probe_upright(path: &Path, orient: bool) -> Result<ImageShape> {
    probe_bytes(&path.display().to_string(), &read(path)?, orient)
}

/// The shape of an image as [`decode_oriented`] gives it.
///
/// # Errors
/// As [`decode`].
pub fn probe_bytes(shown: &str, bytes: &[u8], orient: bool) -> Result<ImageShape> {
    let (format, mut decoder) = decoder(shown, bytes)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = match orientation(&mut decoder, format, orient) {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    let channels = if is_grey(decoder.color_type()) { 1 } else { 3 };
    Ok(ImageShape { channels, height: height as usize, width: width as usize })
}

/// How the stored image is to be turned. What is wrong with a tag is no reason to lose the image.
fn orientation(decoder: &mut impl ImageDecoder, format: ImageFormat, orient: bool) -> Orientation {
    match orient || format == ImageFormat::Tiff {
        true => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        false => Orientation::NoTransforms,
    }
}

fn is_grey(color: ColorType) -> bool {
    matches!(color, ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16)
}

/// The bytes of a file of a bearable size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(MOST_FILE + 1).read_to_end(&mut bytes).map_err(fail)?;
    match bytes.len() as u64 > MOST_FILE {
        true => {
            Err(Error::Image(format!("{}: over {MOST_FILE} bytes, too large for an image", path.display())))
        }
        false => Ok(bytes),
    }
}

fn decoder(shown: &str, bytes: &[u8]) -> Result<(ImageFormat, impl ImageDecoder)> {
    let format = image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled).ok_or_else(|| {
        Error::Image(format!("{shown}: is no image of a known format (PNG, JPEG, BMP, PNM, WebP, TIFF)"))
    })?;
    // The decoder paints grey what is missing.
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(Error::Image(format!(
            "{shown}: damaged JPEG image: cut short, its end marker is missing"
        )));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    Ok((format, reader.into_decoder().map_err(|error| damaged(shown, &error))?))
}

fn damaged(shown: &str, error: &ImageError) -> Error {
    let what = match error {
        ImageError::Limits(_) => "image is too large",
        ImageError::Unsupported(_) => "image of a kind that is not supported",
        _ => "damaged image",
    };
    let error = error.to_string().replace(['\n', '\r'], " ");
    Error::Image(format!("{shown}: {what} ({error})"))
}

/// The samples of an image in 8 bits, and how many a pixel has.
fn samples_of(image: DynamicImage) -> (Vec<u8>, usize) {
    let upper = |samples: Vec<u16>| samples.into_iter().map(|sample| (sample >> 8) as u8).collect();
    match image {
        DynamicImage::ImageLuma8(image) => (image.into_raw(), 1),
        DynamicImage::ImageLumaA8(image) => (image.into_raw(), 2),
        DynamicImage::ImageRgb8(image) => (image.into_raw(), 3),
        DynamicImage::ImageRgba8(image) => (image.into_raw(), 4),
        DynamicImage::ImageLuma16(image) => (upper(image.into_raw()), 1),
        DynamicImage::ImageLumaA16(image) => (upper(image.into_raw()), 2),
        DynamicImage::ImageRgb16(image) => (upper(image.into_raw()), 3),
        DynamicImage::ImageRgba16(image) => (upper(image.into_raw()), 4),
        other => (other.into_rgb8().into_raw(), 3),
    }
}

fn colours(samples: Vec<u8>, per_pixel: usize) -> Vec<u8> {
    match per_pixel {
        3 => samples,
        4 => samples.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
        _ => samples.into_iter().step_by(per_pixel).flat_map(|level| [level; 3]).collect(),
    }
}

/// PIL's conversion to `L`.
fn grey(samples: Vec<u8>, per_pixel: usize) -> Vec<u8> {
    if per_pixel < 3 {
        return samples.into_iter().step_by(per_pixel).collect();
    }
    let luma = |pixel: &[u8; 3]| {
        let [r, g, b] = pixel.map(u32::from);
        ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
    };
    colours(samples, per_pixel).as_chunks::<3>().0.iter().map(luma).collect()
}

/// Whether a JPEG file's segments reach its end-of-image marker (ITU-T T.81, annex B). A thumbnail's own marker
/// lies within a segment and does not count.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Entropy-coded data, where there are any, up to the next marker; `FF 00` and restarts are part of them.
        let Some(skip) = bytes.get(at..).and_then(|rest| {
            rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd7))
        }) else {
            return false;
        };
        at += skip + 2;
        match bytes[at - 1] {
            0xd9 => return true,
            0xd8 | 0x01 => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
}
