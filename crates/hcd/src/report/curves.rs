//! Curves over epochs as inline SVG: mean over runs as a line, lowest to highest as a band.
//!
//! Colours: Okabe & Ito (2008), "Color Universal Design", without the yellow, which white paper swallows. The
//! page's style sheet renames each of them by attribute, so that dark screens can have their own.

use super::summary::Method;
use crate::error::{Error, Result};
use crate::train::EpochRecord;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::io;

/// Line colours; the eighth line is the first colour again, dashed.
pub(super) const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    INK,
];
/// Text and axes.
const INK: RGBColor = RGBColor(0, 0, 0);
/// Plotters rounds to whole pixels, hence a canvas larger than what is shown.
const SCALE: u32 = 3;
const SIZE: (u32, u32) = (600 * SCALE, 350 * SCALE);
/// Up to so many epochs, each is marked by a dot.
const DOTTED: u64 = 16;

/// A mean over runs, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// How far across it is: an epoch, or what [`Chart::across`] says.
    pub at: u64,
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub name: String,
    /// Place in the order of colours.
    pub colour: usize,
    pub points: Vec<Point>,
}

/// Curves that share their axes.
#[derive(Debug, Default)]
pub(super) struct Chart {
    /// What it shows, for those who cannot see it, and for error messages.
    pub title: String,
    /// What goes up, with its unit.
    pub unit: &'static str,
    /// At least one, each with at least one point.
    pub lines: Vec<Line>,
    /// What goes across, in percent, against what goes up, in percent, too: both axes go from 0 to 100, and a thin line marks where
    /// they are equal. Epochs go across where there is none.
    pub across: Option<&'static str>,
}

/// `figure` of each epoch over the runs of `method`; leaves out what is not finite.
pub(super) fn curve(method: &Method<'_>, figure: impl Fn(&EpochRecord) -> Option<f64>) -> Vec<Point> {
    let mut epochs: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for record in method.runs.iter().flat_map(|run| &run.epochs) {
        if let Some(value) = figure(record).filter(|value| value.is_finite()) {
            epochs.entry(record.epoch).or_default().push(value);
        }
    }
    let point = |(epoch, values): (u64, Vec<f64>)| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Rounding must not move the mean of equals, lest equal curves differ by the number of runs.
        let mean = (values.iter().sum::<f64>() / values.len() as f64).clamp(low, high);
        Point { at: epoch, mean, low, high }
    };
    epochs.into_iter().map(point).collect()
}

/// Draws `chart` as an SVG element that takes the width it is given.
///
/// # Errors
/// Where plotters fails.
pub(super) fn draw(chart: &Chart) -> Result<String> {
    let failed = |what: &str| Error::Run(format!("report: cannot draw {}: {what}", chart.title));
    let mut svg = String::new();
    paint(chart, &mut svg).map_err(|error| failed(&error.to_string()))?;
    // Plotters fixes the size in pixels; inside HTML the element needs no name space.
    let (_, body) = svg.split_once('>').ok_or_else(|| failed("no svg element"))?;
    let (width, height) = SIZE;
    Ok(format!("<svg viewBox=\"0 0 {width} {height}\" aria-hidden=\"true\">{body}"))
}

type Painted = std::result::Result<(), DrawingAreaErrorKind<io::Error>>;
type Axes<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordi32, plotters::coord::types::RangedCoordf64>,
>;

fn paint(chart: &Chart, svg: &mut String) -> Painted {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let last = points().map(|point| point.at).max().unwrap_or(1);
    let (last, (low, high)) = match chart.across {
        Some(_) => (100, (0.0, 100.0)),
        None => (last, span(points(), chart.unit.ends_with("(%)"))),
    };
    let (format, scale) = (tick(high - low), SCALE as i32);
    let text = |size: f64| ("sans-serif", size * 1.24 * f64::from(SCALE)).into_font().color(&INK);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut axes: Axes<'_, '_> = ChartBuilder::on(&root)
        .margin_top(10 * scale)
        .margin_right(14 * scale)
        .x_label_area_size(46 * scale)
        .y_label_area_size(72 * scale)
        .build_cartesian_2d(0..place(last.max(2)), low..high)?;
    axes.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.14).stroke_width(SCALE))
        .axis_style(INK.mix(0.5).stroke_width(SCALE))
        .set_all_tick_mark_size(4 * scale)
        .label_style(text(13.0))
        .axis_desc_style(text(14.0))
        .x_labels(9)
        .y_labels(6)
        .y_label_formatter(&format)
        .x_desc(chart.across.unwrap_or("epoch"))
        .y_desc(chart.unit)
        .draw()?;
    if chart.across.is_some() {
        let thin = INK.mix(0.5).stroke_width(SCALE);
        axes.draw_series([PathElement::new([(0, 0.0), (100, 100.0)], thin)])?;
    }
    for line in &chart.lines {
        band(&mut axes, line)?;
    }
    for line in &chart.lines {
        stroke(&mut axes, line)?;
    }
    root.present()
}

/// From the lowest run to the highest, where there are several.
fn band(axes: &mut Axes<'_, '_>, line: &Line) -> Painted {
    if line.points.iter().all(|point| point.low == point.high) {
        return Ok(());
    }
    let above = line.points.iter().map(|point| (place(point.at), point.high));
    let below = line.points.iter().rev().map(|point| (place(point.at), point.low));
    let outline: Vec<_> = above.chain(below).collect();
    if let [high, low] = outline[..] {
        // One epoch: a bar, for a band would have no width.
        axes.draw_series([PathElement::new([high, low], colour(line.colour).stroke_width(SCALE))])?;
        return Ok(());
    }
    axes.draw_series([Polygon::new(outline, colour(line.colour).mix(0.16))])?;
    Ok(())
}

fn stroke(axes: &mut Axes<'_, '_>, line: &Line) -> Painted {
    let scale = SCALE as i32;
    let style = colour(line.colour).stroke_width(2 * SCALE);
    let means = || line.points.iter().map(|point| (place(point.at), point.mean));
    if dashed(line.colour) {
        axes.draw_series(DashedLineSeries::new(means(), 7 * scale, 5 * scale, style))?;
    } else {
        axes.draw_series(LineSeries::new(means(), style))?;
    }
    if line.points.last().is_some_and(|point| point.at <= DOTTED) {
        let dot = colour(line.colour).filled();
        axes.draw_series(means().map(|point| Circle::new(point, 4 * scale, dot)))?;
    }
    Ok(())
}

fn colour(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// Whether the line with this place in the order of colours is dashed.
pub(super) fn dashed(index: usize) -> bool {
    index >= PALETTE.len()
}

fn place(at: u64) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}

/// What the upright axis spans: all the points and some air, but nothing that the figure cannot be.
fn span<'a>(points: impl Iterator<Item = &'a Point>, percent: bool) -> (f64, f64) {
    let (low, high) = points.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| {
        (low.min(point.low), high.max(point.high))
    });
    let size = low.abs().max(high.abs());
    let air = match high - low {
        range if range > 1e-6 * size => 0.06 * range,
        _ if size > 0.0 => 0.1 * size,
        _ => 1.0,
    };
    let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let ceiling = if percent { 100.0 } else { f64::INFINITY };
    ((low - air).max(floor), (high + air).min(ceiling))
}

/// Writes figures on an axis that spans `range`, with the decimals that its steps need.
fn tick(range: f64) -> impl Fn(&f64) -> String {
    let decimals = (-(range / 5.0).log10()).ceil().clamp(0.0, 9.0) as usize;
    move |&value| match value {
        0.0 => "0".into(),
        _ if decimals > 4 || value.abs() >= 1e5 => format!("{value:.1e}"),
        _ => format!("{value:.decimals$}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(values: &[f64]) -> Line {
        let point = |(at, &mean): (usize, &f64)| Point { at: at as u64 + 1, mean, low: mean, high: mean };
        Line { name: "x".into(), colour: 0, points: values.iter().enumerate().map(point).collect() }
    }

    #[test]
    fn axes_hold_the_points() {
        let check = |values: &[f64], percent: bool, expected: (f64, f64)| {
            let (low, high) = span(line(values).points.iter(), percent);
            assert!((low - expected.0).abs() < 1e-9 && (high - expected.1).abs() < 1e-9, "{low} {high}");
        };
        check(&[50.0, 75.0], true, (48.5, 76.5));
        check(&[1.0, 99.0], true, (0.0, 100.0));
        check(&[100.0], true, (90.0, 100.0));
        check(&[0.0], false, (0.0, 1.0));
        check(&[2.0, 2.0], false, (1.8, 2.2));
        check(&[-1.0, 1.0], false, (-1.12, 1.12));
    }

    #[test]
    fn ticks_show_their_steps() {
        for (range, value, text) in [
            (100.0, 20.0, "20"),
            (2.0, 1.5, "1.5"),
            (0.05, 0.01, "0.01"),
            (0.001, 0.0004, "0.0004"),
            (1e-5, 4e-6, "4.0e-6"),
            (1e8, 2e7, "2.0e7"),
            (1.0, 0.0, "0"),
        ] {
            assert_eq!(tick(range)(&value), text);
        }
    }

    #[test]
    fn any_finite_curve_can_be_drawn() {
        let long: Vec<f64> = (0..300).map(|epoch| 3.0 / (1.0 + f64::from(epoch))).collect();
        for values in [&[0.5][..], &[0.0, 0.0], &[1e-12, 2e-12], &[1e30, 1.0], &[-3.0, 4.0], &long] {
            for colour in [0, 6, 9] {
                let lines = vec![Line { colour, ..line(values) }, line(&[1.0])];
                let chart = Chart { title: "a test".into(), unit: "loss", lines, across: None };
                let svg = draw(&chart).unwrap();
                assert!(
                    svg.starts_with("<svg viewBox=\"0 0 1800 1050\"") && svg.trim_end().ends_with("</svg>")
                );
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{values:?}");
            }
        }
    }
}
