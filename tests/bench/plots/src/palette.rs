//! Colours for light and dark pages: GitHub's papers, and hues that are told apart on both, also by
//! those who see fewer of them (Okabe and Ito's, the dark ones lifted).

use plotters::style::RGBColor;

pub(crate) struct Palette {
    pub(crate) name: &'static str,
    pub(crate) paper: RGBColor,
    pub(crate) ink: RGBColor,
    pub(crate) soft: RGBColor,
    pub(crate) grid: RGBColor,
    /// Rust, C, Node, Python, what bounds all, peers.
    pub(crate) series: [RGBColor; 10],
}

pub(crate) const LIGHT: Palette = Palette {
    name: "light",
    paper: RGBColor(255, 255, 255),
    ink: RGBColor(31, 35, 40),
    soft: RGBColor(89, 99, 110),
    grid: RGBColor(225, 228, 232),
    series: [
        RGBColor(213, 94, 0),
        RGBColor(0, 114, 178),
        RGBColor(0, 158, 115),
        RGBColor(186, 140, 0),
        RGBColor(110, 119, 129),
        RGBColor(174, 182, 191),
        RGBColor(204, 121, 167),
        RGBColor(86, 180, 233),
        RGBColor(150, 110, 200),
        RGBColor(140, 86, 75),
    ],
};

pub(crate) const DARK: Palette = Palette {
    name: "dark",
    paper: RGBColor(13, 17, 23),
    ink: RGBColor(240, 246, 252),
    soft: RGBColor(145, 152, 161),
    grid: RGBColor(48, 54, 61),
    series: [
        RGBColor(240, 136, 62),
        RGBColor(88, 166, 255),
        RGBColor(63, 185, 130),
        RGBColor(227, 179, 65),
        RGBColor(139, 148, 158),
        RGBColor(88, 96, 105),
        RGBColor(226, 150, 190),
        RGBColor(130, 205, 245),
        RGBColor(180, 150, 230),
        RGBColor(190, 140, 130),
    ],
};

impl Palette {
    pub(crate) fn of(&self, role: usize) -> RGBColor {
        self.series[role % self.series.len()]
    }
}

/// As SVG has it.
#[cfg(test)]
pub(crate) fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}
