//! Moves pixels: shear, translate, rotate, mirror.
//!
//! Pixel (x, y) of the result shows the place (a·x' + b·y' + c, d·x' + e·y' + f) of the image, x' = x + ½, y' = y + ½,
//! or the fill where that lies outside. Bilinear and bicubic work in f64 on the pixels about that place, those at the
//! edge repeated, and cut the result off to whole levels. Nearest steps from pixel to pixel: in 16.16 fixed point, or
//! in f64 where only the scale differs or a place is 2¹⁵ pixels away.
//!
//! Source: Pillow `Image.transform(AFFINE)` with a fill colour, `Image.rotate(expand=False)`.

use super::{Image, Resampling, Sampling};
use std::f64::consts::PI;
use std::ops::AddAssign;

/// What `image` shows at the places that `matrix`, (a, b, c, d, e, f), names.
///
/// # Shapes
/// `image` (H, W, C) → (H, W, C)
pub fn transform(image: &Image, matrix: [f64; 6], sampling: Sampling) -> Image {
    let Sampling { resampling, fill } = sampling;
    match resampling {
        Resampling::Nearest => nearest(image, matrix, fill),
        Resampling::Bilinear => smooth::<2>(image, matrix, fill, linear),
        Resampling::Bicubic => smooth::<4>(image, matrix, fill, cubic),
    }
}

/// Turns about the centre, counter-clockwise. Half turns, and quarter turns of squares, only reorder pixels.
///
/// # Shapes
/// `image` (H, W, C) → (H, W, C)
pub fn rotate(image: Image, degrees: f64, sampling: Sampling) -> Image {
    let degrees = degrees.rem_euclid(360.0);
    let Image { height, width, .. } = image;
    if degrees == 0.0 {
        return image;
    }
    if degrees == 180.0 {
        return reordered(&image, |y, x| (height - 1 - y, width - 1 - x));
    }
    if height == width && degrees == 90.0 {
        return reordered(&image, |y, x| (x, width - 1 - y));
    }
    if height == width && degrees == 270.0 {
        return reordered(&image, |y, x| (height - 1 - x, y));
    }
    let angle = -(degrees * (PI / 180.0));
    let (cos, sin) = (to_15_places(angle.cos()), to_15_places(angle.sin()));
    let (across, down) = (width as f64 / 2.0, height as f64 / 2.0);
    let c = cos * -across + sin * -down + across;
    let f = -sin * -across + cos * -down + down;
    transform(&image, [cos, sin, c, -sin, cos, f], sampling)
}

/// Left and right change sides.
///
/// # Shapes
/// `image` (H, W, C) → (H, W, C)
pub fn mirror(image: &Image) -> Image {
    reordered(image, |y, x| (y, image.width - 1 - x))
}

/// Rounds to 15 decimal places, halves of the exact binary value to even: Python's `round(value, 15)`.
fn to_15_places(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// The image of which pixel (y, x) is pixel `source(y, x)` of `image`.
fn reordered(image: &Image, source: impl Fn(usize, usize) -> (usize, usize)) -> Image {
    let Image { height, width, channels, ref pixels } = *image;
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..height {
        for x in 0..width {
            let (row, column) = source(y, x);
            out.extend_from_slice(&pixels[(row * width + column) * channels..][..channels]);
        }
    }
    Image { height, width, channels, pixels: out }
}

/// An image like `image`, of one colour.
fn plain(image: &Image, fill: [u8; 3]) -> Image {
    let Image { height, width, channels, .. } = *image;
    let pixels = fill.into_iter().take(channels).cycle().take(height * width * channels).collect();
    Image { height, width, channels, pixels }
}

fn smooth<const TAPS: usize>(
    image: &Image,
    [a, b, c, d, e, f]: [f64; 6],
    fill: [u8; 3],
    curve: fn([f64; TAPS], f64) -> f64,
) -> Image {
    let Image { height, width, channels, ref pixels } = *image;
    let mut out = plain(image, fill);
    for y in 0..height {
        for x in 0..width {
            let (x_in, y_in) = (x as f64 + 0.5, y as f64 + 0.5);
            let column = a * x_in + b * y_in + c;
            let row = d * x_in + e * y_in + f;
            if !((0.0..width as f64).contains(&column) && (0.0..height as f64).contains(&row)) {
                continue;
            }
            let (columns, right) = taps::<TAPS>(column, width);
            let (rows, below) = taps::<TAPS>(row, height);
            let place = (y * width + x) * channels;
            for (channel, out) in out.pixels[place..place + channels].iter_mut().enumerate() {
                let along = rows.map(|row: usize| {
                    let levels =
                        columns.map(|column: usize| pixels[(row * width + column) * channels + channel]);
                    curve(levels.map(f64::from), right)
                });
                // The cast cuts off fractions, and what lies below 0 or above 255.
                *out = curve(along, below) as u8;
            }
        }
    }
    out
}

/// The pixels about a place, the edge's repeated, and how far the place lies from the middle of the one before it.
fn taps<const TAPS: usize>(place: f64, size: usize) -> ([usize; TAPS], f64) {
    let place = place - 0.5;
    let before = place.floor();
    let first = before as i64 + 1 - (TAPS / 2) as i64;
    let taps = std::array::from_fn(|tap| (first + tap as i64).clamp(0, size as i64 - 1) as usize);
    (taps, place - before)
}

fn linear([v1, v2]: [f64; 2], at: f64) -> f64 {
    v1 + (v2 - v1) * at
}

fn cubic([v1, v2, v3, v4]: [f64; 4], at: f64) -> f64 {
    // In this order: others round otherwise.
    let first = -v1 + v3;
    let second = 2.0 * (v1 - v2) + v3 - v4;
    let third = -v1 + v2 - v3 + v4;
    v2 + at * (first + at * (second + at * third))
}

fn nearest(image: &Image, matrix: [f64; 6], fill: [u8; 3]) -> Image {
    let [a, b, c, d, e, f] = matrix;
    let (width, height) = (image.width as f64, image.height as f64);
    let corners = [(0.0, 0.0), (width, height), (0.0, height), (width, 0.0)];
    let fits =
        |(x, y): (f64, f64)| (x * a + y * b + c).abs() < 32768.0 && (x * d + y * e + f).abs() < 32768.0;
    if (b != 0.0 || d != 0.0) && corners.into_iter().all(fits) {
        let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
        let start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
        let (across, down) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
        walk(image, fill, start, across, down, |place| place >> 16)
    } else {
        let start = [c + b * 0.5 + a * 0.5, f + e * 0.5 + d * 0.5];
        walk(image, fill, start, [a, d], [b, e], |place| if place < 0.0 { -1 } else { place as i64 })
    }
}

/// Takes pixels from places, (column, row), that are reached by steps: `across` from pixel to pixel of a row, `down`
/// from row to row. Sums and not products, for they round otherwise.
fn walk<T: Copy + AddAssign>(
    image: &Image,
    fill: [u8; 3],
    start: [T; 2],
    across: [T; 2],
    down: [T; 2],
    whole: fn(T) -> i64,
) -> Image {
    let Image { height, width, channels, ref pixels } = *image;
    let mut out = plain(image, fill);
    let inside = |place: T, size: usize| usize::try_from(whole(place)).ok().filter(|&place| place < size);
    let [mut column_start, mut row_start] = start;
    for line in out.pixels.chunks_exact_mut((width * channels).max(1)) {
        let (mut column, mut row) = (column_start, row_start);
        for pixel in line.chunks_exact_mut(channels) {
            if let (Some(column), Some(row)) = (inside(column, width), inside(row, height)) {
                pixel.copy_from_slice(&pixels[(row * width + column) * channels..][..channels]);
            }
            column += across[0];
            row += across[1];
        }
        column_start += down[0];
        row_start += down[1];
    }
    out
}
