//! Lines, dots and text on either backend, in units of 1/SCALE of its pixels.

use super::PlotError;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels of the backend in one unit: both backends place everything at whole pixels, which shows at 1.
pub(super) const SCALE: u32 = 3;
pub(super) const FONT: &str = "sans-serif";

/// A point in units from the top left corner.
pub(super) type Point = (f64, f64);

pub(super) struct Canvas<B: DrawingBackend>(DrawingArea<B, Shift>);

impl<B: DrawingBackend> Canvas<B> {
    /// The whole of `backend`, in white.
    pub fn new(backend: B) -> Result<Self, PlotError> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE).map_err(drawing::<B>)?;
        Ok(Self(area))
    }

    pub fn line(&self, points: &[Point], color: RGBColor, width: f64) -> Result<(), PlotError> {
        let points: Vec<_> = points.iter().map(|p| pixel(*p)).collect();
        let style = color.stroke_width(pixels(width).unsigned_abs());
        self.0.draw(&PathElement::new(points, style)).map_err(drawing::<B>)
    }

    pub fn dot(&self, center: Point, radius: f64, color: RGBColor) -> Result<(), PlotError> {
        self.0.draw(&Circle::new(pixel(center), pixels(radius), color.filled())).map_err(drawing::<B>)
    }

    /// Text with its end named by `side` at `at`, vertically centred there.
    pub fn text(&self, at: Point, side: HPos, text: &str, font: Font) -> Result<(), PlotError> {
        let style = font.style().pos(Pos::new(side, VPos::Center));
        // Both backends centre small letters; digits and capitals are taller.
        let at = (at.0, at.1 + 0.1 * font.size);
        self.0.draw(&Text::new(text, pixel(at), style)).map_err(drawing::<B>)
    }

    /// Units from the start of `text` to its end.
    pub fn text_width(&self, text: &str, font: Font) -> Result<f64, PlotError> {
        let size = self.0.estimate_text_size(text, &font.style()).map_err(drawing::<B>)?;
        Ok(f64::from(size.0) / f64::from(SCALE))
    }

    /// Completes the picture.
    pub fn present(self) -> Result<(), PlotError> {
        self.0.present().map_err(drawing::<B>)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Font {
    pub size: f64,
    pub bold: bool,
    pub color: RGBColor,
}

impl Font {
    fn style(self) -> TextStyle<'static> {
        let weight = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::Name(FONT), self.size * f64::from(SCALE), weight).color(&self.color)
    }
}

fn pixels(units: f64) -> i32 {
    (units * f64::from(SCALE)).round() as i32
}

fn pixel(point: Point) -> (i32, i32) {
    (pixels(point.0), pixels(point.1))
}

fn drawing<B: DrawingBackend>(error: DrawingAreaErrorKind<B::ErrorType>) -> PlotError {
    PlotError::Drawing(error.to_string())
}
