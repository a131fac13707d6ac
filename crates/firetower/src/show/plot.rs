//! Series drawn with Braille dots.

use serde_json::Value;
use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};

use crate::show::query::{Series, moment, series};

/// Size of one drawing in dots: two to a column, four to a line.
const WIDTH: u32 = 200;
const HEIGHT: u32 = 40;
/// How many series are drawn.
const SERIES_MAX: usize = 10;

/// Returns a drawing of each series, the first ones if there are many. Where a step has no value the line is broken.
pub(super) fn plot_text(data: &Value, step: Option<f64>) -> String {
    let all = series(data);
    let mut text: String = all.iter().take(SERIES_MAX).map(|series| drawing(series, step)).collect();
    if all.is_empty() {
        text += "nothing found\n";
    }
    if all.len() > SERIES_MAX {
        text += &format!("and {} more series\n", all.len() - SERIES_MAX);
    }
    text
}

fn drawing(series: &Series<'_>, step: Option<f64>) -> String {
    let mut lines: Vec<Vec<(f32, f32)>> = Vec::new();
    let begin = series.samples.first().map_or(0.0, |(at, _)| *at);
    let mut last = None;
    for (at, value) in &series.samples {
        let Some(value) = value.parse().ok().filter(|value: &f64| value.is_finite()) else { continue };
        let is_next = last.zip(step).is_none_or(|(last, step): (f64, f64)| at - last < 1.5 * step);
        if last.is_none() || !is_next {
            lines.push(Vec::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push(((at - begin) as f32, value as f32));
        }
        last = Some(*at);
    }
    let Some(last) = last else { return format!("{}: no finite value\n", series.name()) };
    let shapes: Vec<Shape<'_>> =
        lines.iter().map(|line| if line.len() == 1 { Shape::Points(line) } else { Shape::Lines(line) }).collect();
    let mut chart = Chart::new(WIDTH, HEIGHT, 0.0, ((last - begin) as f32).max(1.0));
    let chart = shapes.iter().fold(&mut chart, |chart, shape| chart.lineplot(shape));
    let chart = chart.x_label_format(LabelFormat::Custom(Box::new(move |x| moment(begin + f64::from(x)))));
    let chart = chart.y_label_format(LabelFormat::Custom(Box::new(|y| y.to_string())));
    chart.axis();
    chart.figures();
    format!("{}\n{chart}\n", series.name())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gap_breaks_the_line_and_the_ends_are_named() {
        let data = json!({ "resultType": "matrix", "result": [
            { "metric": { "__name__": "m" }, "values": [[0, "0"], [10, "5"], [20, "NaN"], [60, "5"], [100, "10"]] },
            { "metric": { "__name__": "n" }, "values": [[0, "NaN"]] },
        ] });
        let text = plot_text(&data, Some(10.0));
        assert!(text.starts_with("m\n"), "{text}");
        assert!(text.ends_with("n: no finite value\n"), "{text}");
        for end in ["1970-01-01T00:00:00Z", "1970-01-01T00:01:40Z", " 10\n", " 0\n"] {
            assert!(text.contains(end), "{end:?} in\n{text}");
        }
        // A line from the first to the last value has dots in each column; this one has none for a third of them.
        let columns = |text: &str| text.chars().filter(|dot| ('\u{2801}'..='\u{28ff}').contains(dot)).count();
        assert!(columns(&text) < columns(&plot_text(&data, None)), "{text}");
        assert_eq!(plot_text(&json!({ "result": [] }), None), "nothing found\n");
    }
}
