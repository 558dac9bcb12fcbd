//! What is drawn. The harness writes it, this reads it.

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Chart {
    /// The file's, without its ending.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) width: u32,
    #[serde(flatten)]
    pub(crate) body: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Body {
    /// Lying bars with their values behind them, in groups with a scale of their own.
    Bars { groups: Vec<Group> },
    /// Lines over a logarithmic or plain scale, in panels side by side.
    Lines { panels: Vec<Panel> },
}

#[derive(Deserialize)]
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) unit: String,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Deserialize)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// The value as it is read.
    pub(crate) text: String,
    /// Its colour's place in the palette.
    pub(crate) role: usize,
}

#[derive(Deserialize)]
pub(crate) struct Panel {
    pub(crate) label: String,
    pub(crate) x: String,
    pub(crate) y: String,
    #[serde(default)]
    pub(crate) log_x: bool,
    #[serde(default)]
    pub(crate) log_y: bool,
    pub(crate) series: Vec<Series>,
}

#[derive(Deserialize)]
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) role: usize,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) const TITLE_HEIGHT: u32 = 44;
pub(crate) const GROUP_HEIGHT: u32 = 34;
pub(crate) const BAR_HEIGHT: u32 = 24;
pub(crate) const GROUP_GAP: u32 = 14;
/// Panels, with the names of the lines below them.
const PANEL_HEIGHT: u32 = 410;
const MARGIN: u32 = 12;

impl Chart {
    pub(crate) fn height(&self) -> u32 {
        match &self.body {
            Body::Bars { groups } => {
                let of =
                    |group: &Group| GROUP_HEIGHT + group.bars.len() as u32 * BAR_HEIGHT + GROUP_GAP;
                TITLE_HEIGHT + groups.iter().map(of).sum::<u32>() + MARGIN
            }
            Body::Lines { .. } => TITLE_HEIGHT + PANEL_HEIGHT,
        }
    }
}
