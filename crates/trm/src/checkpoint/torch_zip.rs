//! The container of torch.save: a zip archive of stored entries, `NAME/data.pkl` and `NAME/data/0`, `NAME/data/1`, ...
//!
//! # Source
//! <https://docs.pytorch.org/docs/stable/notes/serialization.html>

use super::ReadError;
use super::pickle_writer::{Storage, Written};
use crate::atomic_file::AtomicWriter;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use zip::read::ZipFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Largest pickle that is read: a state dict of a thousand tensors has a hundred kilobytes.
const MOST_PICKLE_BYTES: u64 = 16 << 20;
/// Alignment of the tensors' bytes in the file, as PyTorch has it.
const ALIGNMENT: u16 = 64;

/// An opened archive.
pub struct TorchZip {
    archive: ZipArchive<File>,
    /// Folder that all entries lie in.
    prefix: String,
    /// Length of the file in bytes. All entries together cannot exceed it.
    pub file_bytes: u64,
}

impl TorchZip {
    /// Opens an archive and checks that its entries fit the file.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let mut archive = ZipArchive::with_config(from_the_start(), file).map_err(damaged)?;
        if archive.file_names().flatten().any(|name| name.ends_with("/constants.pkl")) {
            return Err(ReadError::Format(
                "it is a TorchScript program: save the weights in Python, torch.save({'model_state_dict': \
                 torch.jit.load(FILE).state_dict()}, 'model.pt')"
                    .into(),
            ));
        }
        let mut total = 0u64;
        let mut prefix = None;
        for i in 0..archive.len() {
            let entry = archive.by_index_raw(i).map_err(damaged)?;
            let name = entry.name().map_err(damaged)?;
            if entry.compression() != CompressionMethod::Stored {
                return Err(ReadError::Format(format!(
                    "{name} is compressed, which torch.save never does; `unzip -q FILE -d m && cd m && zip -q -0 -r \
                     ../stored.pt .` stores it plainly"
                )));
            }
            total = total.saturating_add(entry.size().max(entry.compressed_size()));
            if let Some(folder) = name.strip_suffix("/data.pkl") {
                prefix = Some(folder.to_string());
            }
        }
        if total > file_bytes {
            return Err(ReadError::Format(format!(
                "its entries claim {total} bytes, but the file has {file_bytes}: it is damaged or hostile"
            )));
        }
        let prefix =
            prefix.ok_or_else(|| "it holds no data.pkl: a zip archive, but not of torch.save".to_string())?;
        let mut zip = Self { archive, prefix, file_bytes };
        if zip.read("byteorder", 16).is_ok_and(|order| order.trim_ascii() == b"big") {
            return Err(ReadError::Format("it was written on a big-endian machine".into()));
        }
        Ok(zip)
    }

    /// The pickle.
    pub fn pickle(&mut self) -> Result<Vec<u8>, ReadError> {
        self.read("data.pkl", MOST_PICKLE_BYTES)
    }

    /// The bytes of a storage.
    pub fn storage(&mut self, key: &str) -> Result<Vec<u8>, ReadError> {
        self.read(&format!("data/{key}"), self.file_bytes)
    }

    /// The values of a storage of f32, read straight into the vector that is returned.
    pub fn f32_storage(&mut self, key: &str) -> Result<Vec<f32>, ReadError> {
        let name = format!("data/{key}");
        let mut values = vec![0.0f32; self.size(&name, self.file_bytes)? / size_of::<f32>()];
        self.read_whole(&name, bytemuck::cast_slice_mut(&mut values))?;
        if cfg!(target_endian = "big") {
            values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
        }
        Ok(values)
    }

    fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; self.size(name, most)?];
        self.read_whole(name, &mut bytes)?;
        Ok(bytes)
    }

    fn entry(&mut self, name: &str) -> Result<ZipFile<'_, File>, ReadError> {
        self.archive.by_name(&format!("{}/{name}", self.prefix)).map_err(damaged)
    }

    /// Bytes of an entry.
    fn size(&mut self, name: &str, most: u64) -> Result<usize, ReadError> {
        let size = self.entry(name)?.size();
        if size > most {
            return Err(ReadError::Format(format!("{name} has {size} bytes; at most {most} are expected")));
        }
        Ok(size as usize)
    }

    /// Reads an entry of the target's size.
    fn read_whole(&mut self, name: &str, target: &mut [u8]) -> Result<(), ReadError> {
        let mut entry = self.entry(name)?;
        let broken = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => format!("{name} ends early: the file is damaged"),
            _ => format!("{name}: {e}: the file is damaged"),
        };
        entry.read_exact(target).map_err(broken)?;
        // Reading on to the end also compares the checksum.
        let rest = entry.read_to_end(&mut Vec::new()).map_err(broken)?;
        if rest > 0 {
            return Err(ReadError::Format(format!("{name} goes on behind its end: the file is damaged")));
        }
        Ok(())
    }
}

/// Entries are where the directory says. Looking for bytes before the archive instead takes the directory of a file whose
/// entries have names of certain lengths for an entry.
fn from_the_start() -> zip::read::Config {
    zip::read::Config { archive_offset: zip::read::ArchiveOffset::Known(0) }
}

fn damaged(e: zip::result::ZipError) -> ReadError {
    ReadError::Format(format!("{e}: the file is incomplete or damaged"))
}

/// Writes an archive as torch.save lays it out.
pub fn write(file: &mut AtomicWriter, name: &str, written: &Written) -> io::Result<()> {
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    let mut zip = ZipWriter::new(file);
    let mut entry = |part: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>| -> io::Result<()> {
        zip.start_file(format!("{name}/{part}"), options)?;
        write(&mut zip)
    };
    entry("data.pkl", &mut |out| out.write_all(&written.pickle))?;
    entry("byteorder", &mut |out| out.write_all(b"little"))?;
    for (key, storage) in written.storages.iter().enumerate() {
        let values = match storage {
            Storage::Values(values) => values,
            Storage::One(value) => std::slice::from_ref(value),
        };
        entry(&format!("data/{key}"), &mut |out| write_f32(out, values))?;
    }
    entry("version", &mut |out| out.write_all(b"3\n"))?;
    zip.finish()?;
    Ok(())
}

/// Little-endian bytes of the values, some thousand at a time.
pub fn write_f32(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for part in values.chunks(1 << 14) {
        bytes.clear();
        part.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}
