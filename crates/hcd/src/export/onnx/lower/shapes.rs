//! Operations that only arrange values: reshape, expand, repeat, slice, pad, fill.

use super::super::Refusal;
use super::super::nodes::Value;
use super::super::trace::{self, Extent};
use super::{Lowering, Understood};
use burn::backend::ir::{PadModeIr, PadOpIr, RepeatDimOpIr, ShapeOpIr, SliceOpIr, TensorIr};

impl Lowering<'_> {
    /// The one axis that follows the batch is left for the reader to infer.
    pub(super) fn reshape(&mut self, reshape: &ShapeOpIr) -> Understood {
        let extents = self.nodes.extents(&reshape.out);
        let lengths: Vec<i64> = extents
            .iter()
            .map(|extent| match extent {
                Extent::Fixed(length) => *length as i64,
                Extent::Batch(_) => -1,
            })
            .collect();
        if lengths.iter().filter(|length| **length == -1).count() > 1 || lengths.contains(&0) {
            return Err(Refusal::batch("Reshape"));
        }
        let inputs = vec![self.nodes.operand(reshape.input.id)?, self.nodes.integers(&lengths)];
        self.nodes.node("Reshape", inputs, reshape.out.id, &[]);
        Ok(true)
    }

    /// An axis that stays as it is, is 1 in the operand of Expand.
    pub(super) fn expand(&mut self, expand: &ShapeOpIr) -> Understood {
        let (from, to) = (self.nodes.extents(&expand.input), self.nodes.extents(&expand.out));
        let new = to.len() - from.len();
        let stays = |axis: usize| axis >= new && from[axis - new] == to[axis];
        let lengths: Vec<_> = to
            .iter()
            .enumerate()
            .map(|(axis, &extent)| if stays(axis) { Extent::Fixed(1) } else { extent })
            .collect();
        let inputs = vec![self.nodes.operand(expand.input.id)?, self.nodes.lengths(&lengths)];
        self.nodes.node("Expand", inputs, expand.out.id, &[]);
        Ok(true)
    }

    pub(super) fn repeat(&mut self, repeat: &RepeatDimOpIr) -> Understood {
        let (from, to) = (self.nodes.extents(&repeat.tensor), self.nodes.extents(&repeat.out));
        let mut times = vec![Extent::Fixed(1); to.len()];
        times[repeat.dim] = match (from[repeat.dim], to[repeat.dim]) {
            (Extent::Fixed(1), Extent::Batch(factor)) => Extent::Batch(factor),
            (Extent::Fixed(_), Extent::Batch(_)) => return Err(Refusal::batch("RepeatDim")),
            _ => Extent::Fixed(repeat.times),
        };
        let inputs = vec![self.nodes.operand(repeat.tensor.id)?, self.nodes.lengths(&times)];
        self.nodes.node("Tile", inputs, repeat.out.id, &[]);
        Ok(true)
    }

    pub(super) fn slice(&mut self, slice: &SliceOpIr) -> Understood {
        let extents = self.nodes.extents(&slice.tensor);
        let [mut starts, mut ends, mut axes, mut steps] = [const { Vec::new() }; 4];
        for (axis, range) in slice.ranges.iter().enumerate() {
            let length = slice.tensor.shape[axis];
            if trace::is_whole(range, length) {
                continue;
            }
            if range.step < 1 || range.start < 0 || matches!(extents[axis], Extent::Batch(_)) {
                return Ok(false);
            }
            starts.push(range.start as i64);
            ends.push(range.end.unwrap_or(length as isize) as i64);
            axes.push(axis as i64);
            steps.push(range.step as i64);
        }
        let mut inputs = vec![self.nodes.operand(slice.tensor.id)?];
        inputs.extend([starts, ends, axes, steps].map(|values| self.nodes.integers(&values)));
        self.nodes.node("Slice", inputs, slice.out.id, &[]);
        Ok(true)
    }

    pub(super) fn pad(&mut self, pad: &PadOpIr) -> Understood {
        let (before, after): (Vec<_>, Vec<_>) = pad.padding.iter().copied().unzip();
        let widths: Vec<_> = before.into_iter().chain(after).map(|width| width as i64).collect();
        let mut inputs = vec![self.nodes.operand(pad.input.id)?, self.nodes.integers(&widths)];
        let mode = match pad.mode {
            PadModeIr::Constant(value) => {
                inputs.push(self.number(value));
                "constant"
            }
            PadModeIr::Reflect => "reflect",
            PadModeIr::Edge => "edge",
        };
        self.nodes.node("Pad", inputs, pad.out.id, &[("mode", Value::Text(mode))]);
        Ok(true)
    }

    pub(super) fn filled(&mut self, output: &TensorIr, value: f32) -> Understood {
        let extents = self.nodes.extents(output);
        let (value, lengths) = (self.nodes.scalar(value), self.nodes.lengths(&extents));
        self.nodes.node("Expand", vec![value, lengths], output.id, &[]);
        Ok(true)
    }
}
