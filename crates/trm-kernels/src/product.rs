//! The products: of operands in any format, whole or in parts, and the gradient of a weight.

use crate::layout::{Overwrite, PANEL, Part, Start};
use crate::operands::{Kept, Left, Panels, Right, Rounded};
use crate::{Format, bf16, fixed, plain, quantised};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

/// Computes some columns of `left right`; the sums start from `start`. Every element has the same bits whatever other
/// rows and columns are computed with it. Plain f32 operands are the exception: gemm cuts their sums by the number of
/// rows.
///
/// # Shapes
/// `left` is `[rows, inner]`, `right` is `[inner, cols]`, `dst` is `[rows, columns]`, a bias is `[columns]`.
///
/// # Panics
/// If the shapes do not fit, the first column is no multiple of [`PANEL`], the columns do not lie inside `right`, or `left` is
/// rounded to another format than that of `right`.
pub fn multiply(left: Left, (right, columns): (&Right, Range<usize>), dst: &mut [f32], start: Start) {
    thread_local! {
        /// A plain left operand, rounded.
        static ROUNDED: RefCell<Option<Rounded>> = const { RefCell::new(None) };
    }
    check_shapes(left, (right, &columns), dst.len(), start);
    match (left, &right.0) {
        (Left::Plain { rows, values }, Panels::F32(panels)) => {
            plain::multiply(rows, values, (panels, columns), dst, start);
        }
        (Left::Plain { rows, values }, _) => ROUNDED.with_borrow_mut(|rounded| {
            let is_kept = rounded.as_ref().is_some_and(|rounded| rounded.format() == right.format());
            if !is_kept {
                *rounded = Some(Rounded::new(right.format()));
            }
            let rounded = rounded.as_mut().expect("it has just been made");
            rounded.pack_for(rows, right, values);
            multiply_rounded(rounded, (right, columns), dst, start);
        }),
        (Left::Rounded(rounded), _) => multiply_rounded(rounded, (right, columns), dst, start),
    }
}

fn multiply_rounded(left: &Rounded, (right, columns): (&Right, Range<usize>), dst: &mut [f32], start: Start) {
    match (&left.0, &right.0) {
        (Kept::Bf16(rows), Panels::Bf16(panels)) => bf16::multiply(rows, (panels, columns), dst, start),
        (Kept::Fixed(rows), Panels::Fixed(panels)) => {
            fixed::multiply(rows, 0..rows.rows(), (panels, columns), dst, start);
        }
        (Kept::Quantised(rows), Panels::Quantised(panels)) => {
            quantised::multiply(rows, (panels, columns), dst, start);
        }
        _ => unreachable!("the formats have been compared"),
    }
}

/// Computes `left right`, from a bias or zeros, in parts that stay in the cache. `take` gets each part,
/// `[rows, columns]`, when it is made. Parts are whole rows where `left` is plain or has a step for each row, and whole
/// panels of columns otherwise. Every element has the bits that [`multiply`] gives it. Plain f32 operands are the
/// exception: gemm cuts their sums by the number of rows.
///
/// # Shapes
/// `left` is `[rows, inner]`, `right` is `[inner, cols]`, a bias is `[cols]`; `buffer` is [`Format::part_len`] of the format of
/// `left` long, or longer.
///
/// # Panics
/// If the shapes do not fit, the buffer is too short, `left` is rounded to another format than that of `right`, or the start is
/// [`Start::Sums`], for which there is no destination.
pub fn multiply_in_parts(
    left: Left,
    right: &Right,
    start: Start,
    buffer: &mut [f32],
    mut take: impl FnMut(Part, &mut [f32]),
) {
    let (rows, [inner, cols]) = (left.rows(), right.shape());
    assert!(start != Start::Sums, "there is no destination to start from");
    check_shapes(left, (right, &(0..cols)), rows * cols, start);
    let mut by_rows = |make: &dyn Fn(&Range<usize>, &mut [f32])| {
        for part in Part::by_rows(rows, cols) {
            let made = &mut buffer[..part.rows.len() * cols];
            make(&part.rows, made);
            take(part, made);
        }
    };
    match (left, &right.0) {
        (Left::Plain { values, .. }, _) => by_rows(&|rows, made| {
            let values = &values[rows.start * inner..rows.end * inner];
            multiply(Left::Plain { rows: rows.len(), values }, (right, 0..cols), made, start);
        }),
        (Left::Rounded(Rounded(Kept::Fixed(kept))), Panels::Fixed(panels)) => {
            by_rows(&|rows, made| fixed::multiply(kept, rows.clone(), (panels, 0..cols), made, start));
        }
        (Left::Rounded(Rounded(Kept::Bf16(rows))), Panels::Bf16(panels)) => {
            bf16::multiply_in_parts(rows, panels, start, buffer, take);
        }
        (Left::Rounded(Rounded(Kept::Quantised(rows))), Panels::Quantised(panels)) => {
            quantised::multiply_in_parts(rows, panels, start, buffer, take);
        }
        _ => unreachable!("the formats have been compared"),
    }
}

fn check_shapes(left: Left, (right, columns): (&Right, &Range<usize>), dst: usize, start: Start) {
    let (rows, [inner, cols]) = (left.rows(), right.shape());
    match left {
        Left::Plain { values, .. } => {
            assert_eq!(values.len(), rows * inner, "the left operand is [rows, inner]")
        }
        Left::Rounded(rounded) => {
            let [left, right] = [rounded.format(), right.format()];
            assert!(
                left == right,
                "rows rounded to {} are multiplied by a right operand of {}: both have to be of one format",
                left.name(),
                right.name()
            );
            assert_eq!(rounded.shape()[1], inner, "left is [rows, inner], right is [inner, cols]");
        }
    }
    assert!(
        columns.start.is_multiple_of(PANEL) && columns.start <= columns.end && columns.end <= cols,
        "columns {columns:?} of {cols}, from a whole panel of {PANEL} on"
    );
    assert_eq!(dst, rows * columns.len(), "the destination is [rows, columns]");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), columns.len(), "a bias for each column");
    }
}

/// `d_weight += d^T x`, summed over the pairs of d and x: the gradient of a weight matrix. Operands that are plain are rounded to
/// `format`. Where there is rounding, it makes no difference how many calls add the pairs.
///
/// # Shapes
/// Each d is `[rows, out]`, of which the columns `outputs` are used, each x is `[rows, inputs]`; rows may differ from pair to
/// pair. `d_weight` is `[outputs, inputs]`.
///
/// # Panics
/// If the shapes do not fit, an operand is rounded to another format than `format`, that is [`Format::Quantised`], or there is
/// rounding and the first output is no multiple of 32.
pub fn weight_gradient(format: Format, pairs: &[(Left, Left)], outputs: Range<usize>, d_weight: &mut [f32]) {
    assert!(
        format != Format::Quantised,
        "quantised numbers take part in inference only: they have no gradient"
    );
    if outputs.is_empty() {
        return;
    }
    let inputs = d_weight.len() / outputs.len();
    assert_eq!(d_weight.len(), outputs.len() * inputs, "d_weight is [outputs, inputs]");
    if format == Format::F32 {
        return pairs.iter().for_each(|pair| plain_gradient(*pair, &outputs, d_weight));
    }
    assert!(outputs.start.is_multiple_of(2 * crate::layout::TILE), "outputs from a whole tile of 32 on");
    let pairs: Vec<[Cow<Rounded>; 2]> =
        pairs.iter().map(|(d, x)| [rounded_to(format, *d), rounded_to(format, *x)]).collect();
    match format {
        Format::Bf16 => {
            let pairs: Vec<_> = pairs.iter().map(|[d, x]| (of_bf16(d), of_bf16(x))).collect();
            bf16::weight_gradient(&pairs, outputs, d_weight);
        }
        _ => {
            let pairs: Vec<_> = pairs.iter().map(|[d, x]| (of_fixed(d), of_fixed(x))).collect();
            fixed::weight_gradient(&pairs, outputs, d_weight);
        }
    }
}

fn plain_gradient((d, x): (Left, Left), outputs: &Range<usize>, d_weight: &mut [f32]) {
    let (Left::Plain { rows, values: d }, Left::Plain { rows: x_rows, values: x }) = (d, x) else {
        panic!("rounded rows in a gradient of f32");
    };
    assert_eq!(rows, x_rows, "d and x have the same rows");
    let Some(out) = d.len().checked_div(rows) else { return };
    let shape = [outputs.len(), rows, x.len() / rows];
    plain::matmul_lhs_transposed(shape, d, [out, outputs.start], x, d_weight, Overwrite::No);
}

/// An operand in a format that rounds.
fn rounded_to(format: Format, operand: Left) -> Cow<Rounded> {
    match operand {
        Left::Plain { rows, values } => {
            let inner = values.len() / rows.max(1);
            Cow::Owned(Rounded::of(format, [rows, inner], values))
        }
        Left::Rounded(rounded) => {
            let kept = rounded.format();
            assert!(kept == format, "rows rounded to {} in a gradient of {}", kept.name(), format.name());
            Cow::Borrowed(rounded)
        }
    }
}

fn of_bf16(rounded: &Rounded) -> &bf16::Bf16Rows {
    let Kept::Bf16(rows) = &rounded.0 else { unreachable!("the formats have been compared") };
    rows
}

fn of_fixed(rounded: &Rounded) -> &fixed::FixedRows {
    let Kept::Fixed(rows) = &rounded.0 else { unreachable!("the formats have been compared") };
    rows
}
