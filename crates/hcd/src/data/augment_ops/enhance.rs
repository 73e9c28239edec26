//! Operations that blend an image with a lesser version of itself.
//!
//! out = ⌊lesser + factor · (image − lesser)⌋ in f32, within 0 to 255: 0 gives the lesser version, 1 the image, more
//! goes beyond it. Grey is (19595·R + 38470·G + 7471·B + 2¹⁵) / 2¹⁶, the weights of ITU-R 601-2.
//!
//! Source: Pillow `ImageEnhance`, `Image.blend`, `ImageFilter.SMOOTH`; torchvision's `adjust_*` call the same.

use super::Image;

/// Lesser is grey.
pub fn color(mut image: Image, factor: f64) -> Image {
    if image.channels == 3 {
        for pixel in image.pixels.chunks_exact_mut(3) {
            let grey = grey(pixel);
            for level in pixel {
                *level = blend(grey, *level, factor);
            }
        }
    }
    image
}

/// Lesser is the mean grey everywhere, rounded.
pub fn contrast(image: Image, factor: f64) -> Image {
    let count = image.height * image.width;
    let sum: u64 = image.pixels.chunks_exact(image.channels).map(|pixel| u64::from(grey(pixel))).sum();
    let mean = if count == 0 { 0 } else { (sum as f64 / count as f64 + 0.5) as u8 };
    from_constant(image, mean, factor)
}

/// Lesser is black.
pub fn brightness(image: Image, factor: f64) -> Image {
    from_constant(image, 0, factor)
}

/// Lesser is smoothed by (1 1 1; 1 5 1; 1 1 1) / 13, but for the outermost pixels.
pub fn sharpness(mut image: Image, factor: f64) -> Image {
    let smoothed = smoothed(&image);
    for (level, lesser) in image.pixels.iter_mut().zip(smoothed) {
        *level = blend(lesser, *level, factor);
    }
    image
}

fn from_constant(mut image: Image, lesser: u8, factor: f64) -> Image {
    for level in &mut image.pixels {
        *level = blend(lesser, *level, factor);
    }
    image
}

fn blend(lesser: u8, level: u8, factor: f64) -> u8 {
    let (lesser, level) = (f32::from(lesser), f32::from(level));
    // The cast cuts off fractions, and what lies below 0 or above 255.
    (lesser + factor as f32 * (level - lesser)) as u8
}

fn grey(pixel: &[u8]) -> u8 {
    match *pixel {
        [red, green, blue] => {
            let weighted = 19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue);
            ((weighted + 0x8000) >> 16) as u8
        }
        [level, ..] => level,
        [] => 0,
    }
}

fn smoothed(image: &Image) -> Vec<u8> {
    let Image { height, width, channels, ref pixels } = *image;
    let mut out = pixels.clone();
    let (side, middle): (f32, f32) = (1.0 / 13.0, 5.0 / 13.0);
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            for channel in 0..channels {
                let row = |y: usize, middle: f32| {
                    let at = |x: usize| f32::from(pixels[(y * width + x) * channels + channel]);
                    at(x - 1) * side + at(x) * middle + at(x + 1) * side
                };
                // From the lowest row up, in f32: another order rounds otherwise.
                let sum = 0.5 + row(y + 1, side) + row(y, middle) + row(y - 1, side);
                out[(y * width + x) * channels + channel] = sum as u8;
            }
        }
    }
    out
}
