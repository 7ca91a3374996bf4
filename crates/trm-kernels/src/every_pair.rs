//! Every pair of left and right operands: those that are allowed against plain loops in f64, the others with what they are
//! refused with.

use crate::reference::{matmul as exact_matmul, numbers, transpose};
use crate::{
    Fixed, Format, Left, Level, PANEL, Right, Rounded, Start, WeightBits, at_level, multiply,
    multiply_in_parts, weight_gradient,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Formats that matrices are packed in, and by how much of the largest product of `inner` numbers below 1 they may be wrong.
const FORMATS: [(Format, f64); 5] = [
    (Format::F32, 1e-6),
    (Format::Bf16, 0.01),
    (Format::Fixed(Fixed::Twelve), 0.001),
    (Format::Fixed(Fixed::Seven), 0.02),
    (Format::Quantised, 0.01),
];

/// None, one, around blocks of 6 rows, parts of 48 rows, strips and panels.
const SHAPES: [[usize; 3]; 9] = [
    [0, 5, 7],
    [1, 1, 1],
    [1, 70, 131],
    [6, 33, 64],
    [7, 0, 65],
    [7, 64, 17],
    [49, 40, 130],
    [50, 129, 63],
    [97, 65, 16],
];

/// A right operand, with the numbers that it stands for where they are integers times a scale.
fn right(format: Format, [inner, cols]: [usize; 2]) -> (Right, Vec<f32>) {
    if format == Format::Quantised {
        let q: Vec<i8> = numbers(inner * cols, 2).iter().map(|v| (v * 127.0) as i8).collect();
        let right = Right::quantised(
            WeightBits::Eight,
            [inner, cols],
            inner,
            &q,
            &vec![1.0 / 127.0; if inner == 0 { 0 } else { cols }],
            None,
        );
        let stands_for: Vec<f32> = q.iter().map(|q| f32::from(*q) / 127.0).collect();
        return (right, transpose(cols, inner, &stands_for));
    }
    let b = numbers(inner * cols, 2);
    let mut packed = Right::new(format);
    packed.pack([inner, cols], &b);
    let mut transposed = Right::new(format);
    transposed.pack_transposed([inner, cols], &transpose(inner, cols, &b));
    assert_eq!([packed.shape(), transposed.shape()], [[inner, cols]; 2]);
    (transposed, b)
}

/// The plain numbers rounded once for a right operand, in parts where that may be; nothing where f32 is not rounded.
fn rounded(right: &Right, rows: usize, a: &[f32]) -> Option<Rounded> {
    if right.format() == Format::F32 {
        return None;
    }
    let mut rounded = Rounded::new(right.format());
    rounded.resize_for(rows, right);
    let inner = right.shape()[0];
    for part in crate::Part::by_rows(rows, inner) {
        rounded.store(&part, &a[part.rows.start * inner..part.rows.end * inner]);
    }
    Some(rounded)
}

fn assert_near(got: &[f32], want: &[f64], tolerance: f64, what: &str) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= tolerance, "{what}: element {i} is {got}, not {want}");
    }
}

#[test]
fn allowed_pairs_agree_with_plain_loops_whole_and_in_parts_at_every_level() {
    for (shape @ [rows, inner, cols], (format, share)) in
        SHAPES.iter().flat_map(|shape| FORMATS.map(|format| (*shape, format)))
    {
        let (a, (right, b)) = (numbers(rows * inner, 1), right(format, [inner, cols]));
        let (bias, before) = (numbers(cols, 3), numbers(rows * cols, 4));
        let product = exact_matmul(rows, inner, cols, &a, &b);
        let tolerance = share * (inner as f64).max(1.0);
        for level in Level::available() {
            let what = format!("{shape:?} in {} at {}", format.name(), level.name());
            at_level(level, || {
                let rounded = rounded(&right, rows, &a);
                let plain = Left::Plain { rows, values: &a };
                let lefts = [Some(plain), rounded.as_ref().map(Left::Rounded)];
                let mut of_plain = None;
                for left in lefts.into_iter().flatten() {
                    let run = |start: Start| {
                        let mut dst = before.clone();
                        multiply(left, (&right, 0..cols), &mut dst, start);
                        dst
                    };
                    let results = [run(Start::Zeros), run(Start::Bias(&bias)), run(Start::Sums)];
                    let starts: [Box<dyn Fn(usize) -> f32>; 3] =
                        [Box::new(|_| 0.0), Box::new(|i| bias[i % cols]), Box::new(|i| before[i])];
                    for (result, start) in results.iter().zip(&starts) {
                        let with_start = product.iter().enumerate();
                        let want: Vec<f64> = with_start.map(|(i, v)| v + f64::from(start(i))).collect();
                        assert_near(result, &want, tolerance, &what);
                    }
                    let mut parts = vec![f32::NAN; rows * cols];
                    let mut buffer = vec![f32::NAN; left.format().part_len(rows, cols).max(rows * PANEL)];
                    multiply_in_parts(left, &right, Start::Bias(&bias), &mut buffer, |part, made| {
                        for (r, made) in part.rows.zip(made.chunks(part.columns.len())) {
                            parts[r * cols..][part.columns.clone()].copy_from_slice(made);
                        }
                    });
                    // Of more or fewer rows gemm cuts sums elsewhere.
                    match format {
                        Format::F32 => assert_near(
                            &parts,
                            &results[1].iter().map(|v| f64::from(*v)).collect::<Vec<_>>(),
                            1e-4,
                            &what,
                        ),
                        _ => assert!(parts == results[1], "{what}, in parts"),
                    }
                    assert!(
                        *of_plain.get_or_insert(results.clone()) == results,
                        "{what}: rounded before or in the product"
                    );
                }
            });
        }
    }
}

#[test]
fn gradients_of_every_format_agree_with_plain_loops_from_plain_and_rounded_rows() {
    // Outputs from the second tile on.
    const FIRST: usize = 32;
    for (rows, [outputs, inputs]) in [(1, [1, 1]), (40, [33, 17]), (70, [16, 65])] {
        let (d, x) = (numbers(rows * (FIRST + outputs), 1), numbers(rows * inputs, 2));
        let d_t = transpose(rows, FIRST + outputs, &d);
        let want = exact_matmul(outputs, rows, inputs, &d_t[FIRST * rows..], &x);
        for (format, share) in FORMATS.into_iter().filter(|(format, _)| *format != Format::Quantised) {
            for level in Level::available() {
                let gradient = |pair: (Left, Left)| {
                    let mut d_weight = vec![0.0; outputs * inputs];
                    weight_gradient(format, &[pair], FIRST..FIRST + outputs, &mut d_weight);
                    d_weight
                };
                let what =
                    format!("{rows} rows, [{outputs}, {inputs}] in {} at {}", format.name(), level.name());
                at_level(level, || {
                    let plain = [&d, &x].map(|values| Left::Plain { rows, values });
                    let of_plain = gradient(plain.into());
                    assert_near(&of_plain, &want, 2.0 * share * rows as f64, &what);
                    if format != Format::F32 {
                        let rounded = [(&d, FIRST + outputs), (&x, inputs)]
                            .map(|(v, width)| Rounded::of(format, [rows, width], v));
                        let [d, x] = rounded.each_ref().map(Left::Rounded);
                        assert!(gradient((d, x)) == of_plain, "{what}, rounded before");
                        assert!(gradient((d, plain[1])) == of_plain, "{what}, one of both rounded before");
                    }
                });
            }
        }
    }
}

/// What `body` panics with.
fn refusal(body: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(body)).expect_err("it is refused");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().expect("a message")).into(),
    }
}

#[test]
fn pairs_of_different_formats_are_refused_by_name() {
    let (rows, inner, cols) = (3, 8, 5);
    let a = numbers(rows * inner, 1);
    for (left, right_format) in FORMATS.iter().flat_map(|(left, _)| FORMATS.map(|(right, _)| (*left, right)))
    {
        let (other, _) = right(left, [inner, cols]);
        let Some(rounded) = rounded(&other, rows, &a) else { continue };
        if left == right_format {
            continue;
        }
        let (right, _) = right(right_format, [inner, cols]);
        let (mut dst, mut buffer) = (vec![0.0; rows * cols], vec![0.0; 1 << 14]);
        let left_operand = Left::Rounded(&rounded);
        let whole = refusal(|| multiply(left_operand, (&right, 0..cols), &mut dst, Start::Zeros));
        let in_parts =
            refusal(|| multiply_in_parts(left_operand, &right, Start::Zeros, &mut buffer, |_, _| {}));
        for message in [whole, in_parts] {
            let names =
                [format!("rounded to {}", left.name()), format!("operand of {}", right_format.name())];
            assert!(names.iter().all(|name| message.contains(name)), "{message}");
        }
    }
}

#[test]
fn what_has_no_meaning_is_refused_with_a_reason() {
    let (rows, inner, cols) = (3, 8, 5);
    let a = numbers(rows * inner, 1);
    let plain = Left::Plain { rows, values: &a };
    let (packed, _) = right(Format::F32, [inner, cols]);
    let (mut quantised, _) = right(Format::Quantised, [inner, cols]);
    let bf16 = Rounded::of(Format::Bf16, [rows, inner], &a);
    let mut of_quantised = Rounded::new(Format::Quantised);
    let mut dst = vec![0.0; rows * cols];
    let mut short = vec![0.0; rows * cols - 1];
    let mut square = vec![0.0; inner * inner];
    let cases: Vec<(String, &str)> = vec![
        (refusal(|| drop(Right::new(Format::Quantised))), "Right::quantised"),
        (refusal(|| quantised.pack([inner, cols], &[0.0; 40])), "keeps the numbers"),
        (refusal(|| drop(Rounded::new(Format::F32))), "not rounded"),
        (refusal(|| of_quantised.resize([rows, inner])), "Rounded::resize_for"),
        (refusal(|| of_quantised.resize_for(rows, &packed)), "not for f32"),
        (refusal(|| drop(Rounded::of(Format::Quantised, [rows, inner], &a))), "for a right operand"),
        (
            refusal(|| weight_gradient(Format::Quantised, &[(plain, plain)], 0..inner, &mut square)),
            "no gradient",
        ),
        (
            refusal(|| weight_gradient(Format::F32, &[(Left::Rounded(&bf16), plain)], 0..inner, &mut square)),
            "rounded rows in a gradient of f32",
        ),
        (
            refusal(|| {
                let fixed = Format::Fixed(Fixed::Twelve);
                weight_gradient(fixed, &[(Left::Rounded(&bf16), plain)], 0..inner, &mut square);
            }),
            "rounded to bf16 in a gradient of fixed12",
        ),
        (refusal(|| multiply_in_parts(plain, &packed, Start::Sums, &mut dst, |_, _| {})), "no destination"),
        (refusal(|| multiply(plain, (&packed, 1..cols), &mut dst, Start::Zeros)), "whole panel"),
        (refusal(|| multiply(plain, (&packed, 0..cols + 1), &mut dst, Start::Zeros)), "columns 0..6 of 5"),
        (
            refusal(|| multiply(plain, (&packed, 0..cols), &mut short, Start::Zeros)),
            "destination is [rows, columns]",
        ),
        (
            refusal(|| multiply(plain, (&packed, 0..cols), &mut dst, Start::Bias(&a))),
            "a bias for each column",
        ),
        (
            refusal(|| {
                multiply(Left::Plain { rows: 2, values: &a }, (&packed, 0..cols), &mut dst, Start::Zeros)
            }),
            "left operand is [rows, inner]",
        ),
    ];
    for (message, reason) in cases {
        assert!(message.contains(reason), "`{message}` does not say `{reason}`");
    }
}
