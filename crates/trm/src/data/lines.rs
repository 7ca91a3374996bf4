//! Lines of a text, with their numbers, whatever ends them: LF, CR LF, or CR alone.

use std::collections::VecDeque;
use std::io::{self, BufRead};

/// Most bytes of a line; no table or list of puzzles needs as many.
const LONGEST: usize = 1 << 24;

/// Lines of a text, one after the other.
pub(super) struct Lines {
    text: Box<dyn BufRead>,
    /// Lines that were put back, first the one that is read next.
    again: VecDeque<(u64, Vec<u8>)>,
    /// Lines read from the text.
    number: u64,
    /// The last line ended in CR: a LF that follows belongs to it.
    after_cr: bool,
}

impl Lines {
    pub(super) fn new(text: Box<dyn BufRead>) -> Self {
        Self { text, again: VecDeque::new(), number: 0, after_cr: false }
    }

    /// Number of the last line that was read, from 1; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line into `line`, without what ends it; its number, or nothing at the end of the text.
    pub(super) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
        if let Some((number, text)) = self.again.pop_front() {
            *line = text;
            return Ok(Some(number));
        }
        line.clear();
        loop {
            let mut ready = match self.text.fill_buf() {
                Ok(ready) => ready,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if self.after_cr && !ready.is_empty() {
                self.after_cr = false;
                if ready[0] == b'\n' {
                    self.text.consume(1);
                    ready = self.text.fill_buf()?;
                }
            }
            if ready.is_empty() {
                if line.is_empty() {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr2(b'\n', b'\r', ready);
            line.extend_from_slice(&ready[..end.unwrap_or(ready.len())]);
            let Some(end) = end else {
                let read = ready.len();
                self.text.consume(read);
                if line.len() > LONGEST {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a line of more than 16 MB: one puzzle a line is expected; \
                         `jq -c '.[]' FILE` writes an array of JSON in lines",
                    ));
                }
                continue;
            };
            self.after_cr = ready[end] == b'\r';
            self.text.consume(end + 1);
            break;
        }
        self.number += 1;
        Ok(Some(self.number))
    }

    /// Puts a line back, before all that were put back earlier.
    pub(super) fn unread(&mut self, number: u64, line: Vec<u8>) {
        self.again.push_front((number, line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn every_end_of_a_line_counts_once_wherever_the_buffer_ends() {
        for capacity in 1..9 {
            let text = "a\r\nb\rc\n\nd\r\r\ne";
            let mut lines = Lines::new(Box::new(BufReader::with_capacity(capacity, text.as_bytes())));
            let (mut line, mut read) = (Vec::new(), Vec::new());
            while let Some(number) = lines.read(&mut line).unwrap() {
                read.push(format!("{number}{}", String::from_utf8_lossy(&line)));
            }
            assert_eq!(read, ["1a", "2b", "3c", "4", "5d", "6", "7e"], "{capacity}");
        }
    }
}
