//! One chart of the figure: axes, curves with their names at the right ends, the best epoch.

use super::canvas::{Canvas, Font, Point};
use super::{FAINT_INK, INK, PlotError};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// More points than this are drawn without a dot for each.
const MOST_DOTS: usize = 40;
/// Values from here on, and what is no number, are left out.
const UNDRAWABLE: f64 = 1e100;
/// Text needs so many units of height.
const LABEL_HEIGHT: f64 = 18.0;

const GRID: RGBColor = RGBColor(230, 230, 230);
const MARK: RGBColor = RGBColor(205, 205, 205);
/// Colour of the curves of training, which stay in the background.
pub(super) const TRAINING: RGBColor = RGBColor(150, 150, 150);

/// A curve: its name, colour, and points. Name and last value stand beside it, unless that is not wanted.
pub(super) struct Curve {
    name: String,
    color: RGBColor,
    points: Vec<Point>,
    is_labelled: bool,
}

impl Curve {
    pub fn new(name: impl Into<String>, color: RGBColor, points: impl Iterator<Item = Point>) -> Self {
        Self {
            name: name.into(),
            color,
            points: points.filter(|(_, value)| value.abs() < UNDRAWABLE).collect(),
            is_labelled: true,
        }
    }

    pub fn unlabelled(self) -> Self {
        Self { is_labelled: false, ..self }
    }

    pub fn largest(&self) -> Option<f64> {
        self.points.iter().map(|(_, value)| *value).max_by(f64::total_cmp)
    }
}

/// The horizontal axis: its name, range, and labelled ticks.
pub(super) struct Axis {
    name: &'static str,
    range: (f64, f64),
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Something that is counted from the first value on; a single one stands in the middle.
    pub fn counted(name: &'static str, (first, last): (f64, f64)) -> Self {
        let range = if first < last { (first, last) } else { (first - 0.5, first + 0.5) };
        let step = tick_step(range.1 - range.0, 8).0.max(1.0);
        // Where it counts from 1, a round step starts with the first itself.
        let round = ticks(range, step).filter(|x| x - range.0 > 0.3 * step || step == 1.0);
        let first = (step > 1.0).then_some(range.0);
        let ticks = first.into_iter().chain(round).map(|x| (x, format!("{x:.0}"))).collect();
        Self { name, range, ticks }
    }

    /// Powers of two: a point at x stands for `2^x`.
    pub fn powers_of_two(name: &'static str, last: u32) -> Self {
        Self::labelled(name, (0..=last).map(|x| (f64::from(x), (1u64 << x).to_string())).collect())
    }

    /// From 0 to the last of these ticks, at most twelve of which are labelled.
    pub fn labelled(name: &'static str, mut ticks: Vec<(f64, String)>) -> Self {
        let last = ticks.last().map_or(1.0, |tick| tick.0.max(1.0));
        let (every, mut i) = (ticks.len() / 12 + 1, 0..);
        ticks.retain(|_| i.next().is_some_and(|i: usize| i.is_multiple_of(every)));
        Self { name, range: (0.0, last), ticks }
    }
}

/// One chart: where it lies in the figure and what its axes span.
pub(super) struct Panel {
    left: f64,
    right: f64,
    axis: Axis,
    values: (f64, f64),
    best: Option<f64>,
    /// Places on the axis where something begins, and its name.
    marks: Vec<(f64, String)>,
}

impl Panel {
    const TOP: f64 = 142.0;
    const BOTTOM: f64 = 468.0;

    pub fn new(left: f64, right: f64, axis: Axis, values: (f64, f64), best: Option<f64>) -> Self {
        Self { left, right, axis, values, best, marks: Vec::new() }
    }

    /// This panel with a vertical line at each of `marks`, where something begins.
    pub fn marked(self, marks: &[(f64, String)]) -> Self {
        Self { marks: marks.to_vec(), ..self }
    }

    fn x(&self, x: f64) -> f64 {
        let (first, last) = self.axis.range;
        self.left + (self.right - self.left) * (x - first) / (last - first)
    }

    /// Values beyond the range lie on its edge.
    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let share = (value.clamp(low, high) - low) / (high - low);
        Self::BOTTOM - (Self::BOTTOM - Self::TOP) * share
    }

    pub fn draw<B: DrawingBackend>(
        &self,
        canvas: &Canvas<B>,
        caption: &str,
        curves: &[Curve],
        unit: &str,
    ) -> Result<(), PlotError> {
        let font = Font { size: 16.0, bold: true, color: INK };
        canvas.text((self.left - 40.0, Self::TOP - 42.0), HPos::Left, caption, font)?;
        self.draw_axes(canvas, unit)?;
        self.draw_marks(canvas)?;
        self.draw_best_line(canvas)?;
        for curve in curves {
            self.draw_curve(canvas, curve)?;
        }
        let named = curves.iter().filter(|c| c.is_labelled);
        let labels = named.filter_map(|c| Some((c, c.points.last()?.1))).collect();
        for (curve, value, y) in self.place_labels(labels) {
            let value = number(value, if unit.is_empty() { 3 } else { 1 });
            let text = format!("{} {value}{unit}", curve.name);
            let color = if curve.color == TRAINING { FAINT_INK } else { curve.color };
            let font = Font { size: 14.0, bold: false, color };
            canvas.text((self.right + 12.0, y), HPos::Left, &text, font)?;
        }
        Ok(())
    }

    fn draw_axes<B: DrawingBackend>(&self, canvas: &Canvas<B>, unit: &str) -> Result<(), PlotError> {
        let font = Font { size: 13.0, bold: false, color: FAINT_INK };
        let (step, decimals) = tick_step(self.values.1 - self.values.0, 6);
        for value in ticks(self.values, step) {
            let y = self.y(value);
            canvas.line(&[(self.left, y), (self.right, y)], GRID, 1.0)?;
            canvas.text(
                (self.left - 9.0, y),
                HPos::Right,
                &format!("{}{unit}", number(value, decimals)),
                font,
            )?;
        }
        canvas.line(&[(self.left, Self::BOTTOM), (self.right, Self::BOTTOM)], FAINT_INK, 1.0)?;
        for (x, label) in &self.axis.ticks {
            let x = self.x(*x);
            canvas.line(&[(x, Self::BOTTOM), (x, Self::BOTTOM + 5.0)], FAINT_INK, 1.0)?;
            canvas.text((x, Self::BOTTOM + 17.0), HPos::Center, label, font)?;
        }
        let middle = (self.left + self.right) / 2.0;
        canvas.text((middle, Self::BOTTOM + 42.0), HPos::Center, self.axis.name, font)
    }

    fn draw_marks<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError> {
        let font = Font { size: 11.0, bold: false, color: FAINT_INK };
        for (at, name) in &self.marks {
            let x = self.x(*at);
            canvas.line(&[(x, Self::TOP), (x, Self::BOTTOM)], MARK, 1.0)?;
            canvas.text((x + 4.0, Self::BOTTOM - 8.0), HPos::Left, name, font)?;
        }
        Ok(())
    }

    fn draw_best_line<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError> {
        const DASH: f64 = 5.0;
        let Some(best) = self.best else { return Ok(()) };
        let x = self.x(best);
        let mut y = Self::TOP - 6.0;
        while y < Self::BOTTOM {
            canvas.line(&[(x, y), (x, (y + DASH).min(Self::BOTTOM))], TRAINING, 1.0)?;
            y += 2.0 * DASH;
        }
        let font = Font { size: 13.0, bold: false, color: FAINT_INK };
        canvas.text((x, Self::TOP - 15.0), HPos::Center, "best", font)
    }

    fn draw_curve<B: DrawingBackend>(&self, canvas: &Canvas<B>, curve: &Curve) -> Result<(), PlotError> {
        let points: Vec<_> = curve.points.iter().map(|(e, v)| (self.x(*e), self.y(*v))).collect();
        if points.len() > 1 {
            canvas.line(&points, curve.color, 2.0)?;
        }
        if points.len() <= MOST_DOTS {
            for point in &points {
                canvas.dot(*point, 3.0, curve.color)?;
            }
        }
        let best = curve.points.iter().position(|p| Some(p.0) == self.best);
        if let Some(best) = best.filter(|_| curve.color != TRAINING) {
            canvas.dot(points[best], 5.5, curve.color)?;
            canvas.dot(points[best], 3.0, WHITE)?;
        }
        Ok(())
    }

    /// Each curve with its last value and the height of its label: next to the last point, or as near as leaves
    /// every label its room.
    fn place_labels<'a>(&self, mut labels: Vec<(&'a Curve, f64)>) -> Vec<(&'a Curve, f64, f64)> {
        labels.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut placed: Vec<_> = labels.into_iter().map(|(c, value)| (c, value, self.y(value))).collect();
        let mut lowest = Self::BOTTOM - 4.0;
        for (_, _, y) in &mut placed {
            *y = y.min(lowest);
            lowest = *y - LABEL_HEIGHT;
        }
        let mut highest = Self::TOP;
        for (_, _, y) in placed.iter_mut().rev() {
            *y = y.max(highest);
            highest = *y + LABEL_HEIGHT;
        }
        placed
    }
}

/// From zero, or from below the least loss where the curves would fill less than half of that; at most five times
/// the median, so that one bad epoch does not flatten all others.
pub(super) fn loss_range(losses: &[Curve]) -> (f64, f64) {
    let mut values: Vec<f64> = losses.iter().flat_map(|c| &c.points).map(|p| p.1).collect();
    values.sort_by(f64::total_cmp);
    let (Some(&least), Some(&most)) = (values.first(), values.last()) else { return (0.0, 1.0) };
    let most = most.min(5.0 * values[values.len() / 2]).max(1e-6);
    let low = if least < most / 2.0 { 0.0 } else { least - (0.15 * (most - least)).max(0.02 * most) };
    let (low, high) = (low.max(0.0), most + 0.02 * (most - low));
    let step = tick_step(high - low, 6).0;
    ((low / step).floor() * step, (high / step).ceil() * step)
}

/// The least of 1, 2 and 5 times a power of ten that divides `span` into at most `most` parts, and the decimals
/// it needs.
fn tick_step(span: f64, most: usize) -> (f64, usize) {
    let power = (span / most as f64).max(1e-9).log10().floor() as i32;
    let magnitude = 10f64.powi(power);
    let steps = [(1.0, 0), (2.0, 0), (5.0, 0), (10.0, -1)];
    let (factor, decimals) =
        *steps.iter().find(|s| s.0 * magnitude * most as f64 >= span * (1.0 - 1e-9)).unwrap_or(&steps[3]);
    (factor * magnitude, (decimals - power).max(0) as usize)
}

/// Multiples of `step` in a range.
fn ticks((low, high): (f64, f64), step: f64) -> impl Iterator<Item = f64> {
    let last = (high / step + 1e-6).floor();
    let first = (low / step - 1e-6).ceil();
    (0..=(last - first).max(0.0) as usize).map(move |i| (first + i as f64) * step)
}

fn number(value: f64, decimals: usize) -> String {
    if value.abs() < 1e5 { format!("{value:.decimals$}") } else { format!("{value:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_curves_that_end_together_do_not_overlap() {
        let curves = [100.0, 99.9, 99.8, 0.0, 0.1].map(|v| Curve::new("", INK, [(1.0, v)].into_iter()));
        let panel = Panel::new(0.0, 100.0, Axis::counted("epoch", (1.0, 2.0)), (0.0, 100.0), None);
        let placed = panel.place_labels(curves.iter().map(|c| (c, c.points[0].1)).collect());
        assert!(placed.windows(2).all(|pair| pair[0].2 - pair[1].2 >= LABEL_HEIGHT - 1e-9));
        assert!(placed.iter().all(|label| (Panel::TOP..=Panel::BOTTOM).contains(&label.2)));
    }

    #[test]
    fn ticks_are_round_numbers() {
        let of = |low, high, most| {
            let (step, decimals) = tick_step(high - low, most);
            ticks((low, high), step).map(|t| format!("{t:.decimals$}")).collect::<Vec<_>>()
        };
        assert_eq!(of(0.0, 100.0, 6), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(of(0.0, 2.1, 6), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(of(0.48, 0.53, 5), ["0.48", "0.49", "0.50", "0.51", "0.52", "0.53"]);
        assert_eq!(of(1.0, 1000.0, 8), ["200", "400", "600", "800", "1000"]);
    }
}
