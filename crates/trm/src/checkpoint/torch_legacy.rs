//! Files of torch.save before version 1.6: pickles one after the other, then the storages.
//!
//! # Source
//! `_legacy_save` in <https://github.com/pytorch/pytorch/blob/main/torch/serialization.py>

use super::ReadError;
use super::pickle::{Node, Pickle};
use std::collections::HashMap;
use std::ops::Range;

/// How every such file begins: a pickle of the number 0x1950a86a20f9469cfc6c.
pub const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// A file in memory.
pub struct TorchLegacy {
    bytes: Vec<u8>,
    storages: HashMap<String, Range<usize>>,
}

impl TorchLegacy {
    /// Reads a file's pickle and finds its storages.
    ///
    /// # Errors
    /// A broken pickle, storages that reach beyond the file, a file of a big-endian machine.
    pub fn open(bytes: Vec<u8>) -> Result<(Self, Pickle), ReadError> {
        let mut at = MAGIC.len();
        let mut next = || -> Result<Pickle, ReadError> {
            let (pickle, length) = Pickle::read_first(&bytes[at..])?;
            at += length;
            Ok(pickle)
        };
        let (_protocol, system) = (next()?, next()?);
        let little = system.get(system.root(), "little_endian").map(|id| system.node(id).clone());
        if little == Some(Node::Bool(false)) {
            return Err(ReadError::Format("it was written on a big-endian machine".into()));
        }
        let (pickle, keys) = (next()?, next()?);
        let keys = keys.sequence(keys.root()).ok_or("it lists no storages")?.iter().map(|id| keys.text(*id));
        let keys: Vec<String> = keys.map(|key| key.unwrap_or_default().to_string()).collect();
        let sizes: HashMap<String, usize> =
            pickle.storages().filter_map(|(kind, key)| Some((key, bytes_of(&kind)?))).collect();
        let mut storages = HashMap::new();
        for key in keys {
            let header = bytes.get(at..at + 8).ok_or("it ends too early: the file is damaged")?;
            let count = u64::from_le_bytes(header.try_into().expect("eight bytes"));
            let size = *sizes.get(&key).ok_or_else(|| format!("storage {key} is of no known type"))?;
            let end = usize::try_from(count).ok().and_then(|n| n.checked_mul(size)?.checked_add(at + 8));
            let end =
                end.filter(|end| *end <= bytes.len()).ok_or("it ends too early: the file is damaged")?;
            storages.insert(key, at + 8..end);
            at = end;
        }
        Ok((Self { bytes, storages }, pickle))
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes of a storage.
    pub fn storage(&self, key: &str) -> Result<&[u8], ReadError> {
        let range = self.storages.get(key).ok_or_else(|| format!("storage {key} is missing"))?;
        Ok(&self.bytes[range.clone()])
    }
}

/// Bytes of a value of a storage.
fn bytes_of(kind: &str) -> Option<usize> {
    Some(match kind.strip_prefix("torch.")?.strip_suffix("Storage")? {
        "Double" | "Long" | "ComplexFloat" => 8,
        "Float" | "Int" => 4,
        "Half" | "BFloat16" | "Short" => 2,
        "Char" | "Byte" | "Bool" => 1,
        _ => return None,
    })
}

impl From<&str> for ReadError {
    fn from(reason: &str) -> Self {
        Self::Format(reason.into())
    }
}
