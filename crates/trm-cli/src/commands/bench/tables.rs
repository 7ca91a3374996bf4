//! What `trm bench` measured, as Markdown tables that a terminal shows as well.

use super::Report;
use std::fmt::Write as _;
use trm::bench::{Latency, Machine, Peak, PhaseShares, Point, Speed, Sweep};

/// The whole report as text.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    if let Some(machine) = &report.machine {
        text.push_str(&machine_tables(machine));
    }
    let inference = report.inference.as_slice().iter().map(|speed| ("inference", speed));
    let speeds: Vec<_> = report.training.iter().map(|speed| ("training", speed)).chain(inference).collect();
    if !speeds.is_empty() {
        let rows = speeds
            .into_iter()
            .map(|(what, speed)| speed_row(format!("{what}, batch {}", speed.batch_size), speed));
        text.push_str(&speed_table(report.precision, rows));
    }
    if let Some(latency) = &report.latency {
        text.push_str(&latency_line(latency));
    }
    if let Some(scaling) = &report.scaling {
        scaling.sweeps.iter().for_each(|sweep| text.push_str(&sweep_table(sweep)));
        text.push_str(&phase_table(&scaling.phases));
    }
    text.push_str(&phase_table(&report.phases));
    text
}

fn machine_tables(machine: &Machine) -> String {
    let Machine { cpu, features, level, threads, f32, bf16, fixed12, fixed7, bandwidth } = machine;
    let mut text = format!("{cpu}; {}\nlevel {level}, {threads} threads\n\n", features.join(", "));
    let peak = |name: &str, peak: &Peak| {
        let gflops = |rate: f64| format!("{:.0} GFLOP/s", rate * 1e-9);
        [format!("products from registers, {name}"), gflops(peak.one_thread), gflops(peak.all_threads)]
    };
    let mut rows = vec![peak("f32", f32)];
    rows.extend(bf16.iter().map(|bf16| peak("bf16", bf16)));
    rows.extend(fixed12.iter().map(|fixed12| peak("fixed12", fixed12)));
    rows.extend(fixed7.iter().map(|fixed7| peak("fixed7", fixed7)));
    rows.extend(bandwidth.iter().map(|b| {
        let gb = |rate: f64| format!("{:.1} GB/s", rate * 1e-9);
        [format!("reading {}", b.memory), gb(b.one_thread), gb(b.all_threads)]
    }));
    text.push_str(&table(["at most", "one thread", "all threads"], rows.into_iter()));
    text
}

fn speed_table(precision: &str, rows: impl Iterator<Item = [String; 5]>) -> String {
    table([precision, "samples/s", "GFLOP/s", "of the peak", "memory"], rows)
}

fn speed_row(what: String, speed: &Speed) -> [String; 5] {
    let memory = speed.peak_memory_mb.map_or("unknown".into(), |mb| format!("{mb:.0} MB"));
    let gflops = format!("{:.0}", speed.flop_per_s * 1e-9);
    [what, format!("{:.1}", speed.samples_per_s), gflops, percent(speed.share_of_peak), memory]
}

fn latency_line(latency: &Latency) -> String {
    let Latency { ms, one_thread_ms, share_of_peak } = latency;
    format!(
        "one puzzle: {ms:.2} ms, on one thread {one_thread_ms:.2} ms; {} of the peak\n\n",
        percent(*share_of_peak)
    )
}

/// Without memory: what was measured before leaves some of its own behind.
fn sweep_table(sweep: &Sweep) -> String {
    let row = |point: &Point| {
        let [label, rate, gflops, share, _] = speed_row(point.label.clone(), &point.speed);
        [label, rate, gflops, share]
    };
    table([sweep.name, "samples/s", "GFLOP/s", "of the peak"], sweep.points.iter().map(row))
}

/// A column for each batch size.
fn phase_table(measured: &[PhaseShares]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in measured.iter().flat_map(|m| &m.shares) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let mut text = String::from("| where the time goes |");
    measured.iter().for_each(|m| write!(text, " batch {} |", m.batch_size).expect("memory"));
    text.push_str("\n|---|");
    measured.iter().for_each(|_| text.push_str("--:|"));
    text.push('\n');
    for name in names {
        let _ = write!(text, "| {name} |");
        for m in measured {
            let share = m.shares.iter().find(|(n, _)| *n == name).map_or(0.0, |(_, share)| *share);
            let _ = write!(text, " {} |", percent(share));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// A Markdown table whose columns stand under each other.
fn table<const N: usize>(titles: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![titles.map(String::from)];
    lines.extend(rows);
    let widths: [usize; N] =
        std::array::from_fn(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (i, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ =
                if i == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text.push_str("|\n");
        if number == 0 {
            for (i, width) in widths.into_iter().enumerate() {
                let _ = write!(text, "|{}{}", "-".repeat(width + 1), if i == 0 { '-' } else { ':' });
            }
            text.push_str("|\n");
        }
    }
    text.push('\n');
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
