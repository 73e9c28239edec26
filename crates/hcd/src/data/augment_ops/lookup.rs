//! Operations that map each level by a table: one for all channels, or one a channel made from its histogram.
//!
//! Source: Pillow `ImageOps.autocontrast`, `equalize`, `invert`, `posterize`, `solarize`; timm `solarize_add`.

use super::Image;

/// How often each level occurs in a channel.
type Histogram = [u64; 256];
type Table = [u8; 256];

/// Below it, [`solarize_add`] adds.
const MIDDLE: u8 = 128;

/// ⌊(level − lowest) · 255 / (highest − lowest)⌋ a channel.
pub fn auto_contrast(image: Image) -> Image {
    by_histogram(image, |histogram| {
        let lowest = histogram.iter().position(|&count| count > 0).unwrap_or(0);
        let highest = histogram.iter().rposition(|&count| count > 0).unwrap_or(0);
        if highest <= lowest {
            return table(|level| level);
        }
        let scale = 255.0 / (highest - lowest) as f64;
        let offset = -(lowest as f64) * scale;
        // The cast cuts off fractions, and what lies below 0 or above 255.
        table(|level| (f64::from(level) * scale + offset) as u8)
    })
}

/// A level becomes the share of pixels below it, in steps of 1/255 of all but those at the highest level.
pub fn equalize(image: Image) -> Image {
    by_histogram(image, |histogram| {
        let of_highest = histogram.iter().rev().find(|&&count| count > 0).unwrap_or(&0);
        let step = (histogram.iter().sum::<u64>() - of_highest) / 255;
        if step == 0 {
            return table(|level| level);
        }
        let mut below = step / 2;
        table(|level| {
            let share = below / step;
            below += histogram[usize::from(level)];
            share.min(255) as u8
        })
    })
}

/// 255 − level.
pub fn invert(image: Image) -> Image {
    by_table(image, table(|level| 255 - level))
}

/// Keeps the upper `bits`. Pillow 13 refuses 0, to which timm's policies come; it is black, as in Pillow before.
pub fn posterize(image: Image, bits: u8) -> Image {
    let dropped = u32::from(8 - bits.min(8));
    by_table(image, table(|level| (u16::from(level) >> dropped << dropped) as u8))
}

/// 255 − level where that is at least the threshold.
pub fn solarize(image: Image, threshold: u16) -> Image {
    by_table(image, table(|level| if u16::from(level) < threshold { level } else { 255 - level }))
}

/// level + `add`, at most 255, where the level is below 128.
pub fn solarize_add(image: Image, add: u8) -> Image {
    by_table(image, table(|level| if level < MIDDLE { level.saturating_add(add) } else { level }))
}

/// What becomes of each level, asked from 0 upwards.
fn table(mut of: impl FnMut(u8) -> u8) -> Table {
    let mut table = [0; 256];
    for (entry, level) in table.iter_mut().zip(0..=255) {
        *entry = of(level);
    }
    table
}

fn by_table(mut image: Image, table: Table) -> Image {
    for level in &mut image.pixels {
        *level = table[usize::from(*level)];
    }
    image
}

fn by_histogram(mut image: Image, table_of: impl Fn(&Histogram) -> Table) -> Image {
    let channels = image.channels;
    for channel in 0..channels {
        let mut histogram = [0; 256];
        for &level in image.pixels.iter().skip(channel).step_by(channels) {
            histogram[usize::from(level)] += 1;
        }
        let table = table_of(&histogram);
        for level in image.pixels.iter_mut().skip(channel).step_by(channels) {
            *level = table[usize::from(*level)];
        }
    }
    image
}
