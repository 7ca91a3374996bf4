//! Pictures that a person would show others, each as PNG and SVG: a training history, runs side by side, what thinking
//! longer gains, what pruning costs, and how speed scales.

mod canvas;
mod comparison;
mod history;
mod panel;
mod scaling;
mod sparsity;
mod thinking;

pub use comparison::draw_comparison;
pub use history::draw_history;
pub use scaling::draw_scaling;
pub use sparsity::draw_sparsity;
pub use thinking::draw_thinking;

use crate::atomic_file::write_atomically;
use canvas::{Canvas, FONT, Font, SCALE};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use plotters::style::{FontStyle, register_font};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Once;

/// Width and height in units; the SVG is so many pixels large.
const SIZE: (u32, u32) = (1200, 540);
/// Pixels drawn that make one of the PNG, in each direction: smooth lines without a smoothing backend.
const SHRINK: u32 = 2;

const INK: RGBColor = RGBColor(38, 38, 38);
const FAINT_INK: RGBColor = RGBColor(105, 105, 105);
// Okabe and Ito's colours, which do not depend on full colour vision.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
/// In this order, for any number of curves.
const COLORS: [RGBColor; 7] =
    [INK, BLUE, VERMILION, GREEN, RGBColor(230, 159, 0), RGBColor(86, 180, 233), RGBColor(204, 121, 167)];

/// Why no picture was made.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Nothing to show.
    #[error("there is nothing to draw yet")]
    Empty,
    /// The drawing failed.
    #[error("drawing: {0}")]
    Drawing(String),
    /// The file could not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A picture, drawn once on each backend.
trait Figure {
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError>;
}

/// Writes a figure as PNG and SVG.
fn save(figure: &impl Figure, png: &Path, svg: &Path) -> Result<(), PlotError> {
    register_fonts();
    let (width, height) = (SIZE.0 * SCALE, SIZE.1 * SCALE);

    let mut text = String::new();
    figure.draw(&Canvas::new(SVGBackend::with_string(&mut text, (width, height)))?)?;
    let drawn_size = format!(r#"width="{width}" height="{height}""#);
    let text = text.replacen(&drawn_size, &format!(r#"width="{}" height="{}""#, SIZE.0, SIZE.1), 1);
    write_atomically(svg, |file| file.write_all(text.as_bytes()))?;

    let mut pixels = vec![0; (width * height * 3) as usize];
    let canvas = Canvas::new(BitMapBackend::with_buffer(&mut pixels, (width, height)))?;
    figure.draw(&canvas)?;
    canvas.present()?;
    let pixels = shrink(&pixels, width);
    write_atomically(png, |file| {
        let encoder = image::codecs::png::PngEncoder::new(file);
        let (width, height) = (width / SHRINK, height / SHRINK);
        image::ImageEncoder::write_image(encoder, &pixels, width, height, image::ColorType::Rgb8)
            .map_err(io::Error::other)
    })?;
    Ok(())
}

/// The title of a figure, and a line under it that says what came out.
fn heading<B: DrawingBackend>(canvas: &Canvas<B>, title: &str, summary: &str) -> Result<(), PlotError> {
    let mut font = Font { size: 22.0, bold: true, color: INK };
    let room = f64::from(SIZE.0) - 60.0;
    font.size *= (room / canvas.text_width(title, font)?.max(1.0)).min(1.0);
    canvas.text((30.0, 32.0), HPos::Left, title, font)?;
    let font = Font { size: 15.0, bold: false, color: FAINT_INK };
    canvas.text((30.0, 60.0), HPos::Left, summary, font)
}

fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A face that cannot be read would only leave the labels out.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font(FONT, FontStyle::Bold, dejavu::sans::bold());
    });
}

/// The mean of each square of `SHRINK` x `SHRINK` RGB pixels in rows of `width`.
fn shrink(pixels: &[u8], width: u32) -> Vec<u8> {
    let (side, row) = (SHRINK as usize, 3 * width as usize);
    let mut small = Vec::with_capacity(pixels.len() / (side * side));
    for rows in pixels.chunks_exact(side * row) {
        for x in (0..row).step_by(3 * side) {
            for channel in x..x + 3 {
                let square = (0..side).flat_map(|r| (0..side).map(move |c| r * row + channel + 3 * c));
                let sum: usize = square.map(|i| usize::from(rows[i])).sum();
                small.push((sum / (side * side)) as u8);
            }
        }
    }
    small
}
