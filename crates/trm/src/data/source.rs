//! Where the text of a puzzle file comes from: a file or standard input, compressed or not, in UTF-8 or UTF-16.
//!
//! The content decides, not the ending of the name.

use flate2::CrcReader;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of a file that are looked at to find out what it is.
const HEAD: usize = 512;
/// Most bytes of a .zip that comes through a pipe, and so has to be kept in memory.
const LARGEST_PIPED_ZIP: u64 = 1 << 30;

/// A file that is open, with what is known of its size.
pub(super) struct Source {
    /// Its text: UTF-8, or bytes of an old encoding, without a byte order mark.
    pub(super) text: Box<dyn BufRead>,
    /// Bytes of text that it holds, or about as many; 0 where nothing is known.
    pub(super) size: u64,
}

/// Content that is no text, by its first bytes, and what turns it into text.
const FOREIGN: [(&[u8], &str); 9] = [
    (
        b"PAR1",
        "a Parquet file: write it as CSV first, `python3 -c \"import pandas; \
         pandas.read_parquet('FILE').to_csv('puzzles.csv', index=False)\"`",
    ),
    (b"ARROW1", "an Arrow file: write it as CSV first, with pandas.read_feather('FILE').to_csv(...)"),
    (
        b"\x93NUMPY",
        "a NumPy array: write it as text first, numpy.savetxt('puzzles.txt', ..., fmt='%d', delimiter='')",
    ),
    (b"BZh", "compressed by bzip2: `bzip2 -dc FILE | trm ... -`"),
    (b"\xfd7zXZ", "compressed by xz: `xz -dc FILE | trm ... -`"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: `zstd -dc FILE | trm ... -`"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first, `7z x FILE`"),
    (b"\xd0\xcf\x11\xe0", "an Excel file: save it as CSV"),
    (b"%PDF", "a PDF: copy the puzzles out of it into a text file"),
];

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// What the system says; `InvalidData` with a remedy where the content is of another kind.
pub(super) fn open(path: &Path) -> io::Result<Source> {
    if path == Path::new("-") {
        return decode(Box::new(io::stdin()), 0, path);
    }
    let mut file = File::open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(refused("a folder: name the file in it"));
    }
    if found.is_file() {
        let mut start = [0; 4];
        let is_zip = read_up_to(&mut file, &mut start)? == 4 && start == *b"PK\x03\x04";
        file.seek(SeekFrom::Start(0))?;
        if is_zip {
            return unzip(file, path);
        }
    }
    decode(Box::new(file), found.len(), path)
}

/// The text of `bytes`, which may be compressed.
///
/// # Errors
/// As [`open`].
pub(super) fn decode(bytes: Box<dyn Read>, size: u64, path: &Path) -> io::Result<Source> {
    let (head, bytes) = peek(bytes)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        let unpacked = Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, bytes)));
        // Digits compress to about half.
        return decode_text(unpacked, 2 * size);
    }
    if head.starts_with(b"PK\x03\x04") {
        let mut content = Vec::new();
        bytes.take(LARGEST_PIPED_ZIP).read_to_end(&mut content)?;
        return unzip(Cursor::new(content), path);
    }
    decode_text(Box::new(bytes), size)
}

fn decode_text(bytes: Box<dyn Read>, size: u64) -> io::Result<Source> {
    let (head, mut bytes) = peek(bytes)?;
    if let Some((_, remedy)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(refused(remedy));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Err(refused("a tar archive: `tar -xOf FILE NAME | trm ... -`"));
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return Err(refused("compressed twice: unpack it once, `gzip -dc FILE > puzzles.csv.gz`"));
    }
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|b| **b == 0).count() * 4 > head.len();
    let little = match () {
        () if head.starts_with(&[0xff, 0xfe]) => Some(true),
        () if head.starts_with(&[0xfe, 0xff]) => Some(false),
        () if zeros(1) && !zeros(0) => Some(true),
        () if zeros(0) && !zeros(1) => Some(false),
        () => None,
    };
    let text: Box<dyn Read> = match little {
        Some(little) => Box::new(Utf16 { bytes, little, ready: Cursor::new(Vec::new()) }),
        None => {
            if head.starts_with(b"\xef\xbb\xbf") {
                bytes.read_exact(&mut [0; 3])?;
            }
            Box::new(bytes)
        }
    };
    Ok(Source { text: Box::new(BufReader::with_capacity(1 << 18, text)), size })
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// A file's first bytes and, behind them, the rest.
type Whole = Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

/// The first bytes, and a reader that still begins with them.
fn peek(mut bytes: Box<dyn Read>) -> io::Result<(Vec<u8>, Whole)> {
    let mut head = vec![0; HEAD];
    let read = read_up_to(&mut bytes, &mut head)?;
    head.truncate(read);
    Ok((head.clone(), Cursor::new(head).chain(bytes)))
}

/// Fills `into` as far as there are bytes.
fn read_up_to(bytes: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < into.len() {
        match bytes.read(&mut into[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

/// The only file of a .zip.
fn unzip<R: Read + Seek + 'static>(mut bytes: R, path: &Path) -> io::Result<Source> {
    let damaged = |e: zip::result::ZipError| refused(&format!("a damaged .zip file ({e}): copy it again"));
    let mut archive = zip::ZipArchive::new(&mut bytes).map_err(damaged)?;
    let names = (0..archive.len())
        .map(|i| archive.by_index_raw(i).map(|file| String::from_utf8_lossy(file.name_raw()).into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(damaged)?;
    if names.iter().any(|name| name == "xl/workbook.xml") {
        return Err(refused("an Excel file: save it as CSV"));
    }
    if names.iter().any(|name| name.ends_with("data.pkl")) {
        return Err(refused("a model file of PyTorch; puzzles are expected here"));
    }
    let hidden = |name: &str| name.ends_with('/') || name.starts_with("__MACOSX/") || name.starts_with('.');
    let index = match &(0..names.len()).filter(|i| !hidden(&names[*i])).collect::<Vec<_>>()[..] {
        [index] => *index,
        [] => return Err(refused("a .zip without a file in it")),
        several => {
            let list = several.iter().take(5).map(|i| &*names[*i]).collect::<Vec<_>>().join(", ");
            return Err(refused(&format!(
                "a .zip of {} files ({list}): choose one, `unzip -p {} {} | trm ... -`",
                several.len(),
                path.display(),
                names[several[0]]
            )));
        }
    };
    let member = archive.by_index(index).map_err(damaged)?;
    let (start, packed, size) =
        (member.data_start().unwrap_or_default(), member.compressed_size(), member.size());
    let (method, expected) = (member.compression(), member.crc32());
    drop(member);
    drop(archive);
    bytes.seek(SeekFrom::Start(start))?;
    let packed = BufReader::with_capacity(1 << 18, bytes.take(packed));
    let unpacked: Box<dyn Read> = match method {
        zip::CompressionMethod::Stored => Box::new(packed),
        zip::CompressionMethod::Deflated => Box::new(DeflateDecoder::new(packed)),
        other => return Err(refused(&format!("a .zip compressed by {other:?}: unpack it first"))),
    };
    decode_text(Box::new(Checked { bytes: CrcReader::new(unpacked), expected }), size)
}

/// A file of a .zip, whose checksum is compared at its end.
struct Checked {
    bytes: CrcReader<Box<dyn Read>>,
    expected: u32,
}

impl Read for Checked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        if read == 0 && !into.is_empty() && self.bytes.crc().sum() != self.expected {
            return Err(refused("the checksum of the .zip does not fit"));
        }
        Ok(read)
    }
}

/// UTF-16 that is read as UTF-8.
struct Utf16<R> {
    bytes: R,
    little: bool,
    ready: Cursor<Vec<u8>>,
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ready.position() as usize == self.ready.get_ref().len() {
            let mut raw = vec![0; 1 << 16];
            let mut read = read_up_to(&mut self.bytes, &mut raw)?;
            let unit = |pair: &[u8]| {
                let pair = [pair[0], pair[1]];
                if self.little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
            };
            // A character of two units is not cut between two pieces.
            if read == raw.len() && (0xd800..0xdc00).contains(&unit(&raw[read - 2..])) {
                raw.resize(read + 2, 0);
                read += read_up_to(&mut self.bytes, &mut raw[read..])?;
            }
            let units = raw[..read].chunks_exact(2).map(unit);
            let text: String = char::decode_utf16(units)
                .map(|c| c.unwrap_or('\u{fffd}'))
                .filter(|c| *c != '\u{feff}')
                .collect();
            if text.is_empty() && read > 1 {
                return self.read(into);
            }
            self.ready = Cursor::new(text.into_bytes());
        }
        self.ready.read(into)
    }
}
