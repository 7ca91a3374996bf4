//! Room for activations, made or only counted by the same code: what a run is said to take is what it takes.

use crate::ops::{Format, Rows};

/// Allocates the buffers of tapes and states or, as a plan, only counts their bytes.
#[derive(Debug)]
pub struct Room {
    is_plan: bool,
    bytes: u64,
}

impl Room {
    /// Buffers are made.
    pub fn real() -> Self {
        Self { is_plan: false, bytes: 0 }
    }

    /// Buffers are counted and stay empty.
    pub fn plan() -> Self {
        Self { is_plan: true, bytes: 0 }
    }

    /// Bytes asked for so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Zeros.
    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        self.bytes += (count * size_of::<f32>()) as u64;
        vec![0.0; if self.is_plan { 0 } else { count }]
    }

    /// `slots` matrices `[rows, width]` as products read them.
    pub fn rows(&mut self, format: Format, slots: usize, rows: usize, width: usize) -> Rows {
        self.bytes += slots as u64 * Rows::slot_bytes(format, rows, width) as u64;
        Rows::new(format, if self.is_plan { 0 } else { slots }, rows, width)
    }

    /// `count` parts that are made alike by `make`. A plan makes the first and counts it `count` times.
    pub fn times<T>(&mut self, count: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if !self.is_plan || count == 0 {
            return (0..count).map(|_| make(self)).collect();
        }
        let before = self.bytes;
        let one = make(self);
        self.bytes = before + count as u64 * (self.bytes - before);
        vec![one]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_counts_what_is_made() {
        let fill = |room: &mut Room| {
            let parts = room.times(3, |room| (room.floats(5), room.rows(Format::Bf16, 2, 40, 7)));
            (parts, room.floats(2))
        };
        let (mut real, mut plan) = (Room::real(), Room::plan());
        let ((made, _), (planned, rest)) = (fill(&mut real), fill(&mut plan));
        assert_eq!(real.bytes(), plan.bytes());
        assert_eq!((made.len(), made[0].0.len(), planned[0].0.len(), rest.len()), (3, 5, 0, 0));
        let slot = Rows::slot_bytes(Format::Bf16, 40, 7);
        // Whole tiles of 32 rows and 32 numbers, and where they are.
        assert!((2 * 64 * 32..2 * 64 * 32 + 512).contains(&slot), "{slot}");
        assert_eq!(real.bytes(), (4 * (3 * 5 + 2) + 3 * 2 * slot) as u64);
    }
}
