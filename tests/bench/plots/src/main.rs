//! `bench-plots FILE`: draws the charts that a file of JSON describes, each twice: `NAME-light.svg`
//! and `NAME-dark.svg` in the folder the file names.

mod bars;
mod chart;
mod lines;
mod palette;

use std::error::Error;
use std::path::PathBuf;

use chart::{Body, Chart};
use palette::Palette;
use plotters::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    folder: PathBuf,
    charts: Vec<Chart>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("use: bench-plots FILE")?;
    let order: Order = serde_json::from_slice(&std::fs::read(file)?)?;
    std::fs::create_dir_all(&order.folder)?;
    for chart in &order.charts {
        for palette in [palette::LIGHT, palette::DARK] {
            let file = order.folder.join(format!("{}-{}.svg", chart.name, palette.name));
            std::fs::write(&file, draw(chart, &palette)?)?;
        }
    }
    Ok(())
}

/// The picture as SVG text.
fn draw(chart: &Chart, palette: &Palette) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let size = (chart.width, chart.height());
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&palette.paper)?;
        match &chart.body {
            Body::Bars { groups } => bars::draw(&root, chart, groups, palette)?,
            Body::Lines { panels } => lines::draw(&root, chart, panels, palette)?,
        }
        root.present()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(body: &str) -> String {
        let text = format!(r#"{{"name":"a","title":"A title","width":800,{body}}}"#);
        draw(&serde_json::from_str(&text).unwrap(), &palette::DARK).unwrap()
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let svg = drawn(
            r#""bars":{"groups":[{"label":"JSON","unit":"M/s","bars":[
                {"label":"ours","value":2.0,"text":"2.00","role":0},
                {"label":"theirs","value":1.0,"text":"1.00","role":5}]}]}"#,
        );
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| {
                line.starts_with("<rect")
                    && line.contains(palette::hex(palette::DARK.series[0]).as_str())
                    || line.contains(palette::hex(palette::DARK.series[5]).as_str())
            })
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.05, "{widths:?}");
        for word in ["A title", "JSON", "ours", "theirs", "2.00"] {
            assert!(svg.contains(word), "{word}");
        }
    }

    #[test]
    fn a_line_has_its_points_and_its_name() {
        let svg = drawn(
            r#""lines":{"panels":[{"label":"at 0 ms","x":"events/s","y":"ms","log_x":true,"log_y":true,
                "series":[{"label":"Rust","role":0,"points":[[1.0,0.2],[1000.0,0.3],[50000.0,1.5]]}]}]}"#,
        );
        let line = svg.lines().find(|line| {
            line.starts_with("<polyline") && line.contains(&palette::hex(palette::DARK.series[0]))
        });
        let points = line.and_then(|line| line.split("points=\"").nth(1)).unwrap();
        assert_eq!(points.split('"').next().unwrap().split_whitespace().count(), 3);
        assert!(svg.contains("Rust") && svg.contains("at 0 ms"));
    }
}
