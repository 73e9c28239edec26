//! Matrix products with what follows them: C = f(A·B + bias), A packed by tiles of rows, B by panels of columns.
//!
//! A tile of C, 14 rows by 32 columns where there are 32 vector registers, stays in registers while a block of the
//! shared axis passes by. A block is as long as keeps a panel of B in the first-level cache, over which the tiles of
//! A pass. Goto & van de Geijn 2008, Anatomy of high-performance matrix multiplication.

use crate::gelu;
use crate::lanes::{LANES, Lanes, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Columns of a panel.
const WIDTH: usize = 2 * LANES;
/// Longest block of the shared axis.
const BLOCK: usize = 256;
/// Rows of A that a task packs and multiplies at once, whole tiles.
const TASK: usize = 8 * TALL;
/// Rows of a full tile.
const TALL: usize = 14;

/// What happens to a product before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// x Φ(x), see [`gelu`].
    Gelu,
}

/// What is added to a product.
#[derive(Debug, Clone, Copy)]
pub enum Bias<'a> {
    /// Nothing.
    None,
    /// One number a column.
    Column(&'a [f32]),
    /// One number a row.
    Row(&'a [f32]),
}

/// A right-hand matrix (depth, columns) as panels of 32 columns, the last filled up with zeros: (panel, depth, 32).
#[derive(Debug, Clone)]
pub struct Panels {
    depth: usize,
    columns: usize,
    values: Vec<[Lanes; 2]>,
}

impl Panels {
    /// Of the transpose of `weight` (columns, depth).
    pub fn transposed(weight: &[f32], depth: usize) -> Self {
        let columns = weight.len().checked_div(depth).unwrap_or(0);
        assert_eq!(weight.len(), depth * columns, "Panels: the matrix is not (columns, {depth})");
        let mut values = vec![[[0.0; LANES]; 2]; columns.div_ceil(WIDTH) * depth];
        if depth > 0 {
            let panels = values.par_chunks_mut(depth).zip(weight.par_chunks(WIDTH * depth));
            panels.for_each(|(panel, weight)| turn(weight, depth, panel));
        }
        Self { depth, columns, values }
    }

    /// Of `x` (depth, columns) as it is.
    pub fn straight(x: &[f32], columns: usize) -> Self {
        let depth = x.len().checked_div(columns).unwrap_or(0);
        assert_eq!(x.len(), depth * columns, "Panels: the matrix is not (depth, {columns})");
        let mut values = vec![[[0.0; LANES]; 2]; columns.div_ceil(WIDTH) * depth];
        for (index, panel) in values.chunks_mut(depth.max(1)).enumerate() {
            let first = index * WIDTH;
            let width = WIDTH.min(columns - first);
            for (to, from) in panel.iter_mut().zip(x.chunks_exact(columns)) {
                to.as_flattened_mut()[..width].copy_from_slice(&from[first..first + width]);
            }
        }
        Self { depth, columns, values }
    }
}

/// Rows of up to 32 columns become the columns of a panel.
fn turn(weight: &[f32], depth: usize, panel: &mut [[Lanes; 2]]) {
    for (column, row) in weight.chunks_exact(depth).enumerate() {
        for (to, &value) in panel.iter_mut().zip(row) {
            to.as_flattened_mut()[column] = value;
        }
    }
}

/// A left-hand matrix (rows, depth), stored row by row or column by column.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    values: &'a [f32],
    rows: usize,
    depth: usize,
    turned: bool,
}

impl<'a> Left<'a> {
    /// `values` (rows, depth)
    pub fn straight(values: &'a [f32], depth: usize) -> Self {
        let rows = values.len().checked_div(depth).unwrap_or(0);
        assert_eq!(values.len(), rows * depth, "Left: the matrix is not (rows, {depth})");
        Self { values, rows, depth, turned: false }
    }

    /// The transpose of `values` (depth, rows)
    pub fn transposed(values: &'a [f32], rows: usize) -> Self {
        let depth = values.len().checked_div(rows).unwrap_or(0);
        assert_eq!(values.len(), rows * depth, "Left: the matrix is not (depth, {rows})");
        Self { values, rows, depth, turned: true }
    }

    /// A block of it, tile by tile, each as (length, rows of the tile).
    #[inline(always)]
    fn pack<V: Vector>(&self, rows: &Range<usize>, block: &Range<usize>, scratch: &mut Vec<f32>) {
        let length = block.len();
        scratch.resize(rows.len() * length, 0.0);
        let mut done = 0;
        for height in tiles::<V>(rows.len()) {
            let to = scratch[done * length..][..height * length].chunks_exact_mut(height);
            let first = rows.start + done;
            if self.turned {
                for (to, k) in to.zip(block.clone()) {
                    let from = &self.values[k * self.rows + first..][..height];
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
                }
            } else {
                let to = &mut scratch[done * length..][..height * length];
                for r in 0..height {
                    let from = &self.values[(first + r) * self.depth + block.start..][..length];
                    for (to, &value) in to.chunks_exact_mut(height).zip(from) {
                        to[r] = value;
                    }
                }
            }
            done += height;
        }
    }
}

/// C = f(A·B + bias), rows shared out among the threads.
///
/// # Shapes
/// `a` (rows, depth); `b` (depth, columns); `c` (rows, columns)
pub fn multiply(a: Left, b: &Panels, bias: Bias, activation: Activation, c: &mut [f32]) {
    check(a, b, bias, c);
    if c.is_empty() {
        return;
    }
    // Few rows make small tasks, so that no thread is without work.
    let task = TASK.min(a.rows.div_ceil(2 * rayon::current_num_threads()).next_multiple_of(TALL));
    c.par_chunks_mut(task * b.columns).enumerate().for_each_init(Vec::new, |scratch, (index, c)| {
        rows_of(a, index * task, b, bias, activation, scratch, c);
    });
}

/// [`multiply`] on this thread alone; `scratch` is room that several calls may share.
pub fn multiply_here(
    a: Left,
    b: &Panels,
    bias: Bias,
    activation: Activation,
    scratch: &mut Vec<f32>,
    c: &mut [f32],
) {
    check(a, b, bias, c);
    if c.is_empty() {
        return;
    }
    for (index, c) in c.chunks_mut(TASK * b.columns).enumerate() {
        rows_of(a, index * TASK, b, bias, activation, scratch, c);
    }
}

fn check(a: Left, b: &Panels, bias: Bias, c: &[f32]) {
    assert_eq!(c.len(), a.rows * b.columns, "gemm: the product is not ({}, {})", a.rows, b.columns);
    assert_eq!(a.depth, b.depth, "gemm: the matrices share no axis");
    match bias {
        Bias::None => {}
        Bias::Column(bias) => assert_eq!(bias.len(), b.columns, "gemm: one bias a column"),
        Bias::Row(bias) => assert_eq!(bias.len(), a.rows, "gemm: one bias a row"),
    }
}

for_each_level! {
    fn rows_of(
        a: Left, first: usize, b: &Panels, bias: Bias, activation: Activation,
        scratch: &mut Vec<f32>, c: &mut [f32],
    ) = rows_body
}

/// The rows of C from `first` on: blocks of the shared axis one after the other; what they give is added up in C.
#[inline(always)]
fn rows_body<V: Vector>(
    a: Left,
    first: usize,
    b: &Panels,
    bias: Bias,
    activation: Activation,
    scratch: &mut Vec<f32>,
    c: &mut [f32],
) {
    let rows = c.len() / b.columns;
    let bias = match bias {
        Bias::Row(bias) => Bias::Row(&bias[first..first + rows]),
        bias => bias,
    };
    let blocks = b.depth.div_ceil(BLOCK).max(1);
    let length = b.depth.div_ceil(blocks);
    for index in 0..blocks {
        let block = index * length..b.depth.min((index + 1) * length);
        a.pack::<V>(&(first..first + rows), &block, scratch);
        let ends = Ends { bias, first: index == 0, last: (index + 1 == blocks).then_some(activation) };
        for panel in 0..b.columns.div_ceil(WIDTH) {
            let values = &b.values[panel * b.depth..][block.clone()];
            let mut row = 0;
            for height in tiles::<V>(rows) {
                let packed = &scratch[row * block.len()..][..height * block.len()];
                let place = Place { row, column: panel * WIDTH, columns: b.columns };
                match (V::MANY, height) {
                    (true, TALL) => tile::<V, TALL, 2>(packed, values, place, &ends, c),
                    (true, 8) => tile::<V, 8, 2>(packed, values, place, &ends, c),
                    (true, 4) => tile::<V, 4, 2>(packed, values, place, &ends, c),
                    (false, 6) => tile::<V, 6, 1>(packed, values, place, &ends, c),
                    (false, 4) => tile::<V, 4, 1>(packed, values, place, &ends, c),
                    (_, 2) => tile::<V, 2, 2>(packed, values, place, &ends, c),
                    _ => tile::<V, 1, 2>(packed, values, place, &ends, c),
                }
                row += height;
            }
        }
    }
}

/// Heights of the tiles that rows are cut into: as high as the registers allow, then lower ones.
#[inline(always)]
fn tiles<V: Vector>(rows: usize) -> impl Iterator<Item = usize> {
    let heights: &[usize] = if V::MANY { &[TALL, 8, 4, 2, 1] } else { &[6, 4, 2, 1] };
    let mut left = rows;
    std::iter::from_fn(move || {
        let height = *heights.iter().find(|&&height| height <= left)?;
        left -= height;
        Some(height)
    })
}

/// Where in C a tile lies.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    columns: usize,
}

/// What a tile begins with and how it ends.
struct Ends<'a> {
    bias: Bias<'a>,
    /// Whether it begins with the bias, or with what is in C.
    first: bool,
    /// What is done to it at the last block.
    last: Option<Activation>,
}

/// R rows by 32 columns, G groups of 16 at a time in registers.
#[inline(always)]
fn tile<V: Vector, const R: usize, const G: usize>(
    a: &[f32],
    b: &[[Lanes; 2]],
    place: Place,
    ends: &Ends,
    c: &mut [f32],
) {
    for group in (0..2).step_by(G) {
        let column = place.column + group * LANES;
        if column < place.columns {
            groups::<V, R, G>(a.as_chunks::<R>().0, b, group, Place { column, ..place }, ends, c);
        }
    }
}

#[inline(always)]
fn groups<V: Vector, const R: usize, const G: usize>(
    a: &[[f32; R]],
    b: &[[Lanes; 2]],
    group: usize,
    place: Place,
    ends: &Ends,
    c: &mut [f32],
) {
    let width = (G * LANES).min(place.columns - place.column);
    let mut sums = [[V::splat(0.0); G]; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        let start = (place.row + r) * place.columns + place.column;
        match (ends.first, ends.bias) {
            (false, _) => *sums = load::<V, G>(&c[start..start + width]),
            (true, Bias::None) => {}
            (true, Bias::Column(bias)) => *sums = load::<V, G>(&bias[place.column..][..width]),
            (true, Bias::Row(bias)) => *sums = [V::splat(bias[place.row + r]); G],
        }
    }
    for (a, b) in a.iter().zip(b) {
        let b: [V; G] = std::array::from_fn(|g| V::load(&b[group + g]));
        for r in 0..R {
            let a = V::splat(a[r]);
            for g in 0..G {
                sums[r][g] = a.mul_add(b[g], sums[r][g]);
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let start = (place.row + r) * place.columns + place.column;
        let mut row = [[0.0; LANES]; G];
        for g in 0..G {
            sums[g].store(&mut row[g]);
            if ends.last == Some(Activation::Gelu) {
                for value in &mut row[g] {
                    *value = gelu::of::<V>(*value);
                }
            }
        }
        let c = &mut c[start..start + width];
        match c.as_chunks_mut::<LANES>() {
            // One by one: copies of known length are stores, and not calls.
            (whole, []) if whole.len() == G => whole.iter_mut().zip(row).for_each(|(to, from)| *to = from),
            _ => c.copy_from_slice(&row.as_flattened()[..width]),
        }
    }
}

#[inline(always)]
fn load<V: Vector, const G: usize>(from: &[f32]) -> [V; G] {
    if let (whole, []) = from.as_chunks::<LANES>()
        && whole.len() == G
    {
        return std::array::from_fn(|g| V::load(&whole[g]));
    }
    let mut row = [[0.0; LANES]; G];
    row.as_flattened_mut()[..from.len()].copy_from_slice(from);
    std::array::from_fn(|g| V::load(&row[g]))
}

#[cfg(test)]
mod tests;
