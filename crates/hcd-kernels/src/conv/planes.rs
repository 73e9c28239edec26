//! Images with zero margins, one plane for each place within the stride, so that a kernel tap is an offset.
//!
//! Along an axis with stride s, padding p and dilation d, place a holds x[i·s + a − p] at i. Tap u reads place
//! u·d mod s from i + ⌊u·d/s⌋ on. Rows follow one another so closely that one's right margin is the next one's left margin.

use super::ConvShape;
use crate::copy::{Lines, copy_lines};
use crate::lanes::LANES;

/// One direction of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) dilation: usize,
}

impl Axis {
    pub(super) fn new(input: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Self {
        let axis = Self { input, output: 0, kernel, stride, padding, dilation };
        let (room, extent) = (input + 2 * padding, axis.extent());
        let output = if kernel == 0 || room < extent { 0 } else { (room - extent) / stride + 1 };
        Self { output, ..axis }
    }

    /// From the first tap to the last, both counted.
    fn extent(&self) -> usize {
        self.kernel.saturating_sub(1) * self.dilation + 1
    }

    /// The place that a tap reads, and how far into it.
    pub(super) fn tap(&self, tap: usize) -> (usize, usize) {
        (tap * self.dilation % self.stride, tap * self.dilation / self.stride)
    }

    /// Places within the stride, up to the last that some tap reads.
    pub(super) fn places(&self) -> usize {
        self.stride.min(self.extent())
    }

    /// Where the image's numbers lie in a place's row: x[(i)·s + a − p] for i in the range.
    pub(super) fn inside(&self, place: usize) -> std::ops::Range<usize> {
        let start = self.padding.saturating_sub(place).div_ceil(self.stride);
        let end = (self.input + self.padding).saturating_sub(place).div_ceil(self.stride);
        start.min(self.reach())..end.min(self.reach()).max(start.min(self.reach()))
    }

    /// Numbers of a row that the taps of one output row read.
    fn reach(&self) -> usize {
        self.output + (self.extent() - 1) / self.stride
    }

    /// From one row to the next: margins shared.
    pub(super) fn step(&self) -> usize {
        let shared = (0..self.places()).map(|place| {
            let inside = self.inside(place);
            inside.start.min(self.reach() - inside.end)
        });
        self.reach() - shared.min().unwrap_or(0)
    }
}

/// The planes of some channels of some images.
pub(super) struct Planes {
    rows: Axis,
    columns: Axis,
    images: usize,
    /// Numbers of one plane of one image.
    plane: usize,
    /// How a channel of an image is copied.
    fills: Vec<Fill>,
    values: Vec<f32>,
}

/// What of a channel lies at a place within the stride.
struct Fill {
    /// Where it begins, in the channel and in the planes.
    from: usize,
    to: usize,
    lines: Lines,
}

impl Planes {
    pub(super) fn new(rows: Axis, columns: Axis, channels: usize, images: usize) -> Self {
        let plane = rows.step() * columns.step();
        let planes = Self { rows, columns, images, plane, fills: Vec::new(), values: Vec::new() };
        // Taps reach beyond the last row by the margins that rows and planes share, and vectors beyond that.
        let shared = [rows, columns].map(|axis| axis.reach() - axis.step());
        let slack = shared[0] * columns.step() + shared[1] + 2 * LANES;
        let length = channels * planes.channel() + slack;
        Self { values: vec![0.0; length], fills: planes.fills(), ..planes }
    }

    fn fills(&self) -> Vec<Fill> {
        let (rows, columns) = (self.rows, self.columns);
        let places = (0..rows.places()).flat_map(|a| (0..columns.places()).map(move |b| (a, b)));
        let fill = |(a, b): (usize, usize)| {
            let (down, across) = (rows.inside(a), columns.inside(b));
            if down.is_empty() || across.is_empty() {
                return None;
            }
            let row = down.start * rows.stride + a - rows.padding;
            let start = (a * columns.places() + b) * self.place();
            Some(Fill {
                from: row * columns.input + across.start * columns.stride + b - columns.padding,
                to: start + down.start * columns.step() + across.start,
                lines: Lines {
                    count: down.len(),
                    length: across.len(),
                    from_step: rows.stride * columns.input,
                    to_step: columns.step(),
                    stride: columns.stride,
                },
            })
        };
        places.filter_map(fill).collect()
    }

    /// Numbers of one plane of one image.
    pub(super) fn plane(&self) -> usize {
        self.plane
    }

    /// Numbers of one place of one channel, all images.
    fn place(&self) -> usize {
        self.images * self.plane()
    }

    fn channel(&self) -> usize {
        self.rows.places() * self.columns.places() * self.place()
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Where the run of each (channel, u, v) starts.
    pub(super) fn tap_offsets(&self, channels: usize) -> Vec<usize> {
        let mut offsets = Vec::with_capacity(channels * self.rows.kernel * self.columns.kernel);
        for channel in 0..channels {
            for u in 0..self.rows.kernel {
                for v in 0..self.columns.kernel {
                    let ((a, down), (b, across)) = (self.rows.tap(u), self.columns.tap(v));
                    let place = a * self.columns.places() + b;
                    let within = down * self.columns.step() + across;
                    offsets.push(channel * self.channel() + place * self.place() + within);
                }
            }
        }
        offsets
    }

    /// Where the first tap of each pixel of the result reads, by image, row and column.
    pub(super) fn pixel_starts(&self) -> Vec<usize> {
        let pixels = |image| {
            (0..self.rows.output).flat_map(move |i| {
                (0..self.columns.output).map(move |j| image * self.plane() + i * self.columns.step() + j)
            })
        };
        (0..self.images).flat_map(pixels).collect()
    }

    /// Copies the first `images` images' channels from `first` on. Margins are zero from the start.
    pub(super) fn fill(&mut self, x: &[f32], shape: &ConvShape, images: usize, first: usize) {
        let area = shape.size[0] * shape.size[1];
        for channel in 0..shape.in_channels / shape.groups {
            for image in 0..images {
                let x = &x[(image * shape.in_channels + first + channel) * area..][..area];
                self.fill_plane(channel * self.channel() + image * self.plane(), x);
            }
        }
    }

    /// Copies one channel of one image, where there is room for one.
    pub(super) fn fill_one(&mut self, x: &[f32]) {
        self.fill_plane(0, x);
    }

    fn fill_plane(&mut self, first: usize, x: &[f32]) {
        for fill in &self.fills {
            copy_lines(fill.lines, &x[fill.from..], &mut self.values[first + fill.to..]);
        }
    }
}
