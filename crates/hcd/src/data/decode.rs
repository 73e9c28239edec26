//! From an image file to 8-bit pixels, grey or red-green-blue, as a network wants them.
//!
//! PNG, JPEG, BMP, PNM and WebP, told by their contents. Alpha is dropped, 16-bit samples are reduced to 8, CMYK
//! becomes RGB; grey is PIL's: (19595·R + 38470·G + 7471·B + 2¹⁵) / 2¹⁶, the weights of ITU-R 601-2. A camera's
//! orientation tag is not applied, as torchvision's loaders don't. Files come from strangers: what they ask for
//! is limited.

use super::{Image, ImageShape};
use crate::error::{Error, Result};
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Names of image files end so, in either case.
pub const EXTENSIONS: [&str; 9] = ["png", "jpg", "jpeg", "bmp", "webp", "ppm", "pgm", "pbm", "pnm"];

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
    let bytes = read(path)?;
    let decoded = reader(path, &bytes)?.decode().map_err(|error| damaged(path, &error))?;
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let pixels = match channels {
        1 => grey(decoded),
        3 => decoded.into_rgb8().into_raw(),
        other => {
            return Err(Error::Data(format!(
                "{}: asked for in {other} channels, has 1 or 3",
                path.display()
            )));
        }
    };
    Ok(Image { height, width, channels, pixels })
}

/// The shape of an image, from its header alone: 1 channel where it has no colour, else 3.
///
/// # Errors
/// As [`decode`].
pub fn probe(path: &Path) -> Result<ImageShape> {
    let bytes = read(path)?;
    let decoder = reader(path, &bytes)?.into_decoder().map_err(|error| damaged(path, &error))?;
    let (width, height) = decoder.dimensions();
    let channels = if is_grey(decoder.color_type()) { 1 } else { 3 };
    Ok(ImageShape { channels, height: height as usize, width: width as usize })
}

fn is_grey(color: ColorType) -> bool {
    matches!(color, ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16)
}

/// The bytes of a file of a bearable size.
fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(MOST_FILE + 1).read_to_end(&mut bytes).map_err(fail)?;
    match bytes.len() as u64 > MOST_FILE {
        true => {
            Err(Error::Data(format!("{}: over {MOST_FILE} bytes, too large for an image", path.display())))
        }
        false => Ok(bytes),
    }
}

fn reader<'a>(path: &Path, bytes: &'a [u8]) -> Result<ImageReader<Cursor<&'a [u8]>>> {
    let shown = path.display();
    let format = image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled).ok_or_else(|| {
        Error::Data(format!("{shown}: is no image of a known format (PNG, JPEG, BMP, PNM, WebP)"))
    })?;
    // The decoder paints grey what is missing.
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(Error::Data(format!(
            "{shown}: damaged JPEG image: cut short, its end marker is missing"
        )));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    Ok(reader)
}

fn damaged(path: &Path, error: &ImageError) -> Error {
    let what = match error {
        ImageError::Limits(_) => "image is too large",
        ImageError::Unsupported(_) => "image of a kind that is not supported",
        _ => "damaged image",
    };
    Error::Data(format!("{}: {what} ({error})", path.display()))
}

/// PIL's conversion to `L`.
fn grey(image: DynamicImage) -> Vec<u8> {
    if is_grey(image.color()) {
        return image.into_luma8().into_raw();
    }
    let luma = |pixel: &[u8; 3]| {
        let [r, g, b] = pixel.map(u32::from);
        ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
    };
    image.into_rgb8().into_raw().as_chunks::<3>().0.iter().map(luma).collect()
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
