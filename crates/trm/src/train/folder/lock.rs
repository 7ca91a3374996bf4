//! The lock that a run holds on its folder.

use super::FolderError;
use crate::train::TrainError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

/// A run holds a lock on this file for as long as it goes on. The system releases it when the process ends, however it ends.
pub const LOCK: &str = "run.lock";

/// Takes the lock of a folder and writes down who holds it; nothing on a file system without locks.
pub fn lock(folder: &Path) -> Result<Option<File>, TrainError> {
    let path = folder.join(LOCK);
    let io = |source| TrainError::Io { path: path.clone(), source };
    loop {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                let holder = if holder.is_empty() { String::new() } else { format!(" ({holder})") };
                return Err(FolderError::InUse { folder: folder.into(), holder }.into());
            }
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // Whoever held it may just have removed the file, as nothing was begun: then the lock is on nothing.
        if !is_still_there(&file, &path) {
            continue;
        }
        file.set_len(0).map_err(io)?;
        write!(file, "process {}", std::process::id()).map_err(io)?;
        return Ok(Some(file));
    }
}

#[cfg(unix)]
fn is_still_there(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |metadata: io::Result<std::fs::Metadata>| metadata.ok().map(|m| (m.dev(), m.ino()));
    of(file.metadata()) == of(std::fs::metadata(path))
}

#[cfg(not(unix))]
fn is_still_there(_file: &File, path: &Path) -> bool {
    path.exists()
}
