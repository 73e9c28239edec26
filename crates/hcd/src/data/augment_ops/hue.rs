//! Turns the hue of a colour image.
//!
//! Through 8-bit HSV and back: H + ⌊255 · turns⌋ modulo 256 (towards 0), S and V as they were. The way there and back
//! loses up to a few levels even where nothing is turned.
//!
//! Source: torchvision `adjust_hue` on PIL images; Pillow's conversion between RGB and HSV, in its mixture of f32 and
//! f64.

use super::Image;

/// Turns by `turns`, from −0.5 to 0.5. A grey image is left as it is.
///
/// # Shapes
/// `image` (H, W, C) → (H, W, C)
pub fn turn(mut image: Image, turns: f64) -> Image {
    if image.channels == 3 {
        let shift = (turns * 255.0) as i32 as u8;
        for pixel in image.pixels.chunks_exact_mut(3) {
            let [hue, saturation, value] = to_hsv([pixel[0], pixel[1], pixel[2]]);
            pixel.copy_from_slice(&to_rgb([hue.wrapping_add(shift), saturation, value]));
        }
    }
    image
}

fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let most = red.max(green).max(blue);
    let least = red.min(green).min(blue);
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let below = |level: u8| f32::from(most - level) / range;
    let sector = if red == most {
        below(blue) - below(green)
    } else if green == most {
        (2.0 + f64::from(below(red)) - f64::from(below(blue))) as f32
    } else {
        (4.0 + f64::from(below(green)) - f64::from(below(red))) as f32
    };
    let hue = ((f64::from(sector) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

fn to_rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sector = (f64::from(hue) * 6.0 / 255.0).floor();
    let rest = (f64::from(hue) * 6.0 / 255.0 - sector) as f32;
    let saturation = (f64::from(saturation) / 255.0) as f32;
    let level = |share: f64| (f64::from(value) * (1.0 - share)).round() as u8;
    let least = level(f64::from(saturation));
    let falling = level(f64::from(saturation * rest));
    let rising = level(f64::from(saturation) * (1.0 - f64::from(rest)));
    match sector as u8 % 6 {
        0 => [value, rising, least],
        1 => [falling, value, least],
        2 => [least, value, rising],
        3 => [least, falling, value],
        4 => [rising, least, value],
        _ => [value, least, falling],
    }
}
