//! Whether costs grow in a straight line, and by what. Pure.

/// `cost = each * count + more * of_that`, by least squares of what each costs relatively: a point of
/// few events counts as much as one of many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    /// What does not grow.
    pub(crate) base: f64,
    pub(crate) slope: f64,
    /// The farthest that a point is from the line, as a part of the line there.
    pub(crate) farthest: f64,
    /// Where that point is.
    pub(crate) at: f64,
}

/// The line through points, if there are three that differ.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<Line> {
    if points.len() < 3 {
        return None;
    }
    // Weighted by 1/y^2: relative errors.
    let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in points {
        let weight = 1.0 / (y * y).max(f64::MIN_POSITIVE);
        w += weight;
        wx += weight * x;
        wy += weight * y;
        wxx += weight * x * x;
        wxy += weight * x * y;
    }
    let below = w * wxx - wx * wx;
    if below.abs() < f64::EPSILON * wxx.abs() {
        return None;
    }
    let slope = (w * wxy - wx * wy) / below;
    let base = (wy - slope * wx) / w;
    let away = |(x, y): &(f64, f64)| (y - (base + slope * x)).abs() / (base + slope * x).abs();
    let farthest = points.iter().max_by(|one, other| away(one).total_cmp(&away(other)))?;
    Some(Line { base, slope, farthest: away(farthest), at: farthest.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_is_found_and_a_bend_is_told() {
        let straight: Vec<(f64, f64)> =
            [20.0, 100.0, 1e3, 1e4].map(|x| (x, 0.3 + 0.002 * x)).to_vec();
        let line = line(&straight).unwrap();
        assert!((line.base - 0.3).abs() < 1e-6 && (line.slope - 0.002).abs() < 1e-9, "{line:?}");
        assert!(line.farthest < 1e-6);
        let bent = [(1.0, 1.0), (10.0, 10.0), (100.0, 1000.0)];
        let line = super::line(&bent).unwrap();
        assert!(line.farthest > 0.3 && bent.iter().any(|(x, _)| *x == line.at), "{line:?}");
        assert_eq!(super::line(&straight[..2]), None);
        assert_eq!(super::line(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
