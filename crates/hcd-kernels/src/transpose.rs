//! Turning matrices, 16 by 16 numbers at a time in registers.

use crate::lanes::{LANES, Vector};
use rayon::prelude::*;

/// Numbers that a task turns, about.
const TASK: usize = 1 << 15;

/// Turns the matrix of each image: to[image, column, row] = from[image, row, column].
///
/// # Shapes
/// `from` (images, rows, columns); `to` (images, columns, rows)
pub fn each(from: &[f32], [rows, columns]: [usize; 2], to: &mut [f32]) {
    let image = rows * columns;
    assert!(
        from.len() == to.len() && from.len().is_multiple_of(image.max(1)),
        "transpose::each: {} and {} numbers are not images of ({rows}, {columns})",
        from.len(),
        to.len()
    );
    if image == 0 {
        return;
    }
    // Some columns of an image each, whole blocks.
    let task = (TASK / rows).next_multiple_of(LANES).max(LANES);
    to.par_chunks_mut(image).zip(from.par_chunks(image)).for_each(|(to, from)| {
        to.par_chunks_mut(task * rows).enumerate().for_each(|(index, to)| {
            let first = index * task;
            transpose(&from[first..], columns, rows, to.len() / rows, to, rows);
        });
    });
}

for_each_level! {
    /// to[column, row] = from[row, column].
    ///
    /// # Shapes
    /// `from` (rows, columns), a row `from_step` after the one before; `to` (columns, rows), likewise `to_step`
    pub(crate) fn transpose(
        from: &[f32], from_step: usize, rows: usize, columns: usize, to: &mut [f32], to_step: usize,
    ) = transpose_body
}

#[inline(always)]
fn transpose_body<V: Vector>(
    from: &[f32],
    from_step: usize,
    rows: usize,
    columns: usize,
    to: &mut [f32],
    to_step: usize,
) {
    let (down, across) = (rows.div_ceil(LANES), columns.div_ceil(LANES));
    for index in 0..down * across {
        // Along the matrix whose rows lie close together, so that few pages are touched at a time.
        let (row, column) = match to_step > from_step {
            true => (index % down * LANES, index / down * LANES),
            false => (index / across * LANES, index % across * LANES),
        };
        let (height, width) = (LANES.min(rows - row), LANES.min(columns - column));
        let from = &from[row * from_step + column..];
        let to = &mut to[column * to_step + row..];
        match (height, width) {
            (LANES, LANES) => whole::<V>(from, from_step, to, to_step),
            _ => part::<V>(from, from_step, height, width, to, to_step),
        }
    }
}

#[inline(always)]
fn whole<V: Vector>(from: &[f32], from_step: usize, to: &mut [f32], to_step: usize) {
    let mut block = [V::splat(0.0); LANES];
    for (i, line) in block.iter_mut().enumerate() {
        *line = V::load(&from[i * from_step..].as_chunks().0[0]);
    }
    for (i, line) in V::transpose(block).into_iter().enumerate() {
        line.store(&mut to[i * to_step..].as_chunks_mut().0[0]);
    }
}

#[inline(always)]
fn part<V: Vector>(
    from: &[f32],
    from_step: usize,
    height: usize,
    width: usize,
    to: &mut [f32],
    to_step: usize,
) {
    let mut block = [V::splat(0.0); LANES];
    for (i, line) in block.iter_mut().enumerate().take(height) {
        *line = V::load_some(&from[i * from_step..][..width]);
    }
    for (i, line) in V::transpose(block).into_iter().enumerate() {
        if i < width {
            line.store_some(&mut to[i * to_step..][..height]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::noise;

    #[test]
    fn each_image_is_turned() {
        for [images, rows, columns] in
            [[0, 2, 2], [1, 1, 1], [2, 0, 3], [3, 7, 5], [2, 300, 40], [1, 17, 2500], [2, 3136, 96]]
        {
            let from = noise(images * rows * columns, 1);
            let mut to = vec![f32::NAN; from.len()];
            each(&from, [rows, columns], &mut to);
            for (place, &value) in to.iter().enumerate() {
                let (image, rest) = (place / (rows * columns), place % (rows * columns));
                let (column, row) = (rest / rows, rest % rows);
                assert_eq!(value, from[(image * rows + row) * columns + column], "{images} {rows} {columns}");
            }
        }
    }

    #[test]
    fn every_number_goes_to_its_place() {
        for (rows, columns) in
            [(0, 3), (1, 1), (3, 0), (7, 5), (16, 16), (17, 15), (32, 48), (5, 33), (49, 14)]
        {
            let (from_step, to_step) = (columns + 2, rows + 3);
            let from = noise(rows * from_step, 1);
            let mut to = vec![7.0; columns * to_step];
            transpose(&from, from_step, rows, columns, &mut to, to_step);
            for (column, line) in to.chunks_exact(to_step).enumerate() {
                for (row, value) in line.iter().enumerate() {
                    // What lies between the rows is left alone.
                    let expected = if row < rows { from[row * from_step + column] } else { 7.0 };
                    assert_eq!(*value, expected, "{rows}x{columns} at {row}, {column}");
                }
            }
        }
    }
}
