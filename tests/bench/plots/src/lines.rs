//! Lines over scales.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::chart::{Chart, Panel, TITLE_HEIGHT};
use crate::palette::Palette;

/// What the names of the lines take, below the panels.
const NAMES_HEIGHT: i32 = 60;
const NAME_ROW: i32 = 26;
const NAME_GAP: i32 = 34;
const DOT: i32 = 4;
/// Room above and below the lines, as a factor (logarithmic) or a part (plain).
const HEADROOM: f64 = 1.6;

pub(crate) fn draw<'a>(
    root: &DrawingArea<SVGBackend<'a>, Shift>,
    chart: &Chart,
    panels: &[Panel],
    palette: &Palette,
) -> Result<(), Box<dyn Error>> {
    let title = ("sans-serif", 18).into_font().style(FontStyle::Bold).color(&palette.ink);
    root.draw_text(&chart.title, &title, (14, 14))?;
    let (_, rest) = root.split_vertically(TITLE_HEIGHT);
    let height = rest.dim_in_pixel().1 as i32 - NAMES_HEIGHT;
    let (plots, names) = rest.split_vertically(height);
    for (area, panel) in plots.split_evenly((1, panels.len().max(1))).iter().zip(panels) {
        draw_panel(area, panel, palette)?;
    }
    draw_names(&names, chart.width as i32, panels, palette)
}

/// The names of all panels' lines, once each.
fn draw_names<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    width: i32,
    panels: &[Panel],
    palette: &Palette,
) -> Result<(), Box<dyn Error>> {
    let mut known: Vec<(&str, usize)> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        if !known.iter().any(|(label, _)| *label == series.label) {
            known.push((&series.label, series.role));
        }
    }
    // No font is asked: letters are about so wide.
    let wide = |label: &str| label.chars().count() as i32 * 7 + 16 + NAME_GAP;
    let mut rows: Vec<Vec<(&str, usize)>> = vec![Vec::new()];
    let mut left = 0;
    for name in known {
        left += wide(name.0);
        if left - NAME_GAP > width - 2 * NAME_GAP {
            rows.push(Vec::new());
            left = wide(name.0);
        }
        rows.last_mut().expect("there is one from the start").push(name);
    }
    let style = ("sans-serif", 13).into_font().color(&palette.ink);
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    for (row, middle) in rows.iter().zip((NAME_ROW / 2..).step_by(NAME_ROW as usize)) {
        let all: i32 = row.iter().map(|(label, _)| wide(label)).sum::<i32>() - NAME_GAP;
        let mut left = (width - all) / 2;
        for (label, role) in row {
            area.draw(&Circle::new((left + 5, middle), 5, palette.of(*role).filled()))?;
            area.draw_text(label, &style, (left + 16, middle))?;
            left += wide(label);
        }
    }
    Ok(())
}

/// A panel's scale: what is drawn is the logarithm where it is logarithmic, so that one chart serves.
struct Scale {
    log: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(log: bool, values: impl Iterator<Item = f64> + Clone, room: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        if log {
            let (least, most) = (least.max(f64::MIN_POSITIVE), most.max(f64::MIN_POSITIVE));
            return Scale { log, from: (least / room).log10(), to: (most * room).log10() };
        }
        Scale { log, from: 0.0, to: most * room.sqrt() }
    }

    fn place(&self, value: f64) -> f64 {
        if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value }
    }

    /// The value of a place, as it is read.
    fn text(&self, place: f64) -> String {
        let value = if self.log { 10f64.powf(place) } else { place };
        match value {
            value if value >= 1e6 => format!("{:.0} M", value / 1e6),
            value if value >= 1e4 => format!("{:.0} k", value / 1e3),
            value if value >= 10.0 || (value - value.round()).abs() < 1e-6 => format!("{value:.0}"),
            value => format!("{value:.2}").trim_end_matches('0').to_owned(),
        }
    }

    /// Whether a mark stands at a place: the powers of ten.
    fn marks(&self) -> Vec<f64> {
        if self.log {
            let (from, to) = (self.from.ceil() as i32, self.to.floor() as i32);
            let tens = (from..=to).map(f64::from).collect::<Vec<_>>();
            if tens.len() >= 2 {
                return tens;
            }
            // Less than two powers: the ones and threes between them too.
            let fine = (from - 1..=to + 1)
                .flat_map(|ten| [1.0, 2.0, 5.0].map(|part: f64| f64::from(ten) + part.log10()));
            return fine.filter(|place| (self.from..=self.to).contains(place)).collect();
        }
        let step = 10f64.powf((self.to / 2.0).log10().floor());
        let step = if self.to / step > 8.0 {
            step * 5.0
        } else if self.to / step > 4.0 {
            step * 2.0
        } else {
            step
        };
        (0..).map(|n| f64::from(n) * step).take_while(|place| *place <= self.to).collect()
    }
}

fn draw_panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    panel: &Panel,
    palette: &Palette,
) -> Result<(), Box<dyn Error>> {
    let points = || panel.series.iter().flat_map(|series| series.points.iter().copied());
    if points().next().is_none() {
        return Ok(());
    }
    let x = Scale::of(panel.log_x, points().map(|(x, _)| x), HEADROOM);
    let y = Scale::of(panel.log_y, points().map(|(_, y)| y), HEADROOM);
    let (width, height) = area.dim_in_pixel();
    let (left, right, top, bottom) = (58, width as i32 - 16, 34, height as i32 - 46);
    let at = |(px, py): (f64, f64)| {
        let part_x = (x.place(px) - x.from) / (x.to - x.from);
        let part_y = (y.place(py) - y.from) / (y.to - y.from);
        let pixel =
            |part: f64, from: i32, to: i32| from + (part * f64::from(to - from)).round() as i32;
        (pixel(part_x, left, right), pixel(part_y, bottom, top))
    };
    let unplace = |scale: &Scale, place: f64| if scale.log { 10f64.powf(place) } else { place };
    let text = |size: i32, colour: &RGBColor, horizontal, vertical| {
        ("sans-serif", size).into_font().color(colour).pos(Pos::new(horizontal, vertical))
    };
    for mark in x.marks() {
        let (px, _) = at((unplace(&x, mark), unplace(&y, y.from)));
        area.draw(&PathElement::new(vec![(px, top), (px, bottom)], palette.grid))?;
        let style = text(12, &palette.soft, HPos::Center, VPos::Top);
        area.draw_text(&x.text(mark), &style, (px, bottom + 6))?;
    }
    for mark in y.marks() {
        let (_, py) = at((unplace(&x, x.from), unplace(&y, mark)));
        area.draw(&PathElement::new(vec![(left, py), (right, py)], palette.grid))?;
        let style = text(12, &palette.soft, HPos::Right, VPos::Center);
        area.draw_text(&y.text(mark), &style, (left - 8, py))?;
    }
    let label = ("sans-serif", 14).into_font().style(FontStyle::Bold).color(&palette.ink);
    area.draw_text(&panel.label, &label, (left, 0))?;
    area.draw_text(&panel.y, &text(12, &palette.soft, HPos::Left, VPos::Center), (left, 24))?;
    let below = text(12, &palette.soft, HPos::Center, VPos::Top);
    area.draw_text(&panel.x, &below, ((left + right) / 2, bottom + 24))?;
    for series in &panel.series {
        let colour = palette.of(series.role);
        let path: Vec<(i32, i32)> = series.points.iter().map(|point| at(*point)).collect();
        area.draw(&PathElement::new(path.clone(), colour.stroke_width(2)))?;
        // Where there are so many that they would touch, the line is enough.
        let has_dots = path.len() as i32 * 3 * DOT < right - left;
        for point in path.into_iter().filter(|_| has_dots) {
            area.draw(&Circle::new(point, DOT, colour.filled()))?;
        }
    }
    Ok(())
}
