//! Lying bars.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::chart::{BAR_HEIGHT, Chart, GROUP_GAP, GROUP_HEIGHT, Group, TITLE_HEIGHT};
use crate::palette::Palette;

const LEFT: i32 = 14;
/// Where bars begin: behind their names.
const BARS_FROM: i32 = 210;
/// What the values behind the bars take.
const VALUES: i32 = 190;
const GAP: i32 = 5;

pub(crate) fn draw<'a>(
    root: &DrawingArea<SVGBackend<'a>, Shift>,
    chart: &Chart,
    groups: &[Group],
    palette: &Palette,
) -> Result<(), Box<dyn Error>> {
    let text = |size: i32, colour: &RGBColor, horizontal| {
        let style = ("sans-serif", size).into_font().color(colour);
        style.pos(Pos::new(horizontal, VPos::Center))
    };
    let title = ("sans-serif", 18).into_font().style(FontStyle::Bold).color(&palette.ink);
    root.draw_text(&chart.title, &title, (LEFT, 14))?;
    let room = chart.width as i32 - BARS_FROM - VALUES;
    let mut top = TITLE_HEIGHT as i32;
    for group in groups {
        let middle = top + GROUP_HEIGHT as i32 / 2;
        let heading = ("sans-serif", 14).into_font().style(FontStyle::Bold).color(&palette.ink);
        let heading = heading.pos(Pos::new(HPos::Left, VPos::Center));
        root.draw_text(&group.label, &heading, (LEFT, middle))?;
        root.draw_text(&group.unit, &text(12, &palette.soft, HPos::Left), (BARS_FROM, middle))?;
        top += GROUP_HEIGHT as i32;
        let longest = group.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
        for bar in &group.bars {
            let bottom = top + BAR_HEIGHT as i32;
            let middle = (top + bottom) / 2;
            let end = BARS_FROM + (bar.value / longest * f64::from(room)).round().max(1.0) as i32;
            let name = text(13, &palette.ink, HPos::Right);
            root.draw_text(&bar.label, &name, (BARS_FROM - 10, middle))?;
            let area = [(BARS_FROM, top + GAP / 2), (end, bottom - GAP / 2 - 1)];
            root.draw(&Rectangle::new(area, palette.of(bar.role).filled()))?;
            let value = text(12, &palette.soft, HPos::Left);
            root.draw_text(&bar.text, &value, (end + 8, middle))?;
            top = bottom;
        }
        top += GROUP_GAP as i32;
    }
    Ok(())
}
