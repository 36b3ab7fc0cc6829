//! Curves, as SVG.

use std::ops::Range;

use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 420);
/// Told apart by those who see few colours, too.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// A named curve.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// All curves in one picture; both axes are logarithmic, so that what is linear is a straight line, and what is flat is flat.
pub fn svg(title: &str, x: &str, y: &str, curves: &[Curve]) -> String {
    let mut text = String::new();
    draw(&mut text, title, (x, y), curves).expect("text can be drawn on");
    text
}

fn draw<'a>(
    text: &'a mut String,
    title: &str,
    (x, y): (&str, &str),
    curves: &[Curve],
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            span(all().map(|point| point.0)).log_scale(),
            span(all().map(|point| point.1)).log_scale(),
        )?;
    chart.configure_mesh().x_desc(x).y_desc(y).light_line_style(TRANSPARENT).draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present()
}

/// With room above and below.
fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    low / 1.5..high * 1.5
}
