//! Matrix products with what follows them: C = f(A·B + bias), A packed by tiles of rows, B by panels of columns.
//!
//! A tile of C, 14 rows by 32 columns where there are 32 vector registers and else 6 by 16, stays in registers while a block
//! of the shared axis passes by. A block is as long as keeps a panel of B in the first-level cache, over which the tiles of
//! A pass. A need not lie anywhere as a matrix: where its rows are runs of another slice, as in a convolution, tiles are
//! collected from there. Goto & van de Geijn 2008, Anatomy of high-performance matrix multiplication.

mod left;
mod panels;

pub use left::Left;
pub use panels::Panels;

use crate::gelu;
use crate::lanes::{LANES, Lanes, Vector};
use rayon::prelude::*;

/// Columns of a panel.
pub(crate) const WIDTH: usize = 2 * LANES;
/// Longest block of the shared axis.
const BLOCK: usize = 512;
/// Rows of A that a task packs and multiplies at once, whole tiles.
const TASK: usize = 8 * TALL;
/// Rows of a panel that are fetched before they are needed.
const AHEAD: usize = 16;
/// Steps of the shared axis after which another row of C is fetched.
const SPREAD: usize = 4;
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
    /// What is in C already.
    There,
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
    // As many tasks for each thread, about equal.
    let tasks = a.rows.div_ceil(TASK).next_multiple_of(rayon::current_num_threads());
    let task = a.rows.div_ceil(tasks);
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

/// [`multiply_here`] of as many rows, from `first` on, as `c` has.
pub(crate) fn multiply_rows(
    a: Left,
    first: usize,
    b: &Panels,
    bias: Bias,
    activation: Activation,
    scratch: &mut Vec<f32>,
    c: &mut [f32],
) {
    check_shared(a, b, bias);
    assert!(
        c.len().is_multiple_of(b.columns) && first + c.len() / b.columns <= a.rows,
        "gemm: rows that A lacks"
    );
    rows_of(a, first, b, bias, activation, scratch, c);
}

fn check(a: Left, b: &Panels, bias: Bias, c: &[f32]) {
    assert_eq!(c.len(), a.rows * b.columns, "gemm: the product is not ({}, {})", a.rows, b.columns);
    check_shared(a, b, bias);
}

fn check_shared(a: Left, b: &Panels, bias: Bias) {
    assert_eq!(a.depth, b.depth, "gemm: the matrices share no axis");
    match bias {
        Bias::None | Bias::There => {}
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
    let (rows, panels) = (c.len() / b.columns, b.panels());
    let bias = match bias {
        Bias::Row(bias) => Bias::Row(&bias[first..first + rows]),
        bias => bias,
    };
    let blocks = b.depth.div_ceil(if V::MANY { BLOCK } else { BLOCK / 2 }).max(1);
    let length = b.depth.div_ceil(blocks);
    for index in 0..blocks {
        let block = index * length..b.depth.min((index + 1) * length);
        a.pack::<V>(&(first..first + rows), &block, scratch);
        let bias = if index == 0 { bias } else { Bias::There };
        let ends = Ends { bias, last: (index + 1 == blocks).then_some(activation) };
        for panel in 0..b.columns.div_ceil(WIDTH) {
            let values = &panels[panel * b.depth..][block.clone()];
            let place = Place { row: 0, column: panel * WIDTH, columns: b.columns };
            if V::MANY {
                panel_of_tiles::<V>(rows, scratch, values, place, &ends, c);
                continue;
            }
            // Half a panel stays in the first-level cache while all tiles pass over it.
            for group in 0..2 {
                let column = place.column + group * LANES;
                if column < b.columns {
                    half_of_tiles::<V>(rows, scratch, values, group, Place { column, ..place }, &ends, c);
                }
            }
        }
    }
}

/// All tiles by a panel.
#[inline(always)]
fn panel_of_tiles<V: Vector>(
    rows: usize,
    packed: &[f32],
    values: &[[Lanes; 2]],
    mut place: Place,
    ends: &Ends,
    c: &mut [f32],
) {
    for height in tiles::<V>(rows) {
        let packed = &packed[place.row * values.len()..][..height * values.len()];
        match height {
            14 => tile::<V, 14>(packed, values, place, ends, c),
            13 => tile::<V, 13>(packed, values, place, ends, c),
            12 => tile::<V, 12>(packed, values, place, ends, c),
            11 => tile::<V, 11>(packed, values, place, ends, c),
            10 => tile::<V, 10>(packed, values, place, ends, c),
            9 => tile::<V, 9>(packed, values, place, ends, c),
            8 => tile::<V, 8>(packed, values, place, ends, c),
            7 => tile::<V, 7>(packed, values, place, ends, c),
            6 => tile::<V, 6>(packed, values, place, ends, c),
            5 => tile::<V, 5>(packed, values, place, ends, c),
            4 => tile::<V, 4>(packed, values, place, ends, c),
            3 => tile::<V, 3>(packed, values, place, ends, c),
            2 => tile::<V, 2>(packed, values, place, ends, c),
            _ => tile::<V, 1>(packed, values, place, ends, c),
        }
        place.row += height;
    }
}

/// All tiles, of at most 6 rows, by sixteen columns of a panel.
#[inline(always)]
fn half_of_tiles<V: Vector>(
    rows: usize,
    packed: &[f32],
    values: &[[Lanes; 2]],
    group: usize,
    mut place: Place,
    ends: &Ends,
    c: &mut [f32],
) {
    for height in tiles::<V>(rows) {
        let packed = &packed[place.row * values.len()..][..height * values.len()];
        match height {
            6 => groups::<V, 6, 1>(packed, values, group, place, ends, c),
            5 => groups::<V, 5, 1>(packed, values, group, place, ends, c),
            4 => groups::<V, 4, 1>(packed, values, group, place, ends, c),
            3 => groups::<V, 3, 1>(packed, values, group, place, ends, c),
            2 => groups::<V, 2, 1>(packed, values, group, place, ends, c),
            _ => groups::<V, 1, 1>(packed, values, group, place, ends, c),
        }
        place.row += height;
    }
}

/// Heights of the tiles that rows are cut into: as few as the registers allow, and about equal.
#[inline(always)]
fn tiles<V: Vector>(rows: usize) -> impl Iterator<Item = usize> {
    let count = rows.div_ceil(if V::MANY { TALL } else { 6 });
    (0..count).map(move |tile| (tile + 1) * rows / count - tile * rows / count)
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
    /// What is done to it at the last block.
    last: Option<Activation>,
}

/// R rows by a panel's 32 columns, or 16 where it has no more.
#[inline(always)]
fn tile<V: Vector, const R: usize>(a: &[f32], b: &[[Lanes; 2]], place: Place, ends: &Ends, c: &mut [f32]) {
    match place.columns - place.column > LANES {
        true => groups::<V, R, 2>(a, b, 0, place, ends, c),
        false => groups::<V, R, 1>(a, b, 0, place, ends, c),
    }
}

/// R rows by G groups of 16 columns in registers, from group `group` of the panel on.
#[inline(always)]
fn groups<V: Vector, const R: usize, const G: usize>(
    a: &[f32],
    b: &[[Lanes; 2]],
    group: usize,
    place: Place,
    ends: &Ends,
    c: &mut [f32],
) {
    let a = a.as_chunks::<R>().0;
    let width = (G * LANES).min(place.columns - place.column);
    let first = match ends.bias {
        Bias::Column(bias) => load::<V, G>(&bias[place.column..][..width]),
        _ => [V::splat(0.0); G],
    };
    let mut sums = [first; R];
    match ends.bias {
        Bias::None | Bias::Column(_) => {}
        Bias::There => {
            for (r, sums) in sums.iter_mut().enumerate() {
                let start = (place.row + r) * place.columns + place.column;
                *sums = load::<V, G>(&c[start..start + width]);
            }
        }
        Bias::Row(bias) => {
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = [V::splat(bias[place.row + r]); G];
            }
        }
    }
    for (k, (a, row)) in a.iter().zip(b).enumerate() {
        // A low tile has no time to spare for more instructions.
        if V::MANY {
            fetch_ahead::<V, R, G>(k, b, group, place, width, c);
        }
        // Not `array::from_fn`, which is not always compiled into its caller.
        let mut line = [V::splat(0.0); G];
        for g in 0..G {
            line[g] = V::load(&row[group + g]);
        }
        for r in 0..R {
            let a = V::splat(a[r]);
            for g in 0..G {
                sums[r][g] = a.mul_add(line[g], sums[r][g]);
            }
            V::in_order();
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let start = (place.row + r) * place.columns + place.column;
        let c = &mut c[start..start + width];
        for (g, sum) in sums.into_iter().enumerate() {
            let sum = if ends.last == Some(Activation::Gelu) { gelu::of(sum) } else { sum };
            let end = c.len().min((g + 1) * LANES);
            sum.store_up_to(&mut c[g * LANES..end]);
        }
    }
}

/// Fetches a row of B that will be wanted, and, now and then, a row of the tile's part of C: all of them at once would wait for
/// each other.
#[inline(always)]
fn fetch_ahead<V: Vector, const R: usize, const G: usize>(
    k: usize,
    b: &[[Lanes; 2]],
    group: usize,
    place: Place,
    width: usize,
    c: &[f32],
) {
    if k.is_multiple_of(SPREAD) && k / SPREAD < R {
        let start = (place.row + k / SPREAD) * place.columns + place.column;
        V::prefetch_write(&c[start..start + width]);
    }
    let ahead = &b[(k + AHEAD).min(b.len() - 1)];
    for g in 0..G {
        V::prefetch(&ahead[group + g]);
    }
}

#[inline(always)]
fn load<V: Vector, const G: usize>(from: &[f32]) -> [V; G] {
    let mut line = [V::splat(0.0); G];
    // Places, not iterators over both, which are not always compiled into their caller.
    for g in 0..G {
        line[g] = V::load_up_to(&from[g * LANES..from.len().min((g + 1) * LANES)]);
    }
    line
}

#[cfg(test)]
mod tests;
