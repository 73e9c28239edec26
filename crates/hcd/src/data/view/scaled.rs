//! The same view of an image at another size: what is counted in pixels is multiplied, the rest stays as it is.

use super::{Crop, View};
use crate::data::augment_ops::{Erasure, Op, Rect};

impl View {
    /// The view that shows at size `to` (height, width) what this one shows at size `from`.
    pub fn scaled(&self, from: (usize, usize), to: (usize, usize)) -> Self {
        if from == to {
            return self.clone();
        }
        let down = |pixels: f64| pixels * to.0 as f64 / from.0 as f64;
        let across = |pixels: f64| pixels * to.1 as f64 / from.1 as f64;
        let crop = match self.crop {
            Crop::Shifted { top, left } => Crop::Shifted {
                top: down(top as f64).round() as i64,
                left: across(left as f64).round() as i64,
            },
            // Of the original, whatever the size it is brought to.
            resized @ Crop::Resized(_) => resized,
        };
        let op = |op: &Op| match *op {
            Op::TranslateX { pixels, sampling } => Op::TranslateX { pixels: across(pixels), sampling },
            Op::TranslateY { pixels, sampling } => Op::TranslateY { pixels: down(pixels), sampling },
            other => other,
        };
        let erasure = self.erasure.map(|own| Erasure { rect: own.rect.scaled(from, to), ..own });
        Self { crop, flip: self.flip, ops: self.ops.iter().map(op).collect(), erasure }
    }
}

impl Rect {
    /// The rectangle that covers of an image of size `to` (height, width) what this one covers at size `from`.
    pub fn scaled(self, from: (usize, usize), to: (usize, usize)) -> Self {
        let span = |start: usize, length: usize, from: usize, to: usize| {
            let edge = |place: usize| (place * to + from / 2) / from;
            (edge(start), edge(start + length) - edge(start))
        };
        let (top, height) = span(self.top, self.height, from.0, to.0);
        let (left, width) = span(self.left, self.width, from.1, to.1);
        Self { top, left, height, width }
    }
}
